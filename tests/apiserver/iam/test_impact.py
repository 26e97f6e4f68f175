"""A dry run with plain kubectl says whose access the change would give and take (I2, I8; design §6, §6.1)."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest_asyncio
from tests.apiserver.iam.test_authors import binding
from tests.support.admitted import Admitted

from edge.iam.types import GROUP, IAMRole, IAMRoleBinding, IAMRoleSpec, PolicyRule, User, UserSpec
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace
from edge_kube.harness.kube import Kube
from edge_kube.meta import ObjectMeta, Resource, kind_of
from edge_sdk.scopes import FORCE_DELETE_ANNOTATION, IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL, WORKSPACE_LABEL

RBAC = "rbac.authorization.k8s.io/v1"
PRESS = {IAM_SCOPE_LABEL: "workspace", IAM_SCOPE_VALUE_LABEL: "press"}
PLATFORM = {IAM_SCOPE_LABEL: "platform", IAM_SCOPE_VALUE_LABEL: "global"}
PODS = PolicyRule(verbs=("get", "list"), api_groups=("",), resources=("pods",))


@pytest_asyncio.fixture
async def press(kube: Kube) -> AsyncIterator[Kube]:
    """bob may get and list pods at the workspace press by the role reader; una administers it."""
    await Admitted.begin(kube)
    for name in ("una", "bob"):
        await kube.create(User(metadata=ObjectMeta(name=name), spec=UserSpec()))
    await kube.create(Workspace(metadata=ObjectMeta(name="press")))
    labels = {WORKSPACE_LABEL: "press"}
    await kube.create(Namespace(metadata=ObjectMeta(name="press-a", labels=labels)))
    await kube.create(role("reader", PODS))
    await kube.create(binding("bob-reads", "reader", "bob"))
    await kube.create(binding("press-admin", "workspace-admin", "una"))
    await kube.eventually(IAMRoleBinding, "admin-platform-admin")
    await kube.caught_up()
    yield kube


def role(name: str, *rules: PolicyRule) -> IAMRole:
    return IAMRole(metadata=ObjectMeta(name=name, labels=PRESS), spec=IAMRoleSpec(rules=rules))


def manifest(obj: Resource) -> str:
    kind = kind_of(type(obj))
    body = msgspec.to_builtins(obj) | {"apiVersion": kind.api_version, "kind": kind.kind}
    return msgspec.json.encode(body).decode()


async def kubectl(kube: Kube, *words: str, obj: Resource | None = None) -> str:
    """Everything that it prints, warnings first."""
    stdin = manifest(obj) if obj is not None else None
    return await asyncio.to_thread(kube.cluster.kubectl, *words, stdin=stdin, check=False)


async def says(kube: Kube, wanted: str, *words: str) -> str:
    """The output, as soon as what was written just before has come to everybody's watch."""
    said = ""
    async with asyncio.timeout(60):
        while wanted not in said:
            said = await kubectl(kube, *words)
    return said


async def test_deleting_a_role_is_told_to_its_holders_and_changes_nothing(press: Kube) -> None:
    said = await kubectl(press, "delete", "iamrole", "reader", "--dry-run=server")
    assert "Warning: bob loses get,list pods at workspace/press\n" in said
    assert "deleted" in said
    assert await press.find(IAMRole, "reader") is not None


async def test_a_changed_role_is_told_as_what_goes_and_what_comes(press: Kube) -> None:
    wider = role("reader", PolicyRule(verbs=("get", "watch"), api_groups=("",), resources=("pods",)))
    said = await kubectl(press, "apply", "--dry-run=server", "-f", "-", obj=wider)
    assert "Warning: bob loses list pods at workspace/press\n" in said
    assert "Warning: bob gains watch pods at workspace/press\n" in said
    same = await kubectl(press, "apply", "--dry-run=server", "-f", "-", obj=role("reader", PODS))
    assert "loses" not in same
    assert "access" not in same


async def test_what_is_held_in_another_way_is_not_lost(press: Kube) -> None:
    await press.create(binding("bob-reads-again", "reader", "bob"))
    await says(press, "nobody's access changes", "delete", "iamrolebinding", "bob-reads", "--dry-run=server")


async def test_users_groups_and_namespaces_are_previewed_too(press: Kube) -> None:
    await press.create(binding("crew", "reader", groups=("crew",)))
    await press.caught_up()
    bob = User(metadata=ObjectMeta(name="una"), spec=UserSpec(groups=("crew",)))
    said = await kubectl(press, "delete", "user", "bob", "--dry-run=server")
    assert "Warning: bob loses get,list pods at workspace/press\n" in said
    said = await kubectl(press, "delete", "workspace", "press", "--dry-run=server")
    assert "Warning: bob loses get,list pods at workspace/press\n" in said
    said = await kubectl(press, "label", "ns", "press-a", f"{WORKSPACE_LABEL}-", "--dry-run=server")
    assert "Warning: bob loses get,list pods at namespace/press-a\n" in said
    assert "Warning" in await kubectl(press, "apply", "--dry-run=server", "-f", "-", obj=bob)


async def test_a_real_change_is_not_commented_on(press: Kube) -> None:
    said = await kubectl(press, "delete", "iamrolebinding", "bob-reads")
    assert "Warning" not in said
    assert await press.find(IAMRoleBinding, "bob-reads") is None


async def test_an_author_is_told_about_the_scopes_that_they_may_review(press: Kube) -> None:
    """una reviews press, zoe nothing; natively both may delete roles and read none of the bindings."""
    rules = [{"apiGroups": [GROUP], "resources": ["iamroles"], "verbs": ["get", "delete"]}]
    about = {"apiVersion": RBAC, "metadata": {"name": "edge-test-deleters"}}
    await press.apply({**about, "kind": "ClusterRole", "rules": rules})
    group = "rbac.authorization.k8s.io"
    subjects = [{"apiGroup": group, "kind": "User", "name": name} for name in ("una", "zoe")]
    ref = {"apiGroup": group, "kind": "ClusterRole", "name": "edge-test-deleters"}
    await press.apply({**about, "kind": "ClusterRoleBinding", "roleRef": ref, "subjects": subjects})
    delete = ("delete", "iamrole", "reader", "--dry-run=server")
    said = await says(press, "deleted", *delete, "--as=una")
    assert "Warning: bob loses get,list pods at workspace/press\n" in said
    said = await kubectl(press, *delete, "--as=zoe")
    assert "bob" not in said
    assert "Warning: access changes at scopes whose bindings you may not see\n" in said


async def test_the_last_administrator_is_not_removed(press: Kube) -> None:
    name = "admin-platform-admin"
    said = await kubectl(press, "delete", "iamrolebinding", name)
    assert "is not deleted: it is the last binding that gives all rights on the platform" in said
    patch = '{"spec":{"subjects":[{"kind":"User","name":"nobody-here"}]}}'
    said = await kubectl(press, "patch", "iamrolebinding", name, "--type=merge", "-p", patch)
    assert "it is the last binding that gives all rights on the platform" in said
    assert await press.find(IAMRoleBinding, name) is not None
    await press.create(binding("una-too", "platform-admin", "una", labels=PLATFORM))
    await says(press, "deleted", "delete", "iamrolebinding", name)


async def test_the_last_administrator_goes_when_the_deletion_is_forced(press: Kube) -> None:
    name = "admin-platform-admin"
    uid = (await press.get(IAMRoleBinding, name)).metadata.uid
    mark = {"metadata": {"annotations": {FORCE_DELETE_ANNOTATION: uid}}}
    await press.patch(IAMRoleBinding, name, mark)
    said = await kubectl(press, "delete", "iamrolebinding", name)
    assert "deleted" in said
