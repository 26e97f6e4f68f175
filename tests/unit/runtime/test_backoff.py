"""Waiting times grow, stay below their cap and keep to their rate, for any failures and any luck."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_kube.backoff import Backoff, TokenBucket, jittered


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_positive_and_never_above_its_cap(failures: int, luck: float) -> None:
    delay_s = Backoff().delay_s(failures, lambda: luck)
    assert 0 < delay_s <= 300


def test_without_luck_a_delay_doubles() -> None:
    policy = Backoff(base_s=0.1, cap_s=300, jitter=0)
    assert [policy.delay_s(n) for n in range(4)] == pytest.approx([0.1, 0.2, 0.4, 0.8])


@given(st.floats(0.001, 1000), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_its_share(delay_s: float, luck: float) -> None:
    assert delay_s * 0.9 <= jittered(delay_s, rand=lambda: luck) <= delay_s * 1.1 + 1e-9


@given(st.lists(st.floats(0, 2), max_size=50))
def test_in_any_window_no_more_is_granted_than_burst_and_rate_allow(pauses_s: list[float]) -> None:
    now = 0.0
    bucket = TokenBucket(10, 5, lambda: now)
    granted: list[float] = []
    for pause_s in pauses_s:
        now += pause_s
        granted.append(now + bucket.reserve())
    for first, start in enumerate(granted):
        for last in range(first, len(granted)):
            assert last - first + 1 <= 5 + 10 * (granted[last] - start) + 1 + 1e-6


def test_an_empty_bucket_refuses_and_fills_again() -> None:
    now = 0.0
    bucket = TokenBucket(1, 2, lambda: now)
    assert [bucket.try_take() for _ in range(3)] == [True, True, False]
    now = 1.0
    assert bucket.try_take()
