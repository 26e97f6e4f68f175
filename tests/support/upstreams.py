"""A small service behind a ReverseProxy: tells what has reached it, and answers as it is told."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from edge.operate.types import ReverseProxy
from edge_kube.client import Client
from edge_kube.meta import Key

Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Told:
    """One request as the service saw it."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class Shop:
    """port: where it listens, on 127.0.0.1. answers: path → (status, headers, body)."""

    port: int = 0
    seen: list[Told] = field(default_factory=list[Told])
    answers: dict[str, tuple[int, Mapping[str, str], bytes]] = field(default_factory=dict)
    connections: set[Any] = field(default_factory=set)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.connections.add(request.transport)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(f"shop says {message.data}")
            return socket
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]
        told = Told(request.method, request.raw_path, headers, await request.read())
        self.seen.append(told)
        status, more, body = self.answers.get(request.path, (200, {}, b""))
        if not body and status == 200 and request.path not in self.answers:
            body = json.dumps({"path": told.path, "method": told.method, "headers": told.headers}).encode()
        return web.Response(status=status, headers=dict(more), body=body)


@asynccontextmanager
async def shop(context: ssl.SSLContext | None = None) -> AsyncGenerator[Shop]:
    """context: serve TLS with it."""
    made = Shop()
    runner = web.ServerRunner(web.Server(made.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(serve: Raw) -> AsyncGenerator[int]:
    """A listener that speaks bytes; its port."""
    writers: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0.05)  # an aborted connection is closed in a later turn


@dataclass
class Closing:
    """`raw_server(closing.serve)`: answers a GET that comes first on a connection, and ends it upon all else.

    lines: the first line of each request, in the order of their arrival, on all connections.
    """

    lines: list[str] = field(default_factory=list[str])

    def count(self, method: str) -> int:
        return sum(line.startswith(f"{method} ") for line in self.lines)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await self._read(reader) != "GET":
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        await self._read(reader)

    async def _read(self, reader: asyncio.StreamReader) -> str:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.lines.append(head.partition("\r\n")[0])
        _, _, length = head.lower().partition("content-length: ")
        await reader.readexactly(int(length.partition("\r\n")[0] or "0"))
        return head.partition(" ")[0]


@asynccontextmanager
async def reverse_proxy(
    client: Client,
    path: str,
    port: int,
    *,
    name: str = "shop",
    host: str = "127.0.0.1",
    namespace: str = "default",
    **more: Any,
) -> AsyncGenerator[Key]:
    """A ReverseProxy object for the time of the block.

    more: directives; `scheme` and `upstream`, for the upstream.
    """
    upstream = {"host": host, "port": port, "scheme": more.pop("scheme", "http"), **more.pop("upstream", {})}
    await client.create(
        {
            "apiVersion": "iam.theriseunion.io/v1alpha1",
            "kind": "ReverseProxy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"matcher": {"path": path}, "upstream": upstream, "directives": more},
        },
        manager="test",
    )
    try:
        yield Key(namespace, name)
    finally:
        await client.delete(ReverseProxy, name, namespace)
