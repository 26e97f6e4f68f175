"""A shell that nobody uses ends after its idle time, however often programs ping through it (§8.4)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio
from structlog.testing import capture_logs
from tests.apiserver.gateway.test_streams import EXEC, ORIGIN, SWITCH, member, upgrade
from tests.support.gateway import RunningGateway
from tests.support.upstreams import reverse_proxy, shop

from edge_kube.client import Client
from edge_kube.harness import LightCluster

PING = bytes.fromhex("80030006 00000004 00000001")
QUIET_WATCH = (
    "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=0&fieldSelector=metadata.name=none"
)
ENDS_WITHIN_S = 60


@pytest_asyncio.fixture
async def brief(gateway_cluster: LightCluster) -> AsyncIterator[RunningGateway]:
    """Shells end after a second without use."""
    settings = {"server.shellIdleTimeout": "1s", "server.loopbackUpstreams": "true"}
    async with RunningGateway(gateway_cluster.connection, settings) as running:
        yield running


async def ended_idle(gateway: RunningGateway) -> float:
    page = (await gateway.get("/metrics")).body.decode()
    (line,) = [one for one in page.splitlines() if one.startswith("edge_gateway_shells_idle_total")]
    return float(line.split()[-1])


async def one_ended(gateway: RunningGateway) -> None:
    """Until it is counted: the handler is on its way out when its client sees the end."""
    async with asyncio.timeout(ENDS_WITHIN_S):
        while await ended_idle(gateway) != 1:  # noqa: ASYNC110 - it changes elsewhere
            await asyncio.sleep(0.02)


async def test_a_shell_in_which_only_pings_pass_ends_on_both_sides_and_is_told(
    brief: RunningGateway, kube: Client
) -> None:
    left = asyncio.Event()
    async with member(kube, "forgotten", SWITCH, [], left=left):
        token = await brief.token()
        await brief.until("/oapis/tenant/v1alpha1/clusters/forgotten", 200, token=token)
        assert await ended_idle(brief) == 0
        with capture_logs() as logs:
            reader, writer = await upgrade(brief, f"/clusters/forgotten{EXEC}", token, "SPDY/3.1")
            await reader.readuntil(b"\r\n\r\n")
            pinging = asyncio.create_task(_ping(writer))
            async with asyncio.timeout(ENDS_WITHIN_S):
                with contextlib.suppress(ConnectionError):  # a ping that meets a closed door
                    await reader.read(-1)
                await left.wait()
            pinging.cancel()
            await asyncio.gather(pinging, return_exceptions=True)
            writer.close()
            await one_ended(brief)
        (told,) = [one for one in logs if one["event"] == "shell_was_idle"]
        assert (told["user"], told["path"]) == ("admin", f"/clusters/forgotten{EXEC.partition('?')[0]}")


async def _ping_socket(ping: Callable[[], Awaitable[None]]) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            await ping()
            await asyncio.sleep(0.1)


async def _ping(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(PING)
            await writer.drain()
            await asyncio.sleep(0.1)


async def test_a_quiet_websocket_of_the_real_api_server_ends_though_both_sides_ping(
    brief: RunningGateway,
) -> None:
    headers = {"Authorization": f"Bearer {await brief.token()}"}
    url = f"ws://127.0.0.1:{brief.port}{QUIET_WATCH}"
    async with brief.session.ws_connect(url, headers=headers, origin=ORIGIN, heartbeat=20) as socket:
        pinging = asyncio.create_task(_ping_socket(socket.ping))
        async with asyncio.timeout(ENDS_WITHIN_S):
            assert [message async for message in socket] == []
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)
    await one_ended(brief)


async def test_a_websocket_to_a_service_behind_a_reverse_proxy_ends_too(
    brief: RunningGateway, kube: Client
) -> None:
    headers = {"Authorization": f"Bearer {await brief.token()}"}
    async with shop() as backend, reverse_proxy(kube, "/quiet/*", backend.port, name="quiet"):
        await brief.until("/quiet/a", 200, token=await brief.token())
        async with brief.session.ws_connect(
            f"ws://127.0.0.1:{brief.port}/quiet/live", headers=headers, origin=brief.url
        ) as socket:
            async with asyncio.timeout(ENDS_WITHIN_S):
                assert [message async for message in socket] == []
    await one_ended(brief)
