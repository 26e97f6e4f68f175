"""The index against a naive evaluator of the raw objects, for every history of events (I4, I15; X1–X4)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge.iam.explain import Question, explain, who_can
from edge.iam.feed import Feed
from edge.iam.index import Index
from edge.iam.types import (
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
from edge_kube.meta import LabelSelector, ObjectMeta

SCOPE = "iam.theriseunion.io/scope"
VALUE = "iam.theriseunion.io/scope-value"
CLUSTER = "iam.theriseunion.io/scope-cluster"

CLUSTERS = ("host", "far")
WORKSPACES = ("w0", "w1")
GROUPS = ("g0", "g1")
NAMESPACES = ("n0", "n1", "kube-system")
NODES = ("d0", "d1")
USERS = ("ann", "bob", "cid")
TEMPLATES = ("t0", "t1", "t2")
ROLES = ("r0", "r1", "r2", "r3", "anonymous")
BINDINGS = ("b0", "b1", "b2", "b3", "b4")
TYPES = ("platform", "cluster", "workspace", "nodegroup", "namespace", "node", "unknown", "")
WIDTH = {
    "platform": {"platform", "cluster", "workspace", "nodegroup", "namespace", "node"},
    "cluster": {"cluster", "workspace", "nodegroup", "namespace", "node"},
    "workspace": {"workspace", "namespace"},
    "nodegroup": {"nodegroup", "node"},
    "namespace": {"namespace"},
    "node": {"node"},
}

rules = st.lists(
    st.builds(
        PolicyRule,
        verbs=st.lists(st.sampled_from(["get", "list", "delete", "*"]), min_size=1, max_size=3).map(tuple),
        api_groups=st.lists(st.sampled_from(["", "apps", "*"]), min_size=1, max_size=2).map(tuple),
        resources=st.lists(
            st.sampled_from(["pods", "pods/log", "*/log", "secrets", "*"]), min_size=1, max_size=2
        ).map(tuple),
        resource_names=st.sampled_from([[], [], ["a"], ["b", ""]]).map(tuple),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
labels = st.dictionaries(st.sampled_from(["admin", "viewer"]), st.just(""), max_size=2)
subjects = st.lists(
    st.sampled_from(
        [
            *(Subject(kind="User", name=name) for name in (*USERS, "system:anonymous")),
            *(Subject(kind="Group", name=name) for name in ("ops", "system:authenticated", "system:masters")),
            Subject(kind="ServiceAccount", name="sa", namespace="n0"),
        ]
    ),
    max_size=2,
).map(tuple)


@dataclass
class World:
    """The raw objects, as a list call would return them."""

    templates: dict[str, RoleTemplate] = field(default_factory=dict)
    roles: dict[str, IAMRole] = field(default_factory=dict)
    bindings: dict[str, IAMRoleBinding] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    namespaces: dict[tuple[str, str], Namespace] = field(default_factory=dict)
    nodes: dict[tuple[str, str], Node] = field(default_factory=dict)
    scopes: dict[tuple[str, str], ObjectMeta] = field(default_factory=dict)


Where = tuple[str, str, str]
"""Scope type, cluster, name."""


def home(world: World, kind: str, name: str) -> str:
    meta = world.scopes.get((kind, name))
    return meta.labels.get("scope.theriseunion.io/cluster", "host") if meta else "host"


def exists(world: World, where: Where) -> bool:
    kind, cluster, name = where
    match kind:
        case "platform":
            return True
        case "cluster":
            return name == "host" or ("cluster", name) in world.scopes
        case "namespace":
            return (cluster, name) in world.namespaces
        case "node":
            return (cluster, name) in world.nodes
        case _:
            return (kind, name) in world.scopes and home(world, kind, name) == cluster


def cascade(world: World, where: Where) -> set[Where]:
    """The scope and all above it, straight from the objects' labels."""
    kind, cluster, name = where
    found: set[Where] = {("platform", "", "global")}
    if kind != "platform" and exists(world, ("cluster", "", cluster if kind != "cluster" else name)):
        found.add(("cluster", "", cluster if kind != "cluster" else name))
    if not exists(world, where):
        return found
    found.add(where)
    if kind == "namespace":
        wanted = world.namespaces[cluster, name].metadata.labels.get("theriseunion.io/workspace", "")
        above = [("workspace", cluster, wanted)] if not name.startswith("kube-") else []
    elif kind == "node":
        tags = world.nodes[cluster, name].metadata.labels
        above = [("nodegroup", cluster, key.split("/")[1]) for key in tags if key.startswith("nodegroup.")]
    else:
        above = []
    return found | {one for one in above if exists(world, one)}


def in_force(world: World, role: IAMRole) -> list[PolicyRule]:
    """The role's rules and those of its templates, with dependencies, without what is too wide for it."""
    chosen: set[str] = set()
    asked = role.spec.aggregation_role_templates
    if isinstance(asked, RoleAggregation):
        todo = list(asked.template_names)
        if isinstance(asked.role_selector, LabelSelector) and asked.role_selector.match_labels:
            todo += [
                name
                for name, one in world.templates.items()
                if asked.role_selector.match_labels.items() <= one.metadata.labels.items()
            ]
        while todo:
            one = world.templates.get(todo.pop())
            if one is None or one.metadata.name in chosen:
                continue
            if one.metadata.labels.get(SCOPE) in WIDTH.get(role.metadata.labels.get(SCOPE, ""), ()):
                chosen.add(one.metadata.name)
                todo += one.metadata.annotations.get("iam.theriseunion.io/dependencies", "").split(",")
    return [*role.spec.rules, *(rule for name in chosen for rule in world.templates[name].spec.rules)]


def rule_allows(one: PolicyRule, verb: str, group: str, resource: str, name: str) -> bool:
    wanted = one.resources
    return (
        bool({"*", verb} & {*one.verbs})
        and bool({"*", group} & {*one.api_groups})
        and (not one.resource_names or (bool(name) and name in one.resource_names))
        and (
            "*" in wanted
            or resource in wanted
            or ("/" in resource and f"*/{resource.split('/')[1]}" in wanted)
        )
    )


def bound_at(world: World, binding: IAMRoleBinding) -> Where | None:
    tags = binding.metadata.labels
    kind, name = tags.get(SCOPE, ""), tags.get(VALUE, "")
    if kind == "platform":
        return ("platform", "", "global") if name == "global" else None
    if kind not in WIDTH or not name:
        return None
    if kind == "cluster":
        return ("cluster", "", name)
    return (kind, tags.get(CLUSTER) or (home(world, kind, name)), name)


def role_fits(world: World, role: IAMRole, where: Where) -> bool:
    tags = role.metadata.labels
    if tags.get(SCOPE) != where[0]:
        return False
    value = tags.get(VALUE, "")
    if value in ("", "global"):
        return True
    at = tags.get(CLUSTER) or home(world, where[0], value)
    return value == where[2] and (where[0] in ("platform", "cluster") or at == where[1])


def names_of(world: World, who: str) -> set[tuple[str, str]]:
    if who == "system:anonymous":
        return {("User", who), ("Group", "system:unauthenticated")}
    if who.startswith("system:serviceaccount:"):
        groups = {"system:serviceaccounts", "system:serviceaccounts:n0", "system:authenticated"}
    elif who in world.users:
        mine = world.users[who].spec.groups
        groups = {"system:authenticated", *(group for group in mine if not group.startswith("system:"))}
    else:
        return set()
    return {("User", who), *(("Group", group) for group in groups)}


def naive(world: World, who: str, where: Where, verb: str, group: str, resource: str, name: str) -> bool:
    levels, mine = cascade(world, where), names_of(world, who)
    lists: list[Iterable[PolicyRule]] = []
    for binding in world.bindings.values():
        at = bound_at(world, binding)
        role = world.roles.get(binding.spec.role_ref.name)
        if at is None or at not in levels or role is None or not role_fits(world, role, at):
            continue
        for one in binding.spec.subjects:
            key = (one.kind, one.name)
            if one.kind == "ServiceAccount":
                key = ("User", f"system:serviceaccount:{one.namespace}:{one.name}")
            if key in mine:
                lists.append(in_force(world, role))
    everyone = world.roles.get("anonymous")
    if everyone is not None and role_fits(world, everyone, ("platform", "", "global")):
        lists.append(in_force(world, everyone))
    return any(rule_allows(one, verb, group, resource, name) for found in lists for one in found)


def key_of(where: Where) -> str:
    kind, cluster, name = where
    letter = {"nodegroup": "g", "node": "d"}.get(kind, kind[0])
    return "p" if kind == "platform" else f"c/{name}" if kind == "cluster" else f"{letter}/{cluster}/{name}"


PLACES: list[Where] = [
    ("platform", "", "global"),
    *(("cluster", "", name) for name in CLUSTERS),
    *(("workspace", cluster, name) for cluster in CLUSTERS for name in WORKSPACES),
    *(("nodegroup", cluster, name) for cluster in CLUSTERS for name in GROUPS),
    *(("namespace", cluster, name) for cluster in CLUSTERS for name in (*NAMESPACES, "never-seen")),
    *(("node", cluster, name) for cluster in CLUSTERS for name in NODES),
]
questions = st.tuples(
    st.sampled_from([*USERS, "nobody", "system:anonymous", "system:serviceaccount:n0:sa"]),
    st.sampled_from(PLACES),
    st.sampled_from(["get", "get", "list", "delete", "odd"]),
    st.sampled_from(["", "", "apps", "new"]),
    st.sampled_from(["pods", "pods/log", "secrets"]),
    st.sampled_from(["", "a", "b", "z"]),
)
scope_labels = st.one_of(
    st.sampled_from(PLACES[:-6]).map(
        lambda where: {SCOPE: where[0], VALUE: where[2]} | ({CLUSTER: where[1]} if where[1] == "far" else {})
    ),
    st.sampled_from(TYPES).map(lambda kind: {SCOPE: kind, VALUE: "w0"}),
    st.sampled_from(PLACES).map(lambda where: {SCOPE: where[0], VALUE: where[2]}),
)


ROLE_KINDS = {
    "r0": "workspace",
    "r1": "nodegroup",
    "r2": "cluster",
    "r3": "namespace",
    "anonymous": "platform",
}
mostly = st.sampled_from([True, True, True, True, False])


def label_for(role: str, pick: int) -> dict[str, str]:
    """Labels of a place of the type that a role usually has, so that most bindings count."""
    places = [where for where in PLACES if where[0] == ROLE_KINDS[role]]
    kind, cluster, name = places[pick % len(places)]
    return {SCOPE: kind, VALUE: name} | ({CLUSTER: "far"} if cluster == "far" else {})


class IndexMachine(RuleBasedStateMachine):
    """Any order of creates, changes and deletes; after each, some questions are put to both sides."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.index = Index(size=5)  # small, so that identities are thrown out all the time
        self.feed = Feed(self.index)
        self.asked: list[tuple[str, Where, str, str, str, str]] = []

    @initialize(rules=rules, own=rules)
    def a_small_world_exists(self, rules: tuple[PolicyRule, ...], own: tuple[PolicyRule, ...]) -> None:
        for name in USERS[:2]:
            self.put_user(name, ("ops",))
        for kind, name, cluster in (("workspace", "w0", "host"), ("nodegroup", "g0", "far")):
            self.put_scope((kind, name), cluster)
        self.put_scope(("cluster", "far"), "host")
        self.put_namespace("host", "n0", "w0")
        self.put_node("far", "d0", {"g0"})
        self.put_template("t0", "workspace", {"admin": ""}, rules, "")
        self.put_role("r0", {SCOPE: "workspace"}, own, {"admin": ""}, True, ["t0"])
        self.put_role("r1", {SCOPE: "nodegroup"}, own, {}, True, [])
        somebody = (Subject(kind="Group", name="ops"),)
        self._bind("b0", {SCOPE: "workspace", VALUE: "w0"}, "r0", somebody)
        self._bind("b1", {SCOPE: "nodegroup", VALUE: "g0"}, "r1", somebody)

    @rule(name=st.sampled_from(TEMPLATES), kind=st.sampled_from(TYPES), tags=labels, rules=rules,
          needs=st.sampled_from(["", "t0", "t1, t2", "t2,gone"]))  # fmt: skip
    def put_template(
        self, name: str, kind: str, tags: dict[str, str], rules: tuple[PolicyRule, ...], needs: str
    ) -> None:
        meta = ObjectMeta(
            name=name,
            labels={SCOPE: kind, **tags},
            annotations={"iam.theriseunion.io/dependencies": needs.replace(" ", "")},
        )
        new = RoleTemplate(metadata=meta, spec=RoleTemplateSpec(rules=rules))
        self.feed.changed(self.world.templates.get(name), new)
        self.world.templates[name] = new

    @rule(name=st.sampled_from(TEMPLATES))
    def drop_template(self, name: str) -> None:
        if old := self.world.templates.pop(name, None):
            self.feed.changed(old, None)

    @rule(name=st.sampled_from(ROLES), at=scope_labels, own=rules, tags=labels, anywhere=mostly,
          names=st.lists(st.sampled_from(TEMPLATES), max_size=2, unique=True))  # fmt: skip
    def put_role(
        self,
        name: str,
        at: dict[str, str],
        own: tuple[PolicyRule, ...],
        tags: dict[str, str],
        anywhere: bool,
        names: list[str],
    ) -> None:
        if anywhere:
            at = {SCOPE: ROLE_KINDS[name], VALUE: "global"}
        asked = RoleAggregation(role_selector=LabelSelector(match_labels=tags), template_names=tuple(names))
        spec = IAMRoleSpec(rules=own, aggregation_role_templates=asked)
        new = IAMRole(metadata=ObjectMeta(name=name, labels=at), spec=spec)
        self.feed.changed(self.world.roles.get(name), new)
        self.world.roles[name] = new

    @rule(name=st.sampled_from(ROLES))
    def drop_role(self, name: str) -> None:
        if old := self.world.roles.pop(name, None):
            self.feed.changed(old, None)

    @rule(name=st.sampled_from(BINDINGS), at=scope_labels, role=st.sampled_from(ROLES[:4]), who=subjects,
          fit=mostly, pick=st.integers(0, 99))  # fmt: skip
    def put_binding(
        self, name: str, at: dict[str, str], role: str, who: tuple[Subject, ...], fit: bool, pick: int
    ) -> None:
        self._bind(name, label_for(role, pick) if fit else at, role, who)

    def _bind(self, name: str, at: dict[str, str], role: str, who: tuple[Subject, ...]) -> None:
        ref = RoleRef(api_group="iam.theriseunion.io", kind="IAMRole", name=role)
        spec = IAMRoleBindingSpec(role_ref=ref, subjects=who)
        new = IAMRoleBinding(metadata=ObjectMeta(name=name, labels=at), spec=spec)
        self.feed.changed(self.world.bindings.get(name), new)
        self.world.bindings[name] = new

    @rule(name=st.sampled_from(BINDINGS))
    def drop_binding(self, name: str) -> None:
        if old := self.world.bindings.pop(name, None):
            self.feed.changed(old, None)

    @rule(name=st.sampled_from(USERS), groups=st.sets(st.sampled_from(["ops", "dev", "system:masters"])))
    def put_user(self, name: str, groups: Iterable[str]) -> None:
        new = User(metadata=ObjectMeta(name=name), spec=UserSpec(groups=tuple(groups)))
        self.feed.changed(self.world.users.get(name), new)
        self.world.users[name] = new

    @rule(name=st.sampled_from(USERS))
    def drop_user(self, name: str) -> None:
        if old := self.world.users.pop(name, None):
            self.feed.changed(old, None)

    @rule(cluster=st.sampled_from(CLUSTERS), name=st.sampled_from(NAMESPACES),
          workspace=st.sampled_from(["", *WORKSPACES, "ghost"]))  # fmt: skip
    def put_namespace(self, cluster: str, name: str, workspace: str) -> None:
        tags = {"theriseunion.io/workspace": workspace} if workspace else {}
        new = Namespace(metadata=ObjectMeta(name=name, labels=tags))
        self.feed.changed(self.world.namespaces.get((cluster, name)), new, cluster)
        self.world.namespaces[cluster, name] = new

    @rule(cluster=st.sampled_from(CLUSTERS), name=st.sampled_from(NAMESPACES))
    def drop_namespace(self, cluster: str, name: str) -> None:
        if old := self.world.namespaces.pop((cluster, name), None):
            self.feed.changed(old, None, cluster)

    @rule(cluster=st.sampled_from(CLUSTERS), name=st.sampled_from(NODES),
          groups=st.sets(st.sampled_from([*GROUPS, "ghost"])))  # fmt: skip
    def put_node(self, cluster: str, name: str, groups: set[str]) -> None:
        tags = {f"nodegroup.theriseunion.io/{group}": "" for group in groups}
        new = Node(metadata=ObjectMeta(name=name, labels=tags))
        self.feed.changed(self.world.nodes.get((cluster, name)), new, cluster)
        self.world.nodes[cluster, name] = new

    @rule(what=st.sampled_from([("workspace", "w0"), ("workspace", "w1"), ("nodegroup", "g0"),
                                ("nodegroup", "g1"), ("cluster", "far")]),
          cluster=st.sampled_from(CLUSTERS))  # fmt: skip
    def put_scope(self, what: tuple[str, str], cluster: str) -> None:
        meta = ObjectMeta(name=what[1], labels={"scope.theriseunion.io/cluster": cluster})
        self.feed.scope_changed(what[0], meta)
        self.world.scopes[what] = meta

    @rule(what=st.sampled_from([("workspace", "w0"), ("nodegroup", "g1"), ("cluster", "far")]))
    def drop_scope(self, what: tuple[str, str]) -> None:
        if meta := self.world.scopes.pop(what, None):
            self.feed.scope_changed(what[0], meta, gone=True)

    @rule(question=questions)
    def ask(self, question: tuple[str, Where, str, str, str, str]) -> None:
        """Asked questions stay: each is put again after every later event, against warm masks."""
        self.asked = [*self.asked[-6:], question]

    @rule(name=st.sampled_from(BINDINGS), question=questions, pick=st.integers(0, 99))
    def ask_what_a_binding_may_allow(
        self, name: str, question: tuple[str, Where, str, str, str, str], pick: int
    ) -> None:
        """Most random questions are denied whatever happens; these hit what somebody has just been given."""
        binding = self.world.bindings.get(name)
        role = self.world.roles.get(binding.spec.role_ref.name) if binding else None
        at = bound_at(self.world, binding) if binding else None
        below = [where for where in PLACES if at in cascade(self.world, where)]
        given = in_force(self.world, role) if role else []
        if not binding or not below or not given:
            return
        one = given[pick % len(given)]
        named = {(subject.kind, subject.name) for subject in binding.spec.subjects}
        people = [who for who in (*USERS, "system:anonymous") if named & names_of(self.world, who)]
        who, _, verb, group, resource, _ = question
        verb = one.verbs[0] if one.verbs[0] != "*" else verb
        group = one.api_groups[0] if one.api_groups[0] != "*" else group
        resource = one.resources[0] if "*" not in one.resources[0] else resource
        object_name = one.resource_names[0] if one.resource_names else ""
        asker = people[pick % len(people)] if people else who
        self.ask((asker, below[pick % len(below)], verb, group, resource, object_name))

    @rule()
    def sweep(self) -> None:
        self.index.sweep(1)

    @invariant()
    def answers_agree(self) -> None:
        for who, where, verb, group, resource, name in self.asked:
            want = naive(self.world, who, where, verb, group, resource, name)
            key = key_of(where)
            assert self.index.check(who, key, verb, group, resource, name) == want
            question = Question(verb, group, resource, name)
            assert explain(self.index, who, key, question).allowed == want
            found = who_can(self.index, key, question)
            assert bool(found.keys() & set(self.index.subjects_of(who))) == want

    def teardown(self) -> None:
        """An index built from a list of the same objects answers the same (X3, X4)."""
        fresh = Index()
        feed = Feed(fresh)
        for group in (self.world.bindings, self.world.roles, self.world.users, self.world.templates):
            for obj in group.values():
                feed.changed(None, obj)
        for (cluster, _), obj in (*self.world.nodes.items(), *self.world.namespaces.items()):
            feed.changed(None, obj, cluster)
        for (kind, _), meta in self.world.scopes.items():
            feed.scope_changed(kind, meta)
        for who, where, *rest in self.asked:
            assert fresh.check(who, key_of(where), *rest) == self.index.check(who, key_of(where), *rest)


IndexMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestX1X2X3X4TheIndexAgreesWithTheObjects = IndexMachine.TestCase
