"""What a browser carries on these pages: the cookie of its sign-in, and the one that its forms are bound to.

Neither is a token: no API takes them. Over TLS their names begin with `__Host-`, so that no other host and no
plain connection can plant one.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from typing import Final

import msgspec
from aiohttp import web

from edge.apiserver.headers import Network, is_over_tls

FORM_COOKIE: Final = "edge-oauth-form"
LOGIN_COOKIE: Final = "edge-oauth-login"
TOKEN_FIELD: Final = "csrf"  # noqa: S105

_VALUE = re.compile(r"[A-Za-z0-9_-]{43}")
_OWN_SITES: Final = ("", "same-origin", "none")

Pairs = Sequence[tuple[str, str]]


class Browser:
    """The browser behind one request. trusted: networks of proxies that say whether they spoke TLS."""

    def __init__(self, request: web.BaseRequest, trusted: Sequence[Network]) -> None:
        self._request = request
        self._secure = is_over_tls(request, trusted)

    @property
    def login(self) -> str:
        """The text of its sign-in, or ""."""
        return self._cookie(LOGIN_COOKIE)

    def form_key(self) -> str:
        """What its forms are bound to; a new one when it has none. Give it back with `bind`."""
        return self._cookie(FORM_COOKIE) or secrets.token_urlsafe(32)

    def bind(self, response: web.Response, form_key: str) -> None:
        self._set(response, FORM_COOKIE, form_key)

    def remember(self, response: web.Response, login: str) -> None:
        self._set(response, LOGIN_COOKIE, login)

    def forget(self, response: web.Response) -> None:
        self._set(response, LOGIN_COOKIE, "", "; Max-Age=0")

    def sent_its_own_form(self, token: str, fields: Pairs) -> bool:
        """Whether a form that this very browser got from us, about these very fields, comes back."""
        key = self._cookie(FORM_COOKIE)
        if not key or self._request.headers.get("Sec-Fetch-Site", "") not in _OWN_SITES:
            return False
        return hmac.compare_digest(form_token(key, fields).encode(), token.encode())

    def _cookie(self, name: str) -> str:
        value = self._request.cookies.get(self._name(name), "")
        return value if _VALUE.fullmatch(value) else ""

    def _name(self, name: str) -> str:
        return f"__Host-{name}" if self._secure else name

    def _set(self, response: web.Response, name: str, value: str, more: str = "") -> None:
        """Lax: a program sends the browser here from its own site, and it must still be known."""
        secure = "; Secure" if self._secure else ""
        response.headers.add(
            "Set-Cookie", f"{self._name(name)}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{more}"
        )


def form_token(key: str, fields: Pairs) -> str:
    return hmac.new(key.encode(), b"form:" + msgspec.json.encode(list(fields)), hashlib.sha256).hexdigest()
