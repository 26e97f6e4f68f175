"""The recovery table, row by row (K5, CA 1.3)."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.components.recovery import Revision, last_good, newest, recover

_STATES = ["deployed", "superseded", "failed", "pending-install", "pending-upgrade", "pending-rollback",
           "uninstalling", "uninstalled"]  # fmt: skip


def _history(*states: str) -> list[Revision]:
    return [Revision(number=number, status=state) for number, state in enumerate(states, start=1)]


@pytest.mark.parametrize(
    ("states", "verb", "to"),
    [
        ((), "upgrade", 0),
        (("deployed",), "none", 0),
        (("superseded", "deployed"), "none", 0),
        (("failed",), "upgrade", 0),
        (("deployed", "failed"), "upgrade", 0),
        (("pending-install",), "uninstall", 0),
        (("deployed", "pending-upgrade"), "rollback", 1),
        (("superseded", "deployed", "pending-rollback"), "rollback", 2),
        (("superseded", "failed", "pending-upgrade"), "rollback", 1),
        (("failed", "pending-upgrade"), "uninstall", 0),
        (("deployed", "uninstalling"), "uninstall", 0),
        (("superseded", "uninstalled"), "upgrade", 0),
    ],
)
def test_each_state_has_one_way_on(states: tuple[str, ...], verb: str, to: int) -> None:
    recovery = recover(_history(*states))
    assert (recovery.verb, recovery.to) == (verb, to)
    assert recovery.interrupted == (verb in ("rollback", "uninstall"))


@given(st.lists(st.sampled_from(_STATES), max_size=8), st.randoms(use_true_random=False))
def test_any_history_is_answered_whatever_its_order(states: list[str], random: Random) -> None:
    history = _history(*states)
    shuffled = list(history)
    random.shuffle(shuffled)
    recovery = recover(history)
    assert recover(shuffled) == recovery
    if recovery.verb == "rollback":
        target = next(r for r in history if r.number == recovery.to)
        assert target.status in ("deployed", "superseded")
        assert target == last_good(history)
        assert target != newest(history)


@given(st.lists(st.sampled_from(_STATES), max_size=6))
def test_carrying_it_out_leads_to_a_state_with_nothing_left_to_recover(states: list[str]) -> None:
    history = _history(*states)
    for _ in range(3):
        recovery = recover(history)
        if recovery.verb == "rollback":
            history = [*history, Revision(number=len(history) + 1, status="deployed")]
        elif recovery.verb == "uninstall":
            history = []
        else:
            break
    assert recover(history).verb in ("none", "upgrade")
