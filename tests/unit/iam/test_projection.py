"""Native objects that projections want: never wider than the engine, and equal where RBAC can say it (I3)."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.rights import Question, World, ours, why_native_may_refuse

from edge.iam.feed import Feed
from edge.iam.index import Binding
from edge.iam.native import in_namespace, on_nodes
from edge.iam.projection import SUBJECTS_MAX, Projection, Unit, Wanted, native_subject
from edge.iam.rolebook import RoleFacts
from edge.iam.types import IAMRoleBinding, PolicyRule
from edge_kube.core import RbacRule

EVERYTHING = PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",))
READ_PODS = PolicyRule(verbs=("get",), api_groups=("",), resources=("pods",))


def rbac_allows(rule: RbacRule, question: Question) -> bool:
    """kubernetes/kubernetes plugin/pkg/auth/authorizer/rbac and pkg/apis/rbac/v1/evaluation_helpers.go."""
    _, namespace, verb, group, resource, name = question
    if verb not in rule.verbs and "*" not in rule.verbs:
        return False
    if namespace == "url":
        return any(
            url in ("*", resource) or (url.endswith("*") and resource.startswith(url.rstrip("*")))
            for url in rule.non_resource_urls
        )
    sub = resource.partition("/")[2]
    wanted = ("*", resource, *((f"*/{sub}",) if sub else ()))
    return (
        (group in rule.api_groups or "*" in rule.api_groups)
        and any(one in rule.resources for one in wanted)
        and (not rule.resource_names or name in rule.resource_names)
    )


def natively(wanted: list[Wanted], question: Question) -> bool:
    for unit in wanted:
        for key, bound in unit.bindings.items():
            names = {native_subject(one)[1] for one in bound.subjects}
            if question.user not in names and "system:authenticated" not in names:
                continue
            if key.namespace and (question.namespace != key.namespace):
                continue
            if any(rbac_allows(rule, question) for rule in unit.roles[bound.role]):
                return True
    return False


def all_wanted(projection: Projection) -> list[Wanted]:
    return [projection.wanted(unit) for unit in set(projection.units_in("host"))]


@settings(max_examples=60)
@given(seed=st.integers(0, 10**9))
def test_what_is_allowed_natively_is_allowed_by_the_engine_and_the_rest_has_a_reason(seed: int) -> None:
    rnd = random.Random(seed)
    projection = Projection()
    world = World(rnd)
    world.feed(Feed(projection))
    wanted = all_wanted(projection)
    reasons: Counter[str] = Counter()
    for _ in range(150):
        question = world.question(rnd)
        engine, native = ours(projection, question), natively(wanted, question)
        if native and not engine:
            raise AssertionError(f"wider than the engine: {question}")
        if engine and not native:
            reason = why_native_may_refuse(projection, question)
            assert reason, f"RBAC could say this: {question}"
            reasons[reason] += 1


@settings(max_examples=40)
@given(seed=st.integers(0, 10**9))
def test_every_change_touches_the_units_whose_objects_it_changes(seed: int) -> None:
    rnd = random.Random(seed)
    projection = Projection()
    feed = Feed(projection)
    world = World(rnd, roles=8, bindings=8)
    kept: dict[Unit, Wanted] = {}
    touched: set[Unit] = set()
    projection.on_touch = touched.update
    world.feed(feed)

    def check() -> None:
        for unit in touched:
            kept[unit] = projection.wanted(unit)
        touched.clear()
        anew = {unit: projection.wanted(unit) for unit in {*kept, *projection.units_in("host")}}
        assert {unit: one for unit, one in anew.items() if one.bindings} == {
            unit: one for unit, one in kept.items() if one.bindings
        }

    check()
    there = list(world.objects)
    for _ in range(12):
        if rnd.random() < 0.4:
            new = world.binding(rnd, f"rights-{rnd.randrange(8)}")
            old = next((one for one in there if isinstance(one, IAMRoleBinding)), None)
            feed.changed(old if old and old.metadata.name == new.metadata.name else None, new)
        else:
            obj = there.pop(rnd.randrange(len(there)))
            kind = {"Workspace": "workspace", "NodeGroup": "nodegroup"}.get(type(obj).__name__)
            if kind:
                feed.scope_changed(kind, obj.metadata, gone=True)
            else:
                feed.changed(obj, None)
        check()


def team(projection: Projection, size: int) -> None:
    projection.put_scope("w/host/press")
    projection.put_scope("n/host/press-a", ("w/host/press",))
    projection.put_role(RoleFacts("reader", "workspace", "", (READ_PODS,), (), None))
    for n in range(size):
        projection.put_user(f"user-{n}", ("press",))
    projection.put_binding(Binding("team", "reader", "w/host/press", ("Group:press",)))


def test_a_group_is_told_by_its_users_with_at_most_500_an_object() -> None:
    projection = Projection()
    team(projection, 1200)
    unit = Unit("host", "n/host/press-a")
    before = projection.wanted(unit)
    assert len(before.roles) == 1
    assert len(before.bindings) >= 3
    assert max(len(bound.subjects) for bound in before.bindings.values()) <= SUBJECTS_MAX
    assert sum(len(bound.subjects) for bound in before.bindings.values()) == 1200
    projection.put_user("late", ("press",))
    after = projection.wanted(unit)
    changed = [key for key, bound in after.bindings.items() if before.bindings.get(key) != bound]
    assert len(changed) == 1, "one more subject changes one object"


def test_disabled_users_and_system_subjects_get_nothing_natively() -> None:
    projection = Projection()
    team(projection, 1)
    unit = Unit("host", "n/host/press-a")
    projection.drop_user("user-0")
    assert projection.wanted(unit).bindings == {}
    subjects = ("Group:system:authenticated", "Group:system:masters", "User:system:admin", "User:ghost")
    projection.put_binding(Binding("odd", "reader", "w/host/press", subjects))
    assert projection.wanted(unit).bindings == {}


def test_a_service_account_of_the_host_is_nobody_in_a_member() -> None:
    projection = Projection()
    projection.put_scope("c/plant")
    projection.put_role(RoleFacts("reader", "platform", "", (READ_PODS,), (), None))
    account = "User:system:serviceaccount:ci:deployer"
    projection.put_binding(Binding("ci", "reader", "p", (account,)))
    host, member = (projection.wanted(Unit(name, f"c/{name}")) for name in ("host", "plant"))
    assert [bound.subjects for bound in host.bindings.values()] == [(account,)]
    assert native_subject(account) == ("ServiceAccount", "deployer", "ci")
    assert member.bindings == {}


def test_an_anonymous_role_reaches_paths_and_no_resource() -> None:
    projection = Projection()
    paths = PolicyRule(verbs=("get",), non_resource_urls=("/version",))
    projection.put_role(RoleFacts("anonymous", "platform", "", (READ_PODS, paths), (), None))
    wanted = projection.wanted(Unit("host", "c/host"))
    (rules,) = wanted.roles.values()
    assert rules == (RbacRule(verbs=("get",), non_resource_urls=("/version",)),)


def test_equal_rules_of_two_roles_share_one_role_and_one_binding() -> None:
    projection = Projection()
    team(projection, 2)
    projection.put_role(RoleFacts("reader-2", "workspace", "", (READ_PODS,), (), None))
    projection.put_user("ann", ())
    projection.put_binding(Binding("ann", "reader-2", "w/host/press", ("User:ann",)))
    wanted = projection.wanted(Unit("host", "n/host/press-a"))
    assert len(wanted.roles) == 1
    assert [len(bound.subjects) for bound in wanted.bindings.values()] == [3]


def test_the_admin_of_the_host_cluster_gets_nothing_of_the_platforms_own_kinds() -> None:
    projection = Projection()
    projection.put_user("ann", ())
    projection.put_role(RoleFacts("admin", "cluster", "", (EVERYTHING,), (), None))
    projection.put_binding(Binding("ann", "admin", "c/host", ("User:ann",)))
    wanted = [projection.wanted(Unit("host", "c/host"))]
    ask = Question("ann", "", "create", "iam.theriseunion.io", "iamrolebindings", "")
    assert not natively(wanted, ask)
    assert natively(wanted, ask._replace(group="apps", resource="deployments"))


def test_cluster_scoped_resources_and_node_proxies_are_left_out_and_reported() -> None:
    rule = PolicyRule(verbs=("get",), api_groups=("",), resources=("pods", "nodes", "nodes/proxy"))
    native = in_namespace((rule,))
    assert native.rules == (RbacRule(verbs=("get",), api_groups=("",), resources=("pods",)),)
    assert native.left_out == ("nodes", "nodes/proxy")
    (on_one,) = on_nodes((EVERYTHING,), ("n1",)).rules
    assert "nodes/proxy" not in on_one.resources
    assert on_one.resource_names == ("n1",)


def test_a_role_of_a_megabyte_is_left_out_whole_and_reported() -> None:
    names = tuple(f"{n:0250}" for n in range(5000))
    rule = PolicyRule(verbs=("get",), api_groups=("",), resources=("secrets",), resource_names=names)
    native = in_namespace((rule, READ_PODS))
    assert native.rules == ()
    assert "do not fit" in native.left_out[0]
