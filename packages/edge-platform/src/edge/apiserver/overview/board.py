"""Counts objects by their state, and keeps what is wrong at hand. Pure.

board = Board(("clusters", "nodes"))
board.put(("clusters", key), Part("Ready", …))     # True when that is news
board.overview(scope, rv)
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from heapq import nsmallest
from typing import Final, NamedTuple

from msgspec import Struct

PROBLEMS_MAX: Final = 20
TILES_MAX: Final = 2000
LETTERS: Final[Mapping[str, str]] = {
    "Ready": "r",
    "Progressing": "p",
    "Pending": "w",
    "AwaitingApproval": "a",
    "Degraded": "d",
    "Failed": "f",
    "Offline": "o",
    "Paused": "h",
    "Maintenance": "m",
    "Deleting": "x",
    "Blocked": "b",
    "Unknown": "u",
}
"""Of a tile: they are many, so each is short."""
_WRONG: Final = ("Failed", "Offline", "Degraded", "Blocked")
"""What a person should look at; the worst first."""


class TroubleRef(Struct, frozen=True):
    group: str
    version: str
    resource: str
    name: str
    namespace: str
    uid: str


class Trouble(Struct, frozen=True):
    """since: epoch seconds, where it is known. next: code of what to do, as in the status of rows."""

    ref: TroubleRef
    status: str
    reason: str
    message: str
    since: int | None
    next: str


class Tally(Struct, rename="camel"):
    total: int
    by_state: dict[str, int]


class Tile(Struct, array_like=True):
    """state: a letter. nodes_ready: known of the host alone. since: epoch seconds."""

    name: str
    state: str
    nodes_ready: int | None
    nodes: int | None
    since: int | None


class Alerts(Struct):
    """Not known in this version, so null and not 0: no monitoring is there that would raise any."""

    critical: int
    warning: int


class Overview(Struct, rename="camel"):
    """A tally is null where the caller may list none of the kind; alerts always, see there.

    nodes.total: with those of member clusters, of which no more than their number is known; its byState has
    the host's. problems: the worst first, then the newest; problemCount: of all. capped: there are more
    clusters than tiles.
    """

    scope: str
    rv: str
    clusters: Tally | None
    nodes: Tally | None
    deployments: Tally | None
    components: Tally | None
    tiles: list[Tile]
    alerts: Alerts | None
    problems: list[Trouble]
    problem_count: int
    capped: bool


class Part(NamedTuple):
    """What one object adds. nodes: of a cluster. is_host: it stands for the host itself."""

    ref: TroubleRef
    state: str
    reason: str = ""
    message: str = ""
    since: int | None = None
    next: str = ""
    nodes: int | None = None
    is_host: bool = False


class Board:
    def __init__(self, sections: Iterable[str]) -> None:
        """sections: those of an Overview that the caller may know of."""
        self._counts: dict[str, Counter[str]] = {section: Counter() for section in sections}
        self._parts: dict[tuple[str, Hashable], Part] = {}
        self._clusters: dict[Hashable, Part] = {}
        self._wrong: dict[tuple[str, Hashable], Part] = {}

    def put(self, section: str, key: Hashable, part: Part | None) -> bool:
        """The newest of an object; None: it is gone, or out of sight. True when that is news."""
        id_ = (section, key)
        have = self._parts.get(id_)
        if have == part:
            return False
        if have is not None:
            self._counts[section][have.state] -= 1
            del self._parts[id_]
            self._wrong.pop(id_, None)
            self._clusters.pop(key, None) if section == "clusters" else None
        if part is not None:
            self._counts[section][part.state] += 1
            self._parts[id_] = part
            if part.state in _WRONG:
                self._wrong[id_] = part
            if section == "clusters":
                self._clusters[key] = part
        return True

    def overview(self, scope: str, rv: str = "") -> Overview:
        worst = nsmallest(PROBLEMS_MAX, self._wrong.values(), key=_badness)
        clusters = sorted(self._clusters.values(), key=lambda part: part.ref.name)
        return Overview(
            scope=scope,
            rv=rv,
            clusters=self._tally("clusters"),
            nodes=self._nodes(),
            deployments=self._tally("deployments"),
            components=self._tally("components"),
            tiles=[self._tile(part) for part in clusters[:TILES_MAX]],
            alerts=None,
            problems=[
                Trouble(part.ref, part.state, part.reason, part.message, part.since, part.next)
                for part in worst
            ],
            problem_count=len(self._wrong),
            capped=len(clusters) > TILES_MAX,
        )

    def _tally(self, section: str) -> Tally | None:
        counts = self._counts.get(section)
        if counts is None:
            return None
        by_state = {state: counts[state] for state in LETTERS if counts[state]}
        return Tally(sum(by_state.values()), by_state)

    def _nodes(self) -> Tally | None:
        """A cluster that stands for the host has the nodes that are counted already."""
        tally = self._tally("nodes")
        elsewhere = sum(
            part.nodes or 0 for part in self._clusters.values() if tally is None or not part.is_host
        )
        if tally is None:
            return Tally(elsewhere, {}) if self._clusters else None
        return Tally(tally.total + elsewhere, tally.by_state)

    def _tile(self, part: Part) -> Tile:
        counts = self._counts.get("nodes") if part.is_host else None
        ready = None if counts is None else counts["Ready"]
        return Tile(part.ref.name, LETTERS.get(part.state, "u"), ready, part.nodes, part.since)


def _badness(part: Part) -> tuple[int, int, str, str]:
    return _WRONG.index(part.state), -(part.since or 0), part.ref.name, part.ref.namespace
