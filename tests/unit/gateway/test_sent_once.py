"""What changes something is sent once, also into a kept connection that turns out dead (G1, O6)."""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from tests.support.upstreams import Closing, raw_server

from edge.apiserver.reverse.service import Service
from edge.apiserver.sinks.client import SinkClient, TokenFile
from edge.apiserver.upstreams.upstream import Upstream
from edge.operate.types import Matcher, ReverseProxy, ReverseProxySpec
from edge.operate.types import Upstream as Behind
from edge_kube.config import Connection
from edge_kube.errors import ConnectionFailed
from edge_kube.meta import ObjectMeta
from edge_kube.once import BrokenOffError
from edge_kube.transport import Call, Transport
from edge_sdk.client.errors import Unreachable
from edge_sdk.client.http import Http

Send = Callable[[str], Awaitable[object]]
"""A request with this method, to its end."""
IN_SOMEBODYS_NAME = [("Impersonate-User", "ada")]


@asynccontextmanager
async def transport(port: int, _: Path) -> AsyncGenerator[Send]:
    made = Transport(Connection(f"http://127.0.0.1:{port}"))
    yield lambda method: made.request(Call(method, "/", body=b"{}" if method == "PUT" else None))
    await made.close()


@asynccontextmanager
async def raw(port: int, _: Path) -> AsyncGenerator[Send]:
    made = Transport(Connection(f"http://127.0.0.1:{port}"))

    async def send(method: str) -> bytes:
        async with await made.raw(Call(method, "/", limited=False)) as response:
            return await response.read()

    yield send
    await made.close()


@asynccontextmanager
async def proxy(port: int, _: Path) -> AsyncGenerator[Send]:
    made = Upstream(Connection(f"http://127.0.0.1:{port}"))

    async def send(method: str) -> bytes:
        async with await made.request(method, "/", identity=IN_SOMEBODYS_NAME, timeout_s=5) as response:
            return await response.read()

    yield send
    await made.close()


@asynccontextmanager
async def reverse(port: int, _: Path) -> AsyncGenerator[Send]:
    made = Service(
        ReverseProxy(
            metadata=ObjectMeta(name="shop", namespace="default"),
            spec=ReverseProxySpec(
                matcher=Matcher(path="/shop/*"),
                upstream=Behind(host="127.0.0.1", port=port, scheme="http"),
            ),
        ),
        domain="cluster.local",
        seats=10,
        slow_s=5,
        loopback_allowed=True,
        lookup=_nobody_asks,
    )

    async def send(method: str) -> bytes:
        async with await made.request(method, "/", (), None, 5) as response:
            return await response.read()

    yield send
    await made.close()


async def _nobody_asks(name: str, port: int) -> tuple[list[str], str]:
    raise OSError(f"{name}:{port} is an address")


@asynccontextmanager
async def sdk(port: int, _: Path) -> AsyncGenerator[Send]:
    async with Http(f"http://127.0.0.1:{port}", "t") as made:
        yield lambda method: made.send(method, "/")


BROKEN: dict[str, type[Exception]] = {
    "transport": ConnectionFailed,
    "raw": ConnectionFailed,
    "proxy": BrokenOffError,
    "reverse": BrokenOffError,
    "sdk": Unreachable,
}
SENDERS = {one.__name__: one for one in (transport, raw, proxy, reverse, sdk)}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
@pytest.mark.parametrize("name", SENDERS)
async def test_a_change_that_meets_a_dead_connection_is_not_sent_again(
    name: str, method: str, tmp_path: Path
) -> None:
    server = Closing()
    async with raw_server(server.serve) as port, SENDERS[name](port, tmp_path) as send:
        await send("GET")  # which leaves a connection open
        with pytest.raises(BROKEN[name], match="may have been done or not"):
            await send(method)
        assert server.count(method) == 1


@pytest.mark.parametrize("name", SENDERS)
async def test_a_reading_that_meets_a_dead_connection_is_sent_again(name: str, tmp_path: Path) -> None:
    server = Closing()
    async with raw_server(server.serve) as port, SENDERS[name](port, tmp_path) as send:
        await send("GET")
        await send("GET")
        assert server.count("GET") == 3


async def test_records_that_meet_a_dead_connection_are_sent_again_by_the_shipper_alone(
    tmp_path: Path,
) -> None:
    """It asks first what the sink has; the client itself does not know."""
    token, server = tmp_path / "token", Closing()
    token.write_text("t")
    async with raw_server(server.serve) as port:
        sink = SinkClient(f"http://127.0.0.1:{port}", TokenFile(token), ssl.create_default_context())
        await sink.states()
        with pytest.raises(OSError, match="may have been done or not"):
            await sink.append("c", b"")
        await sink.close()
    assert server.count("POST") == 1


async def test_a_refused_connection_is_told_from_one_that_broke_off(tmp_path: Path) -> None:
    """Of the former it is known that nothing was sent, so it may be tried again."""
    async with raw_server(Closing().serve) as port:
        pass
    async with transport(port, tmp_path) as send:
        with pytest.raises(ConnectionFailed) as failed:
            await send("DELETE")
    assert not failed.value.sent
    assert isinstance(failed.value.__cause__, aiohttp.ClientConnectorError)
