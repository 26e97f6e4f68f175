"""Which headers pass the gateway, and in whose name. Pure.

Strip first, add after: what a client says about identity, or names in `Connection`, is gone before anything
of ours is added; so a client cannot make the gateway drop its own impersonation (CVE-2021-31999).
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from multidict import CIMultiDictProxy

from edge.iam.accounts import is_service_account
from edge_sdk.access import Caller
from edge_sdk.problem import Forbidden, Problem
from edge_sdk.scopes import ADMINS_GROUP, GROUP_PREFIX, SCOPE_ADMINS_GROUP

if TYPE_CHECKING:
    from aiohttp import web

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    }
)
OURS: Final = frozenset(
    {"authorization", "host", "content-length", "cookie", "expect", "forwarded", "via", "audit-id"}
)
FORGED: Final = ("impersonate", "x-remote", "x-forwarded", "x-edge")
ONCE: Final = frozenset({"host", "authorization", "content-length", "transfer-encoding", "content-type"})

BAD_HEADER: Final = "bad-header"
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]*)(:[0-9]{0,5})?")

Headers = Iterable[tuple[str, str]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def check_framing(headers: Headers, *, knows_chunks: bool = True) -> set[str]:
    """Refuse a request whose end or sender two programs could read differently. Raises Problem (400).

    knows_chunks: False for HTTP/1.0, whose servers do not look for them (RFC 9112 §6.1).
    The names of its headers, in small letters."""
    seen: set[str] = set()
    for name, value in headers:
        low = name.lower()
        if not value.isascii() and not _is_text(value):
            raise _bad_header(f"its header {name} is not UTF-8")
        if low in ONCE and low in seen:
            raise _bad_header(f"it has the header {name} twice")
        if low == "host" and _HOST.fullmatch(value) is None:
            raise _bad_header("its header Host is no host")
        if low == "transfer-encoding" and value.strip().lower() != "chunked":
            raise _bad_header("its Transfer-Encoding is another than chunked")
        seen.add(low)
    if {"content-length", "transfer-encoding"} <= seen:
        raise _bad_header("it has both Content-Length and Transfer-Encoding")
    if "transfer-encoding" in seen and not knows_chunks:
        raise _bad_header("it has a Transfer-Encoding, which HTTP/1.0 does not know")
    return seen


def _is_text(value: str) -> bool:
    """Bytes that are no UTF-8 come as lone surrogates, which nothing behind here could write down again."""
    return not any("\ud800" <= sign <= "\udfff" for sign in value)


def _bad_header(why: str) -> Problem:
    return Problem(
        BAD_HEADER,
        what="The request was not understood",
        why=why,
        do="send plain headers, and each of these once; your proxy may be adding one",
    )


def passed_on(headers: Headers) -> list[tuple[str, str]]:
    """The client's headers that may go upstream."""
    pairs = list(headers)
    named = {
        token.strip().lower()
        for name, value in pairs
        if name.lower() == "connection"
        for token in value.split(",")
    }
    return [
        (name, value)
        for name, value in pairs
        if (low := plain(name)) not in HOP_BY_HOP
        and low not in OURS
        and low not in named
        and not low.startswith(FORGED)
    ]


def plain(name: str) -> str:
    """A header's name as servers read it that take one with underscores for the same."""
    return name.lower().replace("_", "-")


def in_the_name_of(caller: Caller, *, is_admin: bool, for_scope: bool = False) -> list[tuple[str, str]]:
    """Impersonation headers (R13). Raises ValueError for a name of the system: nothing is sent then.

    for_scope: it was allowed at a scope of the object's own, which native RBAC does not know.
    """
    if not caller.name or caller.name.startswith("system:"):
        raise ValueError(f"{caller.name!r} must never be sent upstream as a user")
    own = [group for group in caller.groups if not group.startswith(("system:", "edge:"))]
    groups = [f"{GROUP_PREFIX}{group}" for group in own]
    if is_admin:
        groups.append(ADMINS_GROUP)
    if for_scope:
        groups.append(SCOPE_ADMINS_GROUP)
    return [
        ("Impersonate-User", caller.name),
        *(("Impersonate-Group", group) for group in dict.fromkeys(groups)),
    ]


def sent_as(
    caller: Caller, *, is_admin: bool, member: bool, for_scope: bool = False
) -> list[tuple[str, str]]:
    """Impersonation headers of anybody who may call, a service account of the host included.

    That one is sent to the host as itself, since that is who the API server said it is; its groups follow
    from its name there. Raises Forbidden for it in a member, whose service accounts of that name are others.
    """
    if not is_service_account(caller.name):
        return in_the_name_of(caller, is_admin=is_admin, for_scope=for_scope)
    if member:
        raise Forbidden(
            "service-account-elsewhere",
            what=f'"{caller.name}" was refused in a member cluster',
            why="it is a service account of the host cluster, and nobody in a member",
            do="use the gateway's resource API, or a kubeconfig of a user for that cluster",
        )
    identity = [("Impersonate-User", caller.name)]
    more = [ADMINS_GROUP] * is_admin + [SCOPE_ADMINS_GROUP] * for_scope
    if more:
        namespace = caller.name.split(":")[2]
        own = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", *more)
        identity += [("Impersonate-Group", group) for group in own]
    return identity


def answered(headers: Headers) -> list[tuple[str, str]]:
    """Headers of an upstream answer that go to the client; length and framing are set anew."""
    return [
        (name, value)
        for name, value in headers
        if name.lower() not in HOP_BY_HOP
        and name.lower() not in ("content-length", "date", "server", "set-cookie", "www-authenticate")
        and not name.lower().startswith("access-control-")  # who may read our answers is ours to say
    ]


def forwarded(headers: CIMultiDictProxy[str], name: str) -> str:
    """All that this X-Forwarded header says, as one list.

    Some proxies append a line of their own, not a part of the line: of two lines the first is the client's.
    A request that was not understood has headers that know no lines, and none at all.
    """
    return ", ".join(headers.getall(name)) if name in headers else ""


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Where a request came from: the peer, or what the nearest trusted proxy wrote down about it.

    The list is read from its end, since every proxy appends and only the trusted ones tell the truth.
    """
    address = peer
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
    while hops and _is_in(address, trusted):
        address = hops.pop()
    return address if _is_address(address) else peer


def came_over_tls(peer: str, forwarded_proto: str, trusted: Sequence[Network]) -> bool:
    """Whether a trusted proxy says that its own client spoke TLS with it."""
    return _is_in(peer, trusted) and says_https(forwarded_proto)


def says_https(forwarded_proto: str) -> bool:
    """Whether the nearest proxy says so, be it trusted or not."""
    return forwarded_proto.rpartition(",")[2].strip().lower() == "https"


def is_over_tls(request: "web.BaseRequest", trusted: Sequence[Network]) -> bool:
    """Whether the client speaks TLS: with us, or with a trusted proxy."""
    proto = forwarded(request.headers, "X-Forwarded-Proto")
    return request.secure or came_over_tls(request.remote or "", proto, trusted)


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    return (
        bool(networks)
        and _is_address(address)
        and any(ipaddress.ip_address(address) in network for network in networks)
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
