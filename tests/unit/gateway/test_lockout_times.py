"""A client that comes back when it was told to is let in (I14): no wait is told shorter than it is."""

import pytest

from edge.apiserver.signin.lockouts import Lockouts
from edge.iam.lockout import Rules
from edge_sdk.problem import TooMuch


class Hands:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.at_s = 1_000_000.0

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return self.at_s


@pytest.mark.parametrize("passed_s", [0.0, 0.3, 59.4, 59.9, 88.6])
async def test_after_the_time_that_was_told_the_name_may_be_tried(passed_s: float) -> None:
    clock = Hands()
    lockouts = Lockouts(Rules(user=2, lock_s=90.0), lambda: b"key", clock, lambda: ())
    for at in range(2):
        async with lockouts.turn("ada", "192.0.2.1") as mark:
            lockouts.note(f"record-{at}", mark, "192.0.2.1", success=False)
    clock.at_s += passed_s
    with pytest.raises(TooMuch) as refused:
        async with lockouts.turn("ada", "192.0.2.1"):
            pytest.fail("the name is locked")
    told_s = refused.value.retry_after_s
    assert 90 - passed_s <= told_s < 91 - passed_s + 1e-6
    clock.at_s += told_s
    async with lockouts.turn("ada", "192.0.2.1") as mark:
        assert mark
