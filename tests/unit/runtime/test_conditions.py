"""Conditions keep their history, and equal statuses compare equal (P6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_kube.conditions import condition, is_true, rfc3339, set_condition, stamp
from edge_kube.meta import Condition
from edge_kube.status import comparable


def ready(status: str, reason: str = "Reason", at: str = "", message: str = "") -> Condition:
    return Condition(type="Ready", status=status, reason=reason, last_transition_time=at, message=message)


OTHER = Condition(type="Other", status="True", reason="Kept", last_transition_time="2020-01-01T00:00:00Z")


def test_transition_time_moves_only_with_the_status() -> None:
    have = (ready("True", at="2026-01-01T00:00:00Z"), OTHER)
    same = set_condition(have, ready("True", "NewReason", message="new words"), "2026-02-02T00:00:00Z")
    moved = set_condition(have, ready("False"), "2026-02-02T00:00:00Z")
    assert [item.last_transition_time for item in same] == ["2026-01-01T00:00:00Z", "2020-01-01T00:00:00Z"]
    assert condition(same, "Ready") == ready("True", "NewReason", "2026-01-01T00:00:00Z", "new words")
    assert condition(moved, "Ready") == ready("False", at="2026-02-02T00:00:00Z")
    assert condition(moved, "Other") == OTHER


def test_a_new_type_is_appended_and_can_be_asked_for() -> None:
    have = set_condition((), ready("True"), "2026-01-01T00:00:00Z")
    assert is_true(have, "Ready")
    assert not is_true(have, "Other")


@pytest.mark.parametrize("reason", ["", "has blank", "1Digit", "umläut"])
def test_a_reason_the_api_would_refuse_is_refused_here(reason: str) -> None:
    with pytest.raises(ValueError, match="CamelCase"):
        set_condition((), ready("True", reason), "")


def test_a_status_is_completed_with_the_generation_that_was_read() -> None:
    (done,) = stamp((ready("True"),), (ready("True", at="2026-01-01T00:00:00Z"),), 7, "2026-02-02T00:00:00Z")
    assert (done.observed_generation, done.last_transition_time) == (7, "2026-01-01T00:00:00Z")
    (new,) = stamp((ready("False"),), (ready("True", at="2026-01-01T00:00:00Z"),), 7, "2026-02-02T00:00:00Z")
    assert new.last_transition_time == "2026-02-02T00:00:00Z"


def test_times_are_whole_seconds_in_utc() -> None:
    assert rfc3339(0.9) == "1970-01-01T00:00:00Z"


plain = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
statuses = st.dictionaries(st.sampled_from("abc"), plain, max_size=3)


@given(statuses)
def test_absent_equals_empty_and_the_form_is_stable(status: dict[str, object]) -> None:
    padded = {**status, "empty": "", "nothing": None, "none": [], "nowhere": {}}
    assert comparable(padded) == comparable(status)
    assert comparable(comparable(status)) == comparable(status)


def test_zero_and_false_are_values_and_the_order_of_conditions_is_not() -> None:
    assert comparable({"count": 0}) != comparable({})
    assert comparable({"ok": False}) != comparable({})
    one, two = {"type": "A", "status": "True"}, {"type": "B", "status": "False"}
    assert comparable({"conditions": [one, two]}) == comparable({"conditions": [two, one]})
