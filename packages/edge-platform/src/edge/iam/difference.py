"""What one set of rights has beyond another, as compact rules. Pure.

A right that is still held is never listed as lost; where a wide right goes and narrower ones under it stay,
those are listed beside it as `kept`. So (lost, kept) says exactly: everything that `lost` covers, except what
`kept` covers. Source: I2, design §6.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from msgspec import Struct

from edge.iam.rules import ALL, BITS, Match, Table, keys, ui_held, url_covers
from edge.iam.virtual import Pair, child_of_scope

KEPT_SHOWN: Final = 20
COMPARED_MAX: Final = 200_000
"""Comparisons of wide rules with narrower ones; beyond it the list of what is kept is said to be cut."""

Entry = tuple[Pair, str, int]


class Rule(Struct, omit_defaults=True):
    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


class Rights(Struct, rename="camel", omit_defaults=True):
    """rules, ui: what is had beyond. kept: what of these stays held; keptIsCut: there is more of it."""

    rules: list[Rule]
    ui: list[str] = []
    kept: list[Rule] = []
    kept_ui: list[str] = []
    kept_is_cut: bool = False


class Held:
    """Tables read as one: what somebody holds at a scope. urls: whether paths are asked about there."""

    def __init__(self, tables: Iterable[Table], *, urls: bool) -> None:
        self.tables = tuple(tables)
        self.ui = frozenset[str]().union(*(table.ui for table in self.tables))
        self.urls = [one for table in self.tables for one in table.urls] if urls else []

    def entries(self) -> Iterator[Entry]:
        for table in self.tables:
            yield from table.entries()

    def match(self, pair: Pair) -> Match:
        verbs, names = 0, dict[str, int]()
        for table in self.tables:
            found = table.match(pair)
            verbs |= found.verbs
            for name, extra in found.names.items():
                names[name] = names.get(name, 0) | extra
        return Match(verbs, names)


def beyond(have: Held, other: Held) -> Rights | None:
    """What `have` covers and `other` does not; None: nothing."""
    lost = _lost(have, other)
    urls = _lost_urls(have, other)
    ui = sorted(one for one in have.ui if not ui_held(one, other.ui))
    if not (lost or urls or ui):
        return None
    kept, is_cut = _kept(lost, other)
    return Rights(
        rules=[*_rules(lost), *_url_rules(urls)],
        ui=ui,
        kept=[*_rules(kept), *_url_rules(_kept_urls(urls, other))],
        kept_ui=sorted(one for one in other.ui if ui_held(one, ui)),
        kept_is_cut=is_cut,
    )


def _lost(have: Held, other: Held) -> dict[tuple[Pair, str], int]:
    """Entries of `have` with the verbs that `other` lacks; what a wider lost entry covers is left out."""
    merged: dict[Pair, dict[str, int]] = {}
    for pair, name, verbs in have.entries():
        names = merged.setdefault(pair, {})
        names[name] = names.get(name, 0) | verbs
    lost: dict[tuple[Pair, str], int] = {}
    for pair, names in merged.items():
        still = other.match(pair)
        wider = [merged[key] for key in keys(*pair) if key != pair and key in merged]
        for name, verbs in names.items():
            covered = still.verbs | (still.names.get(name, 0) if name else 0)
            for one in (*wider, names if name else {}):
                covered |= one.get("", 0) | (one.get(name, 0) if name and one is not names else 0)
            if left := verbs & ~covered:
                lost[pair, name] = left
    return lost


def _kept(lost: dict[tuple[Pair, str], int], other: Held) -> tuple[dict[tuple[Pair, str], int], bool]:
    """Entries of `other` that lie under a lost one; and whether there are more than are given."""
    narrow: dict[Pair, int] = {}
    wide: list[Entry] = []
    for (pair, name), verbs in lost.items():
        if "*" in pair[0] or "*" in pair[1] or verbs < 0 or _may_be_child(pair):
            wide.append((pair, name, ALL if verbs < 0 else verbs))
        elif not name:
            narrow[pair] = verbs
    kept: dict[tuple[Pair, str], int] = {}
    for pair, verbs in narrow.items():
        for name, held in other.match(pair).names.items():
            if name and held & verbs:
                kept[pair, name] = held & verbs
    size = sum(1 for _ in other.entries()) if wide else 0
    if size * len(wide) > COMPARED_MAX:
        return {}, True
    for pair, name, verbs in other.entries() if wide else ():
        for pattern, pattern_name, wanted in wide:
            if (
                verbs & wanted
                and _overlap(pattern, pair)
                and (name == pattern_name or "" in (name, pattern_name))
            ):
                kept[pair, name] = kept.get((pair, name), 0) | (verbs & wanted)
    cut = len(kept) > KEPT_SHOWN
    return dict(list(kept.items())[:KEPT_SHOWN]), cut


def _may_be_child(pair: Pair) -> bool:
    return bool(child_of_scope(pair[0], f"workspaces/{pair[1]}"))


def _overlap(one: Pair, other: Pair) -> bool:
    """Whether some resource is covered by both."""
    if one[0] != other[0] and "*" not in (one[0], other[0]):
        return False
    mine, theirs = one[1], other[1]
    if mine == theirs or "*" in (mine, theirs):
        return True
    group = one[0] if other[0] == "*" else other[0]
    if child_of_scope(group, mine) == theirs or child_of_scope(group, theirs) == mine:
        return True
    tail, other_tail = mine.partition("/")[2], theirs.partition("/")[2]
    if mine.startswith("*/") and theirs.startswith("*/"):
        return False
    if mine.startswith("*/"):
        return tail in (other_tail, theirs)
    return theirs.startswith("*/") and other_tail in (tail, mine)


def _lost_urls(have: Held, other: Held) -> dict[str, int]:
    lost: dict[str, int] = {}
    for pattern, verbs in have.urls:
        left = verbs
        for covering, held in other.urls:
            if url_covers(covering, pattern):
                left &= ~held
        if left:
            lost[pattern] = lost.get(pattern, 0) | left
    return lost


def _kept_urls(lost: dict[str, int], other: Held) -> dict[str, int]:
    kept: dict[str, int] = {}
    for pattern, verbs in other.urls:
        for gone, wanted in lost.items():
            mask = ALL if wanted < 0 else wanted
            if verbs & mask and (url_covers(gone, pattern) or url_covers(pattern, gone)):
                kept[pattern] = kept.get(pattern, 0) | (verbs & mask)
    return kept


class _Place(NamedTuple):
    verbs: int
    names: tuple[str, ...]


def _rules(entries: dict[tuple[Pair, str], int]) -> list[Rule]:
    """Entries with the same verbs and names put together: first resources of a group, then equal groups."""
    names: dict[tuple[Pair, int], list[str]] = {}
    for (pair, name), verbs in entries.items():
        names.setdefault((pair, verbs), []).append(name)
    resources: dict[tuple[str, _Place], list[str]] = {}
    for (pair, verbs), found in names.items():
        place = _Place(verbs, () if "" in found else tuple(sorted(found)))
        resources.setdefault((pair[0], place), []).append(pair[1])
    groups: dict[tuple[tuple[str, ...], _Place], list[str]] = {}
    for (group, place), found in resources.items():
        groups.setdefault((tuple(sorted(found)), place), []).append(group)
    return [
        Rule(_verbs(place.verbs), groups=tuple(sorted(found)), resources=named, names=place.names)
        for (named, place), found in sorted(groups.items(), key=lambda item: (item[1], item[0][0]))
    ]


def _url_rules(urls: dict[str, int]) -> list[Rule]:
    by_verbs: dict[int, list[str]] = {}
    for url, verbs in sorted(urls.items()):
        by_verbs.setdefault(verbs, []).append(url)
    return [Rule(_verbs(verbs), urls=tuple(found)) for verbs, found in by_verbs.items()]


def _verbs(mask: int) -> tuple[str, ...]:
    if mask < 0:
        return ("*",)
    return tuple(verb for verb, bit in BITS.items() if bit != ALL and mask & bit)
