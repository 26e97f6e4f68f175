"""Keeps what does not answer from taking the time of what does: one for each server behind the gateway.

A server that takes no connection is given up at once, one that takes them and stays silent after a few
requests in a row; then everybody is told so at once, and now and then one request asks again. And no server
has more than its share of the gateway's seats, so that a slow one fills its own and no other's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeVar

from edge_sdk.problem import Problem

RETRY_AFTER_S: Final = 5.0
SILENCES_MAX: Final = 3
T = TypeVar("T")


class Unreachable(Exception):
    """The server did not take the connection; nothing was sent."""


class Silent(Unreachable):
    """The server took a reading, and no answer has begun in time."""


class Breaker:
    def __init__(
        self,
        *,
        seats: int,
        slow_s: float,
        down: Callable[[str, str], Problem],
        busy: Callable[[int], Problem],
    ) -> None:
        """seats: short requests at once. slow_s: a request that was waited for so long counts as unanswered.

        down: the answer, from the time since when and the reason. busy: the answer, from the seats.
        """
        self._seats = seats
        self._slow_s = slow_s
        self._down = down
        self._busy = busy
        self._answers = 0
        self._silences = 0
        self._since = ""
        self._why = ""
        self._ask_again_s = 0.0
        self.inflight = 0

    def answered(self) -> None:
        """The head of any answer has come."""
        self._answers += 1
        self._silences = 0
        self._since = ""

    async def call(self, send: Callable[[], Awaitable[T]], *, stream: bool) -> T:
        """Raises what `down` and `busy` make, and all that `send` raises but Unreachable and Silent."""
        if self._since and time.monotonic() < self._ask_again_s:
            raise self._down(self._since, self._why)
        # One request asks again; those beside it are answered at once, not after a time-out each.
        self._ask_again_s = time.monotonic() + RETRY_AFTER_S
        before, start = self._answers, time.monotonic()
        with self._seat(stream=stream):
            try:
                return await send()
            except Silent as error:
                self._silence()
                raise self._down(self._since or _now(), str(error)) from error
            except Unreachable as error:
                raise self._gone(str(error)) from error
            except (TimeoutError, asyncio.CancelledError):
                # A stream may be quiet for as long as it likes: its client's leaving tells nothing.
                waited = not stream and time.monotonic() - start >= self._slow_s
                if waited and self._answers == before:
                    self._silence()
                raise

    @contextmanager
    def _seat(self, *, stream: bool) -> Generator[None]:
        if not stream and self.inflight >= self._seats:
            raise self._busy(self._seats)
        self.inflight += not stream
        try:
            yield
        finally:
            self.inflight -= not stream

    def _silence(self) -> None:
        self._silences += 1
        if self._silences >= SILENCES_MAX or self._since:
            self._gone("it takes connections and does not answer")

    def _gone(self, why: str) -> Problem:
        self._since = self._since or _now()
        self._why = why
        self._ask_again_s = time.monotonic() + RETRY_AFTER_S
        return self._down(self._since, why)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
