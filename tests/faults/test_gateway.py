"""The gateway when the API server behind it is cut, slow, old or gone: no ghost, no stale right.

G1, G2, G3, I6; design authorization-and-gateway §8.
"""

import asyncio
import contextlib
import time

import aiohttp
import pytest
from tests.support.gateway import USERS, RunningGateway, make_user

from edge.iam.heartbeat import HEARTBEAT
from edge.iam.types import User
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.harness.proxy import Cut, FaultProxy


async def names(gateway: RunningGateway, token: str) -> set[str]:
    answer = await gateway.get(USERS, token=token)
    assert answer.status == 200
    return {item["metadata"]["name"] for item in answer.json()["items"]}


async def converges(gateway: RunningGateway, token: str, admin: Client, within_s: float = 60) -> None:
    """The gateway's list is the API server's: nothing missing, and no ghost."""
    async with asyncio.timeout(within_s):
        while True:
            real = {user.metadata.name for user in await admin.list(User)} - {HEARTBEAT}
            if await names(gateway, token) == real:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["reset", "end", "middle of a line"])
async def test_lists_are_right_again_after_a_cut_watch(proxy: FaultProxy, admin: Client, how: Cut) -> None:
    async with RunningGateway(proxy.connection) as gateway:
        token = await gateway.token()
        await make_user(admin, "leaves")
        await converges(gateway, token, admin)
        for _ in range(3):
            proxy.cut(how)
            await admin.delete(User, "leaves")
            await make_user(admin, "leaves")
        await admin.delete(User, "leaves")
        await converges(gateway, token, admin)


async def test_an_expired_version_leaves_no_ghost_that_could_sign_in(
    proxy: FaultProxy, admin: Client
) -> None:
    async with RunningGateway(proxy.connection) as gateway:
        token = await gateway.token()
        await make_user(admin, "ghost")
        await converges(gateway, token, admin)
        ghosts = await gateway.token("ghost")
        proxy.stall()
        await admin.delete(User, "ghost")  # nobody is told
        proxy.expire()
        proxy.resume()
        await converges(gateway, token, admin)
        assert (await gateway.get("/oapis/iam/v1alpha1/me", token=ghosts)).status == 401
        assert (await gateway.sign_in("ghost")).status == 401


async def test_duplicated_and_delayed_events_change_nothing(proxy: FaultProxy, admin: Client) -> None:
    proxy.duplicate, proxy.delay_s = 0.5, 0.02
    async with RunningGateway(proxy.connection) as gateway:
        token = await gateway.token()
        for number in range(20):
            await make_user(admin, f"many-{number}")
        for number in range(0, 20, 2):
            await admin.delete(User, f"many-{number}")
        await converges(gateway, token, admin)
        for number in range(1, 20, 2):
            await admin.delete(User, f"many-{number}")


async def test_a_cut_in_the_middle_of_a_watch_ends_it_and_the_gateway_goes_on(
    proxy: FaultProxy, admin: Client
) -> None:
    async with RunningGateway(proxy.connection) as gateway:
        token = await gateway.token()
        headers = {"Authorization": f"Bearer {token}"}
        path = f"{gateway.url}/api/v1/namespaces?watch=1"
        async with gateway.session.get(path, headers=headers) as response:
            await response.content.readline()
            proxy.cut("reset")
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async with asyncio.timeout(60):
                    await response.content.read(-1)
        await converges(gateway, token, admin)


async def test_reads_from_memory_go_on_while_the_api_server_is_gone(
    cluster: LightCluster, admin: Client
) -> None:
    async with RunningGateway(cluster.connection) as gateway:
        token = await gateway.token()
        before = await names(gateway, token)
        cluster.kill_apiserver()
        try:
            await gateway.until("/readyz", 503)
            assert await names(gateway, token) == before
            start = time.perf_counter()
            refused = await gateway.get("/api/v1/namespaces", token=token)
            assert time.perf_counter() - start < 20
            assert (refused.status, refused.json()["edge"]["code"]) == (503, "KubernetesUnreachable")
            assert "Retry-After" in refused.headers
        finally:
            cluster.start_apiserver()  # not in a thread: the server would end with it
        await gateway.until("/readyz", 200)
        await make_user(admin, "after")
        await converges(gateway, token, admin)
        await admin.delete(User, "after")
