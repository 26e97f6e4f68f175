"""The limiter delays before it refuses (G4, G10, X26); sign-ins are slowed down per address and name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.apiserver.listening.limits import Gate, Limiter, SignInGuard
from edge_sdk.problem import TooMuch, Unavailable


def limiter(qps: float = 10, burst: float = 20, user_qps: float = 10, user_burst: float = 20) -> Limiter:
    return Limiter(qps=qps, burst=burst, user_qps=user_qps, user_burst=user_burst, max_delay_s=1.0)


def test_a_burst_passes_at_once_then_waits_then_is_refused() -> None:
    subject = limiter()
    delays = [subject.delay("ada", 100.0) for _ in range(30)]
    assert delays[:20] == [0.0] * 20
    assert delays[20:] == pytest.approx([0.1 * n for n in range(1, 11)])
    with pytest.raises(TooMuch) as refused:
        subject.delay("ada", 100.0)
    assert refused.value.retry_after_s >= 1
    assert "10 requests a second for one user" in str(refused.value)


def test_the_documented_load_test_is_delayed_and_never_refused() -> None:
    # ab -n 10000 -c 100: each of 100 clients sends its next request when it has its answer.
    subject, free = limiter(1000, 2000, 1000, 2000), [0.0] * 100
    for _ in range(10_000):
        client = min(range(100), key=free.__getitem__)
        delay = subject.delay("admin", free[client])
        free[client] += delay + 0.001
    assert max(free) < 10.0


def test_one_users_bucket_is_not_anothers() -> None:
    subject = limiter(qps=100, burst=100, user_qps=10, user_burst=10)
    for _ in range(20):  # the burst, and ten that wait for up to a second
        subject.delay("greedy", 100.0)
    with pytest.raises(TooMuch):
        subject.delay("greedy", 100.0)
    assert subject.delay("other", 100.0) == 0.0


def test_a_replica_gives_its_share_of_the_limits() -> None:
    subject = limiter(qps=90, burst=180, user_qps=90, user_burst=180)
    subject.delay("ada", 100.0)
    subject.share(3, 100.0)
    assert (subject.all.qps, subject.all.burst) == (30, 60)
    delays = [subject.delay("ada", 100.0) for _ in range(62)]
    assert delays[:60] == [0.0] * 60
    assert delays[60:] == pytest.approx([1 / 30, 2 / 30])
    subject.share(1, 100.0)
    assert subject.all.qps == 90


@given(st.lists(st.floats(min_value=0, max_value=0.5), min_size=1, max_size=200))
def test_what_passes_never_exceeds_burst_and_rate(gaps: list[float]) -> None:
    subject, now, served = limiter(), 100.0, []
    for gap in gaps:
        now += gap
        try:
            served.append(now + subject.delay("ada", now))
        except TooMuch:
            continue
    window = [at for at in served if at <= served[0] + 1.0] if served else []
    assert len(window) <= 20 + 10 + 1


def test_the_gate_refuses_beyond_its_bound_and_opens_again() -> None:
    gate = Gate(2, "requests")
    gate.enter()
    gate.enter()
    with pytest.raises(Unavailable):
        gate.enter()
    gate.leave()
    gate.enter()
    assert gate.inflight == 2


def test_one_caller_leaves_seats_for_others() -> None:
    gate = Gate(4, "requests")
    for _ in range(3):
        gate.enter("greedy")
    with pytest.raises(Unavailable, match="for one user"):
        gate.enter("greedy")
    gate.enter("other")
    gate.leave("greedy")
    gate.enter("greedy")


def test_guessing_is_slowed_down_for_that_address_and_name_alone() -> None:
    guard = SignInGuard(burst=3, every_s=10)
    for _ in range(3):
        assert guard.wait_s("1.1.1.1", "ada", 100) == 0
        guard.failed("1.1.1.1", "ada", 100)
    assert 0 < guard.wait_s("1.1.1.1", "ada", 100) <= 10
    assert guard.wait_s("1.1.1.1", "ada", 111) == 0
    assert guard.wait_s("2.2.2.2", "ada", 100) == 0
    guard.succeeded("1.1.1.1", "ada")
    assert guard.wait_s("1.1.1.1", "ada", 100) == 0
