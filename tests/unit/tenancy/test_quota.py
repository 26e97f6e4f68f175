"""A workspace's quota shared out: never more than the total, whatever happens in between (I15)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.tenancy.quota import Share, claim, next_step, raises

PODS = "pods"
CPU = "limits.cpu"
UNIT = {PODS: 1000, CPU: 1}
NAMES = ("a", "b", "c", "d")


def share(hard: int, used: int, **more: Any) -> Share:
    return Share(hard={PODS: hard}, enforced={PODS: hard}, used={PODS: used}, **more)


def enforce(shares: dict[str, Share]) -> dict[str, Share]:
    """What the quota controller does."""
    return {
        name: msgspec.structs.replace(
            one, enforced=one.hard, used={key: one.used.get(key, 0) for key in one.hard}
        )
        for name, one in shares.items()
    }


def settle(total: dict[str, int], shares: dict[str, Share], steps: int = 20) -> dict[str, Share]:
    for _ in range(steps):
        step = next_step(total, shares)
        if not step:
            return shares
        shares = enforce(
            shares | {name: msgspec.structs.replace(shares[name], hard=hard) for name, hard in step.items()}
        )
    raise AssertionError(f"it does not come to rest: {shares}")


def hard(shares: dict[str, Share]) -> dict[str, int]:
    return {name: one.hard[PODS] for name, one in shares.items()}


def test_namespaces_start_with_nothing_until_their_use_is_known_and_then_share() -> None:
    fresh = {"a": Share(), "b": Share()}
    first = next_step({PODS: 10_000}, fresh)
    assert first == {"a": {PODS: 0}, "b": {PODS: 0}}
    assert hard(settle({PODS: 10_000}, fresh)) == {"a": 5000, "b": 5000}


def test_a_full_namespace_borrows_only_after_the_lenders_lower_share_is_enforced() -> None:
    total = {PODS: 10_000}
    shares = {"a": share(5000, 2000), "b": share(5000, 5000)}
    lowered = next_step(total, shares)
    assert set(lowered) == {"a"}
    asked = shares | {"a": msgspec.structs.replace(shares["a"], hard=lowered["a"])}
    assert next_step(total, asked) == {}  # the API server still enforces 5 for a
    done = settle(total, enforce(asked))
    assert done["b"].hard[PODS] > 5000
    assert sum(hard(done).values()) <= 10_000


def test_a_quota_below_what_is_used_freezes_everybody_where_they_are() -> None:
    shares = {"a": share(6000, 6000), "b": share(4000, 3000)}
    assert hard(settle({PODS: 5000}, shares)) == {"a": 6000, "b": 3000}


def test_a_namespace_with_content_that_joins_takes_its_use_from_the_others_room() -> None:
    shares = {"a": share(10_000, 1000), "b": Share()}
    step = next_step({PODS: 10_000}, shares)
    assert step["b"] == {PODS: 0}
    shares = {
        "a": msgspec.structs.replace(shares["a"], hard=step.get("a", shares["a"].hard)),
        "b": Share(hard=step["b"], enforced=step["b"], used={PODS: 7000}),
    }
    done = hard(settle({PODS: 10_000}, enforce(shares)))
    assert done == {"a": 2000, "b": 8000}


def test_a_refused_request_gets_room_that_others_do_not_use() -> None:
    shares = {"a": share(3000, 0, wants={PODS: 8000}), "b": share(3000, 0), "c": share(4000, 1000)}
    assert hard(settle({PODS: 10_000}, shares))["a"] >= 8000


def test_the_last_piece_goes_to_whoever_grew_last_and_stays_there() -> None:
    shares = {"a": share(4000, 4000, order=7), "b": share(6000, 5000, order=3)}
    done = settle({PODS: 10_000}, shares)
    assert hard(done) == {"a": 5000, "b": 5000}
    assert next_step({PODS: 10_000}, done) == {}


def test_a_quota_of_that_name_that_is_not_ours_is_not_written_and_nobody_grows_meanwhile() -> None:
    shares = {"a": share(2000, 2000), "b": share(9000, 0, fixed=True)}
    assert next_step({PODS: 10_000}, shares) == {}


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_small_change_of_use_moves_nothing(count: int) -> None:
    total = {PODS: count * 10_000}
    shares = settle(total, {f"n{number}": Share() for number in range(count)})
    name = next(iter(shares))
    used = msgspec.structs.replace(shares[name], used={PODS: 2000})
    assert next_step(total, shares | {name: used}) == {}


class Workspace(RuleBasedStateMachine):
    """A controller that is killed anywhere, a quota controller that lags, and tenants who take what they may.

    The API server's rule: use grows only up to what is enforced.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total: dict[str, int] = {}
        self.shares: dict[str, Share] = {}
        self.bound: dict[str, int] = {}
        self.turn = 0

    @initialize(pods=st.integers(0, 12), cpu=st.integers(0, 3000), count=st.integers(1, 4))
    def start(self, pods: int, cpu: int, count: int) -> None:
        self.total = {PODS: pods * 1000, CPU: cpu}
        self.shares = {name: Share() for name in NAMES[:count]}
        self.bound = dict(self.total)

    def _put(self, name: str, **fields: Any) -> None:
        self.shares[name] = msgspec.structs.replace(self.shares[name], **fields)

    @rule(cut=st.integers(0, 4), shuffle=st.randoms())
    def step_and_die(self, cut: int, shuffle: Any) -> None:
        """Any part of a step, in any order."""
        writes = list(next_step(self.total, self.shares).items())
        shuffle.shuffle(writes)
        for name, new in writes[:cut]:
            self._put(name, hard=new)

    @rule(name=st.sampled_from(NAMES), known=st.integers(0, 3))
    def quota_controller(self, name: str, known: int) -> None:
        """First count: it may find content that was there before the quota."""
        if name not in self.shares:
            return
        one = self.shares[name]
        used = {key: one.used.get(key, known * UNIT[key]) for key in one.hard}
        for key in one.hard:  # content from before is nobody's doing: the bound is what there is
            if key not in one.used:
                self.bound[key] = max(self.bound[key], self._claimed(key) + used[key])
        self._put(name, enforced=one.hard, used=used)

    @rule(name=st.sampled_from(NAMES), resource=st.sampled_from((PODS, CPU)), units=st.integers(1, 500))
    def use(self, name: str, resource: str, units: int) -> None:
        one = self.shares.get(name)
        if one is None or resource not in one.enforced:
            return
        more = one.used[resource] + min(units, 5 if resource == PODS else 500) * UNIT[resource]
        if more <= one.enforced[resource]:
            self.turn += 1
            self._put(name, used={**one.used, resource: more}, order=self.turn)

    @rule(name=st.sampled_from(NAMES), resource=st.sampled_from((PODS, CPU)), part=st.floats(0, 1))
    def free(self, name: str, resource: str, part: float) -> None:
        one = self.shares.get(name)
        if one is not None and resource in one.used:
            unit = UNIT[resource]
            self._put(name, used={**one.used, resource: int(one.used[resource] // unit * part) * unit})

    @rule(name=st.sampled_from(NAMES), wants=st.integers(0, 8))
    def ask(self, name: str, wants: int) -> None:
        if name in self.shares:
            self._put(name, wants={PODS: wants * 1000})

    @rule(name=st.sampled_from(NAMES))
    def join(self, name: str) -> None:
        self.shares.setdefault(name, Share())

    @precondition(lambda self: len(self.shares) > 1)
    @rule(name=st.sampled_from(NAMES))
    def go(self, name: str) -> None:
        self.shares.pop(name, None)

    @rule(pods=st.integers(0, 12))
    def change_total(self, pods: int) -> None:
        self.total = {**self.total, PODS: pods * 1000}
        self.bound[PODS] = max(self.total[PODS], self._claimed(PODS))

    def _claimed(self, resource: str) -> int:
        return sum(claim(one, resource) for one in self.shares.values())

    @invariant()
    def never_more_than_the_total(self) -> None:
        for resource in self.total:
            assert self._claimed(resource) <= self.bound[resource]
            # what was above the total once (it was lowered, or content joined) only ever shrinks
            self.bound[resource] = max(self.total[resource], self._claimed(resource))

    @invariant()
    def a_step_that_raises_says_so(self) -> None:
        step = next_step(self.total, self.shares)
        grown = {name: msgspec.structs.replace(self.shares[name], hard=new) for name, new in step.items()}
        more = any(
            claim(one, key) > claim(self.shares[name], key) for name, one in grown.items() for key in one.hard
        )
        assert raises(self.shares, step) is more

    def teardown(self) -> None:
        """Left alone it comes to rest, and whoever asks gets what is there."""
        if not self.shares:
            return
        done = settle(self.total, enforce(self.shares))
        free = self.total[PODS] - sum(one.used.get(PODS, 0) for one in done.values())
        asking = sorted(one.wants.get(PODS, 0) for one in done.values())
        for one in done.values():
            wants = one.wants.get(PODS, 0)
            if sum(want for want in asking if want <= wants) <= free:
                assert one.hard[PODS] - one.used[PODS] >= wants
        for resource, total in self.total.items():
            in_use = sum(one.used.get(resource, 0) for one in done.values())
            assert sum(one.hard[resource] for one in done.values()) <= max(total, in_use)


TestWorkspace = Workspace.TestCase
TestWorkspace.settings = settings(max_examples=200, stateful_step_count=40)


@given(
    total=st.integers(1, 30),
    others=st.lists(st.integers(0, 4), min_size=0, max_size=4),
)
def test_one_namespace_that_goes_on_asking_gets_all_that_the_others_do_not_use(
    total: int, others: list[int]
) -> None:
    """One pod at a time, without anybody telling of refusals: room is there before it is asked for."""
    pods = {PODS: total * 1000}
    names = [f"n{number}" for number in range(len(others))]
    shares = {"busy": share(0, 0)} | {
        name: share(0, use * 1000) for name, use in zip(names, others, strict=True)
    }
    free = max(0, total - sum(others))
    shares = settle(pods, shares)
    for turn in range(1, free + 1):
        busy = shares["busy"]
        if busy.used[PODS] + 1000 > busy.enforced[PODS]:
            assert turn == 1, f"stuck at {turn - 1} of {free}: {hard(shares)}"
            return  # with less to share than namespaces, the first piece may be another's
        used = {PODS: busy.used[PODS] + 1000}
        shares["busy"] = msgspec.structs.replace(busy, used=used, order=turn)
        shares = settle(pods, shares)
    assert shares["busy"].used[PODS] == free * 1000
