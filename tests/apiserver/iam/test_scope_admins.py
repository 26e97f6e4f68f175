"""Who administers a scope looks after it through the gateway: members, roles, namespaces, groups (I11, I15).

Gateway, admission and the API server's own RBAC together, as they are installed: the gateway decides at the
scope that an object is for, and admission what its author may give away (S6).
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import pytest_asyncio
from tests.support.admitted import Admitted, bound, labels, user
from tests.support.gateway import IAM, Answer, KubectlFailed, RunningGateway, make_user
from tests.support.scopeadmins import native_rights

from edge.apiserver.mirrors.kinds import SERVED
from edge.iam.types import IAMRole, IAMRoleSpec, PolicyRule
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace
from edge_kube.harness import Kube
from edge_kube.meta import Manifest, ObjectMeta, Resource, to_manifest
from edge_sdk.scopes import WORKSPACE_LABEL

IAM_GROUP: Final = "iam.theriseunion.io"
BINDINGS, ROLES = f"{IAM}/iamrolebindings", f"{IAM}/iamroles"
NAMESPACES = "/api/v1/namespaces"
GROUPS = "/oapis/scope.theriseunion.io/v1alpha1/nodegroups"
PEOPLE: Final = {
    "ann": ("workspace-admin", "workspace", "press"),
    "vic": ("workspace-viewer", "workspace", "press"),
    "sam": ("workspace-self-provisioner", "workspace", "press"),
    "cleo": ("cluster-self-provisioner", "cluster", "host"),
    "bob": ("platform-regular", "platform", "global"),
}


@dataclass
class Town:
    """Workspaces press and paint; each of PEOPLE holds one role."""

    kube: Kube
    gateway: RunningGateway
    tokens: dict[str, str]

    async def makes(self, who: str, path: str, obj: Resource | Manifest) -> Answer:
        manifest = obj if isinstance(obj, dict) else to_manifest(obj)
        return await self.gateway.ask("POST", path, token=self.tokens[who], json=manifest)

    async def ask(self, who: str, method: str, path: str, **options: Any) -> Answer:
        return await self.gateway.ask(method, path, token=self.tokens[who], **options)

    async def until(self, who: str, path: str, status: int) -> None:
        await self.gateway.until(path, status, token=self.tokens[who], within_s=60)


@pytest_asyncio.fixture
async def town(kube: Kube) -> AsyncIterator[Town]:
    await kube.apply(Namespace(metadata=ObjectMeta(name="edge-system")))
    await kube.install(*SERVED)
    for manifest in native_rights():
        await kube.apply(manifest)
    await Admitted.begin(kube)
    for name in ("press", "paint"):
        await kube.create(Workspace(metadata=ObjectMeta(name=name)))
    home = {WORKSPACE_LABEL: "press"}
    await kube.create(Namespace(metadata=ObjectMeta(name="press-a", labels=home)))
    for name, (role, scope, value) in PEOPLE.items():
        await make_user(kube.client, name)
        await kube.create(bound(f"{name}-{role}", role, scope, value, user(name)))
    await kube.caught_up()  # admission judges each of them, not only who was bound first
    async with RunningGateway(kube.cluster.connection) as gateway:
        tokens = {name: await _token(gateway, name) for name in PEOPLE}
        made = Town(kube, gateway, tokens)
        await made.until("ann", f"{BINDINGS}/ann-workspace-admin", 200)
        yield made
    await kube.stop()


async def _token(gateway: RunningGateway, name: str) -> str:
    async with asyncio.timeout(60):
        while (answer := await gateway.sign_in(name)).status != 200:  # noqa: ASYNC110 - it hears elsewhere
            await asyncio.sleep(0.05)
    return answer.json()["access_token"]


def said(answer: Answer) -> str:
    return answer.json()["message"]


async def test_members_are_bound_listed_and_taken_out_by_who_administers_the_workspace(town: Town) -> None:
    made = await town.makes(
        "ann", BINDINGS, bound("bob-views", "workspace-viewer", "workspace", "press", user("bob"))
    )
    assert made.status == 201, made.body
    await town.until("bob", "/oapis/scope.theriseunion.io/v1alpha1/workspaces/press", 200)
    await town.until("vic", f"{BINDINGS}/bob-views", 200)
    listed = (await town.ask("vic", "GET", BINDINGS)).json()["items"]
    names = {one["metadata"]["name"] for one in listed}
    assert {"bob-views", "ann-workspace-admin", "vic-workspace-viewer"} <= names
    assert "cleo-cluster-self-provisioner" not in names, "those of other scopes are none of their business"
    patch = {"spec": {"subjects": [{"kind": "User", "name": "sam"}]}}
    merge = {"Content-Type": "application/merge-patch+json"}
    for who, status in (("vic", 403), ("bob", 403), ("ann", 200)):
        changed = await town.ask(
            who, "PATCH", f"{BINDINGS}/bob-views", data=json.dumps(patch).encode(), headers=merge
        )
        assert changed.status == status, (who, changed.body)
    for who, status in (("vic", 403), ("ann", 200)):
        assert (await town.ask(who, "DELETE", f"{BINDINGS}/bob-views")).status == status, who
    await town.until("ann", f"{BINDINGS}/bob-views", 403)


async def test_S6_nobody_binds_elsewhere_or_more_than_they_hold(town: Town) -> None:
    for scope, value in (
        ("workspace", "paint"),
        ("cluster", "host"),
        ("platform", "global"),
        ("workspace", "none"),
    ):
        up = bound("up", f"{scope}-admin", scope, value, user("ann"))
        refused = await town.makes("ann", BINDINGS, up)
        assert refused.status == 403, scope
        assert 'User "ann" cannot create resource "iamrolebindings"' in said(refused)
        assert "paint" not in said(refused), "whether there is such a workspace is not told"
    everything = PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",))
    pods = PolicyRule(verbs=("get",), api_groups=("",), resources=("pods",))
    for name, rule, status in (("too-much", everything, 403), ("reads-pods", pods, 201)):
        role = IAMRole(
            metadata=ObjectMeta(name=name, labels=labels("workspace", "press")),
            spec=IAMRoleSpec(rules=(rule,)),
        )
        answer = await town.makes("ann", ROLES, role)
        assert answer.status == status, answer.body
        assert status == 201 or "its author does not hold there: * *.*" in said(answer)
    for who in ("vic", "sam", "bob"):
        mine = bound("mine", "workspace-admin", "workspace", "press", user(who))
        assert (await town.makes(who, BINDINGS, mine)).status == 403, who
    moved = to_manifest(bound("moved", "workspace-viewer", "workspace", "press", user("ann")))
    assert (await town.makes("ann", BINDINGS, moved)).status == 201
    await town.until("ann", f"{BINDINGS}/moved", 200)
    patch = {"metadata": {"labels": {"iam.theriseunion.io/scope-value": "paint"}}}
    merge = {"Content-Type": "application/merge-patch+json"}
    answer = await town.ask(
        "ann", "PATCH", f"{BINDINGS}/moved", data=json.dumps(patch).encode(), headers=merge
    )
    assert (answer.status, "stays as it was made" in said(answer)) == (422, True)


async def test_namespaces_and_groups_are_made_by_who_may_make_some_in_that_scope(town: Town) -> None:
    def namespace(name: str, workspace: str = "") -> Namespace:
        marks = {WORKSPACE_LABEL: workspace} if workspace else {}
        return Namespace(metadata=ObjectMeta(name=name, labels=marks))

    for who, obj, status in (
        ("sam", namespace("press-b", "press"), 201),
        ("ann", namespace("press-c", "press"), 201),
        ("sam", namespace("paint-b", "paint"), 403),
        ("sam", namespace("of-nobody"), 403),
        ("sam", namespace("kube-press", "press"), 403),
        ("vic", namespace("press-d", "press"), 403),
        ("cleo", namespace("press-e", "press"), 403),
    ):
        answer = await town.makes(who, NAMESPACES, obj)
        assert answer.status == status, (who, obj.metadata.name, answer.body)
    group: dict[str, Any] = {"apiVersion": "scope.theriseunion.io/v1alpha1", "kind": "NodeGroup"}
    for who, name, cluster, status in (
        ("cleo", "ovens", "", 201),
        ("cleo", "belts", "far", 403),
        ("ann", "mills", "", 403),
    ):
        marks = {"scope.theriseunion.io/cluster": cluster} if cluster else {}
        answer = await town.makes(who, GROUPS, {**group, "metadata": {"name": name, "labels": marks}})
        assert answer.status == status, (who, name, answer.body)


async def test_kubectl_alone_is_enough_and_the_explanation_is_true(town: Town) -> None:
    give = to_manifest(bound("by-kubectl", "workspace-viewer", "workspace", "press", user("bob")))
    said_so = await town.gateway.kubectl(town.tokens["ann"], "create", "-f", "-", stdin=json.dumps(give))
    assert "by-kubectl created" in said_so
    await town.until("ann", f"{BINDINGS}/by-kubectl", 200)
    applied = to_manifest(bound("applied", "workspace-viewer", "workspace", "press", user("bob")))
    arguments = ("apply", "--server-side", "-f", "-")
    for _ in range(2):
        said_so = await town.gateway.kubectl(town.tokens["ann"], *arguments, stdin=json.dumps(applied))
        assert "applied serverside-applied" in said_so
        await town.until("ann", f"{BINDINGS}/applied", 200)
    with pytest.raises(KubectlFailed, match="cannot delete"):
        await town.gateway.kubectl(town.tokens["vic"], "delete", "iamrolebinding", "by-kubectl")
    await town.gateway.kubectl(town.tokens["ann"], "delete", "iamrolebinding", "by-kubectl", "applied")
    question = {"verb": "create", "group": IAM_GROUP, "resource": "iamrolebindings"}
    body = {"scope": "workspace/press", "action": question}
    found = (await town.ask("ann", "POST", f"{IAM}/access/explain", json=body)).json()
    assert found["allowed"] is True
    assert found["by"]["binding"] == "ann-workspace-admin"
    assert found["by"]["template"].endswith("-manage-members")
    refused = (await town.ask("vic", "POST", f"{IAM}/access/explain", json=body)).json()
    assert refused["allowed"] is False
    nearest = refused["grant"][0]
    assert (nearest["scope"], "User ann" in nearest["grantors"]) == ("workspace/press", True)
    able = (await town.ask("ann", "POST", f"{IAM}/access/who-can", json=body)).json()
    assert ("User", "ann") in {(one["kind"], one["name"]) for one in able["subjects"]}
    assert ("User", "vic") not in {(one["kind"], one["name"]) for one in able["subjects"]}
