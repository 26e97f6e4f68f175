"""Worlds of random rights, questions about them, and why native RBAC may say no where our engine says yes.

world = World(random.Random(1))
world.feed(feed)                       # or create world.objects on an API server
question = world.question(random.Random(2))
ours(index, question); why_native_may_refuse(index, question)
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from edge.iam.feed import Feed
from edge.iam.index import Grant, Index
from edge.iam.native import CLUSTER_SCOPED, KUBERNETES_GROUPS
from edge.iam.rules import covers, keys, pairs
from edge.iam.types import (
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    IAMRoleSpec,
    PolicyRule,
    RoleRef,
    Subject,
    User,
    UserSpec,
)
from edge.nodes.types import NodeGroup
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace, Node
from edge_kube.meta import ObjectMeta, Resource

IAM, SCOPE, APP = "iam.theriseunion.io", "scope.theriseunion.io", "app.theriseunion.io"
USERS = tuple(f"user-{n}" for n in range(6))
GROUPS = ("red", "green", "red", "green", "system:authenticated")
NAMESPACES = ("rights-a", "rights-b", "rights-c", "rights-free")
WORKSPACES = ("press", "paint")
GROUPS_OF_NODES = ("ovens", "belts")
NODES = ("rights-n1", "rights-n2", "rights-n3")
SCOPES = (
    ("platform", ("global",)),
    ("cluster", ("host",)),
    ("workspace", WORKSPACES),
    ("namespace", NAMESPACES),
    ("nodegroup", GROUPS_OF_NODES),
    ("node", NODES),
)
VERBS = ("get", "list", "watch", "create", "update", "delete", "deletecollection", "impersonate")
API_GROUPS = ("", "apps", "example.io", SCOPE, APP, "resources.theriseunion.io", "tenant.theriseunion.io")
RESOURCES = (
    *("pods", "pods/log", "pods/exec", "deployments", "deployments/scale", "secrets", "namespaces"),
    *(
        "nodes",
        "nodes/proxy",
        "nodes/log",
        "persistentvolumes",
        "workspaces",
        "workspaces/status",
        "nodegroups",
    ),
    *("clusters", "applications", "applicationdeployments", "workspaces/namespaces"),
)
PATTERNS = (*RESOURCES, "*/log", "*/status", "*/scale", "pods/*", "*")
NAMES = ("one", "two", *NODES[:2], *WORKSPACES, *GROUPS_OF_NODES[:1], *NAMESPACES[:1], "host")
PATHS = ("/metrics", "/logs", "/logs/kubelet", "/version", "/x/y/z", "/a*", "/aa")
URLS = ("/metrics", "/logs*", "logs/*", "/x/*", "/version", "/a**")
MEMBERS: Mapping[str, str] = {"rights-a": "press", "rights-b": "press", "rights-c": "paint"}
IN_GROUP = {"rights-n1": "ovens", "rights-n2": "belts"}


class Question(NamedTuple):
    """resource: a path where `namespace` is "url". name "": none."""

    user: str
    namespace: str
    verb: str
    group: str
    resource: str
    name: str


def some(rnd: random.Random, at_most: int, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(rnd.sample(values, rnd.randint(1, at_most)))


def random_rule(rnd: random.Random) -> PolicyRule:
    return PolicyRule(
        verbs=some(rnd, 3, VERBS) if rnd.random() < 0.85 else ("*",),
        api_groups=some(rnd, 3, API_GROUPS) if rnd.random() < 0.8 else ("*",),
        resources=some(rnd, 4, PATTERNS),
        resource_names=some(rnd, 3, NAMES) if rnd.random() < 0.3 else (),
    )


def random_url_rule(rnd: random.Random) -> PolicyRule:
    return PolicyRule(verbs=some(rnd, 2, ("get", "post", "LIST", "*")), non_resource_urls=some(rnd, 2, URLS))


class World:
    """Objects of one host cluster, in an order in which they can be made."""

    def __init__(self, rnd: random.Random, roles: int = 14, bindings: int = 24) -> None:
        self.roles: list[str] = []
        self._types: dict[str, str] = {}
        self.objects: list[Resource] = [*self._places()]
        for name in USERS:
            spec = UserSpec(groups=(*some(rnd, 2, GROUPS[:2]), "system:masters"))
            self.objects.append(User(metadata=ObjectMeta(name=name), spec=spec))
        for n in range(roles):
            self.objects.append(self._role(rnd, f"rights-{n}"))
        for n in range(bindings):
            self.objects.append(self.binding(rnd, f"rights-{n}"))

    def feed(self, feed: Feed) -> None:
        for obj in self.objects:
            kind = {"Workspace": "workspace", "NodeGroup": "nodegroup"}.get(type(obj).__name__)
            if kind is None:
                feed.changed(None, obj)
            else:
                feed.scope_changed(kind, obj.metadata)

    def _places(self) -> Iterator[Resource]:
        yield from (Workspace(metadata=ObjectMeta(name=name)) for name in WORKSPACES)
        yield from (NodeGroup(metadata=ObjectMeta(name=name)) for name in GROUPS_OF_NODES)
        for name in NAMESPACES:
            labels = {"theriseunion.io/workspace": MEMBERS[name]} if name in MEMBERS else {}
            yield Namespace(metadata=ObjectMeta(name=name, labels=labels))
        for name in NODES:
            labels = {"theriseunion.io/nodegroup": IN_GROUP[name]} if name in IN_GROUP else {}
            yield Node(metadata=ObjectMeta(name=name, labels=labels))

    def _role(self, rnd: random.Random, name: str) -> IAMRole:
        scope, _ = rnd.choice(SCOPES)
        self.roles.append(name)
        self._types[name] = scope
        rules = [random_rule(rnd) for _ in range(rnd.randint(1, 4))]
        if rnd.random() < 0.4:
            rules.append(random_url_rule(rnd))
        meta = ObjectMeta(name=name, labels={f"{IAM}/scope": scope})
        return IAMRole(metadata=meta, spec=IAMRoleSpec(rules=tuple(rules)))

    def binding(self, rnd: random.Random, name: str) -> IAMRoleBinding:
        role = rnd.choice(self.roles)
        scope = self._types[role]
        value = rnd.choice(dict(SCOPES)[scope])
        kind, who = rnd.choice([("User", rnd.choice((*USERS, "nobody"))), ("Group", rnd.choice(GROUPS))])
        return IAMRoleBinding(
            metadata=ObjectMeta(name=name, labels={f"{IAM}/scope": scope, f"{IAM}/scope-value": value}),
            spec=IAMRoleBindingSpec(
                role_ref=RoleRef(api_group=IAM, kind="IAMRole", name=role),
                subjects=(Subject(kind=kind, name=who),),
            ),
        )

    def question(self, rnd: random.Random) -> Question:
        user = rnd.choice((*USERS, "nobody"))
        if rnd.random() < 0.1:
            return Question(user, "url", rnd.choice(("get", "post", "put")), "", rnd.choice(PATHS), "")
        group, resource = rnd.choice(API_GROUPS), rnd.choice(RESOURCES)
        if rnd.random() < 0.7:  # a resource in its own group; else any pair
            group = next((one for one, plain in CLUSTER_SCOPED if plain == resource.split("/")[0]), "")
        plain, name = resource.partition("/")[0], rnd.choice(("", "", *NAMES))
        namespace = "" if (group, plain) in CLUSTER_SCOPED else rnd.choice(("", *NAMESPACES, *NAMESPACES))
        if (group, plain) == ("", "namespaces"):
            name = rnd.choice(("", *NAMESPACES))
            namespace = name  # an API server reads the path /namespaces/NAME so
        return Question(user, namespace, rnd.choice(VERBS), group, resource, name)


def scope_of(question: Question) -> str:
    """The scope at which the gateway asks (design §3)."""
    _, namespace, _, group, resource, name = question
    plain = resource.partition("/")[0]
    if namespace == "url":
        return "p"
    if name and group == SCOPE and plain in ("workspaces", "nodegroups", "clusters"):
        letter = {"workspaces": "w/host", "nodegroups": "g/host", "clusters": "c"}[plain]
        return f"{letter}/{name}"
    if name and (group, plain) == ("", "nodes"):
        return f"d/host/{name}"
    if namespace:
        return f"n/host/{namespace}"
    return "p" if group.endswith("theriseunion.io") else "c/host"


def ours(index: Index, question: Question) -> bool:
    user, namespace, verb, group, resource, name = question
    if namespace == "url":
        return index.check_url(user, verb, resource)
    return index.check(user, scope_of(question), verb, group, resource, name)


def review(question: Question) -> bytes:
    """The same question as a SubjectAccessReview. No groups: the projection names every user."""
    user, namespace, verb, group, resource, name = question
    spec: dict[str, Any] = {"user": user, "groups": ["system:authenticated"]}
    if namespace == "url":
        spec["nonResourceAttributes"] = {"verb": verb, "path": resource}
    else:
        plain, _, sub = resource.partition("/")
        spec["resourceAttributes"] = {
            "verb": verb, "group": group, "resource": plain, "subresource": sub, "name": name,
            "namespace": namespace,
        }  # fmt: skip
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    return msgspec.json.encode(kind)


def why_native_may_refuse(index: Index, question: Question) -> str:
    """Why RBAC cannot say what allows this; "" when one of the grants behind it can be said natively."""
    reasons: set[str] = set()
    for grant in index.visit(index.subjects_of(question.user), scope_of(question)):
        for source in grant.table.sources:
            if _grants(source.rule, question):
                reason = _why(index, grant, source.rule, question)
                if not reason:
                    return ""
                reasons.add(reason)
    assert reasons, question
    return sorted(reasons)[0]


def _grants(rule: PolicyRule, question: Question) -> bool:
    _, namespace, verb, group, resource, name = question
    if namespace != "url":
        return covers(rule, (group, resource), name, verb)
    from edge.iam.rules import Source, Table

    return Table((Source("", 0, rule),)).grants_url(resource, verb)


def _why(index: Index, grant: Grant, rule: PolicyRule, question: Question) -> str:
    group, resource = question.group, question.resource
    plain, _, sub = resource.partition("/")
    if grant.subject.startswith("Group:system:") or grant.scope == "a":
        return "held through a system group"
    if question.namespace == "url":
        return "a path that ends in two stars" if resource.startswith("/a") else ""
    own = (
        set(keys(group, resource))
        if not sub
        else {(g, r) for g, r in keys(group, resource) if r in (resource, "*", f"*/{sub}")}
    )
    if not any(pair in own for pair, _ in pairs(rule)):
        return "a child of a scope, named alone"
    letter = grant.scope[0]
    if letter != "p" and question.name and not index.scopes.knows(scope_of(question)):
        return "an object that is not there"
    if letter == "c" and not (
        group == SCOPE and question.name and plain in ("workspaces", "nodegroups", "clusters")
    ):
        return (
            ""
            if group in KUBERNETES_GROUPS or _names_group(rule, group)
            else "not a group of Kubernetes itself"
        )
    if letter in "gd" and ((group, plain) != ("", "nodes") or sub == "proxy") and group != SCOPE:
        return "not on nodes"
    if letter in "gd" and sub == "proxy":
        return "not on nodes"
    if letter in "nw" and (group, plain) in CLUSTER_SCOPED and group != SCOPE:
        return "cluster-scoped"
    if sub not in ("", "status", "log", "pods", "spec", "stats", "metrics") and "*" in rule.resources:
        return "a subresource that only * names"
    return ""


def _names_group(rule: PolicyRule, group: str) -> bool:
    return group in rule.api_groups and not group.endswith("theriseunion.io")
