"""Lock-out with back-off, per name and per address (I14; design §9)."""

import random

from hypothesis import given
from hypothesis import strategies as st

from edge.iam.accounts import records_too_many
from edge.iam.lockout import LIMIT_MAX, Ledger, Rules, locked_until, normal_name
from edge.iam.types import LoginRecord
from edge_kube.meta import ObjectMeta

RULES = Rules()
MINUTE = 60.0


def failing(ledger: Ledger, n: int, at_s: float, mark: str = "ada", address: str = "1.1.1.1") -> None:
    for _ in range(n):
        ledger.note(f"{mark}-{random.random()}", mark, address, at_s, success=False)


def test_five_failures_in_fifteen_minutes_lock_for_fifteen_and_slow_ones_do_not() -> None:
    assert locked_until([0, 1, 2, 3], 5, RULES) == 0
    assert locked_until([0, 1, 2, 3, 4], 5, RULES) == 4 + 15 * MINUTE
    assert locked_until([n * 4 * MINUTE for n in range(100)], 5, RULES) == 0


def test_each_further_lock_is_twice_as_long_up_to_a_day_and_a_quiet_day_begins_anew() -> None:
    failures, at_s, lengths = list[float](), 1.0, list[float]()
    for _ in range(9):
        failures += [at_s] * 5
        until = locked_until(failures, 5, RULES)
        lengths.append((until - at_s) / MINUTE)
        at_s = until
    assert lengths == [15, 30, 60, 120, 240, 480, 960, 1440, 1440]
    failures += [at_s + 25 * 3600] * 5
    assert locked_until(failures, 5, RULES) == at_s + 25 * 3600 + 15 * MINUTE


def test_a_limit_that_may_be_set_is_one_that_locks() -> None:
    for limit in (501, LIMIT_MAX):
        ledger = Ledger(Rules(user=limit, address=limit))
        failing(ledger, limit - 1, 100)
        assert (ledger.name_wait_s("ada", 101), ledger.address_wait_s("1.1.1.1", 101)) == (0, 0)
        failing(ledger, 1, 100)
        assert ledger.name_wait_s("ada", 101) > 0
        assert ledger.address_wait_s("1.1.1.1", 101) > 0


def test_a_lock_after_many_is_as_long_for_a_process_that_has_just_started() -> None:
    """It has read the records of what is remembered, and no others."""
    failures, now_s, until = list[float](), 0.0, 1.0
    for _ in range(30):
        now_s = until
        failures += [now_s] * 5
        until = locked_until(failures, 5, RULES)
    assert until - now_s == 24 * 60 * MINUTE
    read = [one for one in failures if now_s - one < RULES.remembered_s]
    assert len(read) < len(failures)
    assert locked_until(read, 5, RULES) == until


def test_a_success_and_an_administrator_forgive_a_name_and_not_an_address() -> None:
    ledger = Ledger(Rules(address=6))
    failing(ledger, 5, 100)
    assert ledger.name_wait_s("ada", 101) > 0
    ledger.forgive("ada", 101)
    assert ledger.name_wait_s("ada", 102) == 0
    failing(ledger, 4, 103)
    ledger.note("good", "ada", "1.1.1.1", 104, success=True)
    failing(ledger, 4, 105)
    assert ledger.name_wait_s("ada", 106) == 0
    assert ledger.address_wait_s("1.1.1.1", 106) > 0
    assert ledger.address_wait_s("2.2.2.2", 106) == 0


def test_spraying_one_password_over_many_names_locks_the_address() -> None:
    """Password spraying."""
    ledger = Ledger(RULES)
    for n in range(50):
        failing(ledger, 1, n, mark=f"user-{n}")
    assert ledger.address_wait_s("1.1.1.1", 60) > 0
    assert ledger.name_wait_s("user-1", 60) == 0


def test_the_last_administrator_is_tried_every_thirty_seconds() -> None:
    ledger = Ledger(RULES)
    failing(ledger, 20, 100)
    assert ledger.slowed_s("ada", 110) == 20
    assert ledger.slowed_s("ada", 130) == 0


@given(st.lists(st.tuples(st.floats(0, 1e5), st.booleans()), max_size=60), st.randoms())
def test_replicas_that_hear_in_another_order_and_twice_agree(
    attempts: list[tuple[float, bool]], rnd: random.Random
) -> None:
    told = [(f"r{n}", at_s, good) for n, (at_s, good) in enumerate(attempts)]
    waits = list[float]()
    for order in (told, [*rnd.sample(told, len(told)), *told]):
        ledger = Ledger(RULES)
        for record, at_s, good in order:
            ledger.note(record, "ada", "1.1.1.1", at_s, success=good)
        waits.append(ledger.name_wait_s("ada", 5e4))
    assert waits[0] == waits[1]


def test_spellings_that_a_directory_takes_for_one_name_have_one_count() -> None:
    assert len({normal_name(one) for one in ("ada", "Ada", " ADA ", "a d a", "\uff41da", "ada\t")}) == 1
    assert normal_name("ada") != normal_name("bob")


def test_what_is_remembered_is_bounded() -> None:
    ledger = Ledger(RULES)
    for n in range(60_000):
        ledger.note(f"r{n}", f"m{n}", f"a{n}", float(n), success=False)
    assert len(ledger._names) <= 20_000  # pyright: ignore[reportPrivateUsage]


def test_the_oldest_records_of_a_user_go_when_there_are_more_than_a_thousand() -> None:
    """I14."""
    made = "2026-01-01T00:00:00Z"
    records = [
        LoginRecord(metadata=ObjectMeta(name=f"ada-{n:04}", creation_timestamp=made)) for n in range(1003)
    ]
    gone = records_too_many(records, "ada")
    assert [one.metadata.name for one in gone] == ["ada-0000", "ada-0001", "ada-0002"]
    assert records_too_many(records, "") == ()
