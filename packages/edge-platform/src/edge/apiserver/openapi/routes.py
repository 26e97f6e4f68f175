"""GET /oapis/openapi.json and /oapis/docs: the document, and a page to read it, without a token (G2).

Both tell what the software can do and nothing of what is in this installation.
"""

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from edge.apiserver.answers import JSON, is_known, json_answer
from edge.apiserver.openapi.operation import Operation
from edge.apiserver.openapi.page import CSP, page

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

HTML: Final = "text/html; charset=utf-8"
OPERATIONS: Final = (
    Operation("GET", "/oapis/openapi.json", "This document", "system", answer=dict[str, Any], public=True,
              name="getOpenapi"),
    Operation("GET", "/oapis/docs", "This document as a page", "system", answer=str, public=True,
              answers_as="text/html", name="getDocs", refuses=(304,)),
)  # fmt: skip


class Served(msgspec.Struct, frozen=True):
    """An answer that is always the same. tag: of its content, for If-None-Match."""

    plain: bytes
    zipped: bytes
    tag: str
    content_type: str


class DocumentRoutes:
    def routes(self) -> "dict[tuple[str, tuple[str, ...]], Handler]":
        return {("GET", ("oapis", "openapi.json")): self._document, ("GET", ("oapis", "docs")): self._page}

    async def _document(self, exchange: "Exchange") -> web.StreamResponse:
        return _answer(exchange, _document())

    async def _page(self, exchange: "Exchange") -> web.StreamResponse:
        response = _answer(exchange, _page())
        response.headers["Content-Security-Policy"] = CSP
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response


def document_bytes() -> bytes:
    """As tools/openapigen wrote it."""
    return files("edge.apiserver.openapi").joinpath("openapi.json").read_bytes()


@cache
def _document() -> Served:
    return _served(document_bytes(), JSON)


@cache
def _page() -> Served:
    return _served(page(msgspec.json.decode(document_bytes())).encode(), HTML)


def _served(plain: bytes, content_type: str) -> Served:
    tag = f'"{hashlib.sha256(plain).hexdigest()[:16]}"'
    return Served(plain, gzip.compress(plain, 6, mtime=0), tag, content_type)


def _answer(exchange: "Exchange", served: Served) -> web.Response:
    headers = exchange.request.headers
    if is_known(exchange.request, served.tag):
        response = json_answer(b"", 304, served.content_type)
    elif "gzip" in headers.get("Accept-Encoding", ""):
        response = json_answer(served.zipped, content_type=served.content_type)
        response.headers["Content-Encoding"] = "gzip"
    else:
        response = json_answer(served.plain, content_type=served.content_type)
    response.headers["ETag"] = served.tag
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = "no-cache"
    return response
