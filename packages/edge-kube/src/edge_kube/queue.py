"""The work queue: fair, stingy, with back-off, delays, two priorities, lanes and parked keys.

Promises
- A key is never with two workers. A key added (high) while it is worked on is worked on once more afterwards,
  however often it was added.
- A key waits at most once. A high `add` ends its delay or parking; a second delay keeps the earlier time; a
  low `add` (resync) changes nothing for a key that waits or is worked on: it cannot undo a back-off.
- High before low, but every fifth take is from low if there is any: neither starves.
- A lane (a member cluster) has at most `lane_limit` keys with workers; lanes take turns. Lane "" (the host)
  has no limit but the number of workers.
Not promised: order between keys, and anything across a restart (the next leader sees every object again).

All methods but `take` are synchronous and run on the event loop's thread. Source: P2, P3; design
kube-runtime §7.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Hashable
from enum import IntEnum
from itertools import count
from typing import Generic, NamedTuple, TypeVar

from edge_kube.backoff import Backoff, TokenBucket

K = TypeVar("K", bound=Hashable)

LOW_EVERY = 5  # every fifth take prefers the low band


class Priority(IntEnum):
    LOW = 0  # initial list, resync
    HIGH = 1  # watch events, retries, writes of users


class QueueClosed(Exception):
    """The queue was closed: the worker that took from it ends."""


class _Band(Generic[K]):
    """Ready keys of one priority, by lane; lanes take turns."""

    def __init__(self) -> None:
        self._lanes: dict[str, dict[K, None]] = {}
        self.size = 0

    def put(self, lane: str, key: K) -> None:
        self._lanes.setdefault(lane, {})[key] = None
        self.size += 1

    def drop(self, lane: str, key: K) -> None:
        keys = self._lanes[lane]
        del keys[key]
        self.size -= 1
        if not keys:
            del self._lanes[lane]

    def pop(self, is_open: Callable[[str], bool]) -> K | None:
        lane = next((name for name in self._lanes if is_open(name)), None)
        if lane is None:
            return None
        keys = self._lanes.pop(lane)
        key = next(iter(keys))
        del keys[key]
        self.size -= 1
        if keys:
            self._lanes[lane] = keys  # behind all other lanes
        return key


class _Ready(NamedTuple):
    priority: Priority
    lane: str  # of the moment of adding: the lane function may answer otherwise later
    at: float


class Queue(Generic[K]):
    def __init__(
        self,
        *,
        lane: Callable[[K], str] = lambda _: "",
        lane_limit: int = 2,
        backoff: Backoff | None = None,
        retries: TokenBucket | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_add: Callable[[], None] = lambda: None,
        on_start: Callable[[float], None] = lambda _waited_s: None,
    ) -> None:
        """retries: rate of all back-off retries together (50/s, burst 200). on_add, on_start: for metrics."""
        self._lane = lane
        self._lane_limit = lane_limit
        self._backoff = backoff or Backoff()
        self._retries = retries or TokenBucket(50, 200, clock)
        self._clock = clock
        self._on_add = on_add
        self._on_start = on_start
        self._bands: dict[Priority, _Band[K]] = {Priority.HIGH: _Band(), Priority.LOW: _Band()}
        self._ready: dict[K, _Ready] = {}
        self._processing: dict[K, str] = {}  # key → lane it occupies
        self._in_lane: dict[str, int] = {}
        self._dirty: dict[K, None] = {}
        self._delayed: dict[K, tuple[float, int]] = {}  # the valid heap entry of a key
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = count()
        self._parked: dict[K, str] = {}
        self._parked_in: dict[str, dict[K, None]] = {}
        self._failures: dict[K, int] = {}
        self._takes = 0
        self._closed = False
        self._waiters: dict[asyncio.Future[None], None] = {}
        self._timer: asyncio.TimerHandle | None = None

    # -- adding ----------------------------------------------------------------------------------------------

    def add(self, key: K, priority: Priority = Priority.HIGH) -> None:
        """Work on this key as soon as a worker is free."""
        if self._closed or (priority is Priority.LOW and self.is_known(key)):
            return
        self._delayed.pop(key, None)
        self._unpark_key(key)
        if key in self._processing:
            self._dirty[key] = None
            return
        self._make_ready(key, priority)

    def add_after(self, key: K, delay_s: float) -> None:
        """Work on this key in delay_s seconds, or earlier if it is already waiting for an earlier time."""
        if self._closed:
            return
        if delay_s <= 0:
            self.add(key)
            return
        if key in self._ready or key in self._dirty:
            return  # it comes sooner than that anyway
        due = self._clock() + delay_s
        have = self._delayed.get(key)
        if have is not None and have[0] <= due:
            return
        entry = (due, next(self._sequence))
        self._delayed[key] = entry
        heapq.heappush(self._heap, (*entry, key))
        self._compact()
        self._wake()

    def retry(self, key: K, *, at_least_s: float = 0.0) -> float:
        """Back-off after a failure; returns the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_s = max(self._backoff.delay_s(failures), self._retries.reserve(), at_least_s)
        self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: K) -> None:
        """The key succeeded, or is gone: its next failure starts at the shortest back-off again."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    # -- parking ---------------------------------------------------------------------------------------------

    def park(self, key: K, cluster: str) -> None:
        """Keep the key away from workers until `unpark(cluster)` or `add(key)`. No back-off is counted."""
        if self._closed or key in self._ready or key in self._dirty:
            return
        self._delayed.pop(key, None)
        self._unpark_key(key)
        self._parked[key] = cluster
        self._parked_in.setdefault(cluster, {})[key] = None

    def unpark(self, cluster: str, *, per_s: float = 20.0) -> int:
        """Bring back the keys parked for a cluster, at most per_s a second so that it is not knocked over."""
        keys = list(self._parked_in.get(cluster, ()))
        for position, key in enumerate(keys):
            self._unpark_key(key)
            self.add_after(key, position / per_s)
        return len(keys)

    def parked(self) -> int:
        return len(self._parked)

    # -- taking ----------------------------------------------------------------------------------------------

    async def take(self) -> K:
        """Next key for a worker; raises QueueClosed once closed. Each take is paired with one `done`."""
        while True:
            if self._closed:
                raise QueueClosed
            key = self.pop()
            if key is not None:
                return key
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = None
            self._arm()
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # the key that woke this worker must wake another one
                raise
            finally:
                self._waiters.pop(waiter, None)

    def pop(self) -> K | None:
        """Next ready key, or None; what `take` does without waiting."""
        self._release_due()
        low_first = self._takes % LOW_EVERY == LOW_EVERY - 1
        order = (Priority.LOW, Priority.HIGH) if low_first else (Priority.HIGH, Priority.LOW)
        for priority in order:
            key = self._bands[priority].pop(self._lane_is_open)
            if key is not None:
                ready = self._ready.pop(key)
                self._takes += 1
                self._processing[key] = ready.lane
                self._in_lane[ready.lane] = self._in_lane.get(ready.lane, 0) + 1
                self._on_start(self._clock() - ready.at)
                return key
        return None

    def done(self, key: K) -> None:
        """The worker is finished with the key; if it was added meanwhile it is ready again."""
        lane = self._processing.pop(key)
        self._in_lane[lane] -= 1
        if not self._in_lane[lane]:
            del self._in_lane[lane]
        if key in self._dirty:
            del self._dirty[key]
            self.add(key)
        self._wake()

    def close(self) -> None:
        """No more takes; waiting workers end. Delayed and parked keys are dropped."""
        self._closed = True
        self._delayed.clear()
        self._heap.clear()
        self._parked.clear()
        self._parked_in.clear()
        self._failures.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- measures --------------------------------------------------------------------------------------------

    def depth(self, priority: Priority | None = None) -> int:
        """Ready keys; delayed, parked and processing ones are not counted."""
        self._release_due()
        if priority is not None:
            return self._bands[priority].size
        return sum(band.size for band in self._bands.values())

    def is_known(self, key: K) -> bool:
        """Whether the key waits or is being worked on in any way."""
        waits = key in self._ready or key in self._delayed or key in self._parked
        return waits or key in self._processing

    def next_due(self) -> float | None:
        """Clock time of the earliest delayed key."""
        while self._heap and self._delayed.get(self._heap[0][2]) != self._heap[0][:2]:
            heapq.heappop(self._heap)  # replaced or cancelled meanwhile
        return self._heap[0][0] if self._heap else None

    # -- inside ----------------------------------------------------------------------------------------------

    def _lane_is_open(self, lane: str) -> bool:
        return lane == "" or self._in_lane.get(lane, 0) < self._lane_limit

    def _make_ready(self, key: K, priority: Priority) -> None:
        have = self._ready.get(key)
        if have is not None and have.priority >= priority:
            return
        if have is None:
            have = _Ready(priority, self._lane(key), self._clock())
            self._on_add()
        else:
            self._bands[have.priority].drop(have.lane, key)
        self._ready[key] = have._replace(priority=priority)
        self._bands[priority].put(have.lane, key)
        self._wake()

    def _release_due(self) -> None:
        now = self._clock()
        while (due := self.next_due()) is not None and due <= now:
            self.add(heapq.heappop(self._heap)[2])

    def _unpark_key(self, key: K) -> None:
        cluster = self._parked.pop(key, None)
        if cluster is None:
            return
        keys = self._parked_in[cluster]
        del keys[key]
        if not keys:
            del self._parked_in[cluster]

    def _compact(self) -> None:
        """Drop dead heap entries when they outnumber the living, so that the heap is bounded by the keys."""
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._delayed):
            self._heap = [(*entry, key) for key, entry in self._delayed.items()]
            heapq.heapify(self._heap)

    def _wake(self) -> None:
        waiter = next((one for one in self._waiters if not one.done()), None)
        if waiter is not None:
            waiter.set_result(None)

    def _arm(self) -> None:
        due = self.next_due()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - self._clock()), self._wake)
