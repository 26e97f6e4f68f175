"""Which paths of the gateway a ReverseProxy may answer, and which of two answers a request. Pure.

The gateway's own paths are never shadowed: what an object takes is decided by the same rules at admission, in
its status and in the gateway. Source: G5; design authorization-and-gateway §8.6; upstream-contract §6.6.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from edge.operate.types import Matcher, ReverseProxy
from edge_sdk.scopes import SHORT_GROUPS, TENANT_GROUPS

OWN_ROOTS: Final = frozenset(
    {
        "api", "apis", "oauth", "clusters", "healthz", "livez", "readyz", "health", "metrics", "openapi",
        ".well-known", "docs", "redoc", "version", "watch", "operations", "host", "me", "swagger", "debug",
    }
)  # fmt: skip
"""First segments that are the gateway's own. `/oapis` and `/kapis` are shared, by API group."""
BASES: Final = ("oapis", "kapis")
OWN_GROUPS: Final = frozenset({*SHORT_GROUPS, *SHORT_GROUPS.values(), *TENANT_GROUPS, "core", "version"})
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
EVERY: Final = ("", "*")
SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]+")
PATH_MAX: Final = 512
ACCEPTED: Final = "a path such as /grafana/* or /oapis/monitoring.example.com/v1/*"


class MatcherError(Exception):
    """field: below spec.matcher. accepted: what would be."""

    def __init__(self, field: str, why: str, accepted: str = ACCEPTED) -> None:
        super().__init__(why)
        self.field = field
        self.accepted = accepted


class Match(NamedTuple):
    """segments: of the literal part. wide: it, and every path below it."""

    segments: tuple[str, ...]
    wide: bool
    method: str
    """Empty: every one."""

    def takes(self, method: str, segments: Sequence[str]) -> bool:
        own = len(self.segments)
        fits = len(segments) >= own if self.wide else len(segments) == own
        right_method = not self.method or self.method == method or (self.method, method) == ("GET", "HEAD")
        return fits and right_method and tuple(segments[:own]) == self.segments

    def collides(self, other: "Match") -> bool:
        """Whether a request could be for both, and neither of the two is narrower."""
        same = (self.segments, self.wide) == (other.segments, other.wide)
        return same and (not self.method or not other.method or self.method == other.method)

    @property
    def rank(self) -> tuple[int, bool, str]:
        """Sorts the longest literal first, then an exact path before all below it."""
        return (-sum(len(one) + 1 for one in self.segments), self.wide, "/".join(self.segments))


def parse_matcher(matcher: Matcher) -> Match:
    """Raises MatcherError for what is no path, and for a path of the gateway's own."""
    method = matcher.method.upper()
    if method not in METHODS and method not in EVERY:
        raise MatcherError("method", "it is no method of HTTP that is known here", ", ".join(sorted(METHODS)))
    path = matcher.path
    wide = path.endswith("/*")
    literal = path[:-2] if wide else path
    if not path.startswith("/") or len(path) > PATH_MAX or "*" in literal:
        why = "it must begin with a slash, and a * may only stand alone at its end, behind a slash"
        raise MatcherError("path", why)
    parts = literal[1:].split("/")
    if not all(SEGMENT.fullmatch(part) and part.strip(".") for part in parts):
        raise MatcherError("path", "it has a segment that is empty or has signs that paths here may not have")
    segments = canonical(parts)
    _keep_off(segments)
    return Match(segments, wide, "" if method == "*" else method)


def canonical(segments: Sequence[str]) -> tuple[str, ...]:
    """/kapis is another name of /oapis (G13)."""
    return (BASES[0], *segments[1:]) if segments and segments[0] == BASES[1] else tuple(segments)


def _keep_off(segments: Sequence[str]) -> None:
    root = segments[0].lower()
    if root in OWN_ROOTS or root.startswith("api"):
        raise MatcherError("path", f"/{segments[0]} is the gateway's own")
    if root not in BASES:
        return
    if segments[0] != root or len(segments) < 2:
        raise MatcherError(
            "path", f"/{segments[0]} as a whole is the gateway's own; name an API group below it"
        )
    group = segments[1].lower()
    if group in OWN_GROUPS or group in OWN_ROOTS or "." not in group or group.endswith(".k8s.io"):
        raise MatcherError("path", f"the API group {segments[1]} is served by the platform or by Kubernetes")


def is_api(match: Match) -> bool:
    """Whether it looks like a part of the platform's own API to who asks for it."""
    return match.segments[0] in BASES


def match_of(proxy: ReverseProxy) -> Match | None:
    """None for an object that answers nothing: a bad one, and one that is going."""
    if proxy.metadata.deletion_timestamp:
        return None
    try:
        return parse_matcher(proxy.spec.matcher)
    except MatcherError:
        return None


def place_of(proxy: ReverseProxy) -> str:
    return f"{proxy.metadata.namespace}/{proxy.metadata.name}"


def age_of(proxy: ReverseProxy) -> tuple[str, bool, str]:
    """Times are whole seconds: of two made in the same one, that which is active stays active."""
    return proxy.metadata.creation_timestamp, proxy.status.state != "Active", place_of(proxy)


def in_force(proxies: Iterable[tuple[ReverseProxy, Match]]) -> Iterator[tuple[ReverseProxy, Match]]:
    """Those that answer: of two that collide, the older."""
    taken: dict[tuple[tuple[str, ...], bool], list[Match]] = {}
    for proxy, match in sorted(proxies, key=lambda one: age_of(one[0])):
        beside = taken.setdefault((match.segments, match.wide), [])
        if not any(match.collides(one) for one in beside):
            beside.append(match)
            yield proxy, match
