"""A rolling restart of two gateways under load loses no request, and its watches end well (issue 5 §2)."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest_asyncio
from tests.support.gateway import CLIENT, PASSWORD, USERS
from tests.support.rolling import Balancer, GatewayProcess, Load

from edge_kube.harness import LightCluster

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest_asyncio.fixture
async def two(cluster: LightCluster, tmp_path: Path) -> AsyncIterator[list[GatewayProcess]]:
    # The balancer has to hear in that time that one leaves, also when nobody gives it a turn for a while.
    flags = ("--server.drain=5s", "--rateLimit.shared=false")
    gateways = [GatewayProcess(cluster.kubeconfig, tmp_path / f"{n}.log", flags) for n in range(2)]
    try:
        for one in gateways:
            await one.start()
        yield gateways
    finally:
        for one in gateways:
            await one.kill()


async def sign_in(port: int) -> str:
    form = {"grant_type": "password", "username": "admin", "password": PASSWORD, **CLIENT}
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            async with session.post(f"http://127.0.0.1:{port}/oauth/token", data=form) as answer:
                if answer.status == 200:
                    return (await answer.json())["access_token"]
            await asyncio.sleep(0.1)


def requests(token: str) -> list[bytes]:
    """Lists from memory, reads that are passed on, and changes."""
    signed = f"Host: gateway\r\nAuthorization: Bearer {token}\r\n"
    reads = [
        f"GET {path} HTTP/1.1\r\n{signed}\r\n".encode() for path in (USERS, "/api/v1/namespaces/default")
    ]
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "rolling-"}}
    body = json.dumps(made)
    head = f"POST {CONFIG_MAPS} HTTP/1.1\r\n{signed}Content-Type: application/json\r\n"
    return [*reads * 4, *[f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()] * 2]


async def test_a_rolling_restart_under_load_loses_no_request(
    cluster: LightCluster, two: list[GatewayProcess]
) -> None:
    async with Balancer(two) as balancer:
        await balancer.wait_ready(2)
        token = await sign_in(balancer.port)
        async with Load(balancer.port).running(requests(token)) as load:
            for gateway in two:
                before = load.answered
                assert await gateway.stop() == 0
                await balancer.wait_ready(1)
                await gateway.start()
                await balancer.wait_ready(2)
                assert load.answered > before  # the other one served meanwhile
        assert load.failures == []
        made = cluster.kubectl("get", "configmaps", "-n", "default", "-o", "name").count("rolling-")
        assert made > 0
        assert load.connections > len(requests(token))  # clients were told to go, and did


async def test_a_watch_ends_with_its_last_chunk_and_not_with_a_cut(two: list[GatewayProcess]) -> None:
    async with Balancer(two) as balancer, aiohttp.ClientSession() as session:
        await balancer.wait_ready(2)
        headers = {"Authorization": f"Bearer {await sign_in(balancer.port)}"}
        for path in ("/api/v1/namespaces?watch=1", f"{USERS}?watch=1"):
            async with session.get(f"{two[0].url}{path}", headers=headers) as watch:
                assert watch.status == 200
                await watch.content.readline()
                stopping = asyncio.create_task(two[0].stop())
                async with asyncio.timeout(60):
                    await watch.content.read()  # raises ClientPayloadError for a stream that was cut
                assert await stopping == 0
            await two[0].start()
            await balancer.wait_ready(2)
