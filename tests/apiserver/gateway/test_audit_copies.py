"""Copies of the trail's signed statements in a ConfigMap, and what verification makes of them (O6)."""

import asyncio
from pathlib import Path

from tests.apiserver.gateway.test_audit import AUDIT, MAPS, change, configmap, fresh_name, settings
from tests.support.gateway import PATIENCE_S, RunningGateway
from tests.support.trails import KEY

from edge.apiserver.auditing.copies import Copies
from edge.audit.chain import GENESIS
from edge.audit.copies import all_lines
from edge.audit.statements import CHECKPOINT, Signer, unchecked
from edge_kube.client import Client
from edge_kube.core import ConfigMap
from edge_kube.harness import LightCluster
from edge_kube.meta import Key

NAMESPACE = "edge-system"


async def kept(kube: Client, name: str) -> list[bytes]:
    return all_lines((await kube.get(ConfigMap, name, NAMESPACE)).data)


async def test_the_end_of_a_chain_is_kept_and_records_cut_off_are_missed(
    gateway_cluster: LightCluster, kube: Client, tmp_path: Path
) -> None:
    folder, name = tmp_path / "trail", fresh_name()
    told = settings(folder, **{"audit.checkpoints": name})
    async with RunningGateway(gateway_cluster.connection, told) as gateway:
        await change(gateway, "POST", MAPS, await gateway.token(), configmap(fresh_name()))
    statements = [one for line in await kept(kube, name) for one in unchecked(line)]
    assert (statements[0].kind, statements[-1].kind) == ("opened", "closed")

    async with RunningGateway(gateway_cluster.connection, told) as gateway:
        token = await gateway.token()
        found = (await gateway.get(f"{AUDIT}/verification", token=token)).json()
        assert found["whole"] is True
        # All that the volume holds of the first chain goes, also what was signed about it.
        for file in folder.glob(f"{statements[0].chain}.*"):
            file.unlink()
        found = (await gateway.get(f"{AUDIT}/verification", token=token)).json()
        assert found["whole"] is False
        assert (found["broken"]["chain"], found["broken"]["why"]) == (
            statements[0].chain,
            f"records up to {statements[-1].seq} were removed",
        )


async def test_two_gateways_keep_their_copies_side_by_side(kube: Client) -> None:
    key = Key(NAMESPACE, fresh_name())
    gateways = {f"gateway-{number}": Copies(kube, key) for number in range(4)}
    for chain, copies in gateways.items():
        copies.add(Signer(KEY, chain).sign(CHECKPOINT, seq=1, digest=GENESIS, time_ms=1))
    await asyncio.gather(*(copies.flush() for copies in gateways.values()))
    for copies in gateways.values():
        await copies.flush()
    found = {one.chain for line in await kept(kube, key.name) for one in unchecked(line)}
    assert found == set(gateways)


async def test_copies_that_cannot_be_written_stop_nothing_and_are_tried_again(kube: Client) -> None:
    nowhere, key = Key("no-such-namespace", fresh_name()), Key(NAMESPACE, fresh_name())
    copies = Copies(kube, nowhere, every_s=0.05)
    copies.add(Signer(KEY, "gateway-1").sign(CHECKPOINT, seq=1, digest=GENESIS, time_ms=1))
    await copies.flush()
    copies._key = key
    running = asyncio.create_task(copies.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while await kube.find(ConfigMap, key.name, key.namespace) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
    assert len(await kept(kube, key.name)) == 1
