"""Pages of the record while two gateways write it at once, on a real API server (O6; design §4.3)."""

import asyncio
from pathlib import Path

from tests.apiserver.gateway.test_audit import AUDIT, MAPS, change, configmap, fresh_name, settings
from tests.support.gateway import RunningGateway

from edge.audit.folder import Folder
from edge.audit.verify import verify
from edge_kube.harness import LightCluster


async def test_pages_have_each_entry_once_while_two_gateways_write(
    gateway_cluster: LightCluster, tmp_path: Path
) -> None:
    flags = settings(tmp_path / "trail")
    async with (
        RunningGateway(gateway_cluster.connection, flags) as one,
        RunningGateway(gateway_cluster.connection, flags) as two,
    ):
        token = await one.token()
        before = [fresh_name() for _ in range(12)]
        for number, name in enumerate(before):
            gateway = (one, two)[number % 2]
            assert (await change(gateway, "POST", MAPS, token, configmap(name))).status == 201
        going_on = True

        async def write(gateway: RunningGateway) -> None:
            while going_on:
                await change(gateway, "POST", MAPS, token, configmap(fresh_name()))

        writing = [asyncio.create_task(write(gateway)) for gateway in (one, two)]
        seen: list[str] = []
        cursor, pages = "", 0
        while pages == 0 or cursor:
            params = {"resource": "configmaps", "verb": "create", "limit": "3", "cursor": cursor}
            page = (await (one, two)[pages % 2].get(f"{AUDIT}/records", token=token, params=params)).json()
            seen += [entry["req"]["name"] for entry in page["items"]]
            cursor, pages = page["cursor"], pages + 1
        going_on = False
        await asyncio.gather(*writing)
    assert len(set(seen)) == len(seen)
    assert [name for name in seen if name in set(before)] == before[::-1]
    report = verify(Folder(tmp_path / "trail"))
    assert (report.broken, report.chains) == (None, 2)
