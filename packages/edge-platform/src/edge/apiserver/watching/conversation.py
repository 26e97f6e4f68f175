"""All subscriptions of one socket, and which frame goes out when. Pure: no clock, no socket, no rights.

    talk = Conversation(now_s)
    talk.opened(7, window, have)      # → a snap, or `same` when the client has just that
    talk.woken(7)                     # its window has news
    for frame in talk.frames(now_s): …

A subscription keeps the tick that its client has seen and nothing else: what is sent is worked out when
there is room for it. So a slow client costs no memory, and gets what is newest. Source: console §5.4.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from edge.apiserver.watching import protocol
from edge.apiserver.watching.flow import Flow
from edge.apiserver.watching.protocol import Access, Have, What
from edge_sdk.problem import Problem


class Shown(Protocol):
    """What a subscription shows: a window of rows, or an object."""

    @property
    def tick(self) -> int: ...
    @property
    def rv(self) -> str: ...
    @property
    def hash(self) -> str: ...
    def snap(self) -> bytes: ...
    def news(self, since: int) -> tuple[str, bytes]:
        """Type and body of the frame that brings a client from this tick to now."""
        ...


class Stale(NamedTuple):
    """A cluster that does not answer, and since when (epoch seconds)."""

    cluster: str
    since: int
    code: str = "ClusterUnreachable"


@dataclass(slots=True)
class Subscription:
    """owes: a frame that the client waits for. stale, told: by cluster, those that are cut off and those that
    the client was told of.

    etag: of an `access` alone, what the rights are at its scope.
    """

    id: int
    what: What
    have: Have | None = None
    """What the client says it has, until it is shown something."""
    shown: Shown | None = None
    seen: int = 0
    owes: Literal["", "snap", "same"] = ""
    stale: dict[str, Stale] = field(default_factory=dict[str, Stale])
    told: dict[str, Stale] = field(default_factory=dict[str, Stale])
    etag: str = ""
    etag_told: str = ""

    @property
    def owes_access(self) -> bool:
        return self.etag != self.etag_told


class Conversation:
    def __init__(self, now_s: float) -> None:
        self.flow = Flow(now_s)
        self.subs: dict[int, Subscription] = {}
        self.held_back = False
        """While rights are looked at again: nothing that was worked out before goes out."""
        self.coalesced = 0
        """Changes that were merged into a later one."""
        self._ready: dict[int, None] = {}
        self._ends: deque[tuple[int, bytes]] = deque()

    @property
    def owes_much(self) -> bool:
        """Whether the client makes us answer faster than it reads: then it is not read from."""
        return len(self._ends) >= protocol.SUBS_MAX

    def begin(self, id_: int, what: What) -> Subscription:
        """Raises BadMessage for an id that is in use."""
        if id_ in self.subs:
            raise protocol.BadMessage(f"id {id_} is in use; unsub it first")
        found = self.subs[id_] = Subscription(id_, what)
        return found

    def opened(self, id_: int, shown: Shown, have: Have | None = None) -> None:
        """What is shown is here, for the first time or anew. have: what the client says it holds."""
        sub = self.subs[id_]
        sub.shown, sub.seen = shown, shown.tick
        is_same = have is not None and have.rv.rpartition("-")[2] == shown.hash
        sub.owes = "same" if is_same else "snap"
        self._ready[id_] = None

    def replaced(self, id_: int, shown: Shown) -> None:
        """The same, worked out for other rights: told only when it is another thing than before."""
        sub = self.subs[id_]
        before = sub.shown
        is_same = before is not None and sub.seen == before.tick and before.hash == shown.hash
        sub.shown, sub.seen = shown, shown.tick
        if not is_same:
            sub.owes = "snap"
            self._ready[id_] = None

    def woken(self, id_: int) -> bool:
        """It has news. False when there was some already: then it is known when to send."""
        was_idle = not self._ready
        if id_ in self.subs:
            self._ready[id_] = None
        return was_idle

    def stale(self, id_: int, stale: Iterable[Stale]) -> None:
        """All of its clusters that do not answer now."""
        sub, found = self.subs.get(id_), {one.cluster: one for one in stale}
        if sub is not None and sub.stale != found:
            sub.stale = found
            self._ready[id_] = None

    def emptied(self, id_: int) -> None:
        """What it showed counts no more; something else is on its way."""
        self.subs[id_].shown = None
        self._ready.pop(id_, None)

    def ended(self, id_: int, problem: Problem) -> None:
        self.drop(id_)
        self._ends.append((id_, protocol.end_body(problem)))

    def drop(self, id_: int) -> None:
        self.subs.pop(id_, None)
        self._ready.pop(id_, None)

    def access_is(self, id_: int, etag: str) -> None:
        """What the caller may at the scope of an `access`: told at first, and when it is something else."""
        self.subs[id_].etag = etag

    def frames(self, now_s: float) -> Iterator[bytes]:
        """All that may go out now. Take each before the next, since it is numbered when it is made.

        Between two of them anything may have happened: sending takes as long as the client takes to read.
        """
        yield from self._urgent(now_s)
        if self.held_back or not self._ready or now_s < self.flow.flush_at_s():
            return
        for id_ in list(self._ready):
            yield from self._news(id_, now_s)
        self.flow.flushed(now_s)

    def next_at_s(self, now_s: float) -> float:
        """When to come again, unless something happens before."""
        at_s = min(self.flow.ping_at_s(), self.flow.gives_up_at_s())
        if not self.flow.has_room:
            return at_s
        if self._ends or (not self.held_back and self._has_urgent()):
            return now_s
        return min(at_s, self.flow.flush_at_s() if self._ready and not self.held_back else math.inf)

    def _has_urgent(self) -> bool:
        owes_access = any(sub.owes_access for sub in self.subs.values())
        return owes_access or any(self.subs[id_].owes for id_ in self._ready)

    def _urgent(self, now_s: float) -> Iterator[bytes]:
        """Answers, ends and rights do not wait for the pace."""
        while self._ends and self.flow.has_room:
            id_, body = self._ends.popleft()
            yield protocol.frame("end", self.flow.next_seq(now_s), id_, body)
        if self.held_back:
            return
        yield from self._access(now_s)
        for id_ in [id_ for id_ in self._ready if self.subs[id_].owes]:
            yield from self._news(id_, now_s)

    def _access(self, now_s: float) -> Iterator[bytes]:
        for sub in [sub for sub in self.subs.values() if sub.owes_access]:
            if not self._may_send(sub):
                continue
            scope = sub.what.scope if isinstance(sub.what, Access) else ""
            body = protocol.encode({"scope": scope, "etag": sub.etag})
            sub.etag_told = sub.etag
            yield protocol.frame("access", self.flow.next_seq(now_s), sub.id, body)

    def _may_send(self, sub: Subscription) -> bool:
        return self.flow.has_room and not self.held_back and self.subs.get(sub.id) is sub

    def _news(self, id_: int, now_s: float) -> Iterator[bytes]:
        """What is due of one subscription. What there is no room for, or no right any more, stays due."""
        sub = self.subs.get(id_)
        if sub is None or id_ not in self._ready:
            return
        del self._ready[id_]
        due = self._due(sub)
        while self._may_send(sub):
            found = next(due, None)
            if found is None:
                return
            t, body = found
            yield protocol.frame(t, self.flow.next_seq(now_s), id_, body)
        if self.subs.get(id_) is sub:
            self._ready[id_] = None

    def _due(self, sub: Subscription) -> Iterator[tuple[str, bytes]]:
        """Type and body of each frame; what is taken from here counts as told."""
        for cluster in [cluster for cluster in sub.told if cluster not in sub.stale]:
            del sub.told[cluster]
            sub.owes = "snap"
            yield "fresh", protocol.encode({"cluster": cluster})
        if sub.shown is not None:
            yield from self._shown(sub, sub.shown)
        elif sub.have is None:
            return  # a window comes first, then what is missing in it
        for stale in list(sub.stale.values()):
            if stale.cluster not in sub.told:
                sub.told[stale.cluster] = stale
                yield "stale", protocol.encode(stale._asdict())

    def _shown(self, sub: Subscription, shown: Shown) -> Iterator[tuple[str, bytes]]:
        owes, sub.owes = sub.owes, ""
        if owes == "same":
            yield "same", protocol.encode({"rv": shown.rv})
        elif owes == "snap":
            body = shown.snap()
            sub.seen = shown.tick
            yield "snap", body
        if sub.shown is shown and shown.tick != sub.seen:
            self.coalesced += shown.tick - sub.seen - 1
            found = shown.news(sub.seen)
            sub.seen = shown.tick
            yield found
