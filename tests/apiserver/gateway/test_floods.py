"""Clients that want to use the gateway up: slow ones, packed bodies, and ten thousand requests of nonsense.

G4, G10; design authorization-and-gateway §8.1. Others are served meanwhile, and nothing ends in a 500.
"""

import asyncio
import gzip
import json
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from tests.support.gateway import USERS, RunningGateway
from tests.support.rawhttp import exchange, request, statuses
from tests.support.upstreams import reverse_proxy, shop

from edge.apiserver.listening import connection
from edge_kube.client import Client
from edge_kube.harness import LightCluster

SEATS = 20


@pytest_asyncio.fixture
async def tight(
    gateway_cluster: LightCluster, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RunningGateway]:
    """Few seats and short times, so that a slow client would be felt at once."""
    monkeypatch.setattr(connection, "HEAD_WITHIN_S", 1.0)
    settings = {"server.maxConcurrentRequests": str(SEATS), "server.requestTimeout": "6s"}
    async with RunningGateway(gateway_cluster.connection, settings) as running:
        yield running


async def test_slow_heads_are_ended_and_others_are_served_meanwhile(tight: RunningGateway) -> None:
    token = await tight.token()
    head = request("GET", USERS, token)
    slow = [
        asyncio.create_task(exchange(tight.port, head[:20], *_bytes(head[20:80]), pause_s=0.3, within_s=60))
        for _ in range(100)
    ]
    await asyncio.sleep(0.3)
    for _ in range(5):
        assert (await tight.get(USERS, token=token)).status == 200
    for answer in await asyncio.gather(*slow):
        assert statuses(answer) in ([408], [])


async def test_slow_bodies_take_no_seat_with_or_without_a_token(tight: RunningGateway) -> None:
    token = await tight.token()
    for path, bearer in (("/oauth/token", ""), ("/api/v1/namespaces", token)):
        head = request("POST", path, bearer, ["Content-Length: 1000", "Content-Type: application/json"])
        slow = [
            asyncio.create_task(exchange(tight.port, head, *_bytes(b"{" * 5), pause_s=0.3, within_s=60))
            for _ in range(SEATS * 3)
        ]
        await asyncio.sleep(0.5)
        assert (await tight.get(USERS, token=token)).status == 200
        assert (await tight.sign_in()).status == 200
        for answer in await asyncio.gather(*slow):
            assert statuses(answer) == [408], answer


def _bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


async def test_who_does_not_read_the_answer_keeps_nobody_waiting(tight: RunningGateway) -> None:
    token = await tight.token()
    writers: list[asyncio.StreamWriter] = []
    for _ in range(SEATS):
        reader, writer = await asyncio.open_connection("127.0.0.1", tight.port, limit=1024)
        writer.write(request("GET", f"{USERS}?limit=500", token) * 50)
        writers.append(writer)
        del reader
    for _ in range(5):
        assert (await tight.get(USERS, token=token)).status == 200
    for writer in writers:
        writer.transport.abort()


async def test_an_answer_that_is_not_taken_is_not_held_for_ever(
    tight: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TAKEN_EVERY_S", 0.3)
    whole = len((await tight.get("/oapis/openapi.json")).body)
    reader, writer = await asyncio.open_connection("127.0.0.1", tight.port, limit=1024)
    writer.write(request("GET", "/oapis/openapi.json") * 100)
    for _ in range(40):  # as many looks, also when one of these sleeps takes seconds
        await asyncio.sleep(0.05)
    taken = 0
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            taken += len(data)
            assert taken < 100 * whole
    writer.close()


async def test_who_takes_an_answer_slowly_gets_all_of_it(
    tight: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than the time in which some of it must be taken; which is long for a busy machine here."""
    monkeypatch.setattr(connection, "TAKEN_EVERY_S", 4.0)
    whole = await tight.get("/oapis/openapi.json")
    asked = request("GET", "/oapis/openapi.json") * 40
    reader, writer = await asyncio.open_connection("127.0.0.1", tight.port, limit=1024)
    writer.write(asked)
    taken, began_s = 0, time.monotonic()
    while taken < 40 * len(whole.body):
        piece = await reader.read(200_000)
        assert piece, "cut"
        taken += len(piece)
        await asyncio.sleep(6 * len(piece) / (40 * len(whole.body)))
    assert time.monotonic() - began_s > connection.TAKEN_EVERY_S
    writer.close()


@pytest.mark.parametrize("path", ["/oauth/token", "/api/v1/namespaces", USERS])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
async def test_a_packed_body_is_never_inflated_here(tight: RunningGateway, path: str, encoding: str) -> None:
    """A bomb of 50 MB in 50 kB: no memory is taken for it, and the answer says that it was no JSON."""
    token = await tight.token()
    bomb = gzip.compress(b"\0" * 50_000_000)
    before = _resident_kb()
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    answer = await tight.ask("POST", path, token="" if "oauth" in path else token, data=bomb, headers=headers)
    assert 400 <= answer.status < 500, answer.body
    assert _resident_kb() - before < 20_000


def _resident_kb() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


SEGMENTS = (
    "api", "apis", "oapis", "kapis", "clusters", "oauth", "token", "healthz", "openapi", "host", "v1",
    "v1alpha1",
    "namespaces", "default", "pods", "log", "exec", "attach", "proxy", "watch", "iam", "iam.theriseunion.io",
    "users", "admin", "me", "scopes", "access", "impact", "why", "kubeconfigs", "password", "tenant",
    "workspaces",
    "nodes", "shop", "a", "..", ".", "%2e%2e", "%2f", "%00", "%20", "%", "%zz", "é", "*", "", "\\",
    ";x=1", "~",
    "reverseproxies", "audit", "records", "status", "scale", "😀", "a" * 300, "authorization.k8s.io",
)  # fmt: skip
METHODS = (
    "GET",
    "GET",
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "CONNECT",
    "TRACE",
    "XYZ",
    "get",
)
QUERIES = (
    "", "watch=1", "limit=1", "limit=-1", "limit=x", "continue=x", "labelSelector=a%3Db",
    "labelSelector=!!", "page=0",
    "fieldSelector=metadata.name%3Dx", "resourceVersion=0", "resourceVersion=x", "sortBy=name",
    "sortBy=%00", "&&&=",
    "search=(", "dryRun=All", "command=sh", "timeoutSeconds=1", "follow=true",
    "page=99999999999999999999", "q=%ff",
    "ascending=maybe", "container=%2e", "cursor=e30", "a=1" + "&a=1" * 300,
)  # fmt: skip
HEADERS = (
    "Connection: Upgrade", "Upgrade: websocket", "Upgrade: SPDY/3.1", "Upgrade: h2c", "Content-Length: 3",
    "Content-Length: -1", "Transfer-Encoding: chunked", "Expect: 100-continue", "Expect: x", "Host: x",
    "Accept: */*",
    "Accept: application/json;as=Table;v=v1;g=meta.k8s.io", "Content-Type: application/merge-patch+json",
    "Content-Type: text/\xff", "Content-Encoding: gzip", "Impersonate-User: root",
    "X-Request-Id: " + "x" * 200,
    "If-None-Match: *", "If-None-Match: \"\xe9\"", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Protocol: edge.watch.v1", "Cookie: edge_session=x", "Origin: http://evil.example",
    "Via: x",
    "X-Forwarded-For: a, b", "Range: bytes=0-", "TE: trailers", "Traceparent: x",
    "Accept-Encoding: gzip;q=nan",
    "Authorization: Basic !!!", "Authorization: Bearer", "Accept-Language: *", "bad header", ": x",
    "A\x00: b",
)  # fmt: skip
BODIES = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"{",
    b"\xff\xfe",
    b"a=b&a=b",
    b"[" * 5000,
    b'{"kind":"User","spec":{"a":1e999}}',
)
COUNT, SEED = 10_000, 20_261_128


async def test_ten_thousand_requests_of_nonsense_end_in_no_500_and_no_traceback(
    gateway_cluster: LightCluster, kube: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Seeded: the same ten thousand each time. What changes something is sent by somebody without rights."""
    limits = {"rateLimit.enabled": "false", "server.loopbackUpstreams": "true"}
    dice = random.Random(SEED)
    with capture_logs() as logs:
        async with (
            RunningGateway(gateway_cluster.connection, limits) as gateway,
            shop() as backend,
            reverse_proxy(kube, "/shop/*", backend.port, wrapTransport=True, authProxy=True),
        ):
            admin, ada = await gateway.token(), await gateway.token("ada")
            await gateway.until("/shop/a", 200, token=admin)
            wanted = iter([_nonsense(dice, admin, ada) for _ in range(COUNT)])
            codes: dict[int, int] = {}

            async def send_some() -> None:
                for sent in wanted:
                    # Half a second is enough to see: a watch, or a body that never comes, stays open.
                    answer = await exchange(gateway.port, sent, within_s=0.5)
                    assert not answer.startswith(b"HTTP/1.1 500"), (sent, answer)
                    assert b"Traceback" not in answer, (sent, answer)
                    for code in statuses(answer)[:1]:
                        codes[code] = codes.get(code, 0) + 1

            await asyncio.gather(*(send_some() for _ in range(40)))
            assert (await gateway.get("/healthz")).status == 200
            assert (await gateway.get(USERS, token=await gateway.token())).status == 200
    assert not [one for one in logs if one["log_level"] in ("error", "critical")], logs[-5:]
    assert not [one for one in logs if "exc_info" in one]
    assert "Traceback" not in caplog.text
    assert len(codes) > 5, json.dumps(codes)


def _nonsense(dice: random.Random, admin: str, ada: str) -> bytes:
    method = dice.choice(METHODS)
    path = "/" + "/".join(dice.choice(SEGMENTS) for _ in range(dice.randint(0, 8)))
    if query := dice.choice(QUERIES):
        path += f"?{query}"
    headers: list[str] = [*dice.sample(HEADERS, dice.randint(0, 4))]
    reads = method in ("GET", "HEAD", "OPTIONS")
    token = dice.choice(("", admin if reads else ada, ada, "no.token.this"))
    body = dice.choice(BODIES) if not reads or dice.random() < 0.1 else b""
    if body and dice.random() < 0.8:
        headers.append(f"Content-Length: {len(body)}")
    raw = request(method, "\0PATH", token, [*headers, "Connection: close"], body)
    raw = raw.replace(b"\0PATH", path.encode(), 1)
    if dice.random() < 0.05:  # and some that are hardly HTTP
        at = dice.randrange(len(raw))
        raw = raw[:at] + dice.randbytes(dice.randint(1, 8)) + raw[at + 1 :]
    return raw
