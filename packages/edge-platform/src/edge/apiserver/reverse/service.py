"""One upstream of one ReverseProxy: its connections, its certificate, its share of the gateway.

No credential of the platform is here, so that none can be lent by mistake. Redirects are passed on, never
followed, and answers are passed as they are packed: nothing is inflated.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Final

import aiohttp
from yarl import URL

from edge.apiserver.upstreams.breaker import Breaker, Unreachable
from edge.apiserver.upstreams.dialing import Dialer, Lookup
from edge.apiserver.upstreams.splice import Head, Side, dial, read_head
from edge.apiserver.upstreams.upstream import CONNECT_WITHIN_S, told
from edge.operate.addresses import full_name, service_of
from edge.operate.types import ReverseProxy
from edge_kube.lifesigns import new_socket
from edge_kube.once import sent_once
from edge_sdk.problem import Unavailable

ANSWER_LINE_MAX: Final = 32 * 1024
KEPT_S: Final = 1.5
"""How long an idle connection is kept. Servers close theirs after 2 s (gunicorn), 5 s (Node.js, Apache) or
more; a change that meets one that was just closed fails, so we close first."""
Headers = Sequence[tuple[str, str]]


class Service:
    """Closed when its object goes or changes; what it has in hand then ends by itself within a minute."""

    def __init__(
        self,
        proxy: ReverseProxy,
        *,
        domain: str,
        seats: int,
        slow_s: float,
        loopback_allowed: bool,
        lookup: Lookup,
    ) -> None:
        """Raises ForbiddenAddress for an address where nothing is dialled, ssl.SSLError for a bad CA."""
        upstream, meta = proxy.spec.upstream, proxy.metadata
        self.host, self.port = upstream.host.lower(), upstream.port
        service = service_of(self.host, meta.namespace)
        self._dialer = Dialer(
            full_name(service, meta.namespace, domain) if service else self.host,
            is_service=bool(service),
            loopback_allowed=loopback_allowed,
            lookup=lookup,
        )
        bare = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        self.authority = f"{bare}:{self.port}"
        self._base = f"{upstream.scheme}://{self.authority}"
        self._context = _tls(proxy) if upstream.scheme == "https" else None
        self.breaker = _breaker(f"{meta.namespace}/{meta.name}", self.authority, seats, slow_s)
        self._session: aiohttp.ClientSession | None = None
        self.closed = False

    async def request(
        self, method: str, path: str, headers: Headers, body: bytes | None, timeout_s: float | None
    ) -> aiohttp.ClientResponse:
        """Raises Unreachable, TimeoutError, aiohttp.ClientError."""
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_WITHIN_S)
        try:
            answer = await self._connected().request(
                method,
                URL(f"{self._base}{path}", encoded=True),
                headers=headers,
                data=body,
                timeout=timeout,
                allow_redirects=False,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(told(error)) from error
        self.breaker.answered()
        return answer

    async def upgrade(self, method: str, path: str, headers: Headers) -> tuple[Side, Head]:
        """A connection of its own that asks to leave HTTP, and the answer. Raises Unreachable, Problem."""
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S * 2):
                found = await self._dialer.addresses(self.port)
                name = self.host.strip("[]") if self._context is not None else None
                side = await dial(found, self.port, self._context, name)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            raise Unreachable(str(error) or "no answer") from error
        named = (
            headers
            if any(name.lower() == "host" for name, _ in headers)
            else [("Host", self.authority), *headers]
        )
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {_one_line(value)}" for name, value in named)]
        try:
            if side.transport is None:
                raise Unreachable("the connection was closed at once")
            side.transport.write("\r\n".join([*lines, "", ""]).encode())
            head = await read_head(side)
        except BaseException:
            if side.transport is not None:
                side.transport.abort()
            raise
        self.breaker.answered()
        return side, head

    async def close(self) -> None:
        self.closed = True
        if self._session is not None:
            await self._session.close()

    def _connected(self) -> aiohttp.ClientSession:
        if self.closed:
            raise Unreachable("its object has just changed")
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0,
                ssl=self._context or True,
                keepalive_timeout=KEPT_S,
                resolver=self._dialer,
                ttl_dns_cache=5,
                socket_factory=new_socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                middlewares=(sent_once,),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                max_line_size=ANSWER_LINE_MAX,
                max_field_size=ANSWER_LINE_MAX,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session


def _tls(proxy: ReverseProxy) -> ssl.SSLContext:
    upstream = proxy.spec.upstream
    context = ssl.create_default_context(cadata=upstream.ca_bundle or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if upstream.insecure_skip_verify is True:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _breaker(place: str, authority: str, seats: int, slow_s: float) -> Breaker:
    def down(since: str, why: str) -> Unavailable:
        return Unavailable(
            "upstream-unreachable",
            what=f"{authority}, which ReverseProxy {place} leads to, does not answer since {since}",
            why=why,
            do=f"look at that service (kubectl describe reverseproxy, in {place.partition('/')[0]})",
        )

    def busy(seats: int) -> Unavailable:
        return Unavailable(
            "upstream-busy",
            what=f"{authority}, which ReverseProxy {place} leads to, is slow",
            why=f"{seats} requests wait for it already",
            do="try again in a second",
        )

    return Breaker(seats=seats, slow_s=slow_s, down=down, busy=busy)


def _one_line(value: str) -> str:
    if "\r" in value or "\n" in value:
        raise ValueError("a header holds a line break")
    return value
