"""How much one caller, and all together, may ask (G4, G10).

A limiter delays before it refuses: a burst that the average can carry is served late, not turned away. Only
a request that would have to wait longer than `max_delay_s` is refused, with the time after which it fits.
"""

import math
from collections import OrderedDict

from edge_sdk.problem import TooMuch, Unavailable


class Bucket:
    """A token bucket that lends: `take` returns how long to wait, in the order of asking."""

    __slots__ = ("_at", "_have", "burst", "qps")

    def __init__(self, qps: float, burst: float, now_s: float) -> None:
        self.qps = qps
        self.burst = burst
        self._have = burst
        self._at = now_s

    def wait_s(self, now_s: float, requests: int = 1) -> float:
        """Seconds until so many requests are there to be taken; 0 when they are."""
        self._fill(now_s)
        return max(0.0, (requests - self._have) / self.qps)

    def take(self, now_s: float, max_delay_s: float) -> float:
        """Seconds to wait, or a negative number: that many seconds too long, and nothing was taken."""
        delay = self.wait_s(now_s)
        if delay > max_delay_s:
            return -delay
        self._have -= 1
        return delay

    def give_back(self) -> None:
        self._have += 1

    def resize(self, qps: float, burst: float, now_s: float) -> None:
        """From now on at this rate; what has been lent stays lent."""
        self._fill(now_s)
        self.qps, self.burst = qps, burst
        self._have = min(self._have, burst)

    def _fill(self, now_s: float) -> None:
        if now_s > self._at:
            self._have = min(self.burst, self._have + (now_s - self._at) * self.qps)
            self._at = now_s


class Limiter:
    """A bucket for each caller, and `all`, which they share. Beyond `callers_max` the idlest goes.

    What all share is handed out in turns by listening/fairness.py.
    """

    def __init__(
        self,
        *,
        qps: float,
        burst: float,
        user_qps: float,
        user_burst: float,
        max_delay_s: float = 1.0,
        callers_max: int = 10_000,
    ) -> None:
        self._whole = (qps, burst, user_qps, user_burst)
        self._user_qps = user_qps
        self._user_burst = user_burst
        self.max_delay_s = max_delay_s
        self._callers_max = callers_max
        self.all = Bucket(qps, burst, 0.0)
        self._callers: OrderedDict[str, Bucket] = OrderedDict()

    def delay(self, caller: str, now_s: float) -> float:
        """Seconds to wait before this request of this caller's goes on. Raises TooMuch (429)."""
        own = self._callers.get(caller)
        if own is None:
            own = self._callers[caller] = Bucket(self._user_qps, self._user_burst, now_s)
            if len(self._callers) > self._callers_max:
                self._callers.popitem(last=False)
        else:
            self._callers.move_to_end(caller)
        delay = own.take(now_s, self.max_delay_s)
        if delay < 0:
            raise too_much(f"{self._user_qps:g} requests a second for one user", -delay)
        return delay

    def share(self, replicas: int, now_s: float) -> None:
        """The limits are those of all replicas together: from now on this one gives its part of them."""
        qps, burst, user_qps, user_burst = (whole / max(1, replicas) for whole in self._whole)
        self.all.resize(qps, burst, now_s)
        self._user_qps, self._user_burst = user_qps, user_burst
        for bucket in self._callers.values():
            bucket.resize(user_qps, user_burst, now_s)


def too_much(limit: str, delay_s: float) -> TooMuch:
    seconds = max(1, math.ceil(delay_s))
    return TooMuch(
        "too-many-requests",
        what="The gateway has more requests than it may serve",
        why=f"the limit is {limit}",
        do=f"try again in {seconds} s, or have rateLimit.qps raised",
        retry_after_s=seconds,
    )


class Gate:
    """Counts what is in flight and refuses beyond a bound; never waits.

    One caller may have three quarters of it: whatever somebody does, others find a seat.
    """

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._each = max(1, limit * 3 // 4)
        self._what = what
        self._callers: dict[str, int] = {}
        self.inflight = 0

    def enter(self, caller: str = "") -> None:
        """caller: "" for who is not known; those count in all only. Raises Unavailable (503)."""
        mine = self._callers.get(caller, 0)
        if self.inflight >= self._limit or (caller and mine >= self._each):
            most = self._limit if self.inflight >= self._limit else self._each
            whose = "" if most == self._limit else " for one user"
            raise Unavailable(
                "overloaded",
                what="The gateway is busy",
                why=f"{most} {self._what} are being served{whose}",
                do="try again in a second",
            )
        self.inflight += 1
        if caller:
            self._callers[caller] = mine + 1

    def leave(self, caller: str = "") -> None:
        self.inflight -= 1
        if caller:
            left = self._callers[caller] - 1
            if left:
                self._callers[caller] = left
            else:
                del self._callers[caller]


class SignInGuard:
    """Slows down guessing: `burst` failures from one address for one name, then one in `every_s` seconds.

    Counted per address and name together, so that nobody can lock another person out from elsewhere.
    """

    def __init__(self, *, burst: int = 10, every_s: float = 6.0, pairs_max: int = 10_000) -> None:
        self._burst = burst
        self._every_s = every_s
        self._pairs_max = pairs_max
        self._failures: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str, name: str, now_s: float) -> float:
        """0, or the seconds after which this address may try this name again."""
        count, at_s = self._failures.get((address, name), (0.0, now_s))
        left = count - (now_s - at_s) / self._every_s
        return max(0.0, (left - self._burst + 1) * self._every_s) if left > self._burst - 1 else 0.0

    def failed(self, address: str, name: str, now_s: float) -> None:
        pair = (address, name)
        count, at_s = self._failures.pop(pair, (0.0, now_s))
        left = max(0.0, count - (now_s - at_s) / self._every_s)
        self._failures[pair] = (left + 1, now_s)
        if len(self._failures) > self._pairs_max:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, name: str) -> None:
        self._failures.pop((address, name), None)
