"""How a rule is matched, and rules compiled for speed. Pure; the meaning is that of Kubernetes RBAC.

Verbs become bits of an integer, so that merging the rights of many bindings is an OR and a check is an AND.
`*` is −1: it also holds bits that are given out later. Source: I2, I11; design §4.1, §4.2.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from edge.iam.types import PolicyRule
from edge.iam.virtual import Pair, child_of_scope, counterparts, native_verbs

ALL: Final = -1
UNNAMED: Final = 1
"""Bit of every verb that no rule names: only `*` holds it. So callers cannot make the table of bits grow."""

BITS: Final[dict[str, int]] = {}
"""Verb → bit, for the check itself; everyone else asks `bit` or `asked_bit`. Not in it: `*`, which is every
bit in a rule, and in a question one that only such a rule answers."""
MEMO_LIMIT: Final = 1024

_URL_VERBS: Final = {"list": "get", "watch": "get"}


def bit(verb: str) -> int:
    """The bit of a verb, given out on first use. For verbs of rules only, never of requests."""
    if verb == "*":
        return ALL
    known = BITS.get(verb)
    return known if known is not None else BITS.setdefault(verb, 2 << len(BITS))


def asked_bit(verb: str) -> int:
    """The bit of a verb in a request."""
    return BITS.get(verb, UNNAMED)


def mask(verbs: Iterable[str]) -> int:
    merged = 0
    for verb in verbs:
        merged |= bit(verb)
    return merged


@lru_cache(1024)  # rules repeat each other's verbs, and a verb keeps its bit
def _mask_of(verbs: tuple[str, ...]) -> int:
    return mask(verbs)


def asked_mask(verbs: Iterable[str]) -> int:
    """The bits that hold all of these verbs of a request; `*` is held by ALL alone."""
    merged = 0
    for verb in verbs:
        merged |= asked_bit(verb)
    return merged


mask("get list watch create update patch delete deletecollection escalate bind impersonate".split())  # noqa: SIM905
mask(("post", "put", "head", "options"))


def keys(group: str, resource: str) -> list[Pair]:
    """Every (group, resource) of a rule that covers `resource`, "pods" or "pods/log", in `group`.

    `pods` does not cover `pods/log`; `*/log` covers the subresource of any resource; `pods/*` is no pattern.
    """
    names = [resource] if resource == "*" else [resource, "*"]
    if "/" in resource and not resource.startswith("*/"):
        names.append("*" + resource[resource.index("/") :])
        if child := child_of_scope(group, resource):
            names.append(child)
    groups = (group,) if group == "*" else (group, "*")
    return [(g, name) for g in groups for name in names]


def url_path(pattern: str) -> str:
    """A non-resource URL as it is matched: existing templates leave the leading slash out."""
    return pattern if pattern == "*" or pattern.startswith("/") else f"/{pattern}"


def url_verb(verb: str) -> str:
    """HTTP verbs are compared in lower case; list and watch of a URL are a get."""
    lower = verb.lower()
    return _URL_VERBS.get(lower, lower)


def url_covers(pattern: str, path: str) -> bool:
    """Exact, or everything that starts with what stands before a trailing `*`."""
    return pattern == path or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def ui_held(wanted: str, held: Iterable[str]) -> bool:
    """Whether a console right is among those held; one that ends in `*` stands for all that begin so."""
    return any(one == wanted or (one.endswith("*") and wanted.startswith(one[:-1])) for one in held)


def spoken_of(rule: PolicyRule) -> Iterator[tuple[Pair, tuple[str, ...]]]:
    """What a rule speaks of, virtual resources with the native ones behind them, each with its verbs."""
    for group in rule.api_groups:
        for resource in rule.resources:
            yield (group, resource), rule.verbs
            for native in counterparts(group, resource):
                yield native, tuple(native_verbs(group, resource, rule.verbs))


def pairs(rule: PolicyRule) -> Iterator[tuple[Pair, int]]:
    """What a rule speaks of, with verbs as bits; for rules in force only, because it gives bits out."""
    for pair, verbs in spoken_of(rule):
        yield pair, _mask_of(verbs)


class Source(NamedTuple):
    """Where a rule comes from: a template, or "" for the role's own list, and its place there."""

    template: str
    position: int
    rule: PolicyRule


class Match(NamedTuple):
    """What a table says about one resource: verbs for every name, and verbs by name."""

    verbs: int
    names: dict[str, int]


class Table:
    """Rules compiled once and shared by all roles and bindings that have the same ones."""

    __slots__ = ("_memo", "_named", "_resources", "sources", "ui", "urls")

    def __init__(self, sources: Sequence[Source], ui: Iterable[str] = ()) -> None:
        self.sources = tuple(sources)
        self.ui = frozenset(ui)
        self.urls = tuple(
            (url_path(url), mask(url_verb(verb) for verb in source.rule.verbs))
            for source in sources
            for url in source.rule.non_resource_urls
        )
        self._resources: dict[Pair, int] = {}
        self._named: dict[Pair, dict[str, int]] = {}
        self._memo: dict[Pair, Match] = {}
        for source in sources:
            for pair, verbs in pairs(source.rule):
                self._add(pair, verbs, source.rule.resource_names)

    def _add(self, pair: Pair, verbs: int, names: tuple[str, ...]) -> None:
        if not names:
            self._resources[pair] = self._resources.get(pair, 0) | verbs
            return
        by_name = self._named.setdefault(pair, {})
        for name in names:
            by_name[name] = by_name.get(name, 0) | verbs

    def entries(self) -> Iterator[tuple[Pair, str, int]]:
        """Everything that its rules name, as they write it: (group, resource), name ("": every), verbs."""
        for pair, verbs in self._resources.items():
            yield pair, "", verbs
        for pair, by_name in self._named.items():
            for name, verbs in by_name.items():
                if name:  # no object has an empty name
                    yield pair, name, verbs

    def match(self, pair: Pair) -> Match:
        """What the table grants on a resource; remembered, so that the next asker gets it in one step."""
        hit = self._memo.get(pair)
        if hit is None:
            verbs, names = 0, dict[str, int]()
            for key in keys(*pair):
                verbs |= self._resources.get(key, 0)
                for name, extra in self._named.get(key, {}).items():
                    names[name] = names.get(name, 0) | extra
            if len(self._memo) >= MEMO_LIMIT:  # the resources come from callers
                self._memo.clear()
            hit = self._memo[pair] = Match(verbs, names)
        return hit

    def grants(self, pair: Pair, name: str, verb: str) -> bool:
        verbs, names = self.match(pair)
        return bool((verbs | (names.get(name, 0) if name else 0)) & asked_bit(verb))

    def grants_url(self, path: str, verb: str) -> bool:
        wanted = asked_bit(url_verb(verb))
        return any(verbs & wanted and url_covers(url, path) for url, verbs in self.urls)


def covers(rule: PolicyRule, pair: Pair, name: str, verb: str) -> bool:
    """Whether one rule by itself grants the verb on the resource. For explanations; `Table` is fast."""
    if rule.resource_names and (not name or name not in rule.resource_names):
        return False
    wanted, asked = set(keys(*pair)), asked_bit(verb)
    return any(verbs & asked and key in wanted for key, verbs in pairs(rule))
