"""kill -9 of a gateway between intent and outcome: the change is found, marked, and settled (O6, S15)."""

import asyncio
import contextlib
import json
import secrets
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from tests.support.gateway import CLIENT, PASSWORD, RunningGateway

from edge.audit.folder import Folder
from edge.audit.verify import verify
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import free_port
from edge_kube.harness.proxy import FaultProxy

MAPS = "/api/v1/namespaces/default/configmaps"
RECORDS = "/oapis/audit.theriseunion.io/v1alpha1/records"


class HoldsAnswers(FaultProxy):
    """Holds what the API server is asked, or has answered, about one name. before: it does not hear of it."""

    def __init__(self, *args: Any, name: str, before: bool) -> None:
        super().__init__(*args)
        self._name = name.encode()
        self._before = before
        self.held = asyncio.Event()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        mine = request.method == "POST" and self._name in await request.read()
        if mine and self._before:
            await self._hold()
        answer = await super()._handle(request)
        while mine and answer.status != 201:  # the way to the API server is not what is tested here
            answer = await super()._handle(request)
        if mine:
            await self._hold()
        return answer

    async def _hold(self) -> None:
        self.held.set()
        await asyncio.Event().wait()


@asynccontextmanager
async def gateway_process(server: str, folder: Path, tmp_path: Path) -> AsyncGenerator[tuple[str, int]]:
    """The real program; its address and process id. Killed at the end."""
    kubeconfig, port = tmp_path / "kubeconfig", free_port()
    cluster = {"name": "c", "cluster": {"server": server}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {}}]
    kubeconfig.write_text(
        json.dumps({"clusters": [cluster], "contexts": [context], "users": users, "current-context": "c"})
    )
    flags = {
        "server.kubeconfig": kubeconfig,
        "server.bindAddress": f"127.0.0.1:{port}",
        "server.onlyFirst": "true",
        "server.tls.enabled": "false",
        "audit.folder": folder,
        "audit.acknowledgeWithin": "20s",
        "audit.refuseAtPercent": "100",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge.apiserver.main", *(f"--{key}={value}" for key, value in flags.items())
    )
    try:
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def sign_in(session: aiohttp.ClientSession, url: str) -> str:
    form = {"grant_type": "password", "username": "admin", "password": PASSWORD, **CLIENT}
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.post(f"{url}/oauth/token", data=form) as answer:
                    if answer.status == 200:
                        return (await answer.json())["access_token"]
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("before", "code", "result"), [(True, 503, "failure"), (False, 201, "success")], ids=["not-made", "made"]
)
async def test_a_change_whose_gateway_was_killed_is_found_and_settled(
    cluster: LightCluster,
    tmp_path: Path,
    session: aiohttp.ClientSession,
    before: bool,
    code: int,
    result: str,
) -> None:
    name, folder = f"c-{secrets.token_hex(4)}", tmp_path / "trail"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    async with (
        HoldsAnswers(cluster.connection, name=name, before=before) as proxy,
        gateway_process(proxy.connection.server, folder, tmp_path) as (url, _),
    ):
        token = await sign_in(session, url)
        headers = {"Authorization": f"Bearer {token}"}

        async def ask() -> None:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.post(f"{url}{MAPS}", json=body, headers=headers):
                    pass

        asking = asyncio.create_task(ask())
        async with asyncio.timeout(60):
            await proxy.held.wait()
    await asking  # the gateway is dead
    flags = {"audit.folder": str(folder), "audit.acknowledgeWithin": "20s", "audit.refuseAtPercent": "100"}
    async with RunningGateway(cluster.connection, flags) as gateway:
        token = await gateway.token()
        async with asyncio.timeout(60):
            while True:
                answer = await gateway.get(RECORDS, token=token, params={"name": name})
                (entry,) = answer.json()["items"]
                if entry["phase"] == "settled":
                    break
                assert entry["phase"] in ("intent", "unknown")
                await asyncio.sleep(0.05)
        assert (entry["code"], entry["result"]) == (code, result)
        assert (entry["actor"]["user"], entry["req"]["verb"]) == ("admin", "create")
        found = await gateway.get(f"{MAPS}/{name}", token=token)
        assert found.status == (404 if before else 200)
    assert verify(Folder(folder)).broken is None
