"""When a name or an address has had too many wrong passwords, and for how long it waits. Pure.

Five failures in fifteen minutes lock a name for fifteen minutes; each further lock lasts twice as long, up to
a day; a day without one begins anew. A success, or an administrator, forgives a name what was before. What is
counted is LoginRecords, so that all replicas and a process that has just started count the same.
Source: I14; design §9 "lock-out".
"""

import unicodedata
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

UNLOCKED_ANNOTATION: Final = "iam.theriseunion.io/unlocked-at"
"""On a User, a time in RFC 3339: wrong passwords before it do not count."""
NAME_LABEL: Final = "iam.theriseunion.io/name-mark"
"""On a LoginRecord: a keyed digest of the name that was typed, whether anybody has it or not."""
LAST_ADMIN_EVERY_S: Final = 30.0
LIMIT_MAX: Final = 1000
LOCKS_KEPT: Final = 8
"""How many locks in a row are remembered, of one name or address: by then a lock is as long as it gets."""
FAILURES_KEPT: Final = 500
"""At least so many failures are."""
KEYS_MAX: Final = 20_000
SEEN_MAX: Final = 50_000


@dataclass(frozen=True, slots=True)
class Rules:
    """user, address: failures within window_s that lock; 0 is never. lock_s doubles up to longest_s."""

    user: int = 5
    address: int = 50
    window_s: float = 900.0
    lock_s: float = 900.0
    longest_s: float = 86_400.0

    @property
    def remembered_s(self) -> float:
        """How old a failure may be that still has a say in how long the next lock is."""
        return self.window_s + LOCKS_KEPT * self.longest_s


def normal_name(name: str) -> str:
    """One spelling of all that a directory may take for the same name: else each has guesses of its own."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def locked_until(failures: Iterable[float], limit: int, rules: Rules) -> float:
    """The end of the latest lock that these failures, in order of time, brought about; 0 for none."""
    until, lock_s, recent = 0.0, rules.lock_s, deque[float]()
    for at_s in failures:
        if at_s < until:
            continue  # a replica had not heard of the lock yet
        if until and at_s - until > rules.longest_s:
            lock_s = rules.lock_s
        recent.append(at_s)
        while recent[0] <= at_s - rules.window_s:
            recent.popleft()
        if limit and len(recent) >= limit:
            until, lock_s = at_s + lock_s, min(2 * lock_s, rules.longest_s)
            recent.clear()
    return until


def left_before_lock(failures: Iterable[float], limit: int, rules: Rules, now_s: float) -> int:
    """How many further failures a name has now; for a name that is not locked."""
    until = locked_until(failures, limit, rules)
    recent = sum(1 for at_s in failures if at_s >= until and at_s > now_s - rules.window_s)
    return max(0, limit - recent)


@dataclass(slots=True)
class _Tally:
    failures: list[float] = field(default_factory=list[float])
    forgiven_s: float = float("-inf")


class Ledger:
    """Failures by name and by address. The least used are forgotten first, when there are too many."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._kept = max(FAILURES_KEPT, LOCKS_KEPT * max(rules.user, rules.address))
        self._names: OrderedDict[str, _Tally] = OrderedDict()
        self._addresses: OrderedDict[str, _Tally] = OrderedDict()
        self._seen: OrderedDict[str, None] = OrderedDict()

    def note(self, record: str, mark: str, address: str, at_s: float, *, success: bool) -> None:
        """One attempt, by the name of its record: told again, by the watch, it counts once."""
        if record in self._seen:
            return
        self._seen[record] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        if success:
            self.forgive(mark, at_s)
            return
        for tallies, key in ((self._names, mark), (self._addresses, address)):
            if key:
                tally = _tally(tallies, key)
                if at_s > tally.forgiven_s:
                    insort(tally.failures, at_s)
                    del tally.failures[: -self._kept]

    def forgive(self, mark: str, at_s: float) -> None:
        """What was until then counts no more against the name."""
        tally = _tally(self._names, mark)
        if at_s > tally.forgiven_s:
            tally.forgiven_s = at_s
            tally.failures = [one for one in tally.failures if one > at_s]

    def name_wait_s(self, mark: str, now_s: float) -> float:
        """Seconds until the name may be tried; 0 for now."""
        tally = self._names.get(mark)
        if tally is None:
            return 0.0
        return max(0.0, locked_until(tally.failures, self.rules.user, self.rules) - now_s)

    def address_wait_s(self, address: str, now_s: float) -> float:
        tally = self._addresses.get(address)
        if tally is None:
            return 0.0
        return max(0.0, locked_until(tally.failures, self.rules.address, self.rules) - now_s)

    def slowed_s(self, mark: str, now_s: float) -> float:
        """Instead of `name_wait_s` for the last administrator: one try now and then."""
        tally = self._names.get(mark)
        last_s = tally.failures[-1] if tally is not None and tally.failures else 0.0
        return max(0.0, last_s + LAST_ADMIN_EVERY_S - now_s)

    def free(self, mark: str, now_s: float) -> int:
        """How many attempts may be under way at once, so that not one too many is tried."""
        limit = self.rules.user
        if not limit:
            return KEYS_MAX
        tally = self._names.get(mark)
        return limit if tally is None else left_before_lock(tally.failures, limit, self.rules, now_s)


def _tally(tallies: OrderedDict[str, _Tally], key: str) -> _Tally:
    found = tallies.get(key)
    if found is None:
        found = tallies[key] = _Tally()
        if len(tallies) > KEYS_MAX:
            tallies.popitem(last=False)
    else:
        tallies.move_to_end(key)
    return found
