"""Waiting times: exponential back-off with jitter, and a token bucket. Pure but for an injected clock.

The one place that knows how to wait; a caller names its policy and asks for the next delay.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """delay = base_s × factor^failures, at most cap_s, spread by ± jitter so that many do not return at once.

    The jitter is applied after the cap and never exceeds it upwards: cap_s is a promise.
    """

    base_s: float = 0.1
    cap_s: float = 300.0
    factor: float = 2.0
    jitter: float = 0.2

    def delay_s(self, failures: int, rand: Callable[[], float] = random.random) -> float:
        """failures: how many came before this one, 0 for the first. rand: uniform in [0, 1)."""
        # The exponent is bounded before the power: 2.0 ** 2000 would overflow.
        steps = min(max(failures, 0), 64)
        plain = min(self.base_s * self.factor**steps, self.cap_s)
        return min(plain * (1 + self.jitter * (2 * rand() - 1)), self.cap_s)


def jittered(delay_s: float, share: float = 0.1, rand: Callable[[], float] = random.random) -> float:
    """delay_s ± share."""
    return delay_s * (1 + share * (2 * rand() - 1))


class TokenBucket:
    """rate_per_s tokens a second, burst at most. `reserve` never blocks: it says how long to wait.

    Reservations are honoured in order, also those that had to wait (the bucket may owe tokens).
    """

    def __init__(self, rate_per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._at = clock()

    def reserve(self) -> float:
        """Take one token, and return after how many seconds it is good (0: now)."""
        self._refill()
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)

    def try_take(self) -> bool:
        """Take one token if there is one."""
        self._refill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
