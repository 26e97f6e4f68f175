"""Which objects a query finds, in its order, kept up to date one object at a time. Pure.

ranking.put(key, (("Ready",), "press"))   # it fits, and this is its place
ranking.put(key, None)                    # it does not, or is gone
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K")


class Ranking(Generic[K]):
    """Places are compared with each other and must be unique: their last part names the object."""

    def __init__(self) -> None:
        self._places: dict[K, Any] = {}
        self._ordered: list[tuple[Any, K]] = []
        self.version = 0
        """Grows whenever membership or order may have changed."""

    def __len__(self) -> int:
        return len(self._ordered)

    def __contains__(self, key: K) -> bool:
        return key in self._places

    def put(self, key: K, place: Any) -> None:
        """place: what the query sorts by, or None for an object that it does not find."""
        have = self._places.get(key)
        if have == place:
            return
        self.version += 1
        if have is not None:
            del self._ordered[self._index(have)]
            del self._places[key]
        if place is not None:
            insort(self._ordered, (place, key), key=_place)
            self._places[key] = place

    def part(self, offset: int, limit: int) -> list[K]:
        return [key for _, key in self._ordered[offset : offset + limit]]

    def all(self) -> Sequence[K]:
        return [key for _, key in self._ordered]

    def _index(self, place: Any) -> int:
        return bisect_left(self._ordered, place, key=_place)


def _place(pair: tuple[Any, Any]) -> Any:
    return pair[0]


class Descending:
    """Turns the order of a value round, of texts too."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and self.value == other.value

    def __lt__(self, other: "Descending") -> bool:
        return other.value < self.value

    def __hash__(self) -> int:
        return hash(self.value)
