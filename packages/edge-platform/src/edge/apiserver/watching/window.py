"""One window: the rows that its clients hold, and what has changed since any moment. Pure.

    window = Window(columns, rows, total)
    window.put("uid-1", row)          # tick 1
    window.delta(0)                   # all that changed after tick 0, the newest values only

Which rows there are, and in which order, is fixed when the window is made: people read it. What has come,
gone or moved since is only counted (`pending`) until a client asks for a new window. A row remembers per
column when it changed last, so a client needs no more than the tick it has seen: any number of them,
however slow, share one window, and nothing queues up for anybody. Source: console §5.4, rows windowing and
back-pressure.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

BODIES_KEPT: Final = 4


class Row(NamedTuple):
    """k: uid. n: name, namespace, cluster. v: values in the order of the columns. a: allowed actions."""

    k: str
    n: tuple[str, str, str]
    v: tuple[Any, ...]
    a: str = ""

    def shown(self) -> dict[str, Any]:
        return {"k": self.k, "n": self.n, "v": self.v, "a": self.a}


@dataclass(slots=True)
class Slot:
    """row: the newest. ticks: when each value changed, `a` last. changed: the latest of all."""

    row: Row
    ticks: list[int]
    place: int
    mark: int
    changed: int = 0
    gone: bool = False


class Pending(NamedTuple):
    added: int = 0
    removed: int = 0
    reordered: bool = False

    def shown(self) -> dict[str, Any]:
        return self._asdict()


class Window:
    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Row],
        total: int,
        facets: Mapping[str, Any] | None = None,
        source_rv: str = "",
    ) -> None:
        """columns: ids in the order of the values. source_rv: where the source stood."""
        self.tick = 0
        self.columns = tuple(columns)
        self.total = total
        self.pending = Pending()
        self.source_rv = source_rv
        self._facets = facets
        self._hash, self._hashed = "", -1
        self._mark = 0
        self._slots: dict[str, Slot] = {}
        for place, row in enumerate(rows):
            mark = _mark(place, row)
            self._slots[row.k] = Slot(row, [0] * (len(self.columns) + 1), place, mark)
            self._mark ^= mark
        self._bodies: OrderedDict[int, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, k: str) -> bool:
        return k in self._slots

    def rows(self) -> list[Row]:
        """Those that are still there."""
        return [slot.row for slot in self._slots.values() if not slot.gone]

    def is_same(self, facets: Mapping[str, Any] | None) -> bool:
        """Whether a window made now of the same query would be just this: then it can be shared.

        facets: as they are now; those of a window stay as they were when it was made.
        """
        is_whole = self.pending == Pending() and not any(slot.gone for slot in self._slots.values())
        return is_whole and self._facets == facets

    @property
    def hash(self) -> str:
        if self._hashed != self.tick:
            self._hash, self._hashed = self._hash_now(), self.tick
        return self._hash

    def _hash_now(self) -> str:
        """Names the content: equal rows in equal order have the same, on any replica."""
        told = msgspec.json.encode([self._mark, self.total, self.columns, self._facets])
        return hashlib.blake2b(told, digest_size=9).hexdigest()

    @property
    def rv(self) -> str:
        """What a client sends back to go on; its last part is the hash."""
        return f"{self.source_rv or '0'}-{self.hash}"

    def put(self, k: str, row: Row | None) -> bool:
        """The newest state of a row; None: it is gone, or out of sight. True when that is news."""
        slot = self._slots.get(k)
        if slot is None or (row is None and slot.gone):
            return False
        if row is None:
            self._next()
            slot.gone, slot.changed = True, self.tick
            self._mark ^= slot.mark
            slot.mark = 0
            return True
        if not slot.gone and row == slot.row:
            return False
        self._next()
        self._take(slot, row, returned=slot.gone)
        return True

    def rank(self, ks: Sequence[str], total: int) -> bool:
        """What a window made now would hold, by k. True when `pending` or `total` is another than before."""
        mine = [k for k, slot in self._slots.items() if not slot.gone]
        pending = Pending()
        if mine != list(ks) or len(mine) != len(self._slots):
            now, have = set(ks), set(mine)
            kept = [k for k in mine if k in now]
            moved = kept != [k for k in ks if k in have]
            pending = Pending(len(now - have), len(self._slots) - len(kept), moved)
        if (pending, total) == (self.pending, self.total):
            return False
        self._next()
        self.pending, self.total = pending, total
        return True

    def snap(self) -> bytes:
        """Body of a `snap`: the whole of it."""
        body: dict[str, Any] = {"rv": self.rv, "hash": self.hash, "total": self.total}
        body["columns"] = self.columns
        if self._facets is not None:
            body["facets"] = self._facets
        body["rows"] = [row.shown() for row in self.rows()]
        return msgspec.json.encode(body)

    def delta(self, since: int) -> bytes:
        """Body of a `delta` that brings a client from tick `since` to now. The same bytes for all who ask."""
        body = self._bodies.get(since)
        if body is None:
            body = self._bodies[since] = msgspec.json.encode(self.changes(since))
            if len(self._bodies) > BODIES_KEPT:
                self._bodies.popitem(last=False)
        return body

    def news(self, since: int) -> tuple[str, bytes]:
        return "delta", self.delta(since)

    def changes(self, since: int) -> dict[str, Any]:
        slots = [slot for slot in self._slots.values() if slot.changed > since]
        return {
            "rv": self.rv,
            "set": [(slot.row.k, self._news(slot, since)) for slot in slots if not slot.gone],
            "gone": [slot.row.k for slot in slots if slot.gone],
            "pending": self.pending.shown(),
            "total": self.total,
        }

    def _news(self, slot: Slot, since: int) -> dict[str, Any]:
        *ticks, allowed = slot.ticks
        news = {
            column: value
            for column, value, tick in zip(self.columns, slot.row.v, ticks, strict=True)
            if tick > since
        }
        if allowed > since:
            news["a"] = slot.row.a
        return news

    def _take(self, slot: Slot, row: Row, *, returned: bool) -> None:
        """A row that has come back is told whole: what the client kept of it is greyed."""
        for index, (old, new) in enumerate(zip(slot.row.v, row.v, strict=True)):
            if returned or old != new:
                slot.ticks[index] = self.tick
        if returned or slot.row.a != row.a or slot.row.n != row.n:
            slot.ticks[-1] = self.tick
        self._mark ^= slot.mark
        slot.row, slot.gone, slot.changed, slot.mark = row, False, self.tick, _mark(slot.place, row)
        self._mark ^= slot.mark

    def _next(self) -> None:
        self.tick += 1
        self._bodies.clear()


def _mark(place: int, row: Row) -> int:
    told = msgspec.json.encode([place, row.k, row.n, row.v, row.a])
    return int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "big")
