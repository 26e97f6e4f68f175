"""Streams: upgrades spliced as raw bytes, watches without a time-out, and nothing left behind (G12, S1)."""

import asyncio
import base64
import contextlib
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import yaml
from tests.support.gateway import PATIENCE_S, RunningGateway, make_user, somebody

from edge.apiserver.upstreams.splice import wanted_protocol
from edge.clusters.types import Cluster
from edge.iam.types import IAMRoleBinding, User
from edge_kube.client import Client
from edge_kube.core import Namespace
from edge_kube.harness import LightCluster
from edge_kube.meta import Key, ObjectMeta
from edge_sdk.problem import Problem

ORIGIN = "http://localhost"  # Kubernetes refuses a web socket without one
WATCH = "/api/v1/namespaces?watch=1&resourceVersion=0"


@pytest.mark.parametrize("tls", [False, True])
async def test_a_websocket_to_the_real_api_server_goes_through(
    gateway: RunningGateway, kube: Client, tls: bool
) -> None:
    host, port = gateway.server.addresses[-1 if tls else 0]
    headers = {"Authorization": f"Bearer {await gateway.token()}"}
    url = f"{'wss' if tls else 'ws'}://{host}:{port}{WATCH}"
    name = f"ws-{'tls' if tls else 'plain'}"
    async with gateway.session.ws_connect(url, headers=headers, ssl=not tls, origin=ORIGIN) as socket:
        await kube.create(Namespace(metadata=ObjectMeta(name=name)), manager="test")
        async with asyncio.timeout(PATIENCE_S):
            async for message in socket:
                if name in str(message.data):
                    break
            else:
                pytest.fail("the watch ended without the event")
        assert gateway.server.streams_open == 1
    async with asyncio.timeout(PATIENCE_S):
        while gateway.server.streams_open:  # noqa: ASYNC110 - the other side closes
            await asyncio.sleep(0.02)


async def test_a_watch_outlives_the_request_time_out(
    gateway_cluster: LightCluster, kube: Client, admin: str
) -> None:
    settings = {"server.requestTimeout": "1s"}
    async with RunningGateway(gateway_cluster.connection, settings) as gateway:
        headers = {"Authorization": f"Bearer {admin}"}
        async with gateway.session.get(f"{gateway.url}{WATCH}", headers=headers) as response:
            await asyncio.sleep(1.6)
            await kube.create(Namespace(metadata=ObjectMeta(name="late")), manager="test")
            async with asyncio.timeout(PATIENCE_S):
                while b'"late"' not in await response.content.readline():
                    pass


async def test_a_client_that_leaves_ends_the_watch_upstream(gateway: RunningGateway) -> None:
    headers = {"Authorization": f"Bearer {await gateway.token()}"}
    response = await gateway.session.get(f"{gateway.url}{WATCH}", headers=headers)
    await response.content.readline()
    assert gateway.server.streams_open == 1
    response.close()
    async with asyncio.timeout(PATIENCE_S):
        while gateway.server.streams_open:  # noqa: ASYNC110 - noticed by the server
            await asyncio.sleep(0.02)


@asynccontextmanager
async def member(
    client: Client, name: str, answer: bytes, seen: list[bytes], left: asyncio.Event | None = None
) -> AsyncGenerator[None]:
    """A Cluster whose API server is a socket that answers every upgrade with `answer`, then echoes.

    The gateway's own lists of namespaces and nodes end without an answer, and are not in `seen`. left: set
    when the gateway has ended an upgrade.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"Upgrade:" not in head:
                return
            seen.append(head)
            writer.write(answer)
            while data := await reader.read(65536):
                seen.append(data)
                writer.write(data)
            if left is not None:
                left.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "member-secret"}}],
    }
    manifest = {
        "apiVersion": "scope.theriseunion.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {"connection": {"type": "direct", "kubeconfig": encoded(kubeconfig)}},
    }
    await client.create(manifest, manager="test")
    try:
        yield
    finally:
        await client.delete(Cluster, name)
        server.close()


def encoded(kubeconfig: object) -> str:
    return base64.b64encode(yaml.safe_dump(kubeconfig).encode()).decode()


async def upgrade(gateway: RunningGateway, path: str, token: str, protocol: str, extra: str = "") -> tuple[
    asyncio.StreamReader, asyncio.StreamWriter
]:  # fmt: skip
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n"
        f"Upgrade: {protocol}\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n{extra}\r\n".encode()
    )
    return reader, writer


EXEC = "/api/v1/namespaces/a/pods/p/exec?command=sh&stdin=true"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"


async def test_spdy_bytes_pass_both_ways_untouched_and_in_the_callers_name(
    gateway: RunningGateway, kube: Client
) -> None:
    seen: list[bytes] = []
    async with member(kube, "spdy", SWITCH + b"first bytes of the server", seen):
        token = await gateway.token()
        await gateway.until("/oapis/tenant/v1alpha1/clusters/spdy", 200, token=token)
        reader, writer = await upgrade(
            gateway, f"/clusters/spdy{EXEC}", token, "SPDY/3.1", "Impersonate_User: root\r\n"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        assert await reader.readexactly(25) == b"first bytes of the server"
        blob = bytes(range(256)) * 4096
        writer.write(blob)
        assert await reader.readexactly(len(blob)) == blob
        writer.close()
        sent = seen[0].decode()
        assert sent.startswith(f"POST {EXEC} HTTP/1.1\r\n")
        assert "Impersonate-User: admin\r\n" in sent
        assert "Impersonate-Group: edge:platform-admins\r\n" in sent
        assert "Authorization: Bearer member-secret\r\n" in sent
        assert "root" not in sent
        assert "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n" in sent


async def test_a_shell_as_somebody_is_sent_in_that_users_name_alone(
    gateway: RunningGateway, kube: Client
) -> None:
    """S2: of what the client said of identity nothing goes on; name and groups are those of the object."""
    boss, seen = await somebody(gateway, kube, admin=True), list[bytes]()
    async with member(kube, "named", SWITCH, seen):
        token = await gateway.token()
        await gateway.until("/oapis/tenant/v1alpha1/clusters/named", 200, token=token)
        extra = f"iMPERSONATE-uSER: {boss}\r\nImpersonate_Group: system:masters\r\n"
        reader, writer = await upgrade(gateway, f"/clusters/named{EXEC}", token, "SPDY/3.1", extra)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.close()
        told = [line for line in seen[0].decode().split("\r\n") if line.lower().startswith("impersonate")]
        assert told == [f"Impersonate-User: {boss}", "Impersonate-Group: edge:platform-admins"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 302 Found\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 500 Oops\r\n\r\n",
        b"\x00\x01garbage\r\n\r\n",
        b"HTTP/1.1 101\r\nno colon here\r\n\r\n",
    ],
)
async def test_an_upgrade_that_is_not_taken_up_ends_both_connections(
    gateway: RunningGateway, kube: Client, answer: bytes
) -> None:
    seen: list[bytes] = []
    async with member(kube, "refuses", answer, seen):
        token = await gateway.token()
        await gateway.until("/oapis/tenant/v1alpha1/clusters/refuses", 200, token=token)
        reader, writer = await upgrade(gateway, f"/clusters/refuses{EXEC}", token, "SPDY/3.1")
        first = await reader.readuntil(b"\r\n")
        assert b" 101" not in first
        writer.write(b"GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            await reader.read(-1)  # the gateway closes
        writer.close()
        assert len(seen) == 1, "nothing but the head of the upgrade reached the member"
    await gone(gateway, "refuses", token)


async def gone(gateway: RunningGateway, name: str, token: str) -> None:
    await gateway.until(f"/oapis/tenant/v1alpha1/clusters/{name}", 404, token=token)


@pytest.mark.parametrize(
    "headers",
    [
        [("Connection", "Upgrade"), ("Upgrade", "h2c")],
        [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Upgrade", "SPDY/3.1")],
        [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Content-Length", "5")],
        [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("Transfer-Encoding", "chunked")],
    ],
)
def test_an_upgrade_with_a_body_or_to_another_protocol_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem):
        wanted_protocol(headers)


def test_a_plain_request_wants_no_upgrade() -> None:
    assert wanted_protocol([("Connection", "keep-alive"), ("Upgrade", "websocket")]) == ""


async def test_the_https_port_speaks_tls_1_3_only(gateway: RunningGateway) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    host, port = gateway.server.addresses[-1]
    with pytest.raises(aiohttp.ClientConnectionError):
        await gateway.session.get(f"https://{host}:{port}/healthz", ssl=context)
    trusted = ssl.create_default_context(cadata=gateway.server.tls.ca.decode())
    async with gateway.session.get(f"https://localhost:{port}/healthz", ssl=trusted) as answer:
        assert answer.status == 200


async def test_a_stream_ends_when_the_right_behind_it_goes(gateway: RunningGateway, kube: Client) -> None:
    for name, revoke in {
        "watcher-1": lambda: kube.delete(IAMRoleBinding, "watcher-1-platform-admin"),
        "watcher-2": lambda: kube.merge(
            User, Key("", "watcher-2"), {"status": {"state": "Disabled"}}, sub="status"
        ),
        "watcher-3": lambda: kube.delete(User, "watcher-3"),
    }.items():
        await make_user(kube, name, admin=True)
        await gateway.knows(name, admin=True)
        token = await gateway.token(name)
        headers = {"Authorization": f"Bearer {token}"}
        async with gateway.session.get(f"{gateway.url}{WATCH}", headers=headers) as response:
            await response.content.readline()
            await revoke()
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async with asyncio.timeout(PATIENCE_S):
                    await response.content.read(-1)
        async with asyncio.timeout(PATIENCE_S):
            while gateway.server.streams_open:  # noqa: ASYNC110 - the handler is on its way out
                await asyncio.sleep(0.02)


async def test_objects_with_secrets_are_not_watched_past_the_mask(gateway: RunningGateway) -> None:
    headers = {"Authorization": f"Bearer {await gateway.token()}"}
    url = f"ws://127.0.0.1:{gateway.port}/apis/iam.theriseunion.io/v1alpha1/users?watch=1"
    with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
        await gateway.session.ws_connect(url, headers=headers, origin=ORIGIN)


async def test_stopping_does_not_wait_for_watches(gateway_cluster: LightCluster) -> None:
    running = RunningGateway(gateway_cluster.connection)
    async with running as gateway:
        headers = {"Authorization": f"Bearer {await gateway.token()}"}
        async with gateway.session.get(f"{gateway.url}{WATCH}", headers=headers) as response:
            await response.content.readline()
            start = time.perf_counter()
            await gateway.server.stop()
            assert time.perf_counter() - start < 25  # short requests would have thirty
