"""Callers take turns: one who asks a lot delays himself (G4, G10). By counts, with a clock of its own."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.apiserver.listening.fairness import FairQueue
from edge.apiserver.listening.limits import Bucket
from edge_sdk.problem import TooMuch


@dataclass
class Served:
    """Who was let in, in order."""

    queue: FairQueue
    names: list[str] = field(default_factory=list[str])

    async def ask(self, name: str) -> None:
        await self.queue.enter(name)
        self.names.append(name)


async def until_done(*tasks: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks)


async def test_a_caller_with_one_request_is_let_in_before_the_hundred_of_another() -> None:
    served = Served(FairQueue(per_turn=1))
    greedy = [asyncio.create_task(served.ask("greedy")) for _ in range(100)]
    await asyncio.sleep(0)
    modest = asyncio.create_task(served.ask("modest"))
    await until_done(*greedy, modest)
    assert served.names.index("modest") <= 4
    assert len(served.names) == 101


async def test_what_the_limit_gives_is_shared_evenly_by_those_who_wait() -> None:
    now = [100.0]
    served = Served(FairQueue(Bucket(1000, 1, 100.0), max_delay_s=60, clock=lambda: now[0]))
    asked = [asyncio.create_task(served.ask(name)) for name in ["a"] * 50 + ["b"] * 10 + ["c"] * 10]
    async with asyncio.timeout(60):
        while len(served.names) < 70:
            now[0] += 0.001
            await asyncio.sleep(0.001)
    await until_done(*asked)
    first = served.names[:31]
    assert (first.count("b"), first.count("c")) == (10, 10)


async def test_a_wait_that_would_be_too_long_is_refused_with_a_time_to_come_back() -> None:
    queue = FairQueue(Bucket(10, 1, 100.0), max_delay_s=1.0, clock=lambda: 100.0)
    await queue.enter("ada")
    waiting = [asyncio.create_task(queue.enter("ada")) for _ in range(10)]
    await asyncio.sleep(0)
    with pytest.raises(TooMuch, match="10 requests a second in all") as refused:
        await queue.enter("ada")
    assert refused.value.retry_after_s == 2
    other = asyncio.create_task(queue.enter("other"))  # next in rotation, so it has to wait much less
    await asyncio.sleep(0)
    assert not other.done()
    for task in (*waiting, other):
        task.cancel()
    await asyncio.gather(*waiting, other, return_exceptions=True)


async def test_whoever_leaves_the_line_takes_no_turn() -> None:
    now = [100.0]
    queue = FairQueue(Bucket(10, 1, 100.0), max_delay_s=60, clock=lambda: now[0])
    await queue.enter("ada")
    gone = [asyncio.create_task(queue.enter("ada")) for _ in range(5)]
    stays = asyncio.create_task(queue.enter("ada"))
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    now[0] += 0.11  # one request's worth
    await asyncio.wait_for(stays, 60)
    assert queue.waiting == 0


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.integers(1, 5))
def test_everybody_is_let_in_once_and_each_line_keeps_its_order(asked: list[str], per_turn: int) -> None:
    served: list[tuple[str, int]] = []

    async def scenario() -> None:
        queue = FairQueue(per_turn=per_turn)

        async def ask(name: str, number: int) -> None:
            await queue.enter(name)
            served.append((name, number))

        await asyncio.gather(*(ask(name, number) for number, name in enumerate(asked)))

    asyncio.run(scenario())
    assert sorted(served) == sorted((name, number) for number, name in enumerate(asked))
    for caller in set(asked):
        numbers = [number for name, number in served if name == caller]
        assert numbers == sorted(numbers)
