"""What a ReverseProxy does to a path, and what its header directives mean. Pure.

Regular expressions are RE2's and `$1` stands for a group, as in Go (upstream-contract §0.10): their time
grows with the path and not with the pattern, so that nobody's object can hold the gateway up.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

import re2

from edge.operate.types import Directives, Substitution

PATTERN_MAX: Final = 1000
RESULT_MAX: Final = 8192
MEMORY_MAX_BYTES: Final = 1024 * 1024
RULES_MAX: Final = 50
_re2: Final[Any] = re2  # it has no types
_GROUP: Final = re.compile(r"\$(?:(\$)|(\d{1,2})|\{(\d{1,2})\})")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,100}")
_VALUE: Final = re.compile(r"[\x20-\x7e]{0,1000}")

HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade", "http2-settings", "content-length", "expect",
    }
)  # fmt: skip
UP_KEPT: Final = frozenset({"authorization", "cookie", "via", "forwarded", "audit-id"})
"""Request headers that are the platform's or the caller's."""
UP_FORGED: Final = ("impersonate", "x-remote", "x-forwarded", "x-edge", "sec-")
DOWN_KEPT: Final = frozenset(
    {
        "set-cookie", "clear-site-data", "strict-transport-security", "alt-svc", "service-worker-allowed",
        "public-key-pins", "www-authenticate", "x-content-type-options", "date", "server", "nel", "report-to",
        "reporting-endpoints", "accept-ch",
    }
)  # fmt: skip
"""Answer headers that hold for all of the gateway's address, so no single upstream may send them."""


class RewriteError(Exception):
    """A pattern or a header directive that cannot be carried out."""


class Change(NamedTuple):
    """One header directive: set, add or remove."""

    do: Literal["set", "add", "remove"]
    name: str
    value: str = ""


def header_change(text: str, *, up: bool, hosts: Sequence[str] = ()) -> Change:
    """ "+Name value", "-Name" or "Name value". hosts: values that Host may have. Raises RewriteError."""
    do: Literal["set", "add", "remove"] = "set"
    if text[:1] in ("+", "-"):
        do = "add" if text[0] == "+" else "remove"
        text = text[1:]
    name, _, value = text.partition(" ")
    name, value = name.removesuffix(":"), value.strip()
    low = name.lower()
    if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(value) or (do != "remove" and not value):
        raise RewriteError("it is not written as +Name value, -Name or Name value")
    if low in HOP_BY_HOP or (up and (low in UP_KEPT or low.startswith(UP_FORGED))) or (
        not up and low in DOWN_KEPT
    ):  # fmt: skip
        raise RewriteError(f"{name} is set by the gateway alone")
    if up and low == "host" and (do != "set" or value.lower() not in hosts):
        raise RewriteError(f"Host may only be one of {', '.join(hosts)}: it decides who is reached behind it")
    return Change(do, name, value)


def changed_headers(headers: Sequence[tuple[str, str]], changes: Sequence[Change]) -> list[tuple[str, str]]:
    """Headers after the directives, in their order."""
    found = list(headers)
    for change in changes:
        if change.do != "add":
            found = [(name, value) for name, value in found if name.lower() != change.name.lower()]
        if change.do != "remove":
            found.append((change.name, change.value))
    return found


def hosts_of(host: str, port: int) -> tuple[str, ...]:
    """What the header Host may say towards an upstream."""
    return (host.lower(), f"{host.lower()}:{port}")


class Rewriter:
    """From the path that was asked for to the upstream's. Build it once; raises RewriteError."""

    def __init__(self, directives: Directives) -> None:
        if len(directives.rewrite) + len(directives.replace) > RULES_MAX:
            raise RewriteError(f"there are more than {RULES_MAX} rules")
        self._rewrites = [_compiled(one) for one in directives.rewrite]
        self._replaces = [_replacement(one) for one in directives.replace]
        self._prefix = directives.strip_path_prefix.rstrip("*")
        self._suffix = directives.strip_path_suffix

    def path(self, path: str) -> str:
        """The first rewrite that fits, then prefix and suffix off, then all replacements.

        path: decoded, with its first slash. The answer has one as well; RewriteError for one that got too
        long or has dots, empty segments or control signs.
        """
        for rewrite in self._rewrites:
            new = rewrite(path)
            if new is not None:
                path = _bounded(new)
                break
        if self._prefix and path.startswith(self._prefix):
            path = path[len(self._prefix) :]
        if self._suffix and path.endswith(self._suffix):
            path = path[: -len(self._suffix)]
        for old, to in self._replaces:
            path = _bounded(path.replace(old, to))
        return _checked(path if path.startswith("/") else f"/{path}")


def _compiled(rule: Substitution) -> Callable[[str], str | None]:
    if not rule.from_ or len(rule.from_) > PATTERN_MAX or len(rule.to) > PATTERN_MAX:
        raise RewriteError(f"`from` and `to` have at most {PATTERN_MAX} signs, and `from` at least one")
    options = _re2.Options()
    options.max_mem = MEMORY_MAX_BYTES
    options.log_errors = False
    try:
        pattern = _re2.compile(rule.from_, options)
    except _re2.error as error:
        said: Any = error.args[0] if error.args else ""
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise RewriteError(f"`from` is no regular expression of RE2: {text}") from None
    pieces = _template(rule.to, int(pattern.groups))

    def rewrite(path: str) -> str | None:
        found = pattern.search(path)
        if found is None:
            return None
        start, end = found.span()
        middle = "".join(piece if isinstance(piece, str) else found.group(piece) or "" for piece in pieces)
        return path[:start] + middle + path[end:]

    return rewrite


def _template(to: str, groups: int) -> list[str | int]:
    _no_query(to)
    pieces: list[str | int] = []
    at = 0
    for found in _GROUP.finditer(to):
        pieces.append(to[at : found.start()])
        number = found[2] or found[3]
        if number and int(number) > groups:
            raise RewriteError(f"`to` names ${number}, and `from` has {groups} groups")
        pieces.append(int(number) if number else "$")
        at = found.end()
    return [*pieces, to[at:]]


def _replacement(rule: Substitution) -> tuple[str, str]:
    if not rule.from_ or len(rule.from_) > PATTERN_MAX or len(rule.to) > PATTERN_MAX:
        raise RewriteError(f"`from` and `to` have at most {PATTERN_MAX} signs, and `from` at least one")
    _no_query(rule.to)
    return rule.from_, rule.to


def _no_query(to: str) -> None:
    if any(sign in to for sign in "?#\\%") or any(ord(sign) < 33 for sign in to):
        raise RewriteError("`to` is a path, written plainly: without ?, #, %, backslashes and blanks")


def _bounded(path: str) -> str:
    if len(path) > RESULT_MAX:
        raise RewriteError(f"the path would get longer than {RESULT_MAX} signs")
    return path


def _checked(path: str) -> str:
    segments = path[1:].removesuffix("/").split("/")
    odd = any(one.partition(";")[0] in (".", "..") for one in segments)
    if odd or (len(segments) > 1 and "" in segments) or any(ord(sign) < 32 for sign in path):
        raise RewriteError("the path would have dots, empty segments or control signs")
    return path
