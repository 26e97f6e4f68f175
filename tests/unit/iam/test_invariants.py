"""The invariants of the permission index that hold of every world, by their numbers (I4, I15; design §4.4).

X1 to X4 (naive evaluation, agreement of the answers, order of events, lists against histories) are proven by
the stateful machine of test_index_agrees.
"""

import random
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.rights import USERS, Question, World, ours, random_rule, scope_of

from edge.iam.explain import Question as Asked
from edge.iam.explain import explain, who_can
from edge.iam.feed import Feed
from edge.iam.index import MASKS_EACH, Binding, Index
from edge.iam.rolebook import RoleFacts
from edge.iam.rules import BITS, MEMO_LIMIT
from edge.iam.types import IAMRole, IAMRoleBinding
from edge_kube.meta import Resource

QUESTIONS = 150
worlds = st.integers(0, 2**32)
few = settings(max_examples=30)


def built(objects: Iterable[Resource]) -> Index:
    index = Index()
    feed = Feed(index)
    for obj in objects:
        kind = {"Workspace": "workspace", "NodeGroup": "nodegroup"}.get(type(obj).__name__)
        if kind is None:
            feed.changed(None, obj)
        else:
            feed.scope_changed(kind, obj.metadata)
    return index


def asked(world: World, seed: int, count: int = QUESTIONS) -> list[Question]:
    rnd = random.Random(seed)
    return [world.question(rnd) for _ in range(count)]


def without(world: World, kind: type[Resource]) -> list[Resource]:
    return [one for one in world.objects if not isinstance(one, kind)]


@given(seed=worlds)
@few
def test_X2_yes_why_and_who_can_are_one_answer(seed: int) -> None:
    world = World(random.Random(seed))
    index = built(world.objects)
    for question in asked(world, seed):
        user, namespace, verb, group, resource, name = question
        scope = scope_of(question)
        about = (
            Asked(verb, path=resource)
            if namespace == "url"
            else Asked(verb, group=group, resource=resource, name=name)
        )
        allowed = ours(index, question)
        assert explain(index, user, scope, about).allowed is allowed
        assert (not who_can(index, scope, about).keys().isdisjoint(index.subjects_of(user))) is allowed


@given(seed=worlds)
@few
def test_X5_nothing_is_allowed_by_default(seed: int) -> None:
    """Without a binding, without a role, and for who nobody knows; names are not enough."""
    world = World(random.Random(seed))
    bare, roleless, whole = (
        built(without(world, IAMRoleBinding)),
        built(without(world, IAMRole)),
        built(world.objects),
    )
    for question in asked(world, seed):
        assert not ours(bare, question)
        assert not ours(roleless, question)
        assert not ours(whole, question._replace(user="nobody-at-all"))
        assert not ours(Index(), question)


@given(seed=worlds, pick=st.integers(0, 1000))
@few
def test_X6_a_binding_or_rule_more_never_takes_a_right_and_one_less_never_gives_one(
    seed: int, pick: int
) -> None:
    world = World(random.Random(seed))
    more = built(world.objects)
    removable = [one for one in world.objects if isinstance(one, IAMRoleBinding | IAMRole)]
    gone = removable[pick % len(removable)]
    less = built(one for one in world.objects if one is not gone)
    for question in asked(world, seed):
        assert ours(more, question) or not ours(less, question), question


@given(seed=worlds)
@few
def test_X7_a_right_is_seen_only_where_its_scope_is_in_the_chain(seed: int) -> None:
    world = World(random.Random(seed))
    bindings = [one for one in world.objects if isinstance(one, IAMRoleBinding)]
    only = bindings[seed % len(bindings)]
    index = built([*without(world, IAMRoleBinding), only])
    (kept,) = index.bindings.values()
    for question in asked(world, seed):
        if ours(index, question):
            assert kept.scope in index.scopes.chain(scope_of(question))


def test_X8_memory_is_bounded_whatever_callers_make_up() -> None:
    world = World(random.Random(8))
    index = Index(size=50)
    world.feed(Feed(index))
    bits, scopes = len(BITS), len(index.scopes.all("n"))
    rnd = random.Random(9)
    for n in range(20_000):
        who = rnd.choice([*USERS, f"made-up-{n}"])
        index.check(who, f"n/host/made-up-{n}", f"verb-{n}", f"group-{n}", f"thing-{n}", f"name-{n}")
    assert len(BITS) == bits
    assert len(index.scopes.all("n")) == scopes
    identities = index._identities  # pyright: ignore[reportPrivateUsage]
    assert len(identities) <= 50
    assert all(len(one.masks) <= MASKS_EACH and len(one.views) <= MASKS_EACH for one in identities.values())
    tables = [table for role in index.book.roles.values() for table in role.tables()]
    assert all(len(table._memo) <= MEMO_LIMIT for table in tables)  # pyright: ignore[reportPrivateUsage]
    assert sys.getsizeof(index.scopes.chain("n/host/made-up-1")) < 500


@given(seed=worlds)
@few
def test_X9_a_binding_that_went_is_gone_at_the_next_check(seed: int) -> None:
    """Also for who has just asked the same: nothing that is remembered outlives the event."""
    world = World(random.Random(seed))
    index = built(world.objects)
    feed = Feed(index)
    questions = asked(world, seed)
    left = list(world.objects)
    for gone in [one for one in world.objects if isinstance(one, IAMRoleBinding)][::4]:
        for question in questions:
            ours(index, question)
        feed.changed(gone, None)
        left.remove(gone)
        fresh = built(left)
        for question in questions:
            assert ours(index, question) is ours(fresh, question), question


@given(seed=worlds)
@few
def test_X10_what_is_not_missing_gives_nobody_more_than_the_giver_has(seed: int) -> None:
    rnd = random.Random(seed)
    world = World(rnd)
    index = built(world.objects)
    giver = rnd.choice(USERS)
    mine = [binding.scope for binding in index.bound(index.subjects_of(giver))] or ["p"]
    scope = rnd.choice(mine)
    held = [
        source.rule
        for one in index.bound(index.subjects_of(giver))
        if (role := index.role_of(one))
        for source in role.rules()
    ]
    rules = tuple(rnd.sample(held, min(2, len(held))) if held and rnd.random() < 0.7 else [random_rule(rnd)])
    if index.missing(giver, scope, rules):
        return
    kinds = {
        "p": "platform",
        "c": "cluster",
        "w": "workspace",
        "n": "namespace",
        "g": "nodegroup",
        "d": "node",
    }
    index.put_user("receiver", ())
    index.put_role(RoleFacts("given", kinds[scope[0]], "", rules, (), None))
    index.put_binding(Binding("given", "given", scope, ("User:receiver",)))
    for question in asked(world, seed, 400):
        if ours(index, question._replace(user="receiver")) and not ours(index, question._replace(user=giver)):
            pytest.fail(f"{giver} gave at {scope} what they lack: {question}")
