"""Connections and their bounds, headers of every answer, CORS (G4, G9; issue 5 §2; design §8.1)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator

import pytest
from tests.support.gateway import USERS, RunningGateway

from edge.apiserver.listening import connection as connections
from edge_kube.harness import LightCluster

CONSOLE = "https://console.example.com"


@contextlib.asynccontextmanager
async def connected(
    gateway: RunningGateway,
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def answered(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Head in lower case and body of one answer with a length."""
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(line for line in head.splitlines() if line.startswith("content-length:"))
        return head, await reader.readexactly(int(length.split(":")[1]))


async def closed(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(20):
        return await reader.read() == b""


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: g\r\nX-Long: " + b"x" * 40_000 + b"\r\n\r\n", b"32 KiB"),
        (
            b"GET /healthz HTTP/1.1\r\nHost: g\r\n"
            + b"".join(b"X-N%d: %s\r\n" % (n, b"y" * 1000) for n in range(40))
            + b"\r\n",
            b"32 KiB",
        ),
        (
            b"GET /healthz HTTP/1.1\r\nHost: g\r\n"
            + b"".join(b"X-N%d: y\r\n" % n for n in range(80))
            + b"\r\n",
            b"64 headers",
        ),
        (b"GET /" + b"z" * 40_000 + b" HTTP/1.1\r\nHost: g\r\n\r\n", b"32 KiB"),
    ],
    ids=["a long line", "many lines", "many headers", "a long path"],
)
async def test_a_head_that_is_too_large_is_431_and_the_connection_ends(
    gateway: RunningGateway, head: bytes, why: bytes
) -> None:
    async with connected(gateway) as (reader, writer):
        writer.write(head)
        said, body = await answered(reader)
        assert " 431 " in said.splitlines()[0]
        assert b'"code":"HeaderTooLarge"' in body
        assert why in body
        assert await closed(reader)


async def test_a_head_within_the_bounds_passes_in_pieces_too(gateway: RunningGateway) -> None:
    fields = b"".join(b"X-N%d: %s\r\n" % (n, b"y" * 500) for n in range(55))
    head = b"GET /healthz HTTP/1.1\r\nHost: g\r\n" + fields + b"\r\n"
    async with connected(gateway) as (reader, writer):
        for _ in range(3):  # each head has the whole of the bounds, on a connection that stays
            for start in range(0, len(head), 7000):
                writer.write(head[start : start + 7000])
                await asyncio.sleep(0.01)
            said, _ = await answered(reader)
            assert said.startswith("http/1.1 200")


async def test_a_head_that_does_not_come_is_408(
    gateway_cluster: LightCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_WITHIN_S", 0.5)
    async with RunningGateway(gateway_cluster.connection) as gateway:
        async with connected(gateway) as (reader, writer):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n")
            assert (await answered(reader))[0].startswith("http/1.1 200")
            writer.write(b"GET /healthz HTTP/1.1\r\nX-Slow")
            said, body = await answered(reader)
            assert said.startswith("http/1.1 408")
            assert b'"code":"RequestTimeout"' in body
            assert await closed(reader)
        async with connected(gateway) as (reader, writer):  # a slow body is no slow head
            writer.write(b"POST /oauth/token HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\n\r\na")
            await asyncio.sleep(1)
            writer.write(b"=b")
            assert (await answered(reader))[0].startswith("http/1.1 40")


@pytest.mark.parametrize("line", [b"\x16\x03\x01\x02\x00\x01\x00", b"HELO edge\r\n\r\n"])
async def test_what_is_no_http_is_answered_as_everything_else_is(
    gateway: RunningGateway, line: bytes
) -> None:
    async with connected(gateway) as (reader, writer):
        writer.write(line)
        said, body = await answered(reader)
        assert " 400 " in said.splitlines()[0]
        assert "x-content-type-options: nosniff" in said
        assert b'"kind":"Status"' in body


async def test_http_1_0_is_kept_alive_where_it_asks_for_it(gateway: RunningGateway) -> None:
    request = "GET /oapis/version HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
    async with connected(gateway) as (reader, writer):
        bodies: list[bytes] = []
        for _ in range(3):
            writer.write(request.encode())
            said, body = await answered(reader)
            assert "connection: keep-alive" in said
            assert "chunked" not in said
            bodies.append(body)
    assert len(set(map(len, bodies))) == 1


async def test_http_1_0_gets_a_stream_without_chunks(gateway: RunningGateway) -> None:
    token = await gateway.token()
    path = "/api/v1/namespaces?watch=1&timeoutSeconds=1"
    async with connected(gateway) as (reader, writer):
        writer.write(f"GET {path} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        async with asyncio.timeout(20):
            whole = await reader.read()
    head, _, body = whole.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body.startswith(b'{"type":"ADDED"')
    assert body.endswith(b"}\n")


@pytest.mark.parametrize(
    "path",
    ["/healthz", USERS, "/nowhere", "/api/v1/namespaces", "/api/v1/namespaces?watch=1&timeoutSeconds=1"],
)
async def test_every_answer_carries_the_headers_that_protect_browsers(
    gateway: RunningGateway, path: str
) -> None:
    headers = {"X-Request-Id": "0123-4567-89ab", "Origin": CONSOLE}
    answer = await gateway.get(path, token=await gateway.token(), headers=headers)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"] == "0123-4567-89ab"
    assert "Strict-Transport-Security" not in answer.headers  # it came without TLS
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: g\r\n" + b"X-Long: " + b"x" * 40_000,  # a head without an end
        b"GET /healthz HTTP/1.1\r\nHost: g\r\nno colon\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=["too long", "no header", "no http"],
)
async def test_what_is_refused_before_it_is_a_request_carries_them_too(
    gateway: RunningGateway, sent: bytes
) -> None:
    async with connected(gateway) as (reader, writer):
        writer.write(sent)
        head, body = await answered(reader)
        assert await closed(reader)
    told = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
    found = json.loads(body)
    assert told["x-request-id"] == found["edge"]["requestId"]
    assert told["x-content-type-options"] == "nosniff"
    assert told["x-frame-options"] == "deny"
    assert told["referrer-policy"] == "no-referrer"
    assert told["cache-control"] == "no-store"


async def test_other_sites_are_let_in_by_name_alone(gateway_cluster: LightCluster) -> None:
    settings = {"server.cors.allowedOrigins": CONSOLE}
    asks = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
    async with RunningGateway(gateway_cluster.connection, settings) as gateway:
        answer = await gateway.ask("OPTIONS", USERS, headers={"Origin": CONSOLE, **asks})
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == CONSOLE
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        for other in ("https://evil.example.com", f"{CONSOLE}.evil.com", "null", CONSOLE.upper()):
            answer = await gateway.ask("OPTIONS", USERS, headers={"Origin": other, **asks})
            assert (answer.status, answer.json()["edge"]["code"]) == (403, "OriginNotAllowed")
            answer = await gateway.get("/healthz", headers={"Origin": other})
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert answer.headers["Vary"] == "Origin"
        answer = await gateway.get(USERS, headers={"Origin": CONSOLE})  # the page may read refusals as well
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, CONSOLE)


async def test_without_the_setting_no_browser_is_told_that_it_may(gateway: RunningGateway) -> None:
    asks = {"Origin": CONSOLE, "Access-Control-Request-Method": "GET"}
    answer = await gateway.ask("OPTIONS", USERS, headers=asks)
    assert answer.status == 401
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_refusals_say_what_a_console_shows(gateway: RunningGateway) -> None:
    token = await gateway.token("ada")
    answer = await gateway.get(USERS, token=token, headers={"X-Request-Id": "abcd-1234"})
    edge = answer.json()["edge"]
    assert (answer.status, edge["code"], edge["requestId"]) == (403, "Forbidden", "abcd-1234")
    assert edge["params"] == {"verb": "list", "resource": "users", "scope": "platform"}
    assert edge["next"][0]["kind"] == "ask"
    assert (await gateway.get(USERS)).json()["edge"]["next"][0]["kind"] == "link"
