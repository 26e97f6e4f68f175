"""Open watches, logs and shells: each ends when the right behind it goes, or when the process stops (I6).

Rights are asked once when a stream begins; without this they would outlive their cause. Every change of a
user or a binding asks again, for the streams it may concern.
"""

import asyncio
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """user: whose it is. may_go_on: asks for the token and the right once more."""

    user: str
    task: "asyncio.Task[object]"
    may_go_on: Callable[[], bool]


class Streams:
    def __init__(self) -> None:
        self._open: set[Stream] = set()

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def running(self, user: str, may_go_on: Callable[[], bool]) -> Generator[None]:
        """The current task is a stream of `user` while the block runs."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a stream runs in a task")
        stream = Stream(user, task, may_go_on)
        self._open.add(stream)
        try:
            yield
        finally:
            self._open.discard(stream)

    def user_changed(self, name: str) -> None:
        self._end(stream for stream in self._open if stream.user == name and not stream.may_go_on())

    def rights_changed(self) -> None:
        self._end(stream for stream in self._open if not stream.may_go_on())

    def end_all(self) -> None:
        self._end(iter(self._open))

    def _end(self, streams: Iterator[Stream]) -> None:
        for stream in list(streams):
            stream.task.cancel("the right behind this stream is gone")
