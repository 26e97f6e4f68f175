"""A dead, a black-holed and a slow member: each is told by name and since when, and no other waits (C9, G1).

Design authorization-and-gateway §8.5, §8.6.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from tests.apiserver.gateway.test_smuggling import CLUSTERS, cluster_at
from tests.support.gateway import RunningGateway
from tests.support.upstreams import raw_server

from edge.apiserver.upstreams.breaker import SILENCES_MAX
from edge.clusters.types import Cluster
from edge_kube.client import Client
from edge_kube.harness import LightCluster

SEATS = 5
SETTINGS = {
    "server.requestTimeout": "4s",
    "server.maxPerMember": str(SEATS),
    "server.maxConcurrentRequests": "20",
}


@pytest_asyncio.fixture
async def gateway(gateway_cluster: LightCluster) -> AsyncIterator[RunningGateway]:
    async with RunningGateway(gateway_cluster.connection, SETTINGS) as running:
        yield running


async def black_hole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes every connection and every byte, and says nothing."""
    while await reader.read(65536):
        pass


async def test_a_black_holed_member_takes_its_own_seats_and_is_then_answered_for_by_name(
    gateway: RunningGateway, kube: Client, admin: str
) -> None:
    token = admin
    async with raw_server(black_hole) as port:
        await kube.create(cluster_at("hole", port), manager="test")
        try:
            await gateway.until(f"{CLUSTERS}/hole", 200, token=token)
            path = "/clusters/hole/api/v1/pods"
            flood = [asyncio.create_task(gateway.get(path, token=token)) for _ in range(SEATS * 4)]
            await asyncio.sleep(0.2)
            for other in ("/clusters/host/api/v1/namespaces", CLUSTERS, "/api/v1/namespaces"):
                assert (await gateway.get(other, token=token)).status == 200, other
            answers = await asyncio.gather(*flood)
            waited = [one for one in answers if one.status == 504]
            assert len(waited) == SEATS
            for one in answers:
                if one.status != 504:
                    assert (one.status, one.json()["edge"]["code"]) == (503, "ClusterBusy")
                    assert 'Cluster "hole"' in one.json()["message"]
            assert SEATS >= SILENCES_MAX
            told = await gateway.get(path, token=token)
            assert (told.status, told.json()["edge"]["code"]) == (503, "ClusterUnreachable")
            assert 'Cluster "hole" does not answer since 20' in told.json()["message"]
            assert "does not answer" in told.json()["message"]
            assert int(told.headers["Retry-After"]) >= 1
        finally:
            await kube.delete(Cluster, "hole")


async def test_a_member_that_comes_back_is_served_again_by_itself(
    gateway: RunningGateway, kube: Client, admin: str
) -> None:
    token, silent = admin, asyncio.Event()
    silent.set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            if silent.is_set():
                await reader.read()
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}")

    async with raw_server(serve) as port:
        await kube.create(cluster_at("back", port), manager="test")
        try:
            await gateway.until(f"{CLUSTERS}/back", 200, token=token)
            path = "/clusters/back/api/v1/pods"
            await gateway.until(path, 503, token=token)
            silent.clear()
            await gateway.until(path, 200, token=token)
        finally:
            await kube.delete(Cluster, "back")


async def test_a_stream_in_hand_does_not_make_its_member_look_dead(
    gateway: RunningGateway, kube: Client, admin: str
) -> None:
    """The head of an answer is a sign of life; the end of a watch may be hours away."""
    token = admin

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"watch=1" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
                await reader.read()
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with raw_server(serve) as port:
        await kube.create(cluster_at("watched", port), manager="test")
        try:
            await gateway.until(f"{CLUSTERS}/watched", 200, token=token)
            headers = {"Authorization": f"Bearer {token}"}
            url = f"{gateway.url}/clusters/watched/api/v1/pods"
            async with gateway.session.get(f"{url}?watch=1", headers=headers) as watch:
                assert await watch.content.readexactly(2) == b"{}"
                for _ in range(3):
                    answer = await gateway.get("/clusters/watched/api/v1/pods", token=token)
                    assert answer.status == 200
        finally:
            await kube.delete(Cluster, "watched")
