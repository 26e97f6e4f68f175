"""Nobody gives away a right that they do not hold, through whatever object (I2, I15; S6–S8; X10)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, structs

from edge.iam.builtin import everything
from edge.iam.escalation import (
    binding_lacks,
    manager_lacks,
    moved_lacks,
    namespace_lacks,
    role_lacks,
    selection_lacks,
    stands_for_host_lacks,
    template_lacks,
    user_lacks,
    waiting_lacks,
)
from edge.iam.federated import IDENTITY_ANNOTATION
from edge.iam.feed import Feed
from edge.iam.index import Index
from edge.iam.rules import BITS
from edge.iam.types import (
    GROUP,
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    IAMRoleSpec,
    PolicyRule,
    RoleAggregation,
    RoleRef,
    RoleTemplate,
    RoleTemplateSpec,
    Subject,
    User,
    UserSpec,
)
from edge_kube.core import Namespace, Node
from edge_kube.meta import LabelSelector, ObjectMeta, Resource
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL, WORKSPACE_LABEL

USERS = ("ann", "bob", "eve")
SCOPES = {
    "p": ("platform", "global"),
    "w/host/press": ("workspace", "press"),
    "w/host/paint": ("workspace", "paint"),
    "n/host/press-a": ("namespace", "press-a"),
}
VERBS, RESOURCES = ("get", "delete"), ("pods", "secrets")
JOIN = "iam.theriseunion.io/aggregate-to-team"


def labels(scope: str) -> Mapping[str, str]:
    kind, value = SCOPES[scope]
    return {IAM_SCOPE_LABEL: kind, IAM_SCOPE_VALUE_LABEL: value}


def rule(verbs: Iterable[str], resources: Iterable[str]) -> PolicyRule:
    return PolicyRule(verbs=tuple(verbs), api_groups=("",), resources=tuple(resources))


def role(name: str, scope: str, *rules: PolicyRule, joins: bool = False) -> IAMRole:
    aggregation = RoleAggregation(role_selector=LabelSelector(match_labels={JOIN: ""})) if joins else UNSET
    spec = IAMRoleSpec(rules=rules, aggregation_role_templates=aggregation)
    return IAMRole(metadata=ObjectMeta(name=name, labels=labels(scope)), spec=spec)


def template(name: str, scope: str, *rules: PolicyRule, joins: bool = False) -> RoleTemplate:
    marks = {IAM_SCOPE_LABEL: SCOPES[scope][0], **({JOIN: ""} if joins else {})}
    return RoleTemplate(metadata=ObjectMeta(name=name, labels=marks), spec=RoleTemplateSpec(rules=rules))


def binding(name: str, scope: str, bound: str, *subjects: tuple[str, str]) -> IAMRoleBinding:
    return IAMRoleBinding(
        metadata=ObjectMeta(name=name, labels=labels(scope)),
        spec=IAMRoleBindingSpec(
            role_ref=RoleRef(api_group=GROUP, kind="IAMRole", name=bound),
            subjects=tuple(Subject(kind=kind, name=who) for kind, who in subjects),
        ),
    )


def user(name: str, *groups: str, password: str = "") -> User:
    return User(metadata=ObjectMeta(name=name), spec=UserSpec(groups=groups, encrypted_password=password))


class World:
    """Two workspaces, a namespace in one of them, three users."""

    def __init__(self, objects: Iterable[Resource] = ()) -> None:
        self.index = Index()
        self._feed = Feed(self.index)
        self._have: dict[tuple[type[Resource], str], Resource] = {}
        for workspace in ("press", "paint"):
            self._feed.scope_changed("workspace", ObjectMeta(name=workspace))
        home = {WORKSPACE_LABEL: "press"}
        self._feed.changed(None, Namespace(metadata=ObjectMeta(name="press-a", labels=home)))
        for name in USERS:
            self.put(user(name))
        for one in objects:
            self.put(one)

    def find(self, like: Resource) -> Any:
        return self._have.get((type(like), like.metadata.name))

    def put(self, obj: Resource) -> None:
        self._feed.changed(self.find(obj), obj)
        self._have[type(obj), obj.metadata.name] = obj

    def exists(self, kind: str, name: str) -> None:
        """A scope more."""
        self._feed.scope_changed(kind, ObjectMeta(name=name))

    def lacks(self, author: str, obj: Resource) -> list[str]:
        asks: dict[type[Resource], Any] = {
            IAMRole: role_lacks,
            RoleTemplate: template_lacks,
            IAMRoleBinding: binding_lacks,
            User: user_lacks,
        }
        groups = (*self.index.users.get(author, ()), "system:authenticated")
        steps = asks[type(obj)](self.index, (author, groups), obj, self.find(obj))
        return [one.text for one in steps if one is not None]

    def atoms(self) -> set[tuple[str, str, str, str]]:
        """Everything that anybody may do anywhere: user, scope, verb, resource."""
        return {
            (who, scope, verb, resource)
            for who in USERS
            for scope in SCOPES
            for verb in VERBS
            for resource in RESOURCES
            if self.index.check(who, scope, verb, "", resource)
        }


scopes = st.sampled_from(sorted(SCOPES))
some_rules = st.lists(
    st.builds(
        rule,
        st.sets(st.sampled_from((*VERBS, "*")), min_size=1),
        st.sets(st.sampled_from((*RESOURCES, "*")), min_size=1),
    ),
    max_size=2,
)
role_names, template_names = st.sampled_from(["r0", "r1", "r2"]), st.sampled_from(["t0", "t1"])
subjects = st.sampled_from([*(("User", name) for name in USERS), ("Group", "crew"), ("Group", "team")])


def _role(name: str, scope: str, rules: list[PolicyRule], joins: bool) -> Resource:
    return role(name, scope, *rules, joins=joins)


def _template(name: str, scope: str, rules: list[PolicyRule], joins: bool) -> Resource:
    return template(name, scope, *rules, joins=joins)


def _binding(name: str, scope: str, bound: str, who: list[tuple[str, str]]) -> Resource:
    return binding(name, scope, bound, *who)


def _user(name: str, groups: set[str]) -> Resource:
    return user(name, *groups)


binding_names = st.sampled_from(["b0", "b1", "b2", "b3"])
changes = st.one_of(
    st.builds(_role, role_names, scopes, some_rules, st.booleans()),
    st.builds(_template, template_names, scopes, some_rules, st.booleans()),
    st.builds(_binding, binding_names, scopes, role_names, st.lists(subjects, max_size=2)),
    st.builds(_user, st.sampled_from(USERS), st.sets(st.sampled_from(["crew", "team"]))),
)


BASE = (
    role("r1", "w/host/press", rule(["*"], ["*"])),
    role("r2", "w/host/press", joins=True),
    binding("team", "w/host/press", "r1", ("Group", "team")),
    binding("crew", "w/host/press", "r2", ("Group", "crew"), ("User", "bob")),
    binding("eve-reads", "w/host/press", "reader", ("User", "eve")),
    role("reader", "w/host/press", rule(["get"], ["pods"])),
)
"""Ways up lead from here: a group with every right, and a role that takes in whatever carries a label."""


@settings(max_examples=600)
@given(st.lists(changes, max_size=10), st.sampled_from(USERS), st.lists(changes, min_size=1, max_size=4))
def test_no_admitted_change_gives_anybody_what_its_author_did_not_hold(
    objects: Sequence[Resource], author: str, wanted: Sequence[Resource]
) -> None:
    world = World([*BASE, *objects])
    for change in wanted:
        before = world.atoms()
        if world.lacks(author, change):
            continue
        world.put(change)
        for who, scope, verb, resource in world.atoms() - before:
            assert (author, scope, verb, resource) in before, (who, scope, verb, resource)


READ, ALL = rule(["get"], ["pods"]), rule(["*"], ["*"])


@pytest.fixture
def world() -> World:
    """ann reads pods in the workspace press; boss rights are in the role boss of press."""
    return World(
        [
            role("reader", "w/host/press", READ),
            role("boss", "w/host/press", ALL, joins=True),
            binding("ann-reads", "w/host/press", "reader", ("User", "ann")),
            binding("crew", "w/host/press", "boss", ("Group", "crew"), ("User", "old-boss")),
        ]
    )


def test_what_one_holds_may_be_given_where_one_holds_it_and_nowhere_else(world: World) -> None:
    give = binding("to-bob", "w/host/press", "reader", ("User", "bob"))
    assert world.lacks("ann", give) == []
    assert world.lacks("eve", give) != []
    world.put(role("reads-paint", "w/host/paint", READ))
    (said,) = world.lacks("ann", binding("next-door", "w/host/paint", "reads-paint", ("User", "ann")))
    assert said == (
        "it gives the role reads-paint at workspace/paint, and its author does not hold there: get pods"
    )


@pytest.mark.parametrize(
    "change",
    [
        role("reader", "w/host/press", READ, ALL),
        role("new", "w/host/press", ALL),
        role("reader", "w/host/press", READ, joins=True),
        binding("mine", "w/host/press", "boss", ("User", "ann")),
        binding("ann-reads", "w/host/press", "boss", ("User", "ann")),
        binding("later", "w/host/press", "no-such-role-yet", ("User", "ann")),
        template("slipped-in", "w/host/press", ALL, joins=True),
        user("ann", "crew"),
        user("old-boss"),
    ],
    ids=lambda change: f"{type(change).__name__} {change.metadata.name}",
)
def test_every_way_up_is_closed(world: World, change: Resource) -> None:
    """S6: by rule, by a new role, by selector, by binding, by update, by a role to come, by label, by group,
    by making a deleted user anew."""
    if isinstance(change, IAMRole) and change.spec.aggregation_role_templates is not UNSET:
        world.put(template("team", "w/host/press", ALL, joins=True))
    assert world.lacks("ann", change) != []


def test_anothers_password_is_all_their_rights(world: World) -> None:
    world.put(user("bob", "crew", password="old"))
    world.put(user("ann", password="old"))
    assert world.lacks("ann", user("bob", "crew", password="new")) != []
    linked = structs.replace(
        user("bob", "crew", password="old"),
        metadata=ObjectMeta(name="bob", annotations={IDENTITY_ANNOTATION: '{"subject": "ann\'s"}'}),
    )
    assert world.lacks("ann", linked) != [], "somebody at a directory who opens bob is as good as a password"
    assert world.lacks("bob", user("bob", "crew", password="new")) == []
    assert world.lacks("bob", user("ann", password="new")) == [], "who holds more may"


def test_escalate_and_bind_on_the_role_are_the_way_round(world: World) -> None:
    verbs = PolicyRule(verbs=("bind", "escalate"), api_groups=(GROUP,), resources=("iamroles",))
    world.put(role("granter", "w/host/press", verbs))
    world.put(binding("eve-grants", "w/host/press", "granter", ("User", "eve")))
    assert world.lacks("eve", binding("to-bob", "w/host/press", "boss", ("User", "bob"))) == []
    assert world.lacks("eve", role("reader", "w/host/press", ALL)) == []
    assert world.lacks("eve", role("all", "w/host/paint", ALL)) != []


def test_an_unchanged_object_may_take_labels_and_finalizers(world: World) -> None:
    for one in (
        role("boss", "w/host/press", ALL, joins=True),
        binding("crew", "w/host/press", "boss", ("Group", "crew"), ("User", "old-boss")),
    ):
        assert world.lacks("eve", one) == []


def test_a_template_that_is_being_deleted_gives_nothing(world: World) -> None:
    """It is admitted unasked, so that its finalizers can go: what is written to it must not count."""
    dying = template("slipped-in", "w/host/press", ALL, joins=True)
    meta = structs.replace(dying.metadata, deletion_timestamp="2026-01-01T00:00:00Z")
    world.put(role("reader", "w/host/press", READ, joins=True))
    world.put(structs.replace(dying, metadata=meta))
    assert not world.index.check("ann", "w/host/press", "delete", "", "secrets")


def test_system_groups_of_a_user_object_give_nothing_and_need_nothing(world: World) -> None:
    assert world.lacks("eve", user("eve", "system:masters", "system:admin")) == []
    world.put(user("eve", "system:masters"))
    assert not world.index.check("eve", "p", "get", "", "pods")


def namespace(name: str, workspace: str = "") -> ObjectMeta:
    return ObjectMeta(name=name, labels={WORKSPACE_LABEL: workspace} if workspace else {})


def test_a_namespace_moves_only_for_who_may_update_both_workspaces() -> None:
    """S7, S8: moving needs a right at the old place and at the new one."""
    world = World(everything())
    index = world.index
    for workspace in ("press", "paint"):
        who = "ann" if workspace == "press" else "bob"
        world.put(binding(workspace, f"w/host/{workspace}", "workspace-admin", ("User", who)))
    moved = (namespace("press-a", "paint"), namespace("press-a", "press"))
    for author in ("ann", "bob", "eve"):
        assert list(namespace_lacks(index, author, *moved)) != []
    out = (namespace("press-a"), namespace("press-a", "press"))
    (lack,) = namespace_lacks(index, "ann", *out)
    assert "leaves its quota too; it needs update on workspaces at cluster/host" in lack.text
    world.put(binding("root", "p", "platform-admin", ("User", "bob")))
    assert list(namespace_lacks(index, "bob", *out)) == []
    assert list(namespace_lacks(index, "ann", namespace("new", "press"), None)) == []
    assert list(namespace_lacks(index, "eve", namespace("new", "press"), None)) != []
    assert list(namespace_lacks(index, "eve", namespace("x"), namespace("x"))) == []
    taken = (namespace("x", "press"), namespace("x"))
    (lack,) = namespace_lacks(index, "ann", *taken)
    assert "falls to the administrators of the one that it joins" in lack.text
    assert list(namespace_lacks(index, "bob", *taken)) == []


def test_the_clusters_own_namespaces_join_no_tenant() -> None:
    world = World(everything())
    world.put(binding("press", "w/host/press", "workspace-admin", ("User", "ann")))
    for name in ("kube-system", "edge-system", "kube-flannel"):
        (lack,) = namespace_lacks(world.index, "ann", namespace(name, "press"), namespace(name))
        assert (lack.verb, name in lack.text) == ("", True)


def test_scopes_do_not_change_cluster_and_groups_do_not_reach_out_by_themselves() -> None:
    world = World(everything())
    index = world.index
    world.put(binding("press", "w/host/press", "workspace-admin", ("User", "ann")))
    there = ObjectMeta(name="press", labels={"scope.theriseunion.io/cluster": "far"})
    assert list(moved_lacks(index, "ann", "workspace", there, ObjectMeta(name="press"))) != []
    assert list(selection_lacks(index, "ann", ObjectMeta(name="north"))) != []
    world.put(binding("root", "p", "platform-admin", ("User", "bob")))
    assert list(moved_lacks(index, "bob", "workspace", there, ObjectMeta(name="press"))) == []
    assert list(selection_lacks(index, "bob", ObjectMeta(name="north"))) == []
    assert not any(manager_lacks(index, "ann", ObjectMeta(name="press")))
    assert any(manager_lacks(index, "eve", ObjectMeta(name="press")))


def test_S8_a_name_that_nodes_or_namespaces_wait_for_is_taken_by_who_administers_the_cluster() -> None:
    world = World(everything())
    index = world.index
    world.put(binding("makes", "p", "platform-self-provisioner", ("User", "ann")))
    world.put(binding("root", "p", "platform-admin", ("User", "bob")))
    world.put(Namespace(metadata=namespace("left-behind", "orphans")))
    marked = ObjectMeta(name="n1", labels={"theriseunion.io/nodegroup": "ovens"})
    world.put(Node(metadata=marked))
    for kind, name in (("workspace", "orphans"), ("nodegroup", "ovens")):
        (lack,) = waiting_lacks(index, "ann", kind, ObjectMeta(name=name))
        assert (f"labelled for a {kind} {name} already" in lack.text, lack.verb) == (True, "escalate")
        assert list(waiting_lacks(index, "bob", kind, ObjectMeta(name=name))) == []
        assert list(waiting_lacks(index, "ann", kind, ObjectMeta(name="free"))) == []
        elsewhere = ObjectMeta(name=name, labels={"scope.theriseunion.io/cluster": "far"})
        assert list(waiting_lacks(index, "ann", kind, elsewhere)) == [], "another cluster has none of them"


def test_no_label_makes_a_cluster_the_hosts_double() -> None:
    """Node groups and deployments of a Cluster with this label act on the host itself."""
    world = World(everything())
    index = world.index
    world.exists("cluster", "far")
    given = binding("far", "p", "cluster-admin", ("User", "ann"))
    there = {IAM_SCOPE_LABEL: "cluster", IAM_SCOPE_VALUE_LABEL: "far"}
    world.put(structs.replace(given, metadata=ObjectMeta(name="far", labels=there)))
    assert index.check("ann", "c/far", "update", "scope.theriseunion.io", "clusters", "far")
    world.put(binding("root", "p", "platform-admin", ("User", "bob")))
    plain = ObjectMeta(name="far")
    double = ObjectMeta(name="far", labels={"cluster.theriseunion.io/role": "host"})
    for old in (plain, None):
        (lack,) = stands_for_host_lacks(index, "ann", double, old)
        assert "it needs update on clusters at cluster/host" in lack.text
        assert list(stands_for_host_lacks(index, "bob", double, old)) == []
    member = ObjectMeta(name="far", labels={"cluster.theriseunion.io/role": "member"})
    for new, old in ((member, plain), (plain, double), (double, double)):
        assert list(stands_for_host_lacks(index, "ann", new, old)) == []


def test_a_terminal_gives_the_native_shell_too_which_its_author_must_hold() -> None:
    """The virtual pods/exec stands for `create` on the native one."""
    group = "terminal.theriseunion.io"
    shell = PolicyRule(verbs=("get",), api_groups=(group,), resources=("pods/exec",))
    reads = PolicyRule(verbs=("get",), api_groups=("*",), resources=("*",))
    world = World([role("reader", "p", reads), binding("b", "p", "reader", ("User", "ann"))])
    (text,) = world.lacks("ann", role("shells", "p", shell))
    assert "create pods/exec" in text
    assert world.lacks("ann", role("reads", "p", rule(["get"], ["pods"]))) == []


def test_verbs_of_a_refused_role_are_not_remembered() -> None:
    """X8: who may only ask must not make the table of bits grow."""
    world = World()
    before = len(BITS)
    assert world.lacks("eve", role("odd", "p", rule(["frobnicate"], ["pods"]))) != []
    assert len(BITS) == before


@pytest.mark.parametrize("author", ["ann", "eve"])
def test_a_template_of_a_thousand_roles_is_judged_at_each_and_in_short_steps(author: str) -> None:
    """Who holds the rights on the platform is asked once; nobody else gets by because there are many."""
    world = World([role("all", "p", rule(["*"], ["*"])), binding("b", "p", "all", ("User", "ann"))])
    for n in range(1000):
        world.put(role(f"r-{n}", "w/host/press", joins=True))
    changed = template("wide", "w/host/press", rule(["delete"], ["pods"]), joins=True)
    steps = list(template_lacks(world.index, (author, ()), changed, None))
    found = [one for one in steps if one is not None]
    assert len(found) == (0 if author == "ann" else 1000)
    assert len(steps) > 2 * len(found)
