"""How fast a socket is served: acks, pace, back-pressure, pings. Pure; every time is passed in, in seconds.

A client that does not acknowledge is not sent more than `UNACKED_MAX` frames: what happens meanwhile is
merged into what it gets next. After 30 s of that, or 45 s without a pong, it counts as gone. Source:
console §5.4.
"""

import math
from typing import Final

from edge.apiserver.watching.protocol import HEARTBEAT_S, UNACKED_MAX, Pace

FLUSH_S: Final = {"visible": 0.2, "hidden": 5.0}
"""A change waits for up to all of it: with 250 ms the P99 of a busy gateway is over 300 ms."""
SLOW_AFTER_S: Final = 30.0
DEAD_AFTER_S: Final = 45.0


class Flow:
    def __init__(self, now_s: float) -> None:
        self.pace: Pace = "visible"
        self.seq = 0
        """Of the last frame that was sent."""
        self._acked = 0
        self._full_since_s = math.inf
        self._flushed_s = -math.inf
        self._ping_s = now_s + HEARTBEAT_S
        self._heard_s = now_s

    def next_seq(self, now_s: float) -> int:
        """The number of a frame that goes out now."""
        self.seq += 1
        if not self.has_room and math.isinf(self._full_since_s):
            self._full_since_s = now_s
        return self.seq

    @property
    def has_room(self) -> bool:
        return self.seq - self._acked < UNACKED_MAX

    def acked(self, seq: int, now_s: float) -> bool:
        """The client has all frames up to this one. False for a number that was never sent."""
        if not 0 <= seq <= self.seq:
            return False
        if seq > self._acked:
            self._acked = seq
            self._full_since_s = math.inf if self.has_room else now_s
        return True

    def flushed(self, now_s: float) -> None:
        self._flushed_s = now_s

    def flush_at_s(self) -> float:
        """When changes may go out next: at once after a quiet time, else a pace after the last ones."""
        return self._flushed_s + FLUSH_S[self.pace]

    def pong(self, now_s: float) -> None:
        self._heard_s = now_s

    def wants_ping(self, now_s: float) -> bool:
        """Whether a ping is due; if so, it counts as sent."""
        if now_s < self._ping_s:
            return False
        self._ping_s = now_s + HEARTBEAT_S
        return True

    def ping_at_s(self) -> float:
        return self._ping_s

    def gives_up_at_s(self) -> float:
        """When the client counts as slow or dead, unless it is heard of before."""
        return min(self._full_since_s + SLOW_AFTER_S, self._heard_s + DEAD_AFTER_S)
