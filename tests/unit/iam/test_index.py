"""What the permission index promises, one sentence each (I2–I6, I15; invariants X5–X10, S5–S8)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.iam.aggregation import Recipe, Selector, Template, cycle_among, resolve
from edge.iam.index import MASKS_EACH, Binding, Index
from edge.iam.questions import access_at
from edge.iam.rolebook import RoleFacts
from edge.iam.rules import BITS, MEMO_LIMIT
from edge.iam.scope import parse_scope, scope_text
from edge.iam.types import PolicyRule

CORE = ("",)


def rule(
    verbs: str, resources: str, groups: tuple[str, ...] = CORE, names: str = "", urls: str = ""
) -> PolicyRule:
    return PolicyRule(
        verbs=tuple(verbs.split()),
        api_groups=groups,
        resources=tuple(resources.split()),
        resource_names=tuple(names.split()),
        non_resource_urls=tuple(urls.split()),
    )


def role(name: str, scope: str, *rules: PolicyRule, anchor: str = "", ui: tuple[str, ...] = ()) -> RoleFacts:
    return RoleFacts(name, scope, anchor, rules, ui, None)


@pytest.fixture
def index() -> Index:
    """Workspace press with namespace press-a in it, namespace lone outside, node d0 in group north."""
    made = Index()
    made.put_scope("w/host/press", (), "uid-1", "2026-01-01T00:00:00Z")
    made.put_scope("n/host/press-a", ("w/host/press",))
    made.put_scope("n/host/lone")
    made.put_scope("g/host/north")
    made.put_scope("d/host/d0", ("g/host/north",))
    for user in ("ann", "bob"):
        made.put_user(user, ("ops",) if user == "ann" else ())
    made.put_role(role("pod-viewer", "workspace", rule("get list", "pods")))
    return made


def bind(
    index: Index, name: str, role: str, scope: str, *subjects: str, uid: str = "", born: str = ""
) -> None:
    born = born or "2026-02-01T00:00:00Z"
    index.put_binding(Binding(name, role, scope, subjects, uid, born))


def test_a_right_on_a_workspace_holds_in_its_namespaces_and_nowhere_else(index: Index) -> None:
    bind(index, "b", "pod-viewer", "w/host/press", "User:ann")
    assert index.check("ann", "n/host/press-a", "get", "", "pods")
    assert index.check("ann", "w/host/press", "get", "", "pods")
    for scope in ("n/host/lone", "c/host", "p", "d/host/d0", "g/host/north", "n/far/press-a"):
        assert not index.check("ann", scope, "get", "", "pods"), scope


def test_an_index_that_remembers_one_caller_gives_each_their_own_answer() -> None:
    index = Index(size=1)
    index.put_scope("w/host/press")
    index.put_role(role("reader", "workspace", rule("get", "pods")))
    for name in ("ann", "eve"):
        index.put_user(name, ())
    index.put_binding(Binding("b", "reader", "w/host/press", ("User:ann",)))
    for _ in range(3):
        assert index.check("ann", "w/host/press", "get", "", "pods")
        assert not index.check("eve", "w/host/press", "get", "", "pods")
        assert index.remembered == 1


def test_nobody_has_a_right_in_an_empty_index() -> None:
    empty = Index()
    for who in ("ann", "system:anonymous", "system:serviceaccount:a:b", ("eve", ("system:masters",))):
        assert not empty.check(who, "p", "get", "", "pods")
        assert not empty.check_url(who, "get", "/metrics")


def test_a_user_nobody_knows_has_only_what_everyone_has(index: Index) -> None:
    index.put_role(role("anonymous", "platform", rule("get", "", urls="/version")))
    bind(index, "b", "pod-viewer", "w/host/press", "User:ghost", "Group:system:authenticated")
    assert not index.check("ghost", "n/host/press-a", "get", "", "pods")
    assert index.check_url("ghost", "get", "/version")
    assert index.check("bob", "n/host/press-a", "get", "", "pods")


def test_a_disabled_or_deleted_user_loses_everything_at_once(index: Index) -> None:
    bind(index, "b", "pod-viewer", "w/host/press", "User:ann")
    assert index.check("ann", "n/host/press-a", "get", "", "pods")
    index.drop_user("ann")
    assert not index.check("ann", "n/host/press-a", "get", "", "pods")


def test_a_revoked_binding_is_denied_by_the_next_check(index: Index) -> None:
    bind(index, "b", "pod-viewer", "w/host/press", "Group:ops")
    before = index.generation("ann")
    assert index.check("ann", "n/host/press-a", "get", "", "pods")
    index.drop_binding("b")
    assert not index.check("ann", "n/host/press-a", "get", "", "pods")
    assert index.generation("ann") != before


def test_a_group_taken_from_a_user_takes_its_rights(index: Index) -> None:
    bind(index, "b", "pod-viewer", "w/host/press", "Group:ops")
    assert index.check("ann", "n/host/press-a", "get", "", "pods")
    index.put_user("ann", ())
    assert not index.check("ann", "n/host/press-a", "get", "", "pods")


def test_a_system_group_in_a_user_object_gives_nothing(index: Index) -> None:
    index.put_role(role("root", "platform", rule("*", "*", ("*",))))
    bind(index, "b", "root", "p", "Group:system:masters")
    index.put_user("eve", ("system:masters",))
    assert not index.check("eve", "p", "get", "", "pods")


def test_groups_that_an_api_server_vouches_for_count_for_its_review_only(index: Index) -> None:
    bind(index, "b", "pod-viewer", "w/host/press", "Group:auditors")
    assert index.check(("kim", ("auditors",)), "n/host/press-a", "get", "", "pods")
    assert not index.check(("ann", ()), "n/host/press-a", "list", "", "pods")
    bind(index, "b2", "pod-viewer", "w/host/press", "Group:ops")
    assert not index.check(("ann", ()), "n/host/press-a", "list", "", "pods"), (
        "certificate CN is not our user"
    )


def test_a_workspace_made_again_under_the_name_does_not_revive_old_bindings(index: Index) -> None:
    bind(index, "labelled", "pod-viewer", "w/host/press", "User:ann", uid="uid-1")
    bind(index, "bare", "pod-viewer", "w/host/press", "User:bob")
    assert index.check("ann", "n/host/press-a", "get", "", "pods")
    assert index.check("bob", "n/host/press-a", "get", "", "pods")
    index.drop_scope("w/host/press")
    index.put_scope("w/host/press", (), "uid-2", "2026-03-01T00:00:00Z")
    assert not index.check("ann", "n/host/press-a", "get", "", "pods")
    assert not index.check("bob", "n/host/press-a", "get", "", "pods")
    bind(index, "anew", "pod-viewer", "w/host/press", "User:bob", born="2026-03-01T00:00:01Z")
    assert index.check("bob", "n/host/press-a", "get", "", "pods")


def test_a_namespace_that_moves_takes_no_right_along(index: Index) -> None:
    index.put_scope("w/host/paint")
    bind(index, "b", "pod-viewer", "w/host/press", "User:ann")
    assert index.check("ann", "n/host/press-a", "get", "", "pods")
    index.put_scope("n/host/press-a", ("w/host/paint",))
    assert not index.check("ann", "n/host/press-a", "get", "", "pods")


def test_equal_names_in_two_clusters_are_two_scopes(index: Index) -> None:
    for cluster in ("east", "west"):
        index.put_scope(f"c/{cluster}")
        index.put_scope(f"w/{cluster}/press")
        index.put_scope(f"n/{cluster}/press-a", (f"w/{cluster}/press",))
    bind(index, "b", "pod-viewer", "w/east/press", "User:ann")
    assert index.check("ann", "n/east/press-a", "get", "", "pods")
    assert not index.check("ann", "n/west/press-a", "get", "", "pods")
    assert not index.check("ann", "n/host/press-a", "get", "", "pods")


def test_a_role_bound_at_a_scope_of_another_type_gives_nothing(index: Index) -> None:
    index.put_role(role("cluster-root", "cluster", rule("*", "*", ("*",))))
    index.put_role(role("paint-only", "workspace", rule("*", "*", ("*",)), anchor="w/host/paint"))
    bind(index, "b1", "cluster-root", "w/host/press", "User:ann")
    bind(index, "b2", "paint-only", "w/host/press", "User:ann")
    bind(index, "b3", "never-made", "w/host/press", "User:ann")
    assert not index.check("ann", "n/host/press-a", "get", "", "pods")


def test_a_node_in_two_groups_is_open_to_both(index: Index) -> None:
    index.put_scope("g/host/gpu")
    index.put_scope("d/host/d0", ("g/host/north", "g/host/gpu"))
    index.put_role(role("keeper", "nodegroup", rule("update", "nodes")))
    bind(index, "b1", "keeper", "g/host/gpu", "User:ann")
    bind(index, "b2", "keeper", "g/host/north", "User:bob")
    assert index.check("ann", "d/host/d0", "update", "", "nodes")
    assert index.check("bob", "d/host/d0", "update", "", "nodes")
    index.put_scope("d/host/d0", ("g/host/gpu",))
    assert not index.check("bob", "d/host/d0", "update", "", "nodes")


@pytest.mark.parametrize(
    ("given", "asked", "allowed"),
    [
        ("pods", "pods", True),
        ("pods", "pods/log", False),
        ("pods/log", "pods/log", True),
        ("*", "pods/log", True),
        ("*/scale", "deployments/scale", True),
        ("*/scale", "deployments", False),
        ("pods/*", "pods/log", False),
    ],
)
def test_resources_match_as_in_kubernetes(index: Index, given: str, asked: str, allowed: bool) -> None:
    index.put_role(role("r", "namespace", rule("get", given)))
    bind(index, "b", "r", "n/host/lone", "User:ann")
    assert index.check("ann", "n/host/lone", "get", "", asked) is allowed


def test_a_rule_with_names_counts_only_for_requests_with_such_a_name(index: Index) -> None:
    index.put_role(role("r", "namespace", rule("get list create", "secrets", names="one two")))
    bind(index, "b", "r", "n/host/lone", "User:ann")
    assert index.check("ann", "n/host/lone", "get", "", "secrets", "two")
    assert not index.check("ann", "n/host/lone", "get", "", "secrets", "three")
    assert not index.check("ann", "n/host/lone", "list", "", "secrets")
    assert not index.check("ann", "n/host/lone", "create", "", "secrets")


def test_a_rule_without_verbs_or_groups_gives_nothing(index: Index) -> None:
    index.put_role(role("r", "namespace", rule("", "pods"), rule("get", "pods", groups=())))
    bind(index, "b", "r", "n/host/lone", "User:ann")
    assert not index.check("ann", "n/host/lone", "get", "", "pods")


def test_paths_are_decided_at_the_platform_with_existing_spellings(index: Index) -> None:
    index.put_role(
        role("r", "platform", rule("GET", "", urls="version /apis/*"), rule("list", "", urls="/m"))
    )
    index.put_role(role("w", "workspace", rule("get", "", urls="/metrics")))
    bind(index, "b", "r", "p", "User:ann")
    bind(index, "b2", "w", "w/host/press", "User:ann")
    assert index.check_url("ann", "get", "/version")
    assert index.check_url("ann", "get", "/apis/apps/v1")
    assert index.check_url("ann", "get", "/m")
    assert not index.check_url("ann", "get", "/versions")
    assert not index.check_url("ann", "post", "/version")
    assert not index.check_url("ann", "get", "/metrics")


def test_a_right_on_a_virtual_resource_gives_the_native_one_behind_it(index: Index) -> None:
    virtual = rule("get", "deployments secrets namespaces", ("resources.theriseunion.io",))
    terminal = rule("get", "pods/exec", ("terminal.theriseunion.io",))
    index.put_role(role("r", "workspace", virtual, terminal))
    bind(index, "b", "r", "w/host/press", "User:ann")
    assert index.check("ann", "n/host/press-a", "get", "apps", "deployments")
    assert index.check("ann", "n/host/press-a", "get", "", "secrets")
    assert index.check("ann", "n/host/press-a", "create", "", "pods/exec")
    assert not index.check("ann", "n/host/press-a", "get", "", "deployments")
    assert not index.check("ann", "n/host/press-a", "delete", "apps", "deployments")
    assert not index.check("ann", "n/host/lone", "get", "", "secrets")


def test_a_star_on_a_virtual_group_is_no_star_on_the_core_group(index: Index) -> None:
    index.put_role(role("r", "cluster", rule("*", "*", ("resources.theriseunion.io",))))
    bind(index, "b", "r", "c/host", "User:ann")
    assert index.check("ann", "n/host/lone", "delete", "", "pods")
    assert not index.check("ann", "n/host/lone", "create", "", "serviceaccounts/token")
    assert not index.check("ann", "c/host", "create", "rbac.authorization.k8s.io", "clusterroles")


def test_a_child_of_a_scope_may_be_named_alone_in_the_platforms_own_groups(index: Index) -> None:
    iam = ("iam.theriseunion.io",)
    index.put_role(role("r", "workspace", rule("get", "members", iam), rule("get", "status", CORE)))
    bind(index, "b", "r", "w/host/press", "User:ann")
    assert index.check("ann", "w/host/press", "get", *iam, "workspaces/members")
    assert not index.check("ann", "w/host/press", "get", *iam, "iamrolebindings/members")
    assert not index.check("ann", "n/host/press-a", "get", "", "namespaces/status")


def test_memory_is_bounded_whatever_a_caller_asks(index: Index) -> None:
    bind(index, "b", "pod-viewer", "w/host/press", "User:ann")
    verbs = len(BITS)
    for n in range(MASKS_EACH + 100):
        index.check("ann", f"n/host/{n}", f"verb-{n}", f"group-{n}", f"resource-{n}", f"name-{n}")
        index.check(f"user-{n}", "w/host/press", "get", "", f"resource-{n}")
    identity = index.identity("ann")
    assert len(BITS) == verbs
    assert len(identity.masks) <= MASKS_EACH
    assert len(identity.views) <= MASKS_EACH
    table = next(index.book.roles["pod-viewer"].tables())
    assert len(table._memo) <= MEMO_LIMIT
    small = Index(size=50)
    for n in range(500):
        small.check(f"user-{n}", "p", "get", "", "pods")
    assert len(small._identities) <= 50
    assert all(len(members) <= 50 for members in small._members.values())
    while small.sweep():
        pass
    assert not small._grave


def test_an_event_that_touches_everybody_drops_them_all_at_once_and_is_freed_in_slices(index: Index) -> None:
    told: list[object] = []
    index.on_drop = told.append
    bind(index, "b", "pod-viewer", "w/host/press", "Group:system:authenticated")
    for n in range(2000):
        index.put_user(f"user-{n}", ())
        assert index.check(f"user-{n}", "n/host/press-a", "get", "", "pods")
    told.clear()
    index.put_role(role("pod-viewer", "workspace"))
    assert told == [None]
    assert not index.check("user-7", "n/host/press-a", "get", "", "pods")
    slices = 1
    while index.sweep(200):
        slices += 1
    assert slices >= 10


names = st.sampled_from(["t0", "t1", "t2", "t3"])


@given(
    kinds=st.dictionaries(
        names, st.sampled_from(["platform", "cluster", "workspace", "namespace", "nodegroup"])
    ),
    needs=st.dictionaries(names, st.lists(names, max_size=2).map(tuple)),
    scope=st.sampled_from(["platform", "cluster", "workspace", "namespace", "nodegroup"]),
)
@settings(max_examples=150)
def test_aggregation_never_reaches_a_wider_scope_and_ends_in_spite_of_cycles(
    kinds: dict[str, str], needs: dict[str, tuple[str, ...]], scope: str
) -> None:
    templates = {
        name: Template(name, kind, {"admin": ""}, needs.get(name, ()), (), ()) for name, kind in kinds.items()
    }
    found = resolve(Recipe(scope, ("t0",), Selector((("admin", ""),), ())), templates)
    below = {
        "platform": {"platform", "cluster", "workspace", "nodegroup", "namespace"},
        "cluster": {"cluster", "workspace", "nodegroup", "namespace"},
        "workspace": {"workspace", "namespace"},
        "nodegroup": {"nodegroup"},
        "namespace": {"namespace"},
    }
    assert {kinds[name] for name in found.templates} <= below[scope]
    assert set(found.missing).isdisjoint(templates)
    assert not set(found.templates) & set(found.dropped)


def test_a_cycle_of_dependencies_is_named_as_a_path() -> None:
    needs = {"t0": ("t1",), "t1": ("t2",), "t2": ("t0",), "t3": ()}
    templates = {name: Template(name, "cluster", {}, need, (), ()) for name, need in needs.items()}
    path = cycle_among(["t3", "t0"], templates)
    assert path[0] == path[-1]
    assert set(path) == {"t0", "t1", "t2"}
    assert cycle_among(["t3"], templates) == ()


def test_a_label_on_a_wide_template_does_not_bring_it_into_a_narrow_role() -> None:
    wide = Template("root", "platform", {"admin": ""}, (), (rule("*", "*", ("*",)),), ())
    found = resolve(Recipe("workspace", (), Selector((("admin", ""),), ())), {"root": wide})
    assert found == ((), (), ("root",))


def test_an_empty_selector_selects_nothing() -> None:
    template = Template("t", "workspace", {}, (), (), ())
    assert resolve(Recipe("workspace", (), Selector((), ())), {"t": template}).templates == ()


verbs = st.lists(st.sampled_from(["get", "list", "delete", "*"]), min_size=1, max_size=2).map(tuple)
some_rules = st.lists(
    st.builds(
        PolicyRule,
        verbs=verbs,
        api_groups=st.sampled_from([("",), ("apps",), ("*",), ("resources.theriseunion.io",)]),
        resources=st.sampled_from([("pods",), ("pods/log",), ("*/log",), ("*",), ("secrets", "pods")]),
        resource_names=st.sampled_from([(), (), ("a",), ("a", "b")]),
    ),
    max_size=3,
).map(tuple)
atoms = [
    (verb, group, resource, name)
    for verb in ("get", "list", "delete", "never-heard-of")
    for group in ("", "apps", "other", "resources.theriseunion.io")
    for resource in ("pods", "pods/log", "secrets", "nodes")
    for name in ("", "a", "b", "c")
]


@given(held=some_rules, given_away=some_rules)
@settings(max_examples=150)
def test_granting_what_is_not_missing_adds_no_right_that_the_grantor_lacks(
    held: tuple[PolicyRule, ...], given_away: tuple[PolicyRule, ...]
) -> None:
    index = Index()
    index.put_scope("w/host/press")
    index.put_user("ann", ())
    index.put_user("bob", ())
    index.put_role(role("held", "workspace", *held))
    bind(index, "b", "held", "w/host/press", "User:ann")
    if index.missing("ann", "w/host/press", given_away):
        return
    index.put_role(role("given", "workspace", *given_away))
    bind(index, "b2", "given", "w/host/press", "User:bob")
    for verb, group, resource, name in atoms:
        if index.check("bob", "w/host/press", verb, group, resource, name):
            assert index.check("ann", "w/host/press", verb, group, resource, name)


@given(first=some_rules, more=some_rules)
@settings(max_examples=100)
def test_another_rule_never_takes_a_right_away(
    first: tuple[PolicyRule, ...], more: tuple[PolicyRule, ...]
) -> None:
    index = Index()
    index.put_scope("n/host/lone")
    index.put_user("ann", ())
    index.put_role(role("r", "namespace", *first))
    bind(index, "b", "r", "n/host/lone", "User:ann")
    before = [atom for atom in atoms if index.check("ann", "n/host/lone", *atom)]
    index.put_role(role("r", "namespace", *first, *more))
    after = {atom for atom in atoms if index.check("ann", "n/host/lone", *atom)}
    assert set(before) <= after
    index.drop_role("r")
    assert not any(index.check("ann", "n/host/lone", *atom) for atom in atoms)


def test_what_is_missing_is_named_and_a_star_is_held_only_by_a_star(index: Index) -> None:
    index.put_role(
        role("r", "platform", rule("get list", "pods"), rule("get", "", urls="/apis/*"), ui=("a/b.view",))
    )
    bind(index, "b", "r", "p", "User:ann")
    assert index.missing("ann", "p", [rule("get", "pods")], ["a/b.view"]) == []
    assert index.missing("ann", "p", [rule("get", "", urls="/apis/apps")]) == []
    assert index.missing("ann", "p", [rule("* delete", "pods")], ["a/b.manage"]) == [
        "* pods",
        "delete pods",
        "console right a/b.manage",
    ]
    assert index.missing("ann", "p", [rule("get", "*")]) == ["get *"]
    assert index.missing("ann", "p", [rule("get", "", urls="/metrics *")]) == ["get /metrics", "get *"]


@pytest.mark.parametrize(
    "text",
    [
        "platform",
        "cluster/east",
        "workspace/press",
        "namespace/a",
        "cluster/east/namespace/a",
        "cluster/east/node/d",
    ],
)
def test_scopes_read_back_as_they_were_written(text: str) -> None:
    key = parse_scope(text)
    assert key is not None
    assert scope_text(key) == text


@pytest.mark.parametrize(
    "text", ["", "cluster", "workspace/", "planet/earth", "cluster/a/cluster/b", "platform/global"]
)
def test_text_that_names_no_scope_is_none(text: str) -> None:
    assert parse_scope(text) is None


def test_a_generation_never_comes_back_even_when_the_caller_was_forgotten_meanwhile(index: Index) -> None:
    index.size = 1
    seen = set[str]()
    for turn in range(5):
        bind(index, "b", "pod-viewer", "w/host/press" if turn % 2 else "w/host/other", "User:ann")
        now = index.generation("ann")
        assert now not in seen
        seen.add(now)
        assert index.generation("bob")  # takes the only place
    assert len(seen) == 5


def test_the_etag_of_equal_rights_is_equal_on_every_replica_and_after_any_history(index: Index) -> None:
    bind(index, "b", "pod-viewer", "w/host/press", "User:ann")
    first = access_at(index, "ann", "w/host/press").etag
    index.drop_binding("b")
    assert access_at(index, "ann", "w/host/press").etag != first
    bind(index, "again", "pod-viewer", "w/host/press", "Group:ops")
    assert access_at(index, "ann", "w/host/press").etag == first
