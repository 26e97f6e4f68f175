"""One request through a ReverseProxy: what goes up, what comes down, and what never passes (G5).

Strip first, change after, add ours last: no directive and no client can take away or forge what the gateway
says. An upgrade is told 101 only after the upstream said so; any other answer to it ends both connections.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import web

from edge.apiserver.answers import SERVER
from edge.apiserver.headers import Network, answered, client_address, forwarded, is_over_tls, passed_on, plain
from edge.apiserver.paths import Target
from edge.apiserver.reverse.cookies import all_sent_up, sent_down
from edge.apiserver.reverse.links import HTML_MAX_BYTES, is_html, location, with_links
from edge.apiserver.reverse.table import Entry
from edge.apiserver.upstreams.proxy import WHOLE_BELOW_BYTES, without_bearer
from edge.apiserver.upstreams.splice import rest_of_body, splice, wanted_protocol
from edge.apiserver.upstreams.upstream import broke_off
from edge.operate.matching import canonical
from edge.operate.rewriting import DOWN_KEPT, RewriteError, changed_headers
from edge_sdk.problem import Problem

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange

VIA: Final = "edge-apiserver"
OVERRIDES: Final = frozenset(
    {
        *("x-http-method-override", "x-http-method", "x-method-override"),
        *("x-original-url", "x-rewrite-url", "x-real-ip"),
    }
)
"""Some services take method, path or address from these, and not from the request that was decided about."""
Headers = list[tuple[str, str]]


class Passing:
    def __init__(
        self,
        entry: Entry,
        *,
        trusted: Sequence[Network],
        introduction: Headers,
        timeout_s: float,
        shell_idle_s: float,
    ) -> None:
        """introduction: headers that tell who calls; empty where the object does not ask for them.

        shell_idle_s: how long an upgrade may stay unused.
        """
        self._entry = entry
        self._trusted = trusted
        self._introduction = introduction
        self._timeout_s = timeout_s
        self._shell_idle_s = shell_idle_s

    async def run(self, exchange: "Exchange") -> web.StreamResponse:
        """Raises Problem, aiohttp.ClientError, TimeoutError."""
        request = exchange.request
        if any(VIA in value for value in request.headers.getall("Via", ())):
            raise Problem(
                "loop-detected",
                what=f"The ReverseProxy for {self._entry.asked} leads back to the gateway",
                why="the request has been here before",
                do="correct spec.upstream or the rewrites of that object",
                status=508,
            )
        path, headers = self._path(exchange.target), self._up(request)
        protocol = wanted_protocol(request.headers.items())
        stream = exchange.stream

        async def send() -> web.StreamResponse:
            if protocol:
                return await self._switch(request, path, headers, protocol)
            timeout_s = None if stream else self._timeout_s
            service, method = self._entry.service, self._method(request)
            async with await service.request(method, path, headers, exchange.body, timeout_s) as answer:
                return await self._answer(request, answer)

        try:
            return await self._entry.service.breaker.call(send, stream=stream)
        except aiohttp.ClientError as error:
            if request.writer.output_size > 0:
                raise
            entry = self._entry
            raise broke_off(
                error,
                self._method(request),
                what=f"{entry.service.authority}, behind {entry.asked}, broke the connection",
                do="try again; if it stays, look at that service",
            ) from error

    def _method(self, request: web.BaseRequest) -> str:
        return self._entry.spec.directives.method.upper() or request.method

    def _path(self, target: Target) -> str:
        path = (
            "/"
            + "/".join(canonical(target.segments))
            + ("/" if target.trailing_slash and target.segments else "")
        )
        try:
            new = self._entry.rewriter.path(path)
        except RewriteError as error:
            raise Problem(
                "bad-path",
                what="The path could not be rewritten for the upstream",
                why=str(error),
                do=f"ask for another path below {self._entry.prefix}, or correct the object's rewrites",
            ) from None
        parts = new[1:].split("/")
        slash = len(parts) > 1 and not parts[-1]
        segments = tuple(part for part in parts if part)
        return Target(segments, target.query, slash).rebuilt()

    def _up(self, request: web.BaseRequest) -> Headers:
        pairs = list(request.headers.items())
        kept = [(name, value) for name, value in passed_on(pairs) if plain(name) not in OVERRIDES]
        headers = [*kept, *all_sent_up(pairs)]
        if self._entry.spec.directives.wrap_transport is True:
            headers = [(name, value) for name, value in headers if name.lower() != "accept-encoding"]
        headers = changed_headers(headers, self._entry.up)
        peer = request.remote or ""
        hops = forwarded(request.headers, "X-Forwarded-For")
        return [
            *headers,
            ("X-Forwarded-For", client_address(peer, hops, self._trusted)),
            ("X-Forwarded-Proto", "https" if is_over_tls(request, self._trusted) else "http"),
            ("X-Forwarded-Host", request.headers.get("Host", "")[:255]),
            ("X-Forwarded-Prefix", self._entry.prefix),
            ("Via", f"1.1 {VIA}"),
            *self._introduction,
        ]

    def _down(self, headers: Sequence[tuple[str, str]]) -> Headers:
        entry = self._entry
        found: Headers = []
        for name, value in answered(headers):
            low = name.lower()
            if low == "location":
                value = location(value, entry.prefix, entry.service.host, entry.service.port)
            if low not in DOWN_KEPT:
                found.append((name, value))
        for name, value in headers:
            if name.lower() == "set-cookie" and (cookie := sent_down(value, entry.prefix)) is not None:
                found.append(("Set-Cookie", cookie))
        found = changed_headers(found, entry.down)
        if not any(name.lower() == "cache-control" for name, _ in found):
            found.append(("Cache-Control", "no-store"))
        return [*found, ("X-Content-Type-Options", "nosniff"), ("Server", SERVER)]

    async def _answer(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        headers, length = self._down(list(answer.headers.items())), answer.content_length
        wraps = self._entry.spec.directives.wrap_transport is True and is_html(answer.content_type)
        if wraps and "Content-Encoding" not in answer.headers and request.method != "HEAD":
            return await self._with_links(request, answer, headers)
        out = web.StreamResponse(status=answer.status)
        if length is not None and length <= WHOLE_BELOW_BYTES and request.method != "HEAD":
            out = web.Response(status=answer.status, body=await answer.read())
        elif length is not None:
            out.content_length = length
        _set(out, headers)
        if isinstance(out, web.Response):
            return out
        await out.prepare(request)
        async for piece in answer.content.iter_any():
            await out.write(piece)
        await out.write_eof()
        return out

    async def _with_links(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, headers: Headers
    ) -> web.StreamResponse:
        """Pages up to a bound are corrected; longer ones are passed on as they come."""
        page = bytearray()
        pieces = answer.content.iter_any()
        async for piece in pieces:
            page += piece
            if len(page) > HTML_MAX_BYTES:
                break
        else:
            out: web.StreamResponse = web.Response(
                status=answer.status, body=with_links(bytes(page), self._entry.prefix)
            )
            _set(out, headers)
            return out
        out = web.StreamResponse(status=answer.status)
        _set(out, headers)
        await out.prepare(request)
        await out.write(bytes(page))
        async for piece in pieces:
            await out.write(piece)
        await out.write_eof()
        return out

    async def _switch(
        self, request: web.BaseRequest, path: str, headers: Headers, protocol: str
    ) -> web.StreamResponse:
        offered = [*without_bearer(headers), ("Connection", "Upgrade"), ("Upgrade", protocol)]
        side, head = await self._entry.service.upgrade(request.method, path, offered)
        if head.status == 101:
            return await splice(request, head, self._down(head.headers), side, idle_s=self._shell_idle_s)
        try:
            body = await rest_of_body(side, head)
        finally:
            if side.transport is not None:
                side.transport.abort()
        refused = web.Response(status=head.status, body=body)
        _set(refused, self._down(head.headers))
        refused.force_close()
        return refused


def _set(out: web.StreamResponse, headers: Headers) -> None:
    out.headers.popall("Content-Type", None)
    seen: set[str] = set()
    for name, value in headers:
        if name.lower() in ("set-cookie", "link", "vary", "warning") or name.lower() in seen:
            out.headers.add(name, value)
        else:
            out.headers[name] = value
        seen.add(name.lower())
