"""Whose turn it is: callers take turns, so that one who asks a lot delays himself (G4; design §8.5).

    queue = FairQueue(Bucket(qps=1000, burst=2000, now_s=…), max_delay_s=1.0)
    await queue.enter("ada")    # returns when it is ada's turn

Two things are short: what the limit gives in a second, and turns of the event loop. Requests that find
neither wait in a line of their caller's, and the lines are served in rotation: a caller with one request
waits for at most one of each other caller's, however many those have.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from edge.apiserver.listening.limits import Bucket, too_much

PER_TURN: Final = 4
"""Requests let in per turn of the event loop: each takes a fraction of a millisecond of it."""


class FairQueue:
    def __init__(
        self,
        bucket: Bucket | None = None,
        *,
        max_delay_s: float = 1.0,
        per_turn: int = PER_TURN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """bucket: what all callers share in a second; None: as much as there is."""
        self.bucket = bucket
        self._max_delay_s = max_delay_s
        self._per_turn = per_turn
        self._clock = clock
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._waiting = 0
        self._left = per_turn
        self._turn_asked = False

    @property
    def waiting(self) -> int:
        return self._waiting

    async def enter(self, caller: str) -> float:
        """Wait for the caller's turn; the seconds it took. Raises TooMuch (429) instead of a long wait."""
        now_s = self._clock()
        if not self._lines and self._left > 0 and (self.bucket is None or self.bucket.wait_s(now_s) <= 0):
            self._let_in(now_s)
            self._ask_for_turn()
            return 0.0
        self._check_delay(caller, now_s)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, deque()).append(turn)
        self._waiting += 1
        self._ask_for_turn()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and self.bucket is not None:
                self.bucket.give_back()
            raise
        return self._clock() - now_s

    def _check_delay(self, caller: str, now_s: float) -> None:
        """By rotation, those before me are as many of each other caller's as I have myself, at most."""
        if self.bucket is None:
            return
        mine = len(self._lines.get(caller, ())) + 1
        lines = len(self._lines) + (caller not in self._lines)
        delay_s = self.bucket.wait_s(now_s, min(self._waiting + 1, mine * lines))
        if delay_s > self._max_delay_s:
            raise too_much(f"{self.bucket.qps:g} requests a second in all", delay_s)

    def _let_in(self, now_s: float) -> None:
        self._left -= 1
        if self.bucket is not None:
            self.bucket.take(now_s, 0.0)

    def _ask_for_turn(self, after_s: float = 0.0) -> None:
        if self._turn_asked:
            return
        self._turn_asked = True
        loop = asyncio.get_running_loop()
        if after_s > 0:
            loop.call_later(after_s, self._turn)
        else:
            loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_asked = False
        self._left = self._per_turn
        now_s = self._clock()
        while self._lines and self._left > 0:
            short_s = 0.0 if self.bucket is None else self.bucket.wait_s(now_s)
            if short_s > 0:
                self._ask_for_turn(short_s)
                return
            turn = self._next()
            if not turn.done():  # else its client has left
                self._let_in(now_s)
                turn.set_result(None)
        if self._lines:
            self._ask_for_turn()

    def _next(self) -> "asyncio.Future[None]":
        """The oldest of the caller who has waited longest for a turn; the caller goes to the end."""
        caller, line = next(iter(self._lines.items()))
        turn = line.popleft()
        self._waiting -= 1
        if line:
            self._lines.move_to_end(caller)
        else:
            del self._lines[caller]
        return turn
