"""Requests to an API server in somebody's name: the only way the gateway forwards anything.

Every request carries Impersonate-User, or is not sent: the gateway's own rights are never lent by mistake.
"""

import asyncio
import base64
import ssl
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from edge.apiserver.upstreams.breaker import Silent, Unreachable
from edge.apiserver.upstreams.closing import Closing
from edge.apiserver.upstreams.dialing import Dialer
from edge.apiserver.upstreams.splice import Head, Side, dial, read_head
from edge_kube.config import ConfigError, Connection
from edge_kube.lifesigns import new_socket
from edge_kube.once import READINGS, BrokenOffError, sent_once
from edge_sdk.problem import Problem, Unavailable

CONNECT_WITHIN_S: Final = 3.0
HEAD_WITHIN_S: Final = 30.0
"""Of streams that begin at once, which have no other time-out."""
RELOAD_AFTER_S: Final = 30.0
OLD_CLOSES_AFTER_S: Final = 60.0
KEPT_S: Final = 30.0
"""API servers close idle connections after 90 s: we do so first, and meet few that are dead."""
READ_AHEAD_BYTES: Final = 256 * 1024
"""Of one answer, while its client is slower: long logs go through in fewer turns."""
Headers = Sequence[tuple[str, str]]


class Upstream:
    """One API server with our credential for it. Credentials in files are read again when they change."""

    def __init__(
        self,
        connection: Connection,
        *,
        dialer: Dialer | None = None,
        on_answer: Callable[[], None] | None = None,
    ) -> None:
        """dialer: judges where a connection of somebody's choice leads; None for the platform's own.

        on_answer: called when the head of any answer has come.
        """
        self._connection = connection
        self._dialer = dialer
        self._on_answer = on_answer
        parts = urlsplit(connection.server)
        self._tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._name = connection.server_name or None
        self._netloc = parts.netloc
        self._prefix = parts.path.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._closing = Closing()
        self._context: ssl.SSLContext | None = None
        self._stamp: object = None
        self._token = ""
        self._checked_s = 0.0

    async def request(
        self,
        method: str,
        path: str,
        *,
        identity: Headers,
        headers: Headers = (),
        body: bytes | None = None,
        timeout_s: float | None,
        head_within_s: float | None = None,
    ) -> aiohttp.ClientResponse:
        """Send and return the answer's head; the caller reads or releases it.

        path: encoded path and query. identity: impersonation headers. timeout_s: until the answer is read to
        its end, None for streams. head_within_s: later than that is Silent; None: it may take its time.
        Raises Unreachable, Silent, TimeoutError, aiohttp.ClientError.
        """
        session = await self._fresh()
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_WITHIN_S)
        head = asyncio.timeout(head_within_s)
        try:
            async with head:
                answer = await session.request(
                    method,
                    URL(f"{self._connection.server}{path}", encoded=True),
                    headers=self._signed(identity, headers),
                    data=body,
                    timeout=timeout,
                    allow_redirects=False,
                    server_hostname=self._name,
                )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(told(error)) from error
        except TimeoutError:
            if not head.expired():
                raise
            raise Silent(f"no answer began within {head_within_s:g} s") from None
        self._has_answered()
        return answer

    async def upgrade(
        self, method: str, path: str, *, identity: Headers, headers: Headers
    ) -> tuple[Side, Head]:
        """A connection of its own that asks to leave HTTP, and the answer to that. Raises as `request`."""
        await self._fresh()
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S * 2):
                found = await self._dialer.addresses(self._port) if self._dialer else (self._host,)
                name = (self._name or self._host) if self._tls else None
                side = await dial(found, self._port, self._context, name)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            raise Unreachable(str(error) or "no answer") from error
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"Host: {self._netloc}"]
        lines += [f"{name}: {_one_line(value)}" for name, value in self._signed(identity, headers)]
        try:
            if side.transport is None:
                raise Unreachable("the connection was closed at once")
            side.transport.write("\r\n".join([*lines, "", ""]).encode())
            answer = await read_head(side)
        except BaseException:
            if side.transport is not None:
                side.transport.abort()
            raise
        self._has_answered()
        return side, answer

    def _has_answered(self) -> None:
        if self._on_answer is not None:
            self._on_answer()

    async def is_ready(self, within_s: float = 2.0) -> bool:
        """Whether the server says of itself that it is ready; asked with our own credential."""
        try:
            session = await self._fresh()
            timeout = aiohttp.ClientTimeout(total=within_s)
            url = URL(f"{self._connection.server}/readyz", encoded=True)
            asked = session.get(url, headers=self._credential(), timeout=timeout, server_hostname=self._name)
            async with asked as response:
                return response.status == 200
        except (OSError, TimeoutError, aiohttp.ClientError, ConfigError):
            return False

    async def close(self) -> None:
        await self._closing.all_now()
        if self._session is not None:
            await self._session.close()

    async def _fresh(self) -> aiohttp.ClientSession:
        now = asyncio.get_running_loop().time()
        if self._session is not None and now < self._checked_s + RELOAD_AFTER_S:
            return self._session
        self._checked_s = now
        self._token = self._connection.bearer_token()
        stamp = self._connection.stamp()
        if self._session is None or stamp != self._stamp:
            old, self._stamp = self._session, stamp
            self._context = self._connection.ssl_context()
            self._session = self._new_session()
            if old is not None:
                # Requests on the old credential may still run; they end with their connections.
                self._closing.later(old.close, OLD_CLOSES_AFTER_S)
        return self._session

    def _new_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,
            ssl=self._context or True,
            keepalive_timeout=KEPT_S,
            resolver=self._dialer,
            socket_factory=new_socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            middlewares=(sent_once,),
            auto_decompress=False,
            read_bufsize=READ_AHEAD_BYTES,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    def _signed(self, identity: Headers, headers: Headers) -> list[tuple[str, str]]:
        if not any(name == "Impersonate-User" and value for name, value in identity):
            raise ValueError("a request must be sent in somebody's name")
        return [*headers, *self._credential(), *identity]

    def _credential(self) -> list[tuple[str, str]]:
        if self._token:
            return [("Authorization", f"Bearer {self._token}")]
        if self._connection.basic is not None:
            plain = ":".join(self._connection.basic).encode()
            return [("Authorization", f"Basic {base64.b64encode(plain).decode()}")]
        return []


def told(error: Exception) -> str:
    """What went wrong with a connection, without the client library's own words."""
    return str(getattr(error, "os_error", None) or error) or "no answer"


def _one_line(value: str) -> str:
    if "\r" in value or "\n" in value:
        raise ValueError("a header holds a line break")
    return value


def broke_off(error: aiohttp.ClientError, method: str, *, what: str, do: str = "try again") -> Problem:
    """502. What changes something is not sent twice: who asked for it is told that it may have been done.

    Nor is it told when to try again: client programs of Kubernetes would do that by themselves.
    """
    why = str(error) if isinstance(error, BrokenOffError) else type(error).__name__
    if method in READINGS:
        return Unavailable("upstream-failed", what=what, why=why, do=do, status=502)
    do = f"look whether it was done, then {do}"
    return Problem("upstream-failed", what=what, why=why, do=do, status=502, reason="ServiceUnavailable")


def host_unavailable(error: Exception) -> Unavailable:
    return Unavailable(
        "kubernetes-unreachable",
        what="The Kubernetes API of the platform does not answer",
        why=str(error) or type(error).__name__,
        do="try again in a few seconds; the platform itself keeps running",
    )
