"""Passing a request on to a Kubernetes API in the caller's name, and its answer back (G1, G12).

Bytes are streamed: a watch, a followed log or a 100 MB log is never held in memory. Answers about kinds with
secret fields are the exception: they are masked, a watch line by line.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import aiohttp
import msgspec
from aiohttp import web

from edge.apiserver.answers import SECURITY_HEADERS
from edge.apiserver.headers import answered, passed_on
from edge.apiserver.masking import LineMask, mask_document
from edge.apiserver.upstreams.splice import rest_of_body, splice, wanted_protocol
from edge.apiserver.upstreams.upstream import Upstream
from edge_sdk.problem import Problem, Unavailable

WHOLE_BELOW_BYTES: Final = 1024 * 1024
BEARER_PROTOCOL: Final = "base64url.bearer.authorization.k8s.io."
Headers = Sequence[tuple[str, str]]


class Forwarding:
    """One request on its way: where to, as whom, and what must not come back."""

    def __init__(
        self,
        upstream: Upstream,
        path: str,
        identity: Headers,
        *,
        masked: tuple[str, str] | None = None,
        watch: bool = False,
        timeout_s: float | None = 30.0,
        head_within_s: float | None = None,
        base: str = "",
        shell_idle_s: float,
    ) -> None:
        """masked: (group, resource) whose secrets leave the answer. timeout_s: None for streams.

        head_within_s: of streams that begin at once. base: where the upstream's own root is here.
        shell_idle_s: how long an upgrade may stay unused."""
        self._upstream = upstream
        self._path = path
        self._identity = identity
        self._masked = masked
        self._watch = watch
        self._timeout_s = timeout_s
        self._head_within_s = head_within_s
        self._base = base
        self._shell_idle_s = shell_idle_s

    async def send(self, request: web.BaseRequest, body: bytes | None) -> web.StreamResponse:
        """Raises Unreachable, TimeoutError, aiohttp.ClientError, Problem."""
        headers = self._sent_headers(request)
        protocol = wanted_protocol(request.headers.items())
        if protocol and self._masked is not None:
            raise Problem(
                "bad-upgrade",
                what="These objects are not watched over a web socket",
                why="they have secret fields, which can only be taken out of plain answers",
                do="watch them with a plain GET and ?watch=1",
            )
        if protocol:
            return await self._switch(request, headers, protocol)
        response = await self._upstream.request(
            request.method,
            self._path,
            identity=self._identity,
            headers=headers,
            body=body,
            timeout_s=self._timeout_s,
            head_within_s=self._head_within_s,
        )
        async with response:
            return await self._answer(request, response)

    def _sent_headers(self, request: web.BaseRequest) -> list[tuple[str, str]]:
        headers = passed_on(request.headers.items())
        if self._masked is None:
            return headers
        # What is to be masked must be readable: no compression, and nothing but JSON in whatever form.
        kept = [(name, value) for name, value in headers if name.lower() not in ("accept-encoding", "accept")]
        kinds = [part.strip() for part in request.headers.get("Accept", "").split(",") if _is_json(part)]
        return [*kept, ("Accept", ",".join(kinds) or "application/json")]

    async def _answer(self, request: web.BaseRequest, response: aiohttp.ClientResponse) -> web.StreamResponse:
        headers = self._led_back(answered(response.headers.items()))
        length = response.content_length
        if request.method == "HEAD":
            return _head_alone(response.status, headers, length)
        if self._masked is not None and (not self._watch or length is not None):
            # What has a length is no watch, whatever was asked for: an object, a list, or why there is none.
            body = await response.read()
            told = response.status >= HTTPStatus.BAD_REQUEST and response.content_type == "text/plain"
            return whole_answer(response.status, headers, body if told else self._mask(body))
        if length is not None and length <= WHOLE_BELOW_BYTES:
            return whole_answer(response.status, headers, await response.read())
        return await self._stream(request, response, headers)

    def _led_back(self, headers: Headers) -> Headers:
        """A member's redirect stays in the member: without its base the same path is one of the host's."""
        if not self._base:
            return headers
        return [
            (name, f"{self._base}{value}" if name.lower() == "location" and _is_path(value) else value)
            for name, value in headers
        ]

    def _mask(self, body: bytes) -> bytes:
        if self._masked is None or not body:
            return body
        try:
            return mask_document(*self._masked, body)
        except msgspec.DecodeError:
            raise Unavailable(
                "upstream-failed",
                what="The answer of the Kubernetes API was not passed on",
                why="it is no JSON, so secret fields could not be taken out",
                do="ask for application/json",
                status=502,
            ) from None

    async def _stream(
        self, request: web.BaseRequest, response: aiohttp.ClientResponse, headers: Headers
    ) -> web.StreamResponse:
        out = web.StreamResponse(status=response.status)
        _set(out, headers)
        if response.content_length is not None and self._masked is None:
            out.content_length = response.content_length
        await out.prepare(request)
        lines = LineMask(*self._masked) if self._masked is not None else None
        async for piece in response.content.iter_any():
            await out.write(piece if lines is None else lines.feed(piece))
        await out.write_eof()
        return out

    async def _switch(self, request: web.BaseRequest, headers: Headers, protocol: str) -> web.StreamResponse:
        offered = [*without_bearer(headers), ("Connection", "Upgrade"), ("Upgrade", protocol)]
        if request.method == "POST":
            offered.append(("Content-Length", "0"))
        upstream, head = await self._upstream.upgrade(
            request.method, self._path, identity=self._identity, headers=offered
        )
        if head.status == 101:
            return await splice(request, head, answered(head.headers), upstream, idle_s=self._shell_idle_s)
        try:
            body = await rest_of_body(upstream, head)
        finally:
            if upstream.transport is not None:
                upstream.transport.abort()
        refused = whole_answer(head.status, self._led_back(answered(head.headers)), body)
        refused.force_close()
        return refused


def whole_answer(status: int, headers: Headers, body: bytes) -> web.Response:
    """An answer that is in memory, with the upstream's own headers."""
    out = web.Response(status=status, body=body)
    _set(out, headers)
    return out


def _is_path(location: str) -> bool:
    return location.startswith("/") and not location.startswith("//")


def _is_json(accepted: str) -> bool:
    """Whether a part of the header Accept is answered with JSON."""
    return accepted.partition(";")[0].strip().lower() in ("application/json", "application/*", "*/*")


def _head_alone(status: int, headers: Headers, length: int | None) -> web.StreamResponse:
    """The answer to a HEAD, which tells the length of what a GET would bring."""
    out = web.StreamResponse(status=status)
    _set(out, headers)
    if length is not None:
        out.content_length = length
    return out


def _set(out: web.StreamResponse, headers: Headers) -> None:
    """The upstream's headers, each as often as it came: kubectl prints every Warning. Then our own."""
    out.headers.popall("Content-Type", None)
    out.headers.extend(headers)
    for name, value in SECURITY_HEADERS:
        out.headers[name] = value


def without_bearer(headers: Headers) -> list[tuple[str, str]]:
    """Browsers carry the token as a WebSocket sub-protocol: it is for us, the upstream must not see it."""
    kept: list[tuple[str, str]] = []
    for name, value in headers:
        if name.lower() == "sec-websocket-protocol":
            value = ", ".join(
                part
                for part in (item.strip() for item in value.split(","))
                if not part.startswith(BEARER_PROTOCOL)
            )
            if not value:
                continue
        kept.append((name, value))
    return kept
