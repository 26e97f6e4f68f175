"""The port on which an API server asks for its reviews: mutual TLS, apart from all other traffic (I10).

    listener = ReviewListener(settings, reviewer)
    await listener.start()      # raises OSError (ssl.SSLError is one)
    await listener.run()        # takes up new certificates; until cancelled

The socket stays while certificates change, so that no API server ever finds the port closed.
Source: design §7.1.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from edge.apiserver.configuration.settings import WebhookSettings
from edge.apiserver.reviews.reviewer import Reviewer
from edge.apiserver.reviews.wire import ReviewConnection

REFRESH_S: Final = 10.0
HANDSHAKE_WITHIN_S: Final = 5.0
CLOSES_WITHIN_S: Final = 2.0

log = structlog.stdlib.get_logger("edge.apiserver")


class Arrival(asyncio.Protocol):
    """A connection of which nothing has been read yet."""

    def __init__(self, welcome: Callable[[asyncio.Transport], None]) -> None:
        self._welcome = welcome

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("reviews come over connections")
        self._welcome(transport)


@dataclass(slots=True)
class Guest:
    """raw: what lies below TLS."""

    raw: asyncio.Transport
    connection: ReviewConnection
    has_shaken: bool = False


class ReviewListener:
    def __init__(self, settings: WebhookSettings, reviewer: Reviewer) -> None:
        self._settings = settings
        self._reviewer = reviewer
        self._names = frozenset(settings.client_names)
        self._guests: dict[asyncio.Task[None], Guest] = {}
        self._is_stopping = False
        self._loaded: tuple[bytes, ...] = ()
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens. Raises RuntimeError before `start`."""
        if self._socket is None:
            raise RuntimeError("the listener was not started")
        host, port, *_ = self._socket.getsockname()
        return host, port

    async def start(self) -> None:
        """Raises OSError when the port is taken or a file is missing or not what it should be."""
        host, port = self._settings.bind
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        files = self._files()
        self._socket = socket.create_server((host, port), family=family, backlog=1024)
        await self._serve(self._socket, files)
        log.info("reviews_listening", address="{}:{}".format(*self.address))

    async def run(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                files = self._files()
                if files != self._loaded and self._socket is not None:
                    await self._serve(self._socket, files)
            except OSError as error:
                log.warning("review_certificate_not_refreshed", error=str(error))

    async def stop(self) -> None:
        """End listening; what is in hand is answered. No connection is open any more, nor being opened."""
        self._is_stopping = True
        for closing in (self._server, self._socket):
            if closing is not None:
                closing.close()
        for one in self._guests.values():
            if one.has_shaken:
                one.connection.finish()
            else:
                one.raw.abort()
        if self._guests:
            await asyncio.wait(self._guests, timeout=CLOSES_WITHIN_S)
        for one in self._guests.values():
            one.raw.abort()
        if self._guests:
            await asyncio.wait(self._guests)
        await self._reviewer.close()

    def _files(self) -> tuple[bytes, ...]:
        paths = (self._settings.cert_file, self._settings.key_file, self._settings.client_ca_file)
        return tuple(Path(path).read_bytes() for path in paths)

    async def _serve(self, listening: socket.socket, files: tuple[bytes, ...]) -> None:
        """Take new connections with these certificates; open ones go on as they are."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=files[2].decode())
        context.load_cert_chain(self._settings.cert_file, self._settings.key_file)
        before = self._server
        if before is not None:
            before.close()
        server = await asyncio.get_running_loop().create_server(
            lambda: Arrival(partial(self._welcome, context)), sock=listening.dup()
        )
        if self._is_stopping:
            server.close()
            return
        self._server, self._loaded = server, files

    def _welcome(self, context: ssl.SSLContext, raw: asyncio.Transport) -> None:
        if self._is_stopping:
            raw.abort()
            return
        guest = Guest(raw, ReviewConnection(self._reviewer, self._admits))
        task = asyncio.get_running_loop().create_task(self._host(guest, context))
        self._guests[task] = guest
        task.add_done_callback(self._guests.pop)

    async def _host(self, guest: Guest, context: ssl.SSLContext) -> None:
        """One connection from its first byte to its last. Hands are shaken here and not by the server, which
        keeps to itself what it has not finished shaking: nobody could close that."""
        try:
            tls = await asyncio.get_running_loop().start_tls(
                guest.raw,
                guest.connection,
                context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_WITHIN_S,
                ssl_shutdown_timeout=1.0,
            )
            if tls is not None:
                guest.has_shaken = True
                guest.connection.connection_made(tls)
                await guest.connection.closed.wait()
        except OSError as error:  # of TLS too
            log.info("reviewer_not_understood", error=str(error) or type(error).__name__)
        finally:
            guest.raw.abort()

    def _admits(self, name: str) -> bool:
        return not self._names or name in self._names
