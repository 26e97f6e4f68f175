"""What Kubernetes says comes through as it said it, and what belongs to one cluster stays there (G1, G12).

Headers and ends of answers, before a real API server or before a listener that stands for a member.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from tests.apiserver.gateway.test_smuggling import CLUSTERS, cluster_at
from tests.support.gateway import RunningGateway
from tests.support.upstreams import Shop, raw_server, shop

from edge.apiserver import routes
from edge.apiserver.breaker import SILENCES_MAX
from edge.clusters.types import Cluster
from edge_kube.client import Client
from edge_kube.harness import LightCluster

PROXY = "/api/v1/namespaces/a/services/web/proxy"


@asynccontextmanager
async def joined(gateway: RunningGateway, kube: Client, name: str, port: int) -> AsyncGenerator[str]:
    """A member at this port for the time of the block; where it is in the gateway."""
    await kube.create(cluster_at(name, port), manager="test")
    try:
        await gateway.until(f"{CLUSTERS}/{name}", 200, token=await gateway.token())
        yield f"/clusters/{name}"
    finally:
        await kube.delete(Cluster, name)


@asynccontextmanager
async def member_shop(gateway: RunningGateway, kube: Client, name: str) -> AsyncGenerator[tuple[Shop, str]]:
    async with shop() as made, joined(gateway, kube, name, made.port) as base:
        yield made, base


async def test_every_warning_of_the_api_server_arrives(gateway: RunningGateway) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "warned"},
        "first": "unknown",
        "second": "unknown",
    }
    path = "/api/v1/namespaces/default/configmaps?fieldValidation=Warn&dryRun=All"
    answer = await gateway.ask("POST", path, token=await gateway.token(), json=body)
    assert answer.status == 201
    warnings = [value for name, value in answer.headers.items() if name == "Warning"]
    assert [field for field in ("first", "second") if field in " ".join(warnings)] == ["first", "second"]


async def test_a_head_tells_the_length_of_what_a_get_brings(gateway: RunningGateway, kube: Client) -> None:
    token = await gateway.token()
    async with member_shop(gateway, kube, "headed") as (made, base):
        made.answers[f"{PROXY}/page"] = (200, {"Content-Type": "text/plain"}, b"x" * 1234)
        answer = await gateway.ask("HEAD", f"{base}{PROXY}/page", token=token)
        assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "1234", b"")


async def test_a_followed_log_may_be_quiet_and_a_watch_that_does_not_begin_is_given_up(
    gateway: RunningGateway, kube: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubelet sends the head of a log with its first line; a quiet container is no dead cluster."""
    monkeypatch.setattr(routes, "HEAD_WITHIN_S", 0.5)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1.2 if b"/log?" in head else 30)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")

    async with raw_server(serve) as port, joined(gateway, kube, "quiet", port) as base:
        token = await gateway.token()
        pod = f"{base}/api/v1/namespaces/a/pods/p"
        followed = await gateway.get(f"{pod}/log?follow=true", token=token)
        assert (followed.status, followed.body) == (200, b"hello\n")
        watched = await gateway.get(f"{base}/api/v1/namespaces/a/pods?watch=1", token=token)
        assert (watched.status, watched.json()["edge"]["code"]) == (503, "ClusterUnreachable")


async def test_who_leaves_a_quiet_log_does_not_make_its_cluster_look_dead(
    gateway_cluster: LightCluster, kube: Client
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"/log?" in head:
                await reader.read()
                return
            if b"/version" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    settings = {"server.requestTimeout": "1s"}
    async with (
        RunningGateway(gateway_cluster.connection, settings) as gateway,
        raw_server(serve) as port,
        joined(gateway, kube, "left", port) as base,
    ):
        token = await gateway.token()
        url = f"{gateway.url}{base}/api/v1/namespaces/a/pods/p/log?follow=true"
        for _ in range(SILENCES_MAX):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await gateway.session.get(url, headers={"Authorization": f"Bearer {token}"})
        assert (await gateway.get(f"{base}/version", token=token)).status == 200
