"""Plain kubectl is held to the same rights as the gateway: bindings become native RBAC (I3; design §7.2)."""

import asyncio

from tests.support.projected import Projected, becomes, may

from edge.clusters.types import Cluster, ClusterSpec
from edge.iam.types import IAMRole, IAMRoleBinding, PolicyRule, User
from edge.projection.objects import MANAGED_SELECTOR
from edge.tenancy.types import Workspace
from edge_kube.client import Client
from edge_kube.core import ClusterRole, ClusterRoleBinding, Namespace, RbacRoleRef, RbacRule, RoleBinding
from edge_kube.harness import Kube, LightCluster
from edge_kube.meta import ObjectMeta
from edge_sdk.scopes import WORKSPACE_LABEL

READ_PODS = PolicyRule(verbs=("get", "list"), api_groups=("",), resources=("pods",))
READ_NODES = PolicyRule(verbs=("get",), api_groups=("",), resources=("nodes", "pods"))


async def workspace(projected: Projected, name: str, *namespaces: str) -> None:
    await projected.kube.create(Workspace(metadata=ObjectMeta(name=name)))
    for one in namespaces:
        meta = ObjectMeta(name=one, labels={WORKSPACE_LABEL: name})
        await projected.kube.create(Namespace(metadata=meta))


async def test_I3_a_workspace_binding_holds_in_its_namespaces_and_ends_with_it(projected: Projected) -> None:
    kube, client = projected.kube, projected.kube.client
    await workspace(projected, "pr-press", "pr-a", "pr-b")
    await projected.kube.create(Namespace(metadata=ObjectMeta(name="pr-next")))
    ann = await projected.user("pr-ann")
    role = await projected.role("pr-reader", "workspace", READ_PODS)
    bound = await projected.bind(role, "workspace", "pr-press", ann)
    for namespace in ("pr-a", "pr-b"):
        await becomes(client, True, ann, "list", "pods", namespace)
        assert not await may(client, ann, "delete", "pods", namespace)
    assert not await may(client, ann, "list", "pods", "pr-next")
    assert not await may(client, ann, "list", "pods")
    await kube.delete(IAMRoleBinding, bound)
    for namespace in ("pr-a", "pr-b"):
        await becomes(client, False, ann, "list", "pods", namespace)


async def test_I3_a_namespace_that_moves_takes_the_rights_of_its_new_workspace(projected: Projected) -> None:
    client = projected.kube.client
    await workspace(projected, "pr-one", "pr-moving")
    await workspace(projected, "pr-two")
    ann, bob = await projected.user("pr-ann"), await projected.user("pr-bob")
    role = await projected.role("pr-reader", "workspace", READ_PODS)
    await projected.bind(role, "workspace", "pr-one", ann)
    await projected.bind(role, "workspace", "pr-two", bob)
    await becomes(client, True, ann, "get", "pods", "pr-moving")
    await projected.kube.patch(Namespace, "pr-moving", {"metadata": {"labels": {WORKSPACE_LABEL: "pr-two"}}})
    await becomes(client, False, ann, "get", "pods", "pr-moving")
    await becomes(client, True, bob, "get", "pods", "pr-moving")


async def test_I3_groups_are_told_by_their_users_and_a_deleted_user_has_nothing(
    projected: Projected,
) -> None:
    client = projected.kube.client
    ann = await projected.user("pr-ann", "red")
    role = await projected.role("pr-everywhere", "platform", READ_PODS)
    await projected.bind(role, "platform", "global", "group:red")
    await becomes(client, True, ann, "list", "pods")
    await projected.kube.patch(User, ann, {"spec": {"groups": ["green"]}})
    await becomes(client, False, ann, "list", "pods")
    await projected.kube.patch(User, ann, {"spec": {"groups": ["red"]}})
    await becomes(client, True, ann, "list", "pods")
    await projected.kube.delete(User, ann)
    await becomes(client, False, ann, "list", "pods")


async def test_I3_a_changed_role_is_bound_anew_and_the_old_one_is_swept(projected: Projected) -> None:
    client = projected.kube.client
    ann = await projected.user("pr-ann")
    role = await projected.role("pr-everywhere", "platform", READ_PODS)
    await projected.bind(role, "platform", "global", ann)
    await becomes(client, True, ann, "list", "pods")
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]
    await projected.kube.patch(IAMRole, role, {"spec": {"rules": rules}})
    await becomes(client, True, ann, "get", "secrets")
    await becomes(client, False, ann, "list", "pods")
    async with asyncio.timeout(60):
        while any(one.resources == READ_PODS.resources for one in await _rules(client)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _rules(client: Client) -> list[RbacRule]:
    return [rule for one in await client.list(ClusterRole, labels=MANAGED_SELECTOR) for rule in one.rules]


async def test_I3_what_somebody_changed_or_deleted_comes_back_and_other_objects_are_left(
    projected: Projected,
) -> None:
    kube, client = projected.kube, projected.kube.client
    await workspace(projected, "pr-press", "pr-a")
    ann = await projected.user("pr-ann")
    role = await projected.role("pr-reader", "workspace", READ_PODS)
    foreign = RoleBinding(
        metadata=ObjectMeta(name="foreign", namespace="pr-a"),
        role_ref=RbacRoleRef(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="view"),
    )
    await kube.create(foreign)
    await projected.bind(role, "workspace", "pr-press", ann)
    await becomes(client, True, ann, "get", "pods", "pr-a")
    (ours,) = await client.list(RoleBinding, "pr-a", labels=MANAGED_SELECTOR)
    await kube.delete(RoleBinding, ours.metadata.name, "pr-a")
    await becomes(client, True, ann, "get", "pods", "pr-a")
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    await kube.patch(ClusterRole, ours.role_ref.name, {"rules": [everything]})
    await becomes(client, False, ann, "delete", "pods", "pr-a")
    await becomes(client, True, ann, "get", "pods", "pr-a")
    await kube.delete(ClusterRole, ours.role_ref.name)
    await becomes(client, True, ann, "get", "pods", "pr-a")
    assert await kube.find(RoleBinding, "foreign", "pr-a") is not None


async def test_I3_a_binding_that_names_no_unit_is_taken_away(projected: Projected) -> None:
    kube = projected.kube
    stray = ClusterRoleBinding(
        metadata=ObjectMeta(
            name="pr-stray",
            labels={"iam.theriseunion.io/managed-by": "edge-controller"},
            annotations={"iam.theriseunion.io/unit": "../etc"},
        ),
        role_ref=RbacRoleRef(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="cluster-admin"),
    )
    await kube.create(stray)
    await kube.gone(ClusterRoleBinding, "pr-stray")


async def test_I3_what_was_missed_while_nobody_led_is_made_up_for(projected: Projected) -> None:
    kube, client = projected.kube, projected.kube.client
    ann = await projected.user("pr-ann")
    role = await projected.role("pr-everywhere", "platform", READ_PODS)
    bound = await projected.bind(role, "platform", "global", ann)
    await becomes(client, True, ann, "list", "pods")
    await kube.kill()
    await kube.delete(IAMRoleBinding, bound)
    again = Projected(kube, projected.members)
    await again.start()
    await becomes(client, False, ann, "list", "pods")


async def test_I3_members_hold_what_is_theirs_and_a_dead_one_holds_nothing_up(
    projected: Projected, member: Kube, member_cluster: LightCluster
) -> None:
    kube, client = projected.kube, projected.kube.client
    projected.members.join("pr-plant", member_cluster)
    for name in ("pr-plant", "pr-dead"):
        await kube.create(Cluster(metadata=ObjectMeta(name=name), spec=ClusterSpec()))
    projected.members.join_dead("pr-dead", member_cluster)
    await member.create(Namespace(metadata=ObjectMeta(name="pr-there")))
    ann, bob = await projected.user("pr-ann"), await projected.user("pr-bob")
    everywhere = await projected.role("pr-everywhere", "platform", READ_PODS)
    here = await projected.role("pr-cluster", "cluster", READ_NODES)
    await projected.bind(everywhere, "platform", "global", ann)
    bound = await projected.bind(here, "cluster", "pr-plant", bob)
    await becomes(client, True, ann, "list", "pods")
    await becomes(member.client, True, ann, "list", "pods")
    await becomes(member.client, True, bob, "get", "nodes")
    assert not await may(client, bob, "get", "nodes")
    await kube.delete(IAMRoleBinding, bound)
    await becomes(member.client, False, bob, "get", "nodes")
