"""What bounds a tenant is not the tenant's to change: quota, shares, and the way out of them (I15)."""

import pytest
import pytest_asyncio
from tests.support.admitted import Admitted, bound, user

from edge.iam.types import Subject
from edge.tenancy.limits import QUOTA_NAME
from edge.tenancy.types import Workspace, WorkspaceSpec, WorkspaceTemplate
from edge_kube.client import Client
from edge_kube.core import Namespace, ResourceQuota
from edge_kube.errors import Forbidden, Invalid
from edge_kube.harness.kube import Kube
from edge_kube.meta import Key, Manifest, ObjectMeta
from edge_sdk.scopes import CLUSTER_LABEL, FORCE_DELETE_ANNOTATION, WORKSPACE_LABEL

PRESS = "w/host/press"
BIGGER: Manifest = {"spec": {"template": {"resourceQuotas": {"pods": "900"}}}}


@pytest_asyncio.fixture
async def world(kube: Kube) -> Admitted:
    """ann administers the workspace press, root the platform; both may write all of this natively."""
    made = await Admitted.begin(kube)
    for name in ("ann", "root"):
        await made.person(name)
    template = WorkspaceTemplate(namespaces=("press-a",), resource_quotas={"pods": "10"})
    await kube.create(Workspace(metadata=ObjectMeta(name="press"), spec=WorkspaceSpec(template=template)))
    await kube.create(bound("press-admin", "workspace-admin", "workspace", "press", user("ann")))
    await kube.create(bound("root-admin", "platform-admin", "platform", "global", user("root")))
    await made.knows("ann", PRESS, "update", "workspaces", "scope.theriseunion.io")
    await made.knows("root", "p", "delete", "secrets")
    await made.may_write("ann", "root")
    await kube.eventually(ResourceQuota, QUOTA_NAME, namespace="press-a")
    return made


async def test_a_quota_is_changed_by_who_administers_the_cluster_and_not_by_the_tenant(
    world: Admitted,
) -> None:
    ann, root, key = world.as_user("ann"), world.as_user("root"), Key("", "press")
    with pytest.raises(Forbidden, match="needs update on workspaces at cluster/host"):
        await ann.merge(Workspace, key, BIGGER)
    with pytest.raises(Forbidden, match="needs update on workspaces at cluster/host"):
        await ann.merge(Workspace, key, {"spec": {"template": {"resourceQuotas": None}}})
    await ann.merge(Workspace, key, {"spec": {"displayName": "The press", "manager": "ann"}})
    await root.merge(Workspace, key, BIGGER)


async def test_a_share_is_neither_changed_nor_deleted_nor_made_by_the_tenant(world: Admitted) -> None:
    ann, key = world.as_user("ann"), Key("press-a", QUOTA_NAME)
    with pytest.raises(Forbidden, match="platform alone writes"):
        await ann.merge(ResourceQuota, key, {"spec": {"hard": {"pods": "900"}}})
    with pytest.raises(Forbidden, match="platform alone writes"):
        await ann.delete(ResourceQuota, QUOTA_NAME, "press-a")
    with pytest.raises(Forbidden, match="platform alone writes"):
        await ann.create(_quota(QUOTA_NAME, "default"), manager="test")
    await ann.create(_quota("own", "press-a"), manager="test")
    assert await ann.delete(ResourceQuota, "own", "press-a")


async def test_a_namespace_leaves_all_workspaces_only_by_who_administers_the_cluster(world: Admitted) -> None:
    ann, root = world.as_user("ann"), world.as_user("root")
    out: Manifest = {"metadata": {"labels": {WORKSPACE_LABEL: None}}}
    with pytest.raises(Forbidden, match="leaves its quota too"):
        await ann.merge(Namespace, Key("", "press-a"), out)
    uid = (await world.kube.get(Workspace, "press")).metadata.uid
    forced: Manifest = {"metadata": {"annotations": {FORCE_DELETE_ANNOTATION: uid}}}
    with pytest.raises(Forbidden, match="go out of its quota"):
        await ann.merge(Workspace, Key("", "press"), forced)
    await root.merge(Namespace, Key("", "press-a"), out)
    await world.kube.gone(ResourceQuota, QUOTA_NAME, namespace="press-a")
    await root.merge(Workspace, Key("", "press"), forced)


async def test_what_bounds_a_tenant_still_does_while_its_workspace_is_being_deleted(world: Admitted) -> None:
    """It stays as long as it has namespaces, and nobody gets out of a quota by deleting it first."""
    ann, root, key = world.as_user("ann"), world.as_user("root"), Key("", "press")
    uid = (await world.kube.get(Workspace, "press")).metadata.uid
    await ann.delete(Workspace, "press")
    going = await world.kube.get(Workspace, "press")
    assert (going.metadata.uid, bool(going.metadata.deletion_timestamp)) == (uid, True)
    forced: Manifest = {"metadata": {"annotations": {FORCE_DELETE_ANNOTATION: uid}}}
    moved: Manifest = {"metadata": {"labels": {CLUSTER_LABEL: "factory"}}}
    for change, why in (
        (BIGGER, "needs update on workspaces at cluster/host"),
        (forced, "go out of its quota"),
        (moved, "moves rights; it needs update on workspaces at cluster/host"),
    ):
        with pytest.raises(Forbidden, match=why):
            await ann.merge(Workspace, key, change)
    await ann.merge(Workspace, key, {"metadata": {"labels": {"colour": "blue"}}})
    await root.merge(Workspace, key, forced)
    await world.kube.gone(Workspace, "press")
    assert WORKSPACE_LABEL not in (await world.kube.get(Namespace, "press-a")).metadata.labels


async def test_S8_what_waits_for_a_workspace_is_not_his_who_makes_the_name_his_own(world: Admitted) -> None:
    """Labelled beforehand, or left behind by a workspace of that name in a cluster that did not answer."""
    left = {WORKSPACE_LABEL: "orphans"}
    await world.kube.create(Namespace(metadata=ObjectMeta(name="left-behind", labels=left)))
    await world.kube.caught_up()
    orphans = Workspace(metadata=ObjectMeta(name="orphans"))
    with pytest.raises(Forbidden, match="namespaces labelled for a workspace orphans already"):
        await world.as_user("ann").create(orphans, manager="test")
    await world.as_user("ann").create(Workspace(metadata=ObjectMeta(name="of-her-own")), manager="test")
    await world.as_user("root").create(orphans, manager="test")


async def test_S7_a_namespace_made_anew_brings_nobody_the_rights_of_its_namesakes_accounts(
    world: Admitted,
) -> None:
    """Bindings name service accounts by their namespace, and that may be gone and come again as another's."""
    robot = Subject(kind="ServiceAccount", namespace="tools", name="robot")
    await world.kube.create(bound("robot", "platform-admin", "platform", "global", robot))
    await world.knows("system:serviceaccount:tools:robot", "p", "delete", "secrets")
    ann, key = world.as_user("ann"), Key("", "press")
    refused = "it gives the role platform-admin at platform"
    with pytest.raises(Forbidden, match=refused):
        await ann.merge(Workspace, key, {"spec": {"template": {"namespaces": ["press-a", "tools"]}}})
    tools = Namespace(metadata=ObjectMeta(name="tools", labels={WORKSPACE_LABEL: "press"}))
    with pytest.raises(Forbidden, match=refused):
        await ann.create(tools, manager="test")
    await ann.merge(Workspace, key, {"spec": {"template": {"namespaces": ["press-a", "press-tools"]}}})
    await world.as_user("root").create(tools, manager="test")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"template": {"namespaces": ["press-a", "Press_B"]}}, r"spec.template.namespaces\[1\]"),
        ({"template": {"namespaces": ["a" * 64]}}, r"spec.template.namespaces\[0\]"),
        ({"manager": "system:kube-scheduler"}, "spec.manager"),
    ],
)
async def test_what_a_workspace_could_never_come_to_is_refused_when_it_is_written(
    world: Admitted, spec: Manifest, field: str
) -> None:
    root: Client = world.as_user("root")
    with pytest.raises(Invalid, match=field):
        await root.merge(Workspace, Key("", "press"), {"spec": spec})


def _quota(name: str, namespace: str) -> Manifest:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": "900"}}}
