"""The work queue against a set model with a virtual clock, and its promises one by one (P2, P3)."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_kube.backoff import Backoff, TokenBucket
from edge_kube.queue import Priority, Queue, QueueClosed

keys = st.sampled_from(["a", "b", "c", "m/x", "m/y", "m/z"])
delays = st.sampled_from([0.5, 1.0, 2.0, 5.0])


def lane_of(key: str) -> str:
    return key.split("/")[0] if "/" in key else ""


@dataclass
class Model:
    """What the queue promises, with sets instead of heaps and bands."""

    now: float = 0.0
    ready: dict[str, Priority] = field(default_factory=dict[str, Priority])
    delayed: dict[str, float] = field(default_factory=dict[str, float])
    parked: dict[str, str] = field(default_factory=dict[str, str])
    working: set[str] = field(default_factory=set[str])
    dirty: set[str] = field(default_factory=set[str])

    def waits(self, key: str) -> bool:
        return key in self.ready or key in self.delayed or key in self.parked or key in self.working

    def add(self, key: str, priority: Priority) -> None:
        if priority is Priority.LOW and self.waits(key):
            return
        self.delayed.pop(key, None)
        self.parked.pop(key, None)
        if key in self.working:
            self.dirty.add(key)
        else:
            self.ready[key] = max(priority, self.ready.get(key, Priority.LOW))

    def add_after(self, key: str, delay_s: float) -> None:
        if key not in self.ready and key not in self.dirty:
            self.delayed[key] = min(self.now + delay_s, self.delayed.get(key, float("inf")))

    def park(self, key: str) -> None:
        if key not in self.ready and key not in self.dirty:
            self.delayed.pop(key, None)
            self.parked.pop(key, None)  # parked anew, it is the last of its cluster
            self.parked[key] = "member"

    def advance(self, by_s: float) -> None:
        self.now += by_s
        for key in [key for key, due in self.delayed.items() if due <= self.now]:
            self.add(key, Priority.HIGH)

    def done(self, key: str) -> None:
        self.working.discard(key)
        if key in self.dirty:
            self.dirty.discard(key)
            self.add(key, Priority.HIGH)

    def takable(self) -> set[str]:
        busy = {lane: sum(lane_of(key) == lane for key in self.working) for lane in {"", "m"}}
        return {key for key in self.ready if not lane_of(key) or busy[lane_of(key)] < 2}


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.queue: Queue[str] = Queue(lane=lane_of, lane_limit=2, clock=lambda: self.model.now)

    @rule(key=keys, priority=st.sampled_from(Priority))
    def add(self, key: str, priority: Priority) -> None:
        self.queue.add(key, priority)
        self.model.add(key, priority)

    @rule(key=keys, delay_s=delays)
    def add_after(self, key: str, delay_s: float) -> None:
        self.queue.add_after(key, delay_s)
        self.model.add_after(key, delay_s)

    @rule(key=keys)
    def park(self, key: str) -> None:
        self.queue.park(key, "member")
        self.model.park(key)

    @rule()
    def unpark(self) -> None:
        parked = list(self.model.parked)  # both keep the order of parking
        assert self.queue.unpark("member", per_s=2.0) == len(parked)
        for position, key in enumerate(parked):
            del self.model.parked[key]
            if position == 0:
                self.model.add(key, Priority.HIGH)
            else:
                self.model.add_after(key, position / 2.0)

    @rule(by_s=delays)
    def advance(self, by_s: float) -> None:
        self.model.advance(by_s)

    @rule()
    def take(self) -> None:
        takable = self.model.takable()
        key = self.queue.pop()
        if key is None:
            assert not takable
            return
        assert key in takable
        del self.model.ready[key]
        self.model.working.add(key)

    @precondition(lambda self: bool(self.model.working))
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.working)))
        self.queue.done(key)
        self.model.done(key)

    @invariant()
    def agrees(self) -> None:
        high = sum(priority is Priority.HIGH for priority in self.model.ready.values())
        assert self.queue.depth(Priority.HIGH) == high
        assert self.queue.depth(Priority.LOW) == len(self.model.ready) - high
        assert self.queue.parked() == len(self.model.parked)
        due = min(self.model.delayed.values(), default=None)
        assert self.queue.next_due() == due


QueueMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60)
TestTheQueueDoesWhatASetModelDoes = QueueMachine.TestCase


def test_low_keys_get_every_fifth_take_while_high_keys_never_end() -> None:
    queue: Queue[int] = Queue()
    for number in range(1000, 1010):
        queue.add(number, Priority.LOW)
    for number in range(100):
        queue.add(number)
    taken = [queue.pop() for _ in range(20)]
    assert [key for key in taken if key is not None and key >= 1000] == [1000, 1001, 1002, 1003]


def test_a_slow_member_never_has_more_than_its_lane_of_workers() -> None:
    queue: Queue[str] = Queue(lane=lane_of, lane_limit=2)
    for name in "abcdef":
        queue.add(f"m/{name}")
    queue.add("n/a")
    taken = [key for key in (queue.pop() for _ in range(5)) if key is not None]
    assert sorted(map(lane_of, taken)) == ["m", "m", "n"]
    queue.done(next(key for key in taken if key.startswith("m/")))
    assert lane_of(queue.pop() or "") == "m"


def test_back_off_doubles_to_its_cap_and_success_starts_it_anew() -> None:
    now = 0.0
    queue: Queue[str] = Queue(backoff=Backoff(base_s=0.1, cap_s=300, jitter=0), clock=lambda: now)
    assert [queue.retry("a") for _ in range(14)][-4:] == pytest.approx([102.4, 204.8, 300, 300])
    queue.forget("a")
    assert queue.retry("a") == pytest.approx(0.1)


def test_many_failing_keys_together_are_retried_at_a_bounded_rate() -> None:
    now = 0.0
    queue: Queue[int] = Queue(
        backoff=Backoff(base_s=0.001, jitter=0), retries=TokenBucket(50, 200, lambda: now), clock=lambda: now
    )
    delays_s = [queue.retry(number) for number in range(1200)]
    assert sum(delay_s <= 0.01 for delay_s in delays_s) <= 201
    assert delays_s[-1] == pytest.approx(20, rel=0.05)


def test_heap_stays_bounded_when_one_key_is_delayed_again_and_again() -> None:
    now = 0.0
    queue: Queue[str] = Queue(clock=lambda: now)
    for number in range(10_000):
        queue.add_after("a", 10_000 - number)
    assert len(queue._heap) <= 130


async def test_a_waiting_worker_wakes_for_a_key_and_for_a_due_time() -> None:
    queue: Queue[str] = Queue()
    workers = [asyncio.create_task(queue.take()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add("now")
    queue.add_after("soon", 0.05)
    assert set(await asyncio.wait_for(asyncio.gather(*workers), 60)) == {"now", "soon"}


async def test_a_cancelled_worker_hands_its_wake_up_on() -> None:
    queue: Queue[str] = Queue()
    first, second = (asyncio.create_task(queue.take()) for _ in range(2))
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 60) == "a"


async def test_closing_ends_waiting_workers_and_drops_what_waits() -> None:
    queue: Queue[str] = Queue()
    worker = asyncio.create_task(queue.take())
    queue.add_after("later", 0.01)
    await asyncio.sleep(0)
    queue.close()
    with pytest.raises(QueueClosed):
        await worker
    queue.add("a")
    assert queue.depth() == 0
