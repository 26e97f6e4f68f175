"""A workspace on a real API server: namespaces, roles, creator, manager, protected removal (I11, I15)."""

import msgspec
from tests.support.members import Members
from tests.support.shipped import all_shipped

from edge.iam.instances import admin_binding, instance_role_name
from edge.iam.room import room as iam
from edge.iam.types import IAMRole, IAMRoleBinding
from edge.tenancy.room import MEMBER_WATCHES
from edge.tenancy.room import room as tenancy
from edge.tenancy.types import Workspace, WorkspaceSpec, WorkspaceTemplate
from edge_kube.core import Namespace
from edge_kube.harness.kube import Kube
from edge_kube.meta import ObjectMeta

LABEL = "theriseunion.io/workspace"
ADMIN = "workspace-dev-team-1b1ad1a3-admin"


def dev_team(*namespaces: str, manager: str = "", creator: str = "") -> Workspace:
    annotations = {"theriseunion.io/creator": creator} if creator else {}
    return Workspace(
        metadata=ObjectMeta(name="dev-team", annotations=annotations),
        spec=WorkspaceSpec(manager=manager, template=WorkspaceTemplate(namespaces=namespaces)),
    )


async def bound_users(kube: Kube) -> set[str]:
    return {
        subject.name
        for one in await kube.list(IAMRoleBinding)
        if one.spec.role_ref.name == ADMIN
        for subject in one.spec.subjects
    }


async def test_a_workspace_gets_its_namespaces_its_roles_and_its_people(kube: Kube) -> None:
    await kube.start(iam(), tenancy())
    await all_shipped(kube)
    await kube.create(dev_team("dev-a", manager="mia", creator="carl"))
    await kube.eventually(Namespace, "dev-a", lambda one: one.metadata.labels.get(LABEL) == "dev-team")
    await kube.eventually(IAMRole, ADMIN, lambda one: len(one.spec.aggregated_role_templates) == 28)
    await kube.eventually(IAMRole, "workspace-dev-team-1b1ad1a3-self-provisioner", lambda one: True)
    await kube.eventually(Workspace, "dev-team", lambda one: one.status.member_count == 2)
    assert await bound_users(kube) == {"mia", "carl"}
    for role in ("admin", "operator", "viewer"):
        await kube.eventually(IAMRole, instance_role_name("namespace", "dev-a", role), lambda one: True)

    await kube.patch(
        IAMRole, ADMIN, {"spec": {"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}}
    )
    await kube.eventually(IAMRole, ADMIN, lambda one: one.spec.rules == ())


async def test_a_creator_who_was_taken_off_does_not_come_back_and_a_manager_does(kube: Kube) -> None:
    await kube.start(iam(), tenancy())
    await all_shipped(kube)
    await kube.create(dev_team(manager="mia", creator="carl"))
    await kube.eventually(Workspace, "dev-team", lambda one: one.status.member_count == 2)
    bound = [one for one in await kube.list(IAMRoleBinding) if one.spec.role_ref.name == ADMIN]
    for one in bound:
        await kube.client.delete(IAMRoleBinding, one.metadata.name)
    (mias,) = (one.metadata for one in bound if one.spec.subjects[0].name == "mia")
    await kube.eventually(IAMRoleBinding, mias.name, lambda one: one.metadata.uid != mias.uid)
    assert await bound_users(kube) == {"mia"}


async def test_I15_another_manager_takes_the_place_of_the_first_and_no_manager_leaves_none(
    kube: Kube,
) -> None:
    await kube.start(iam(), tenancy())
    await all_shipped(kube)
    await kube.create(dev_team(manager="mia", creator="mia"))
    await kube.eventually(IAMRoleBinding, f"{ADMIN}-manager", lambda one: True)
    await kube.patch(Workspace, "dev-team", {"spec": {"manager": "moe"}})
    await kube.eventually(IAMRoleBinding, f"{ADMIN}-manager", lambda one: one.spec.subjects[0].name == "moe")
    await kube.eventually(Workspace, "dev-team", lambda one: one.status.member_count == 2)
    assert await bound_users(kube) == {"mia", "moe"}, "who made the workspace is its admin still"
    await kube.patch(Workspace, "dev-team", {"spec": {"manager": None}})
    await kube.gone(IAMRoleBinding, f"{ADMIN}-manager")
    assert await bound_users(kube) == {"mia"}


async def test_a_deleted_namespace_comes_back_and_a_workspace_with_namespaces_stays(kube: Kube) -> None:
    await kube.start(iam(), tenancy())
    await kube.create(dev_team("dev-b"))
    await kube.eventually(Namespace, "dev-b", lambda one: one.metadata.labels.get(LABEL) == "dev-team")
    await kube.delete(Namespace, "dev-b")
    await kube.eventually(Namespace, "dev-b", lambda one: one.metadata.labels.get(LABEL) == "dev-team")

    labels = {"iam.theriseunion.io/scope": "workspace", "iam.theriseunion.io/scope-value": "dev-team"}
    made = admin_binding("workspace", await kube.get(Workspace, "dev-team"), "ann")
    await kube.create(msgspec.structs.replace(made, metadata=ObjectMeta(name="made-by-hand", labels=labels)))
    await kube.client.delete(Workspace, "dev-team")
    await kube.eventually(
        Workspace, "dev-team", lambda one: one.status.phase == "Deleting" and one.status.namespace_count == 1
    )
    uid = (await kube.get(Workspace, "dev-team")).metadata.uid
    await kube.patch(
        Workspace, "dev-team", {"metadata": {"annotations": {"theriseunion.io/force-delete": uid}}}
    )
    await kube.gone(Workspace, "dev-team")
    await kube.gone(IAMRoleBinding, "made-by-hand")
    assert LABEL not in (await kube.get(Namespace, "dev-b")).metadata.labels


async def test_the_clusters_own_namespaces_are_in_the_system_workspace(kube: Kube) -> None:
    await kube.start(iam(), tenancy())
    await kube.eventually(
        Namespace, "kube-system", lambda one: one.metadata.labels.get(LABEL) == "system-workspace"
    )
    await kube.eventually(Workspace, "system-workspace", lambda one: one.status.phase == "Active")


async def test_namespaces_in_a_member_cluster_hold_a_workspace_until_they_are_let_go(
    kube: Kube, member: Kube
) -> None:
    async with Members(MEMBER_WATCHES) as members:
        members.connect(await kube.start(iam(), tenancy(sites=members.sites)))
        members.join("factory", member.cluster)
        members.join_dead("lost", member.cluster)
        await member.create(Namespace(metadata=ObjectMeta(name="dev-m", labels={LABEL: "dev-team"})))
        labels = {"scope.theriseunion.io/cluster": "factory"}
        await kube.create(Workspace(metadata=ObjectMeta(name="dev-team", labels=labels)))
        await kube.eventually(Workspace, "dev-team", lambda one: one.status.namespace_count == 1)
        await kube.client.delete(Workspace, "dev-team")
        held = await kube.eventually(Workspace, "dev-team", lambda one: one.status.phase == "Deleting")
        assert "dev-m (cluster factory)" in held.status.conditions[0].message
        uid = held.metadata.uid
        await kube.patch(
            Workspace, "dev-team", {"metadata": {"annotations": {"theriseunion.io/force-delete": uid}}}
        )
        await kube.gone(Workspace, "dev-team")
        assert LABEL not in (await member.get(Namespace, "dev-m")).metadata.labels


async def test_a_workspace_whose_member_namespaces_are_deleted_goes_by_itself(
    kube: Kube, member: Kube
) -> None:
    async with Members(MEMBER_WATCHES) as members:
        members.connect(await kube.start(iam(), tenancy(sites=members.sites)))
        members.join("factory", member.cluster)
        await member.create(Namespace(metadata=ObjectMeta(name="dev-m", labels={LABEL: "dev-team"})))
        await kube.create(dev_team())
        await kube.eventually(Workspace, "dev-team", lambda one: one.status.phase == "Active")
        await kube.client.delete(Workspace, "dev-team")
        await kube.eventually(Workspace, "dev-team", lambda one: one.status.phase == "Deleting")
        await member.delete(Namespace, "dev-m")
        await kube.gone(Workspace, "dev-team")
