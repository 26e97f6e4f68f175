"""The one clock. Code that decides takes a time as an argument; code at the edge asks a Clock."""

import time
from typing import Protocol


class Clock(Protocol):
    def now_s(self) -> float:
        """Seconds since 1970, UTC. May jump; for times that people and other machines read."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that only grow; for durations and deadlines."""
        ...


class SystemClock:
    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()
