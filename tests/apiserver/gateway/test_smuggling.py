"""What a client sends is read in one way only, and none of it becomes another's request (S1, S2, S3, S17).

Each test sends bytes to a live gateway before a real API server, or before a listener that notes what comes.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.apiserver.gateway.test_streams import EXEC, SWITCH, encoded, gone
from tests.support.gateway import RunningGateway
from tests.support.rawhttp import exchange, request, statuses
from tests.support.upstreams import raw_server, reverse_proxy, shop

from edge.clusters.types import Cluster
from edge_kube.client import Client
from edge_kube.harness import LightCluster

REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW_BODY = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode()
CLUSTERS = "/oapis/tenant/v1alpha1/clusters"


@pytest_asyncio.fixture
async def gateway(gateway_cluster: LightCluster) -> AsyncIterator[RunningGateway]:
    settings = {"server.loopbackUpstreams": "true", "server.requestTimeout": "5s"}
    async with RunningGateway(gateway_cluster.connection, settings) as running:
        yield running


class Backend:
    """A listener that answers the first request of a connection, and notes all that comes after."""

    def __init__(self, answer: bytes, pause_s: float = 0.0) -> None:
        self.answer = answer
        self.pause_s = pause_s
        self.heads: list[bytes] = []
        self.after: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Upgrade:" not in head:  # the gateway's own lists, and questions whether it is there
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        self.heads.append(head)
        for at in range(0, len(self.answer), 16) if self.pause_s else ():
            writer.write(self.answer[at : at + 16])
            await asyncio.sleep(self.pause_s)
        if not self.pause_s:
            writer.write(self.answer)
        while data := await reader.read(65536):
            self.after.append(data)


NOT_SWITCHED = {
    "200": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "302": b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n",
    "403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
    "500": b"HTTP/1.1 500 Oops\r\n\r\n",
    "garbage": b"\x00\x01garbage\r\n\r\n",
    "two-answers": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n",
    "wrong-101": b"HTTP/1.1 101\r\nno colon here\r\n\r\n",
    "endless-head": b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: y\r\n" * 20_000,
}


@pytest.mark.parametrize("name", NOT_SWITCHED)
@pytest.mark.parametrize("way", ["member", "reverse proxy"])
async def test_S1_an_upgrade_that_failed_leaves_no_connection_to_send_more_through(
    gateway: RunningGateway, kube: Client, name: str, way: str
) -> None:
    """CVE-2018-1002105, CVE-2020-8559: for the API server of a member, and for a ReverseProxy's upstream."""
    backend = Backend(NOT_SWITCHED[name])
    answer = await _upgraded(gateway, kube, backend, way)
    assert 101 not in statuses(answer)
    assert len(statuses(answer)) == 1, answer
    assert (len(backend.heads), backend.after) == (1, [])
    assert b"smuggled" not in b"".join(backend.heads)


async def test_S1_a_slow_head_is_waited_for_and_what_follows_is_no_request_of_ours(
    gateway: RunningGateway, kube: Client
) -> None:
    """What came before a true 101 is nobody's request: it is in this one connection, or nowhere."""
    backend = Backend(SWITCH, pause_s=0.05)
    answer = await _upgraded(gateway, kube, backend, "reverse proxy")
    assert statuses(answer) == [101]
    assert b"".join(backend.after)[:13] in (b"", b"GET /smuggled")
    assert len(backend.heads) == 1


async def test_S1_a_slow_refusal_ends_as_a_quick_one_does(gateway: RunningGateway, kube: Client) -> None:
    backend = Backend(NOT_SWITCHED["403"], pause_s=0.05)
    assert statuses(await _upgraded(gateway, kube, backend, "member")) == [403]
    assert backend.after == []


async def _upgraded(gateway: RunningGateway, kube: Client, backend: Backend, way: str) -> bytes:
    """What comes back for an upgrade with a second request sent right behind it."""
    token = await gateway.token()
    upgrade = ("Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io")
    behind = request("GET", "/smuggled", token)
    async with raw_server(backend.serve) as port:
        if way == "reverse proxy":
            async with reverse_proxy(kube, "/spdy/*", port, name="spdy"):
                await gateway.until("/spdy/x", 200, token=token)
                return await exchange(
                    gateway.port, request("POST", "/spdy/x", token, upgrade), behind, within_s=12
                )
        await kube.create(cluster_at("smuggle", port), manager="test")
        try:
            await gateway.until(f"{CLUSTERS}/smuggle", 200, token=token)
            path = f"/clusters/smuggle{EXEC}"
            return await exchange(gateway.port, request("POST", path, token, upgrade), behind)
        finally:
            await kube.delete(Cluster, "smuggle")
            await gone(gateway, "smuggle", token)


def cluster_at(name: str, port: int, server: str = "") -> dict[str, Any]:
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server or f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "member-secret"}}],
    }
    return {
        "apiVersion": "scope.theriseunion.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {"connection": {"type": "direct", "kubeconfig": encoded(kubeconfig)}},
    }


FORGED = [
    name
    for stem in (
        "Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-Scopes",
        "X-Remote-User", "X-Remote-Group", "X-Remote-Extra-Scopes", "X-Forwarded-User", "X-Forwarded-For",
        "X-Forwarded-Groups", "X-Edge-User", "X-Edge-Identity",
    )
    for name in (stem, stem.lower(), stem.upper(), stem.replace("-", "_"), stem.swapcase())
]  # fmt: skip


async def test_S2_no_spelling_of_an_identity_header_changes_who_is_asked_for(gateway: RunningGateway) -> None:
    token = await gateway.token()
    length = f"Content-Length: {len(REVIEW_BODY)}"
    base = [length, "Content-Type: application/json", "Connection: close"]
    for name in FORGED:
        variants = [
            [f"{name}: root"],
            [f"{name}: root", f"{name}: system:masters"],
            [f"{name}:root", "Connection: keep-alive, Impersonate-User, Impersonate-Group, Authorization"],
            [f"{name}:\troot"],
        ]
        for headers in variants:
            sent = request("POST", REVIEW, token, [*base[:2], *headers, base[2]], REVIEW_BODY)
            answer = await exchange(gateway.port, sent)
            if statuses(answer) == [400]:
                continue
            if name.lower().startswith("impersonate-"):  # understood, and there is no such user
                assert statuses(answer) == [403], (headers, answer)
                assert b"userInfo" not in answer
                continue
            assert statuses(answer) == [201], (headers, answer)
            info = json.loads(answer.partition(b"\r\n\r\n")[2])["status"]["userInfo"]
            assert info["username"] == "admin", headers
            assert sorted(info["groups"]) == ["edge:platform-admins", "system:authenticated"], headers
            assert "root" not in json.dumps(info), headers


async def test_S2_the_same_headers_reach_no_upstream_of_a_reverse_proxy(
    gateway: RunningGateway, kube: Client
) -> None:
    token = await gateway.token()
    async with shop() as backend, reverse_proxy(kube, "/shop/*", backend.port, authProxy=True):
        await gateway.until("/shop/a", 200, token=token)
        for name in FORGED:
            backend.seen.clear()
            sent = request("GET", "/shop/a", token, [f"{name}: forged", "Connection: close, X-Edge-Identity"])
            expected = [403] if name.lower().startswith("impersonate-") else [200]
            assert statuses(await exchange(gateway.port, sent)) in (expected, [400])
            assert bool(backend.seen) == (expected == [200])
            assert all(value != "forged" for told in backend.seen for _, value in told.headers), name
            assert all(len(told.all("X-Edge-Identity")) == 1 for told in backend.seen)
            assert all(told.all("X-Remote-User") == ["admin"] for told in backend.seen)


FRAMINGS = {
    "te and cl": (["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
    "cl and te": (["Transfer-Encoding: chunked", "Content-Length: 5"], b"0\r\n\r\n"),
    "two cl": (["Content-Length: 5", "Content-Length: 6"], b"hello!"),
    "two equal cl": (["Content-Length: 5", "Content-Length: 5"], b"hello"),
    "cl list": (["Content-Length: 5, 5"], b"hello"),
    "cl sign": (["Content-Length: +5"], b"hello"),
    "cl hex": (["Content-Length: 0x5"], b"hello"),
    "cl negative": (["Content-Length: -1"], b""),
    "cl space": (["Content-Length : 5"], b"hello"),
    "cl underscore": (["Content-Length: 1_0"], b"helloworld"),
    "te twice": (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
    "te identity": (["Transfer-Encoding: chunked, identity"], b"0\r\n\r\n"),
    "te odd": (["Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
    "te vertical tab": (["Transfer-Encoding: \x0bchunked"], b"0\r\n\r\n"),
    "folded": (["X-A: b\r\n Impersonate-User: root"], b""),
    "bare lf": (["X-A: b\nImpersonate-User: root"], b""),
    "bare cr": (["X-A: b\rImpersonate-User: root"], b""),
    "nul": (["X-A: b\x00c"], b""),
    "blank name": ([": x"], b""),
    "no colon": (["Impersonate-User"], b""),
    "te two": (["Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n"),
    "two hosts": (["Host: other"], b""),
    "two tokens": (["Authorization: Bearer x"], b""),
    "h2c": (["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"], b""),
    "chunk extension": (["Transfer-Encoding: chunked"], b"5;" + b"a" * 40_000 + b"\r\nhello\r\n0\r\n\r\n"),
    "chunk size": (["Transfer-Encoding: chunked"], b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk overflow": (["Transfer-Encoding: chunked"], b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    "chunk no end": (["Transfer-Encoding: chunked"], b"5\r\nhelloX\r\n0\r\n\r\n"),
    "chunk lf": (["Transfer-Encoding: chunked"], b"5\nhello\n0\n\n"),
}


@pytest.mark.parametrize("name", FRAMINGS)
async def test_S2_a_request_that_could_end_in_two_places_is_refused_and_its_tail_is_no_request(
    gateway: RunningGateway, name: str
) -> None:
    token = await gateway.token()
    headers, body = FRAMINGS[name]
    sent = request("POST", "/api/v1/namespaces/default/configmaps", token, headers, body)
    answer = await exchange(
        gateway.port, sent, request("GET", "/healthz", "", ["Connection: close"]), within_s=60
    )
    found = statuses(answer)
    assert found[0] in (400, 408, 413, 415, 422, 501), answer
    if name in ("two equal cl", "two hosts", "two tokens", "h2c"):
        assert found[0] == 400
    assert len(found) <= 2, answer
    assert 201 not in found


@pytest.mark.parametrize(
    "head",
    [
        "GET /healthz HTTP/1.1\r\nHost: a b\r\n",
        "GET /healthz HTTP/1.1\r\nHost: evil/x@gateway\r\n",
        "GET /healthz HTTP/1.1\r\n",
        "POST /oauth/token HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
    ],
)
async def test_S2_a_host_that_is_none_or_chunks_in_http_1_0_end_the_connection(
    gateway: RunningGateway, head: str
) -> None:
    """RFC 9112 §3.2, §6.1: what a proxy in front may have read in another way."""
    behind = request("GET", "/livez", "", ["Connection: close"])
    answer = await exchange(gateway.port, f"{head}\r\n".encode(), b"0\r\n\r\n" * ("1.0" in head) + behind)
    assert statuses(answer) == [400], answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["X-Long: " + "a" * 40_000], 431),
        ([f"X-{n}: a" for n in range(200)], 431),
        ([f"X-{n}: {'a' * 1000}" for n in range(60)], 431),
        ([f"X-{n}: {'a' * 400}" for n in range(60)], 200),
    ],
)
async def test_S2_a_flood_of_headers_is_refused_and_the_gateway_goes_on(
    gateway: RunningGateway, headers: list[str], status: int
) -> None:
    sent = request("GET", "/healthz", "", [*headers, "Connection: close"])
    assert statuses(await exchange(gateway.port, sent)) == [status]
    assert (await gateway.get("/healthz")).status == 200


async def test_S2_an_endless_request_line_or_head_is_cut_off(gateway: RunningGateway) -> None:
    async def pour(first: bytes, piece: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(first)
        sent = 0
        try:
            while sent < 20_000_000 and not reader.at_eof():
                writer.write(piece * 1000)
                sent += len(piece) * 1000
                async with asyncio.timeout(5):
                    await writer.drain()
                await asyncio.sleep(0)
        except (ConnectionError, TimeoutError):
            pass
        writer.transport.abort()
        return sent

    assert await pour(b"GET /", b"a" * 64) < 20_000_000
    assert await pour(b"GET / HTTP/1.1\r\n", b"X-Y: z\r\n") < 20_000_000
    assert (await gateway.get("/healthz")).status == 200


SECRET = "/api/v1/namespaces/edge-system/secrets"
PATHS = [
    f"/{prefix}{tail}"
    for prefix in ("healthz", "oapis/version", "api/v1/namespaces/default", "clusters/host", "shop")
    for tail in (
        f"/..{SECRET}", f"/%2e%2e{SECRET}", f"/%2E%2e{SECRET}", f"/.%2e{SECRET}", f"/..;{SECRET}",
        f"/..;x{SECRET}", f"/%252e%252e{SECRET}", f"/..%2f{SECRET[1:]}", f"/..%5c{SECRET[1:]}",
        f"//{SECRET}", f"/.{SECRET}",
        f"/%00{SECRET}", f"/%0d%0aX:y{SECRET}", f"/\\..\\{SECRET[1:]}", f"/%c0%ae%c0%ae{SECRET}",
        f"/%ff{SECRET}",        f"/%u002e%u002e{SECRET}",
    )
]  # fmt: skip


async def test_S3_no_spelling_of_a_path_reaches_past_where_it_was_checked(
    gateway: RunningGateway, kube: Client
) -> None:
    """The corpus for somebody without a right: 200 would be a leak, 500 a bug (CVE-2019-11247 class)."""
    token = await gateway.token("ada")
    async with shop() as backend, reverse_proxy(kube, "/shop/*", backend.port):
        await gateway.until("/shop/x", 200, token=await gateway.token())
        seen = len(backend.seen)
        for path in PATHS:
            found = statuses(await exchange(gateway.port, request("GET", path, token, ["Connection: close"])))
            assert found in ([400], [403], [404]), (path, found)
        for path in (
            f"http://evil.example{SECRET}",
            "http://gateway/shop/x",
            "*",
            "shop/x",
            "//evil.example/x",
        ):
            found = statuses(await exchange(gateway.port, request("GET", path, token, ["Connection: close"])))
            assert found in ([400], [403], [404]), (path, found)
        assert len(backend.seen) == seen


@pytest.mark.parametrize(
    "server",
    [
        "http://169.254.169.254/latest", "http://[fd00:ec2::254]/", "http://[::ffff:169.254.169.254]/",
        "http://2852039166/", "http://0xa9fea9fe/", "http://0251.0376.0251.0376/", "http://0.0.0.0:8080/",
        "http://[::]/", "http://224.0.0.1/", "http://[fe80::1]/", "http://100.100.100.200/", "http://169.254.43518/",
    ],
)  # fmt: skip
async def test_S17_a_cluster_does_not_lead_to_metadata_or_link_local_addresses(
    gateway: RunningGateway, kube: Client, server: str
) -> None:
    token = await gateway.token()
    await kube.create(cluster_at("ssrf", 0, server), manager="test")
    try:
        await gateway.until(f"{CLUSTERS}/ssrf", 200, token=token)
        answer = await gateway.get("/clusters/ssrf/api/v1/pods", token=token)
        assert answer.status == 503
        assert "an address that no cluster has" in answer.json()["message"]
    finally:
        await kube.delete(Cluster, "ssrf")
        await gone(gateway, "ssrf", token)


async def test_S17_a_clusters_name_is_judged_by_what_it_resolves_to_at_each_dial(
    gateway: RunningGateway, kube: Client
) -> None:
    async def lookup(name: str, port: int) -> tuple[list[str], str]:
        return ["10.0.0.1", "169.254.169.254"], name

    token = await gateway.token()
    gateway.server._members.lookup = lookup
    await kube.create(cluster_at("rebinds", 0, "https://api.east.example:6443"), manager="test")
    try:
        await gateway.until(f"{CLUSTERS}/rebinds", 200, token=token)
        answer = await gateway.get("/clusters/rebinds/api/v1/pods", token=token)
        assert (answer.status, answer.json()["edge"]["code"]) == (503, "ClusterUnreachable")
        assert "169.254.169.254" in answer.json()["message"]
    finally:
        await kube.delete(Cluster, "rebinds")
        await gone(gateway, "rebinds", token)
