"""The scope types that ScopePatterns have registered, and which of them a request is in. Pure.

A request looks at the patterns of its own resource only, narrowest first; without patterns it costs nothing.
Source: I9; design authorization-and-gateway §3, §8.6.
"""

from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from edge.iam.patterns import Pattern

Owner = str
"""Which object registered a pattern: namespace/name."""


class Entry(NamedTuple):
    """born: creation time of the object; of two equal patterns the older counts."""

    pattern: Pattern
    born: str = ""


class PatternBook(Collection[str]):
    """As a collection: the registered scope types. Two patterns may register the same type."""

    def __init__(self) -> None:
        self._entries: dict[Owner, Entry] = {}
        self._types: frozenset[str] = frozenset()
        self._about: dict[tuple[str, str], tuple[Pattern, ...]] = {}

    def put(self, owner: Owner, entry: Entry | None) -> bool:
        """Register, change or (None) remove one; whether anything is different now."""
        if self._entries.get(owner) == entry:
            return False
        if entry is None:
            del self._entries[owner]
        else:
            self._entries[owner] = entry
        self._types = frozenset(one.pattern.scope_type for one in self._entries.values())
        about: dict[tuple[str, str], list[tuple[tuple[int, bool, int], str, Owner, Pattern]]] = {}
        for name, (pattern, born) in self._entries.items():
            key = (pattern.group, pattern.resource)
            about.setdefault(key, []).append((pattern.rank, born, name, pattern))
        self._about = {
            key: tuple(one[3] for one in sorted(found, key=itemgetter(0, 1, 2)))
            for key, found in about.items()
        }
        return True

    def get(self, owner: Owner) -> Pattern | None:
        entry = self._entries.get(owner)
        return entry.pattern if entry is not None else None

    def about(self, group: str, resource: str) -> tuple[Pattern, ...]:
        """The patterns of one resource, each before all that are wider."""
        return self._about.get((group, resource), ())

    def scope(self, group: str, resource: str, path: Sequence[str]) -> str | None:
        """The key of the scope that a path is in, by the narrowest pattern. path: as `Pattern.matches`."""
        found = next((one for one in self._about.get((group, resource), ()) if one.matches(path)), None)
        return found.scope(path) if found is not None else None

    def __contains__(self, scope_type: object) -> bool:
        return scope_type in self._types

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._types))

    def __len__(self) -> int:
        return len(self._types)
