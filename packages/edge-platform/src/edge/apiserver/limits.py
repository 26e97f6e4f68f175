"""How much one caller, and all together, may ask (G4, G10).

A limiter delays before it refuses: a burst that the average can carry is served late, not turned away. Only
a request that would have to wait longer than `max_delay_s` is refused, with the time after which it fits.
"""

import math
from collections import OrderedDict

from edge_sdk.problem import TooMuch, Unavailable


class Bucket:
    """A token bucket that lends: `take` returns how long to wait, in the order of asking."""

    __slots__ = ("_at", "_burst", "_have", "_qps")

    def __init__(self, qps: float, burst: float, now_s: float) -> None:
        self._qps = qps
        self._burst = burst
        self._have = burst
        self._at = now_s

    def take(self, now_s: float, max_delay_s: float) -> float:
        """Seconds to wait, or a negative number: that many seconds too long, and nothing was taken."""
        self._have = min(self._burst, self._have + (now_s - self._at) * self._qps)
        self._at = now_s
        delay = max(0.0, (1 - self._have) / self._qps)
        if delay > max_delay_s:
            return -delay
        self._have -= 1
        return delay

    def give_back(self) -> None:
        self._have += 1


class Limiter:
    """One bucket for all, one for each caller. Callers beyond `callers_max` push out the idlest."""

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
        self._qps = qps
        self._user_qps = user_qps
        self._user_burst = user_burst
        self._max_delay_s = max_delay_s
        self._callers_max = callers_max
        self._all = Bucket(qps, burst, 0.0)
        self._callers: OrderedDict[str, Bucket] = OrderedDict()

    def delay(self, caller: str, now_s: float) -> float:
        """Seconds to wait before this request goes on. Raises TooMuch (429)."""
        own = self._callers.get(caller)
        if own is None:
            own = self._callers[caller] = Bucket(self._user_qps, self._user_burst, now_s)
            if len(self._callers) > self._callers_max:
                self._callers.popitem(last=False)
        else:
            self._callers.move_to_end(caller)
        mine = own.take(now_s, self._max_delay_s)
        if mine < 0:
            raise _too_much(f"{self._user_qps:g} requests a second for one user", -mine)
        everyones = self._all.take(now_s, self._max_delay_s)
        if everyones < 0:
            own.give_back()
            raise _too_much(f"{self._qps:g} requests a second in all", -everyones)
        return max(mine, everyones)


def _too_much(limit: str, delay_s: float) -> TooMuch:
    seconds = max(1, math.ceil(delay_s))
    return TooMuch(
        "too-many-requests",
        what="The gateway has more requests than it may serve",
        why=f"the limit is {limit}",
        do=f"try again in {seconds} s, or have rateLimit.qps raised",
        retry_after_s=seconds,
    )


class Gate:
    """Counts what is in flight and refuses beyond a bound; never waits."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self.inflight = 0

    def enter(self) -> None:
        if self.inflight >= self._limit:
            raise Unavailable(
                "overloaded",
                what="The gateway is busy",
                why=f"{self._limit} {self._what} are being served",
                do="try again in a second",
            )
        self.inflight += 1

    def leave(self) -> None:
        self.inflight -= 1


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
