"""What Kubernetes says comes through as it said it, and what belongs to one cluster stays there (G1, G12).

Headers and ends of answers, before a real API server or before a listener that stands for a member.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from tests.apiserver.gateway.test_smuggling import CLUSTERS, cluster_at
from tests.apiserver.gateway.test_streams import EXEC
from tests.support.gateway import PATIENCE_S, RunningGateway, make_user
from tests.support.rawhttp import request
from tests.support.upstreams import Shop, raw_server, reverse_proxy, shop

from edge.apiserver import routes
from edge.apiserver.upstreams.breaker import SILENCES_MAX
from edge.clusters.types import Cluster
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.meta import Key

SETTINGS = {"server.loopbackUpstreams": "true"}
PROXY = "/api/v1/namespaces/a/services/web/proxy"


@pytest_asyncio.fixture
async def gateway(gateway_cluster: LightCluster) -> AsyncIterator[RunningGateway]:
    async with RunningGateway(gateway_cluster.connection, SETTINGS) as running:
        yield running


@asynccontextmanager
async def joined(
    gateway: RunningGateway, kube: Client, name: str, port: int, token: str = ""
) -> AsyncGenerator[str]:
    """A member at this port for the time of the block; where it is in the gateway."""
    await kube.create(cluster_at(name, port), manager="test")
    try:
        await gateway.until(f"{CLUSTERS}/{name}", 200, token=token or await gateway.token())
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
    gateway_cluster: LightCluster, kube: Client, admin: str
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
        joined(gateway, kube, "left", port, admin) as base,
    ):
        url = f"{gateway.url}{base}/api/v1/namespaces/a/pods/p/log?follow=true"
        for _ in range(SILENCES_MAX):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await gateway.session.get(url, headers={"Authorization": f"Bearer {admin}"})
        # Answered, or not within a second by a busy machine; but not for a cluster that is thought dead.
        assert (await gateway.get(f"{base}/version", token=admin)).status in (200, 504)


CHUNKED = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nnot\r\n5;more=1\r\n here\r\n0\r\n\r\n"
)
COOKIES = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\nSet-Cookie: edge-session=theirs; Path=/\r\n"
    b"Access-Control-Allow-Origin: *\r\n\r\n"
)
SPDY = ("Connection: Upgrade", "Upgrade: SPDY/3.1")


async def upgraded(gateway: RunningGateway, path: str, token: str = "") -> bytes:
    """The answer: all of it where it ends, and its head where the protocol is switched."""
    asked = request("POST", path, token or await gateway.token(), [*SPDY, "Content-Length: 0"])
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(asked)
    try:
        async with asyncio.timeout(PATIENCE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            return head if head.startswith(b"HTTP/1.1 101") else head + await reader.read()
    finally:
        writer.close()


@asynccontextmanager
async def entered(
    gateway: RunningGateway, kube: Client, way: str, answer: bytes, seen: list[bytes]
) -> AsyncGenerator[str]:
    """A path behind which every upgrade is answered in this way, and the connection stays open."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Upgrade:" in head:
            seen.append(head)
            writer.write(answer)
            await reader.read()

    async with raw_server(serve) as port:
        if way == "member":
            async with joined(gateway, kube, "switching", port) as base:
                yield f"{base}{EXEC}"
        else:
            async with reverse_proxy(kube, "/switching/*", port, name="switching"):
                await gateway.until("/switching/here", 502, token=await gateway.token())
                yield "/switching/here"


@pytest.mark.parametrize("way", ["member", "reverse proxy"])
async def test_a_refused_upgrade_is_told_at_once_and_without_its_chunks(
    gateway: RunningGateway, kube: Client, way: str
) -> None:
    async with entered(gateway, kube, way, CHUNKED, []) as path:
        answer = await upgraded(gateway, path)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403")
    assert body == b"not here"


@pytest.mark.parametrize("way", ["member", "reverse proxy"])
async def test_an_upstream_sets_no_cookie_of_the_platforms_while_it_switches_protocols(
    gateway: RunningGateway, kube: Client, way: str
) -> None:
    async with entered(gateway, kube, way, COOKIES, []) as path:
        head = (await upgraded(gateway, path)).lower()
    assert head.startswith(b"http/1.1 101")
    assert b"upgrade: spdy/3.1\r\n" in head
    assert b"x-stream-protocol-version: v4.channel.k8s.io\r\n" in head
    assert b"cookie" not in head
    assert b"access-control" not in head


async def test_a_group_in_any_script_is_the_same_for_shells_as_for_plain_requests(
    gateway: RunningGateway, kube: Client
) -> None:
    seen: list[bytes] = []
    name = f"script-{secrets.token_hex(3)}"
    await make_user(kube, name, admin=True, groups=("bediener-süd", "运维"))
    await gateway.knows(name, admin=True)
    async with entered(gateway, kube, "member", COOKIES, seen) as path:
        assert (await upgraded(gateway, path, await gateway.token(name))).startswith(b"HTTP/1.1 101")
    for group in ("bediener-süd", "运维"):
        assert f"Impersonate-Group: edge:group:{group}\r\n".encode() in seen[0]


async def test_a_redirect_of_a_member_leads_into_the_same_member(
    gateway: RunningGateway, kube: Client
) -> None:
    """Kubernetes adds the last slash of a proxy's path by a redirect that knows nothing of /clusters."""
    token = await gateway.token()
    async with member_shop(gateway, kube, "led") as (made, base):
        made.answers[PROXY] = (301, {"Location": f"{PROXY}/?a=b"}, b"")
        made.answers[f"{PROXY}/away"] = (302, {"Location": "https://docs.example.com/"}, b"")
        answer = await gateway.get(f"{base}{PROXY}", token=token)
        assert (answer.status, answer.headers["Location"]) == (301, f"{base}{PROXY}/?a=b")
        away = await gateway.get(f"{base}{PROXY}/away", token=token)
        assert away.headers["Location"] == "https://docs.example.com/"


async def test_kubectl_asks_a_member_whether_it_is_ready(gateway: RunningGateway, east: LightCluster) -> None:
    token = await gateway.token()
    for path in ("/healthz", "/livez", "/readyz"):
        assert await gateway.kubectl(token, "get", "--raw", path, path="/clusters/east") == "ok"
    assert "etcd" in await gateway.kubectl(token, "get", "--raw", "/readyz?verbose", path="/clusters/east")


async def test_below_a_base_address_kubectl_finds_the_documents_of_kubernetes(
    gateway: RunningGateway,
) -> None:
    """G13; kubectl explain and the validation of what is applied read them."""
    token = await gateway.token()
    for base in ("/kapis", "/oapis"):
        assert "FIELDS" in await gateway.kubectl(token, "explain", "configmap", path=base)
        assert (await gateway.get(f"{base}/openapi/v3", token=token)).status == 200


async def test_a_renewed_kubeconfig_costs_no_request_that_is_in_hand(
    gateway: RunningGateway, kube: Client
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/slow" in head:
            asked.set()
            await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")

    async with raw_server(serve) as port, joined(gateway, kube, "renewed", port) as base:
        token = await gateway.token()
        slow = asyncio.create_task(gateway.ask("POST", f"{base}/api/v1/slow", token=token))
        await asked.wait()
        moved = cluster_at("renewed", 1)
        await kube.merge(Cluster, Key("", "renewed"), {"spec": moved["spec"]})
        await gateway.until(f"{base}/version", 503, token=token)
        go_on.set()
        answer = await slow
    assert (answer.status, answer.body) == (200, b"here")


async def test_a_member_that_breaks_a_connection_is_named(gateway: RunningGateway, kube: Client) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with raw_server(serve) as port, joined(gateway, kube, "breaks", port) as base:
        answer = await gateway.ask("POST", f"{base}/api/v1/namespaces", token=await gateway.token(), json={})
    assert (answer.status, answer.json()["edge"]["code"]) == (502, "UpstreamFailed")
    assert 'Cluster "breaks" broke the connection' in answer.json()["message"]
