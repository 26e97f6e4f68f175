"""A peer that vanishes without a word is noticed, on plain streams and on spliced ones (G12, C9)."""

import asyncio
import socket
from asyncio.trsock import TransportSocket

from tests.support.upstreams import raw_server

from edge.apiserver.upstreams.upstream import Upstream
from edge_kube.client import Client
from edge_kube.config import Connection
from edge_kube.lifesigns import GONE_AFTER_S, QUIET_S

NAMED = (("Impersonate-User", "ada"),)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"


def is_asked_for_signs(sock: TransportSocket) -> bool:
    quiet_s = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1 and quiet_s == QUIET_S


def taken_within_s(sock: TransportSocket) -> float:
    """How long what was sent may stay unacknowledged; 0: as long as the kernel likes."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) / 1000


async def test_a_site_that_loses_its_power_is_noticed_on_watches_and_shells() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH if b"Upgrade:" in head else STREAM)
        await reader.read()

    async with raw_server(serve) as port:
        upstream = Upstream(Connection(server=f"http://127.0.0.1:{port}"))
        try:
            watch = await upstream.request("GET", "/watch", identity=NAMED, timeout_s=None)
            assert watch.connection is not None
            assert watch.connection.transport is not None
            of_watch = watch.connection.transport.get_extra_info("socket")
            assert is_asked_for_signs(of_watch)
            assert taken_within_s(of_watch) == GONE_AFTER_S
            watch.close()
            upgrade = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1")]
            side, _ = await upstream.upgrade("POST", "/exec", identity=NAMED, headers=upgrade)
            assert side.transport is not None
            of_shell = side.transport.get_extra_info("socket")
            assert is_asked_for_signs(of_shell)
            assert taken_within_s(of_shell) == 0, "who reads nothing for a while, as a pager, is not gone"
            side.transport.abort()
        finally:
            await upstream.close()


async def test_the_platforms_own_client_waits_as_long_as_the_gateway() -> None:
    """Its watches too end at a site that is gone, and outlive the same holes in a line."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(STREAM)
        await reader.read()

    async with raw_server(serve) as port:
        client = Client(Connection(server=f"http://127.0.0.1:{port}"))
        try:
            watch = await client.raw("GET", "/watch")
            assert watch.connection is not None
            assert watch.connection.transport is not None
            sock = watch.connection.transport.get_extra_info("socket")
            assert is_asked_for_signs(sock)
            assert taken_within_s(sock) == GONE_AFTER_S
            watch.close()
        finally:
            await client.close()
