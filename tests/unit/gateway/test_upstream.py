"""How the gateway reaches an API server: under the name that its certificate is for (C2, G8)."""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.support.upstreams import shop

from edge.apiserver.upstreams.breaker import Unreachable
from edge.apiserver.upstreams.dialing import Dialer
from edge.apiserver.upstreams.upstream import Upstream
from edge.pki import issue, make_ca
from edge_kube.config import Connection

NAMED = (("Impersonate-User", "ada"),)
UPGRADE = (
    *(("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


async def test_the_name_that_a_kubeconfig_tells_counts_for_plain_requests_and_for_shells(
    tmp_path: Path,
) -> None:
    now = datetime.now(UTC)
    authority = make_ca("east", now=now)
    serving = issue(authority, "east", usage=("server",), sans=["east.example"], now=now)
    (tmp_path / "pair").write_bytes(serving.cert + serving.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "pair")
    async with shop(context) as made:
        server = f"https://127.0.0.1:{made.port}"
        found = [
            await _reached(Upstream(Connection(server=server, ca=authority.cert, server_name=name)))
            for name in ("east.example", "", "west.example")
        ]
    assert found == [(200, 101), (0, 0), (0, 0)]


async def test_a_shell_goes_to_the_next_address_of_a_name_when_the_first_takes_nothing() -> None:
    async def lookup(_: str, __: int) -> tuple[Sequence[str], str]:
        return ["127.0.0.9", "127.0.0.1"], "east.example"

    async with shop() as made:
        connection = Connection(server=f"http://east.example:{made.port}")
        upstream = Upstream(connection, dialer=Dialer("east.example", loopback_allowed=True, lookup=lookup))
        assert await _reached(upstream) == (200, 101)


async def _reached(upstream: Upstream) -> tuple[int, int]:
    """Status of a plain request and of an upgrade; 0 when the certificate was refused."""
    plain = switched = 0
    try:
        async with asyncio.timeout(60):
            answer = await upstream.request("GET", "/version", identity=NAMED, timeout_s=60)
            plain = answer.status
            answer.close()
    except Unreachable:
        pass
    try:
        side, head = await upstream.upgrade("GET", "/exec", identity=NAMED, headers=UPGRADE)
        switched = head.status
        if side.transport is not None:
            side.transport.abort()
    except Unreachable:
        pass
    finally:
        await upstream.close()
    return plain, switched
