"""Ends watches, execs and port-forwards when the right behind them goes (I6; design §5.5).

    leave = streams.open(Stream("ann", "n/host/press", "watch", "", "pods", "", close))
    …
    leave()

Promise: a stream whose right is gone is closed in the turn of the event, or, after an event that touches
everybody, within the next turns, a slice each. One that is still allowed never notices.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edge.iam.index import Index, Who


class Stream(NamedTuple):
    """What a stream was allowed with. close: ends it, given the reason; called at most once."""

    who: Who
    scope: str
    verb: str
    group: str
    resource: str
    name: str
    close: Callable[[str], None]


class Streams:
    """One per index; it takes the index's `on_drop`."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._open: dict[Who, dict[int, Stream]] = {}
        self._next = 0
        self._todo: deque[Who] = deque()
        index.on_drop = self._dropped

    def __len__(self) -> int:
        return sum(len(streams) for streams in self._open.values())

    def open(self, stream: Stream) -> Callable[[], None]:
        """Register; returns what to call when the stream has ended by itself."""
        number = self._next = self._next + 1
        self._open.setdefault(stream.who, {})[number] = stream

        def leave() -> None:
            streams = self._open.get(stream.who)
            if streams is not None and streams.pop(number, None) is not None and not streams:
                del self._open[stream.who]

        return leave

    def sweep(self, limit: int = 200) -> bool:
        """Look again at some of the callers that a wide event touched; True while there are more."""
        for _ in range(min(limit, len(self._todo))):
            self._look(self._todo.popleft())
        return bool(self._todo)

    def _dropped(self, callers: list[Who] | None) -> None:
        if callers is None:
            self._todo = deque(self._open)
            return
        for who in callers:
            self._look(who)

    def _look(self, who: Who) -> None:
        for number, stream in tuple(self._open.get(who, {}).items()):
            if not self._index.check(*stream[:6]):
                del self._open[who][number]
                stream.close(f"the right to {stream.verb} {stream.resource} was taken away")
        if not self._open.get(who, True):
            del self._open[who]
