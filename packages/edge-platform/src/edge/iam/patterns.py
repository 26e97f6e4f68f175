"""What a ScopePattern may say, and which paths it stands for. Pure; linear in the length of path and pattern.

    /apis/farm.example.io/{_}/fields/{field}/*       scope type: field

    literal   this very segment           {name}, {_}   any one segment
    *         only at the end: what follows, also nothing

There are no regular expressions: no text of a pattern can make matching slow. A pattern is about one resource
whose group and name are literal, so a request looks only at the patterns of its own resource.
Source: I9; design authorization-and-gateway §8.6; CRD contract (`{name}`, `{_}`, `*`).
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from edge.iam.scope import ANONYMOUS_WORD, HOST, LETTERS
from edge_sdk.scopes import IAM_GROUP, SCOPE_GROUP, SHORT_GROUPS, TENANT_GROUPS

LENGTH_MAX: Final = 512
TYPE_LENGTH_MAX: Final = 63
"""Of a label's value: bindings name the scope type in a label."""

PATTERN_FIELD: Final = "spec.pattern"
TYPE_FIELD: Final = "spec.scopeType"
EXAMPLE: Final = "/apis/farm.example.io/v1/fields/{field}/*"
GRAMMAR: Final = "literal segments, {name} or {_} for one segment, * as the last one; " + EXAMPLE
WORD: Final = "letters, digits, - and _, beginning with a letter and ending with a letter or digit"

ROOTS: Final = ("api", "apis", "oapis", "kapis")
BUILT_IN_ROOTS: Final = frozenset(
    {"oauth", "healthz", "livez", "readyz", "health", "metrics", "version", "openapi", ".well-known"}
)
SCOPE_OBJECTS: Final = frozenset(
    {
        *((SCOPE_GROUP, resource) for resource in ("clusters", "workspaces", "nodegroups")),
        *(("", resource) for resource in ("namespaces", "nodes")),
        ("metrics.k8s.io", "nodes"),
    }
)
"""Resources whose objects are scopes already."""
OWN_GROUPS: Final = frozenset({IAM_GROUP, "authorization.k8s.io", "authentication.k8s.io"})
"""Rights themselves, and questions about them: their routes decide by rules of their own."""

_LITERAL: Final = re.compile(r"[A-Za-z0-9._~:@-]+")
_NAME: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?")


class PatternError(ValueError):
    """A pattern that cannot be in force. str() is the reason; field: what to change; accepted: to what."""

    def __init__(self, field: str, why: str, accepted: str = GRAMMAR) -> None:
        super().__init__(why)
        self.field = field
        self.accepted = accepted


class Pattern(NamedTuple):
    """A checked pattern, as the path of the native API that it stands for, behind the cluster's name.

    segments: None is any one segment. rest: whether more may follow. at: index of the scope's name.
    """

    scope_type: str
    group: str
    resource: str
    segments: tuple[str | None, ...]
    rest: bool
    at: int

    def matches(self, path: Sequence[str]) -> bool:
        """path: name of the cluster ("host"), then the segments of the native path."""
        have, asked = len(path), len(self.segments)
        if have < asked or (have > asked and not self.rest):
            return False
        return all(one is None or one == part for one, part in zip(self.segments, path, strict=False))

    def scope(self, path: Sequence[str]) -> str:
        """The key of the scope that a path which matches is in."""
        return f"x/{self.scope_type}/{path[0]}/{path[self.at]}"

    @property
    def rank(self) -> tuple[int, bool, int]:
        """Sorts a pattern before all that are wider."""
        return (
            sum(one is None for one in self.segments) - len(self.segments),
            self.rest,
            -len(self.segments),
        )


def overlap(one: Pattern, other: Pattern) -> bool:
    """Whether some path matches both."""
    for here, there in zip(one.segments, other.segments, strict=False):
        if here is not None and there is not None and here != there:
            return False
    longer = len(one.segments) - len(other.segments)
    return longer == 0 or (other.rest if longer > 0 else one.rest)


def is_within(one: Pattern, other: Pattern) -> bool:
    """Whether every path of `one` is a path of `other`."""
    have, asked = len(one.segments), len(other.segments)
    if have < asked or (not other.rest and (have > asked or one.rest)):
        return False
    return all(
        there is None or there == here for here, there in zip(one.segments, other.segments, strict=False)
    )


def ambiguous(one: Pattern, other: Pattern) -> bool:
    """Whether a path matches both, and neither of the two is narrower than the other."""
    return overlap(one, other) and is_within(one, other) == is_within(other, one)


def parse_pattern(text: str, scope_type: str) -> Pattern:
    """Raises PatternError with the first reason why it cannot be in force."""
    parts, names = _read(text)
    _check_type(scope_type, names)
    at = names.index(scope_type)
    cluster: str | None = None
    skipped = 0
    while len(parts) > 1 and parts[0] in ("oapis", "kapis") and parts[1] in (*ROOTS, "clusters"):
        skipped, parts = skipped + 1, parts[1:]  # as base addresses are read (G13)
    if parts[0] == "clusters" and len(parts) > 2:
        cluster, skipped, parts = parts[1], skipped + 2, parts[2:]
    return _about_a_resource(parts, scope_type, cluster, at - skipped)


def _read(text: str) -> tuple[list[str | None], list[str]]:
    """The segments, None for a parameter and "*" for the rest; and the name of each, "" for what has none."""
    if len(text) > LENGTH_MAX:
        raise PatternError(
            PATTERN_FIELD, f"it has {len(text)} characters", f"{LENGTH_MAX} characters at most"
        )
    if not text.startswith("/") or text == "/":
        raise PatternError(PATTERN_FIELD, "it is no path: it does not begin with a slash and a segment")
    words = text[1:].split("/")
    if "" in words:
        raise PatternError(PATTERN_FIELD, "it has an empty segment, and no path that is served has one")
    if "*" in words[:-1]:
        raise PatternError(PATTERN_FIELD, "* stands for all that follows, so nothing can come after it")
    names = [_name_in(word) for word in words]
    named = [name for name in names if name not in ("", "_")]
    if twice := next((name for name in named if named.count(name) > 1), ""):
        raise PatternError(
            PATTERN_FIELD, f"the parameter {{{twice}}} is there twice", "a name for each, or {_}"
        )
    parts = [None if name else word for name, word in zip(names, words, strict=True)]
    return parts, names


def _name_in(word: str) -> str:
    """The name of a parameter, "" for a literal segment. Raises PatternError."""
    if word == "*" or (_LITERAL.fullmatch(word) and word not in (".", "..")):
        return ""
    name = word[1:-1]
    if word.startswith("{") and word.endswith("}") and (name == "_" or _NAME.fullmatch(name)):
        return name
    raise PatternError(
        PATTERN_FIELD,
        f'the segment "{word[:80]}" is neither literal nor one parameter; regular expressions are not '
        "understood, since a request could make some of them run for ever",
    )


def _check_type(scope_type: str, names: Sequence[str]) -> None:
    if not _NAME.fullmatch(scope_type) or len(scope_type) > TYPE_LENGTH_MAX:
        raise PatternError(
            TYPE_FIELD, "a scope type is the value of a label", f"up to {TYPE_LENGTH_MAX} {WORD}"
        )
    if scope_type.lower() in (*LETTERS, ANONYMOUS_WORD):
        raise PatternError(TYPE_FIELD, "there is a built-in scope type of this name", "another name")
    if scope_type not in names:
        found = (
            ", ".join(name for name in names if name not in ("", "_")) or "none; add {name} to the pattern"
        )
        raise PatternError(
            TYPE_FIELD, "the name of the scope is taken from the parameter of this name", f"one of: {found}"
        )


def _about_a_resource(parts: Sequence[str | None], scope_type: str, cluster: str | None, at: int) -> Pattern:
    """parts: of the path below the cluster. at: index of the scope's name there, negative before it."""
    root, below = parts[0], list(parts[1:])
    if root in BUILT_IN_ROOTS or root is None:
        shown = "any root" if root is None else f"/{root}"
        raise PatternError(PATTERN_FIELD, f"it would shadow built-in routes ({shown})", EXAMPLE)
    if root not in ROOTS:
        why = f"nothing at /{root} is decided by a scope"
        raise PatternError(PATTERN_FIELD, why, "a path below /api, /apis or /oapis, such as " + EXAMPLE)
    group: str | None = "" if root == "api" else _full(below.pop(0) if below else None)
    version = below.pop(0) if below else None
    namespace: tuple[str | None, ...] = ()
    if len(below) > 2 and below[0] == "namespaces" and below[2] not in ("*", "status", "finalize"):
        namespace, below = ("namespaces", below[1]), below[2:]
    resource = below.pop(0) if below else None
    group, resource = _named(group, version, resource)
    before = ("api", version) if not group else ("apis", group, version)
    head = (cluster, *before, *namespace, resource)
    rest = bool(below) and below[-1] == "*"
    segments = (*head, *(below[:-1] if rest else below))
    place = at - len(parts) + len(below) + len(head)
    if place < len(head):
        why = f"{{{scope_type}}} stands where the cluster, group, version or namespace does"
        raise PatternError(TYPE_FIELD, why, f"a parameter after the resource {resource}, such as {EXAMPLE}")
    return Pattern(scope_type, group, resource, segments, rest, place)


def _named(group: str | None, version: str | None, resource: str | None) -> tuple[str, str]:
    """Group and resource. Raises PatternError where they are open, or a built-in scope's."""
    if group is None or resource is None or "*" in (group, version, resource) or resource == "watch":
        raise PatternError(
            PATTERN_FIELD,
            "it does not say which resource it is about, so it would take in those of built-in scopes",
            "literal segments for the API group and the resource, such as " + EXAMPLE,
        )
    if group in TENANT_GROUPS or resource == "namespaces" or (group, resource) in SCOPE_OBJECTS:
        raise PatternError(
            PATTERN_FIELD,
            f"it would shadow a built-in scope type: each of the {resource} is a scope already",
            "a binding at that scope, or a pattern of another resource",
        )
    if group in OWN_GROUPS:
        why = f"it would shadow built-in routes: {group} has rules of its own about who may do what"
        raise PatternError(PATTERN_FIELD, why, "a resource of another group")
    return group, resource


def _full(group: str | None) -> str | None:
    """The group of a path as the native API names it."""
    if group == "core":
        return ""
    return None if group is None else SHORT_GROUPS.get(group, group)


def path_of(cluster: str, native: Sequence[str]) -> tuple[str, ...]:
    """A native path as patterns match it. cluster "": the host."""
    return (cluster or HOST, *native)
