"""What every answer carries, whoever made it: headers that protect browsers, and CORS, closed by default.

Whatever a handler has set stays, but for CORS and the request id. Source: design §8.1; issue 5 §2.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from multidict import CIMultiDict

from edge.apiserver.headers import Network, is_over_tls
from edge_sdk.problem import Forbidden

YEAR_S: Final = 31_536_000
HTML: Final = frozenset({"text/html", "application/xhtml+xml", "image/svg+xml"})
OWN_PAGES: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
FOREIGN_PAGES: Final = "sandbox allow-scripts allow-forms; frame-ancestors 'none'"
"""A pod's page behind the Kubernetes proxy has an origin of its own: it cannot act as who looks at it."""
FOREIGN_ROOTS: Final = frozenset({"api", "apis", "clusters"})
ALWAYS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS: Final = (
    "Authorization, Content-Type, Accept, Accept-Language, If-Match, If-None-Match, X-Request-Id, "
    "X-Edge-CSRF, X-Edge-Session"
)
ANSWER_HEADERS: Final = "ETag, Retry-After, Warning, X-Request-Id, X-Edge-Authz"
REMEMBERED_S: Final = 600


class Doors:
    """allowed_origins: exact ones, "https://console.example.com"; trusted: proxies that end TLS for us."""

    def __init__(self, allowed_origins: Sequence[str] = (), trusted: Sequence[Network] = ()) -> None:
        self._origins = frozenset(allowed_origins)
        self._trusted = trusted
        self.draining = False
        """Whether clients are to open their next connection elsewhere."""

    def dress(self, request: web.BaseRequest, response: web.StreamResponse, request_id: str) -> None:
        """Called once, right before the head of the answer is written."""
        headers = response.headers
        for name, value in ALWAYS:
            headers.setdefault(name, value)
        if request_id:
            headers["X-Request-Id"] = request_id
        if response.content_type in HTML:
            foreign = request.raw_path.lstrip("/").partition("/")[0] in FOREIGN_ROOTS
            headers.setdefault("Content-Security-Policy", FOREIGN_PAGES if foreign else OWN_PAGES)
        if self._is_tls(request):
            headers.setdefault("Strict-Transport-Security", f"max-age={YEAR_S}")
        self._cross_origin(request, headers)
        if self.draining:
            headers["Connection"] = "close"
            response.force_close()

    def preflight(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to a browser that asks whether it may; None for any other request. Raises Forbidden."""
        wanted = request.headers.get("Access-Control-Request-Method")
        if not self._origins or request.method != "OPTIONS" or wanted is None:
            return None
        origin = request.headers.get("Origin", "")
        if origin not in self._origins:
            raise Forbidden(
                "origin-not-allowed",
                what="The browser may not send this request",
                why=f'"{origin[:100]}" is not among the allowed origins',
                do="add it to server.cors.allowedOrigins, exactly as the browser sends it",
            )
        headers = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": str(REMEMBERED_S),
        }
        return web.Response(status=204, headers=headers)

    def check_origin(self, request: web.BaseRequest) -> None:
        """For credentials that a browser sends by itself. Raises Forbidden for what another site began."""
        origin = request.headers.get("Origin")
        if origin is None or origin in self._origins or origin == f"https://{request.host}":
            return
        raise Forbidden(
            "origin-not-allowed",
            what="The request was refused",
            why=f'a page of "{origin[:100]}" began it, and the browser added its user\'s certificate',
            do="call from the gateway's own address, or send a token",
        )

    def _cross_origin(self, request: web.BaseRequest, headers: "CIMultiDict[str]") -> None:
        if not self._origins:
            return
        vary = headers.get("Vary")
        headers["Vary"] = f"{vary}, Origin" if vary else "Origin"
        origin = request.headers.get("Origin")
        if origin in self._origins:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Allow-Credentials"] = "true"
            headers["Access-Control-Expose-Headers"] = ANSWER_HEADERS

    def _is_tls(self, request: web.BaseRequest) -> bool:
        return is_over_tls(request, self._trusted)


def origin_fault(origin: str) -> str:
    """Why this cannot be an allowed origin; "" when it can. Pure."""
    if origin == "*":
        return "with it, any site could act as who is signed in"
    parts = urlsplit(origin)
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or origin != f"{parts.scheme}://{parts.netloc}"
    ):
        return "a browser sends scheme, host and port alone"
    return "" if origin == origin.lower() else "a browser sends it in lower case"
