"""Sessions and sockets to one API server: seats, name lookups, keep-alive, TLS settings of one moment."""

import asyncio
import contextlib
import socket
import sys
import weakref
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from edge_kube.config import Connection
from edge_kube.lifesigns import new_socket
from edge_kube.once import sent_once

CONNECT_TIMEOUT_S = 3.0
_IDLE_CLOSE_S = 30
"""An API server closes idle connections after 90 s: we do so first, and meet few that are dead."""


class Sockets:
    """Two sessions with the TLS settings of one moment: watches are unlimited, requests have seats.

    aiohttp's default connector has 100 seats for all: as many watches would starve every request.
    """

    def __init__(self, connection: Connection, in_flight: int) -> None:
        self.stamp = connection.stamp()
        self.server_name = connection.server_name or None
        self._users = 0
        self._retired = False
        self._closing: asyncio.Task[None] | None = None
        context = connection.ssl_context()
        resolver = _PoolResolver()
        self.requests, self.streams = (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=limit,
                    ssl=True if context is None else context,
                    keepalive_timeout=_IDLE_CLOSE_S,
                    ttl_dns_cache=30,
                    # Older asyncio leaves a TLS connection open whose other side never says good-bye.
                    enable_cleanup_closed=sys.version_info < (3, 12, 7),
                    resolver=resolver,
                    socket_factory=new_socket,
                ),
                middlewares=(sent_once,),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                read_bufsize=2**18,
                trust_env=False,
            )
            for limit in (in_flight, 0)
        )

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncGenerator[None]:
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._retired and not self._users:
                await self.close()

    def keep_for(self, response: aiohttp.ClientResponse) -> None:
        """Stay open as long as a response that somebody else reads is alive."""
        self._users += 1
        weakref.finalize(response, self._let_go, asyncio.get_running_loop()).atexit = False

    def _let_go(self, loop: asyncio.AbstractEventLoop) -> None:
        self._users -= 1
        if self._retired and not self._users and not loop.is_closed():
            self._closing = loop.create_task(self.close())

    async def retire(self) -> None:
        """Close once the last user has gone."""
        self._retired = True
        if not self._users:
            await self.close()

    async def close(self) -> None:
        for session in (self.requests, self.streams):
            # asyncio of 3.11 raises this for a TLS connection whose other side died: it is closed already.
            with contextlib.suppress(AttributeError):
                await session.close()
        # What was aborted is closed by callbacks of the loop's next turns; the loop may end after us.
        for _ in range(3):
            await asyncio.sleep(0)


class _PoolResolver(AbstractResolver):
    """Names are looked up in threads of their own: a dead name server must not fill the loop's executor."""

    _pool: ThreadPoolExecutor | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if _PoolResolver._pool is None:
            _PoolResolver._pool = ThreadPoolExecutor(4, thread_name_prefix="edge-kube-dns")
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            _PoolResolver._pool, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Nothing to do: the pool is the process's."""
