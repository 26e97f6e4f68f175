"""What a request identifies itself with: a bearer token, or the console's cookie (console §5.1).

A browser adds cookies by itself, also to what another site makes it send. SameSite=Strict stops that; beside
it, whatever changes something needs a header that no form can send, and an upgrade (which needs no such
header, and which no browser asks about first) an `Origin` of our own. A bearer token needs neither.
"""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from edge.apiserver.headers import forwarded, says_https
from edge_sdk.problem import Forbidden, NotAuthenticated

SESSION_COOKIE: Final = "edge_session"
REFRESH_COOKIE: Final = "edge_refresh"
CSRF_HEADER: Final = "X-Edge-CSRF"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
PORTS: Final = {"http": 80, "https": 443}
SIGN_IN: Final = "sign in at /oauth/token and send the token as `Authorization: Bearer …`"


def credential(request: web.BaseRequest, origins: Collection[str] = ()) -> str:
    """The access token of a request. origins: that may open WebSockets, besides the request's own host.

    Raises NotAuthenticated (401), Forbidden (403) for a cookie that another site may have sent. A bad or
    absent credential never falls back to another one, or to anybody.
    """
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
        raise _nobody("its Authorization header holds no bearer token")
    token = request.cookies.get(SESSION_COOKIE, "")
    if not token:
        raise _nobody("this path needs one")
    check_sent_by_us(request, origins)
    return token


def check_sent_by_us(request: web.BaseRequest, origins: Collection[str] = ()) -> None:
    """For what a cookie lets in. Raises Forbidden when another site may have made the browser send it."""
    if request.method not in SAFE_METHODS and request.headers.get(CSRF_HEADER) != "1":
        raise Forbidden(
            "csrf-header-missing",
            what="The request was refused",
            why=f"it changes something, came with a cookie, and without the header `{CSRF_HEADER}: 1`",
            do="send that header, or an access token as `Authorization: Bearer …` instead of the cookie",
        )
    if "Upgrade" in request.headers and not is_own_origin(request, origins):
        raise Forbidden(
            "origin-not-allowed",
            what="The connection was refused",
            why="it identifies itself with a cookie, and its Origin is not an address of this platform",
            do="open it from the console, or add the console's address to authentication.session.origins",
        )


def came_encrypted(request: web.BaseRequest) -> bool:
    """Over TLS, or so says a proxy; any proxy: a false claim keeps only its own author from signing in."""
    return says_https(forwarded(request.headers, "X-Forwarded-Proto")) or request.secure


def is_own_origin(request: web.BaseRequest, origins: Collection[str]) -> bool:
    origin = request.headers.get("Origin", "")
    if origin and origin in origins:
        return True
    if came_encrypted(request) and not origin.startswith("https://"):
        return False  # of a page that anybody on the way may have written
    try:
        parts, host = urlsplit(origin), urlsplit(f"//{request.headers.get('Host', '')}")
        usual = PORTS.get(parts.scheme)
        ours = (host.hostname, host.port or usual)
        return bool(usual and parts.hostname) and (parts.hostname, parts.port or usual) == ours
    except ValueError:
        return False


def _nobody(why: str) -> NotAuthenticated:
    return NotAuthenticated("not-signed-in", what="The request has no token", why=why, do=SIGN_IN)
