"""What the gateway refuses, and how it says so (G2, G4, G9, G10); fuzzing never gets a 500."""

import asyncio
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.gateway import USERS, RunningGateway
from tests.support.rawhttp import exchange

from edge.apiserver.listening import connection
from edge_kube.harness import LightCluster


@pytest.mark.parametrize("header", ["Expect: 100-continue", "Expect:", "Transfer-Encoding: chunked"])
async def test_a_body_of_20_mb_is_refused(
    gateway_cluster: LightCluster, tmp_path: Path, header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LINGERING_S", 30.0)  # so long the rest is read, and the answer not cut
    async with RunningGateway(gateway_cluster.connection) as gateway:
        await _refused(gateway, tmp_path, header)


async def _refused(gateway: RunningGateway, tmp_path: Path, header: str) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"x" * 20_000_000)
    token = await gateway.token()
    process = await asyncio.create_subprocess_exec(
        *("curl", "-s", "-w", " %{http_code}", "-X", "POST", "-H", header, "--data-binary", f"@{body}"),
        *("-H", f"Authorization: Bearer {token}", f"{gateway.url}/api/v1/namespaces"),
        stdout=asyncio.subprocess.PIPE,
    )
    said = (await process.communicate())[0].decode()
    assert said.endswith(" 413")
    assert "RequestEntityTooLarge" in said
    assert "3 MiB" in said
    assert (await gateway.get("/healthz")).status == 200


async def test_the_bound_of_a_body_without_a_token_is_told_as_it_is(gateway: RunningGateway) -> None:
    answer = await gateway.ask("POST", "/oauth/token", data=b"x" * 300_000)
    assert answer.status == 413
    assert "longer than 256 KiB" in answer.json()["message"]


async def test_too_many_requests_are_429_with_a_time_to_come_back(gateway_cluster: LightCluster) -> None:
    limits = {"rateLimit.qps": "5", "rateLimit.burst": "5", "rateLimit.maxDelay": "20ms"}
    async with RunningGateway(gateway_cluster.connection, limits) as gateway:
        token = await gateway.token()
        answers = await asyncio.gather(*(gateway.get(USERS, token=token) for _ in range(60)))
        refused = [answer for answer in answers if answer.status == 429]
        assert sorted({answer.status for answer in answers}) == [200, 429]
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert refused[0].json()["details"]["retryAfterSeconds"] >= 1
        assert (await gateway.get("/healthz")).status == 200


async def test_beyond_the_limit_in_flight_it_is_503(gateway_cluster: LightCluster) -> None:
    async with RunningGateway(gateway_cluster.connection, {"server.maxStreams": "1"}) as gateway:
        token = await gateway.token()
        headers = {"Authorization": f"Bearer {token}"}
        async with gateway.session.get(f"{gateway.url}/api/v1/namespaces?watch=1", headers=headers) as first:
            assert first.status == 200
            second = await gateway.get("/api/v1/namespaces?watch=1", token=token)
            assert (second.status, second.json()["edge"]["code"]) == (503, "Overloaded")
            assert (await gateway.get(USERS, token=token)).status == 200


async def test_a_gateway_without_a_free_seat_is_still_alive(gateway_cluster: LightCluster) -> None:
    async with RunningGateway(gateway_cluster.connection, {"server.maxConcurrentRequests": "1"}) as gateway:
        token = await gateway.token()
        gateway_cluster.pause_apiserver()
        try:
            waiting = asyncio.create_task(gateway.get("/api/v1/namespaces", token=token))
            await gateway.until(USERS, 503, token=token)
            assert (await gateway.get("/healthz")).status == 200
        finally:
            gateway_cluster.resume_apiserver()
        assert (await waiting).status == 200


async def test_http_1_0_without_keep_alive_is_served_with_a_length(gateway: RunningGateway) -> None:
    token = await gateway.token()
    answer = await exchange(
        gateway.port, f"GET {USERS} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))
    assert f"content-length: {len(body)}".encode() in head.lower()


async def test_ready_depends_on_the_kubernetes_api_and_alive_does_not(gateway_cluster: LightCluster) -> None:
    async with RunningGateway(gateway_cluster.connection) as gateway:
        assert (await gateway.get("/readyz")).status == 200
        token = await gateway.token()
        gateway_cluster.pause_apiserver()
        try:
            await gateway.until("/readyz", 503)
            assert b"Kubernetes API" in (await gateway.get("/readyz")).body
            assert (await gateway.get("/healthz")).status == 200
            assert (await gateway.get(USERS, token=token)).status == 200  # from memory
            refused = await gateway.sign_in()  # a session that others do not know of would be none
            assert (refused.status, refused.json()["edge"]["code"]) == (503, "SessionsUnavailable")
        finally:
            gateway_cluster.resume_apiserver()
        await gateway.until("/readyz", 200)


async def test_the_version_and_the_metrics_need_no_token(gateway: RunningGateway) -> None:
    await gateway.get(USERS, token=await gateway.token())
    version = (await gateway.get("/oapis/version")).json()
    assert version["version"].startswith("v")
    assert version["kubernetes"]["gitVersion"].startswith("v1.")
    metrics = (await gateway.get("/metrics")).body.decode()
    assert (
        'apiserver_request_total{code="200",group="iam.theriseunion.io",resource="users",'
        'scope="platform",verb="list",version="v1alpha1"} 1.0'
    ) in metrics
    assert "apiserver_request_duration_seconds_bucket" in metrics


async def test_paths_that_exist_nowhere_make_no_series(gateway: RunningGateway) -> None:
    token = await gateway.token()
    for n in range(5):
        await gateway.get(f"/apis/none{n}.example.com/v1/things{n}", token=token)
        await gateway.get(f"/apis/none{n}.example.com/v1/things{n}")
    assert "none1" not in (await gateway.get("/metrics")).body.decode()


async def test_stopping_ends_what_is_in_hand_and_says_so_first(gateway_cluster: LightCluster) -> None:
    gateway = await RunningGateway(gateway_cluster.connection, {"server.drain": "5s"}).__aenter__()
    token, port = await gateway.token(), gateway.port
    stopping = asyncio.create_task(gateway.server.stop())
    await gateway.until("/readyz", 503)
    assert (await gateway.get(USERS, token=token)).status == 200  # still served while it drains
    await stopping
    await gateway.session.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)


METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "XYZ"])
ROOTS = ("api", "apis", "oapis", "kapis", "clusters", "oauth", "healthz", "openapi", "host", "me")
NOUNS = (
    "host",
    "v1",
    "namespaces",
    "pods",
    "log",
    "exec",
    "watch",
    "iam",
    "v1alpha1",
    "users",
    "admin",
    "me",
)
ODD = ("password", "..", "%2e%2e", "%2f", "%00", "%20", "é", "*", "system:x", "")
PARTS = st.sampled_from((*ROOTS, *NOUNS, *ODD))
FRAMING = (
    "Connection",
    "Upgrade",
    "Content-Length",
    "Transfer-Encoding",
    "Expect",
    "Host",
    "Content-Encoding",
)
OTHERS = ("Content-Encoding", "Impersonate-User", "Accept", "X-Request-Id", "Content-Type", "If-None-Match")
NAMES = st.sampled_from((*FRAMING, *OTHERS))
VALUES = st.sampled_from(
    ("", "close", "Upgrade", "websocket", "SPDY/3.1", "chunked", "gzip", "3", "-1", "\x7f")
)
TEXTS = st.text(string.printable, max_size=20).filter(lambda text: "\r" not in text and "\n" not in text)
HEADERS = st.dictionaries(NAMES, VALUES | TEXTS, max_size=4)
QUERIES = st.text(string.ascii_letters + "=&%+;[]?", max_size=20)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    method=METHODS, parts=st.lists(PARTS, max_size=8), query=QUERIES, headers=HEADERS, signed=st.booleans()
)
def test_no_request_gets_a_500_or_breaks_the_gateway(
    fuzzed: "Fuzzed", method: str, parts: list[str], query: str, headers: dict[str, str], signed: bool
) -> None:
    path = "/" + "/".join(parts) + (f"?{query}" if query else "")
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: gateway",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if signed:
        reads = method in ("GET", "HEAD", "OPTIONS")
        lines.append(f"Authorization: Bearer {fuzzed.admin if reads else fuzzed.user}")
    request = "\r\n".join([*lines, "Connection: close", "", ""]).encode("utf-8", "replace")
    answer = fuzzed.ask(request)
    assert not answer.startswith(b"HTTP/1.1 500"), (request, answer)
    assert b"Traceback" not in answer


class Fuzzed:
    """A gateway on a loop of its own thread's making: hypothesis calls synchronously."""

    def __init__(self, loop: asyncio.AbstractEventLoop, gateway: RunningGateway) -> None:
        self._loop = loop
        self._gateway = gateway
        self.admin = loop.run_until_complete(gateway.token("admin"))
        self.user = loop.run_until_complete(gateway.token("ada"))

    def ask(self, request: bytes) -> bytes:
        # A watch, or a body that never comes, stays open until we leave: half a second is enough to see.
        return self._loop.run_until_complete(exchange(self._gateway.port, request, within_s=0.5))


@pytest.fixture
def fuzzed(gateway_cluster: LightCluster):
    loop = asyncio.new_event_loop()
    gateway = RunningGateway(gateway_cluster.connection)
    loop.run_until_complete(gateway.__aenter__())
    try:
        yield Fuzzed(loop, gateway)
    finally:
        loop.run_until_complete(gateway.__aexit__())
        loop.close()
