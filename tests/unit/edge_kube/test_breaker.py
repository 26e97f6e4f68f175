"""When a member cluster counts as down, and how it comes back (C9; M1)."""

import asyncio

import pytest

from edge_kube.breaker import FAILURES_MAX, SILENCE_S_MAX, Breaker, mark_as_probe
from edge_kube.errors import ClusterUnavailable


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock | None = None) -> tuple[Breaker, list[bool]]:
    changes: list[bool] = []
    return Breaker("plant-a", on_change=changes.append, clock=clock or Clock()), changes


def test_it_opens_after_five_failures_in_a_row_and_tells_why() -> None:
    made, changes = breaker()
    for _ in range(FAILURES_MAX - 1):
        made.failed(OSError("refused"))
    made.check()
    made.failed(OSError("refused"))
    assert changes == [True]
    with pytest.raises(ClusterUnavailable, match="plant-a does not answer: refused"):
        made.check()


def test_one_success_starts_the_count_anew() -> None:
    made, changes = breaker()
    for _ in range(3):
        for _ in range(FAILURES_MAX - 1):
            made.failed(OSError())
        made.succeeded()
    assert changes == []


def test_slow_failures_open_it_after_ten_seconds_without_success() -> None:
    clock = Clock()
    made, changes = breaker(clock)
    made.failed(TimeoutError())
    clock.now += SILENCE_S_MAX
    made.failed(TimeoutError())
    assert changes == [True]


async def test_only_a_probe_passes_while_it_is_open_and_its_success_closes_it() -> None:
    made, changes = breaker()
    made.trip("heartbeats were missed")

    async def probe() -> None:
        mark_as_probe()
        made.check()
        made.succeeded()

    with pytest.raises(ClusterUnavailable):
        made.check()
    await asyncio.create_task(probe())
    made.check()
    assert changes == [True, False]
