"""The mistakes made elsewhere, as far as the engine alone decides them (I15; design §11, §12: S5, S7, S8)."""

import random
from collections.abc import Callable
from typing import Final

import pytest
from msgspec import structs

from edge.iam.feed import Feed
from edge.iam.index import Index
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
    UserStatus,
)
from edge_kube.core import Namespace, Node
from edge_kube.meta import LabelSelector, ObjectMeta, OwnerReference
from edge_sdk.scopes import CLUSTER_LABEL, IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL, WORKSPACE_LABEL

READS = PolicyRule(verbs=("get",), api_groups=("",), resources=("pods",))
JOINS: Final = {IAM_SCOPE_LABEL: "workspace", "iam.theriseunion.io/aggregate-to-reader": ""}
BORN = "2026-01-01T00:00:00Z"


class World:
    """ann reads pods in the workspace press: by her group, a role, and a template that joins by its label."""

    def __init__(self) -> None:
        self.index = Index()
        self.feed = Feed(self.index)
        self.press = ObjectMeta(name="press", uid="u1", creation_timestamp=BORN)
        self.feed.scope_changed("workspace", self.press)
        self.feed.scope_changed("workspace", ObjectMeta(name="paint", uid="u2", creation_timestamp=BORN))
        self.namespace = Namespace(metadata=ObjectMeta(name="a", labels={WORKSPACE_LABEL: "press"}))
        self.user = User(metadata=ObjectMeta(name="ann"), spec=UserSpec(groups=("crew",)))
        self.template = RoleTemplate(
            metadata=ObjectMeta(name="read-pods", labels=JOINS), spec=RoleTemplateSpec(rules=(READS,))
        )
        chosen = LabelSelector(match_labels={"iam.theriseunion.io/aggregate-to-reader": ""})
        self.role = IAMRole(
            metadata=ObjectMeta(name="reader", labels={IAM_SCOPE_LABEL: "workspace"}),
            spec=IAMRoleSpec(aggregation_role_templates=RoleAggregation(role_selector=chosen)),
        )
        self.binding = IAMRoleBinding(
            metadata=ObjectMeta(
                name="b",
                labels={IAM_SCOPE_LABEL: "workspace", IAM_SCOPE_VALUE_LABEL: "press"},
                creation_timestamp="2026-01-02T00:00:00Z",
            ),
            spec=IAMRoleBindingSpec(
                role_ref=RoleRef(api_group=GROUP, kind="IAMRole", name="reader"),
                subjects=(Subject(kind="Group", name="crew"),),
            ),
        )
        for obj in (self.namespace, self.user, self.template, self.role, self.binding):
            self.feed.changed(None, obj)

    def may(self) -> bool:
        return self.index.check("ann", "n/host/a", "get", "", "pods")

    def unbind(self) -> None:
        self.feed.changed(self.binding, None)

    def take_off_the_subject(self) -> None:
        spec = structs.replace(self.binding.spec, subjects=())
        self.feed.changed(self.binding, structs.replace(self.binding, spec=spec))

    def end_the_role(self) -> None:
        self.feed.changed(self.role, None)

    def empty_the_template(self) -> None:
        self.feed.changed(self.template, structs.replace(self.template, spec=RoleTemplateSpec(rules=())))

    def take_off_the_label(self) -> None:
        labels = {IAM_SCOPE_LABEL: "workspace"}
        meta = structs.replace(self.template.metadata, labels=labels)
        self.feed.changed(self.template, structs.replace(self.template, metadata=meta))

    def widen_the_template(self) -> None:
        """A template of a wider scope than the role is left out, whatever its labels."""
        meta = structs.replace(self.template.metadata, labels={**JOINS, IAM_SCOPE_LABEL: "cluster"})
        self.feed.changed(self.template, structs.replace(self.template, metadata=meta))

    def leave_the_group(self) -> None:
        self.feed.changed(self.user, structs.replace(self.user, spec=UserSpec()))

    def disable_the_user(self) -> None:
        self.feed.changed(self.user, structs.replace(self.user, status=UserStatus(state="Disabled")))

    def move_the_namespace(self) -> None:
        meta = structs.replace(self.namespace.metadata, labels={WORKSPACE_LABEL: "paint"})
        self.feed.changed(self.namespace, structs.replace(self.namespace, metadata=meta))

    def delete_the_scope(self) -> None:
        self.feed.scope_changed("workspace", self.press, gone=True)

    def make_the_scope_again(self) -> None:
        self.delete_the_scope()
        later = "2026-01-03T00:00:00Z"
        self.feed.scope_changed("workspace", ObjectMeta(name="press", uid="u9", creation_timestamp=later))

    def move_the_scope(self) -> None:
        self.feed.scope_changed("workspace", structs.replace(self.press, labels={CLUSTER_LABEL: "far"}))


WAYS: Final[tuple[Callable[[World], None], ...]] = (
    World.unbind,
    World.take_off_the_subject,
    World.end_the_role,
    World.empty_the_template,
    World.take_off_the_label,
    World.widen_the_template,
    World.leave_the_group,
    World.disable_the_user,
    World.move_the_namespace,
    World.delete_the_scope,
    World.make_the_scope_again,
    World.move_the_scope,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_S7_a_right_ends_with_any_part_of_its_cause_and_the_identity_is_told(
    way: Callable[[World], None],
) -> None:
    world = World()
    assert world.may()
    before, told = world.index.generation("ann"), list[object]()
    world.index.on_drop = told.append
    way(world)
    assert not world.may()
    assert world.index.generation("ann") != before or told, "streams that began with the right must end"
    assert told


@pytest.mark.parametrize("kind", [Namespace, Node, IAMRole, RoleTemplate, IAMRoleBinding])
def test_S8_an_owner_reference_puts_nothing_into_a_scope(kind: type) -> None:
    """Ownership is for the garbage collector; it is the label that moves rights, and that one is guarded."""
    world = World()
    owner = OwnerReference(
        api_version="scope.theriseunion.io/v1alpha1",
        kind="Workspace",
        name="press",
        uid="u1",
        controller=True,
    )
    made = kind(metadata=ObjectMeta(name="owned", owner_references=(owner,)))
    world.feed.changed(None, made)
    for scope in ("n/host/owned", "d/host/owned"):
        assert not world.index.check("ann", scope, "get", "", "pods")
        assert "w/host/press" not in world.index.scopes.chain(scope)


def test_S5_a_thousand_random_pairs_of_two_clusters_share_no_right() -> None:
    """The same names of namespaces and nodes in two clusters (GHSA-8h6m-wv39-239m)."""
    rnd = random.Random(5)
    world = World()
    index, feed = world.index, world.feed
    everything = PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",))
    feed.scope_changed("cluster", ObjectMeta(name="far"))
    for n in range(20):
        for cluster in ("", "far"):
            feed.changed(None, Namespace(metadata=ObjectMeta(name=f"n{n}")), cluster)
            feed.changed(None, Node(metadata=ObjectMeta(name=f"n{n}")), cluster)
    for letter, scope in (("n", "namespace"), ("d", "node"), ("c", "cluster")):
        labels = {IAM_SCOPE_LABEL: scope}
        feed.changed(
            None,
            IAMRole(metadata=ObjectMeta(name=scope, labels=labels), spec=IAMRoleSpec(rules=(everything,))),
        )
        for n in range(1000 // 3 + 1):
            cluster, name, who = rnd.choice(("host", "far")), f"n{rnd.randrange(20)}", f"{scope}-{n}"
            feed.changed(None, User(metadata=ObjectMeta(name=who), spec=UserSpec()))
            value = cluster if scope == "cluster" else name
            marks = {**labels, IAM_SCOPE_VALUE_LABEL: value, "iam.theriseunion.io/scope-cluster": cluster}
            ref = RoleRef(api_group=GROUP, kind="IAMRole", name=scope)
            spec = IAMRoleBindingSpec(role_ref=ref, subjects=(Subject(kind="User", name=who),))
            feed.changed(None, IAMRoleBinding(metadata=ObjectMeta(name=who, labels=marks), spec=spec))
            other = "far" if cluster == "host" else "host"
            here, there = (
                f"c/{one}" if letter == "c" else f"{letter}/{one}/{name}" for one in (cluster, other)
            )
            assert index.check(who, here, "get", "", "pods")
            for place in (there, f"c/{other}", "p", f"n/{other}/{name}", f"d/{other}/{name}", "n/host/a"):
                if place != here and not (scope == "cluster" and cluster == "host" and place == "n/host/a"):
                    assert not index.check(who, place, "get", "", "pods"), (here, place)
