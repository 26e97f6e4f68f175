"""Addresses that a browser is sent back to (RFC 6749 §3.1.2, RFC 8252, OAuth security BCP). Pure.

An address is compared as text, byte for byte, with one that was written down before: there is no rule for
cases, hosts or paths that a clever address could bend. The one exception is the port of a program on the
person's own machine, which takes one that is free (RFC 8252 §7.3). What may be written down is decided here.
"""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlencode, urlsplit

from edge_sdk.problem import Violation

URI_MAX: Final = 2000
ACCEPTED: Final = (
    "https://HOST/PATH, http://localhost:PORT/PATH, http://127.0.0.1:PORT/PATH or http://[::1]:PORT/PATH, or "
    "a scheme of your own with a dot in it: com.example.app:/PATH"
)
LOCALHOST: Final = "localhost"
"""A name, which somebody may have pointed elsewhere (RFC 8252 §8.3): no port but the registered one."""
PORT_MAX: Final = 65_535

_CHARACTERS = re.compile(
    r"(http://\[::1\])?[A-Za-z0-9\-._~:/?@!$&()*+=%]*"
)  # RFC 3986, without # and what a policy could misread
_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::([1-9][0-9]{0,4}))?((?:[/?].*)?)")
_HOST = re.compile(r"[A-Za-z0-9.-]+")
_OWN_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")


def redirect_violation(uri: str, field: str) -> Violation | None:
    """Why people may never be sent there, or None."""
    why = _wrong(uri)
    return None if why is None else Violation(field, uri[:200], why, ACCEPTED)


def _wrong(uri: str) -> str | None:
    if len(uri) > URI_MAX or _CHARACTERS.fullmatch(uri) is None:
        return "it is too long, or has a character that an address cannot have; fragments (#) are not allowed"
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "it is no address"
    scheme = uri.partition(":")[0]
    if scheme in ("https", "http"):
        if _LOOPBACK.fullmatch(uri) is not None:
            return None
        if not host or "@" in parts.netloc or _HOST.fullmatch(host) is None:
            return "it has no host, or names a user"
        if scheme == "http" and host != LOCALHOST:
            return "whoever is on the way could read the code"
        return None
    if _OWN_SCHEME.fullmatch(scheme) is None:
        return "browsers must not be sent to such a scheme"
    return None


def is_registered(uri: str, registered: Collection[str]) -> bool:
    """Whether people may be sent there: to one of these, but for the port of a loopback address."""
    if uri in registered:
        return True
    place = _without_port(uri)
    return place is not None and any(_without_port(one) == place for one in registered)


def _without_port(uri: str) -> tuple[str, str] | None:
    """What comes before the port of a loopback address, and after; None for every other address."""
    found = _LOOPBACK.fullmatch(uri)
    if found is None or int(found[2] or 80) > PORT_MAX:
        return None
    return found[1], found[3]


def absolute(address: str, issuer: str) -> str:
    """A path stands for that path at the issuer's own address: `/sign-in/callback` of the console."""
    if not address.startswith("/") or address.startswith("//"):
        return address
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}{address}"


def origin_of(uri: str) -> str:
    """What a Content-Security-Policy calls the place: `https://host:port`, or `com.example.app:`.

    It has no word for an IPv6 address, so that one is called by its scheme alone.
    """
    parts = urlsplit(uri)
    if "[" in parts.netloc:
        return f"{parts.scheme}:"
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def with_answer(uri: str, answer: dict[str, str]) -> str:
    """The address with the answer in its query; every value is encoded, so none can end a header line."""
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(answer)}"
