"""Open watches, logs and shells: each ends when the right behind it goes, when the member that it leads into
leaves the platform, or when the process stops (I6, C9).

Rights are asked once when a stream begins; without this they would outlive their cause. Whoever the index has
dropped from its memory is asked again in the turn of the event; after an event that touches everybody, a
slice of them in each of the next turns.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from edge.iam.index import Who


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """may_go_on: asks for the token and the right once more."""

    task: "asyncio.Task[object]"
    may_go_on: Callable[[], bool]


class Streams:
    def __init__(self) -> None:
        self._open: dict[Who, set[Stream]] = {}
        self._into: dict[Who, set[Stream]] = {}
        """By the name of the member."""
        self._todo: deque[Who] = deque()
        self.ending = False
        """Whether the process stops, which ends all of them."""

    def __len__(self) -> int:
        return len(set[Stream]().union(*self._open.values()))

    def has(self, user: Who) -> bool:
        return user in self._open

    @contextmanager
    def running(
        self, user: str, may_go_on: Callable[[], bool], by: str = "", cluster: str = ""
    ) -> Generator[None]:
        """The current task is a stream of `user` while the block runs. by: who acts as that user, if anybody;
        what happens to either may end it. cluster: the member that it leads into."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a stream runs in a task")
        stream = Stream(task, may_go_on)
        users = {user, by or user}
        for one in users:
            _note(self._open, one, stream)
        if cluster:
            _note(self._into, cluster, stream)
        try:
            yield
        finally:
            for one in users:
                _forget(self._open, one, stream)
            if cluster:
                _forget(self._into, cluster, stream)

    def look(self, user: Who) -> None:
        """Ask again for all streams of one user, who may have lost the token or a right."""
        for stream in tuple(self._open.get(user, ())):
            if not stream.may_go_on():
                stream.task.cancel("the right behind this stream is gone")

    def look_at_all(self) -> None:
        """Ask again for all streams, whoever they are of; for what happens seldom."""
        for user in tuple(self._open):
            self.look(user)

    def end_into(self, cluster: str) -> int:
        """End all that lead into this member: it is none any more, or another server. How many there were."""
        streams = tuple(self._into.get(cluster, ()))
        for stream in streams:
            stream.task.cancel("the cluster behind this stream has left the platform")
        return len(streams)

    def rights_changed(self, callers: list[Who] | None) -> None:
        """Listener of the index: whose rights may have changed; None is everybody, left to `sweep`."""
        if callers is None:
            self._todo = deque(self._open)
            return
        for caller in callers:
            self.look(caller)

    def sweep(self, limit: int = 100) -> bool:
        """Look at some of those that a wide event touched; True while there are more."""
        for _ in range(min(limit, len(self._todo))):
            self.look(self._todo.popleft())
        return bool(self._todo)

    def end_all(self) -> None:
        self.ending = True
        for stream in set[Stream]().union(*self._open.values()):
            stream.task.cancel("the gateway stops")


def _note(streams: dict[Who, set[Stream]], key: Who, stream: Stream) -> None:
    streams.setdefault(key, set()).add(stream)


def _forget(streams: dict[Who, set[Stream]], key: Who, stream: Stream) -> None:
    streams[key].discard(stream)
    if not streams[key]:
        del streams[key]
