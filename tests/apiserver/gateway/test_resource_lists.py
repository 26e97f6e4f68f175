"""Lists of the resource API: sorted by any column, paged for one caller, over namespaces (G1–G3, S10)."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from tests.support.gateway import IAM, PATIENCE_S, RunningGateway, somebody
from tests.support.projected import becomes, binding
from tests.support.workspaces import WORKSPACES, Tenant

from edge_kube.client import Client
from edge_kube.core import Namespace
from edge_kube.meta import Key, ObjectMeta
from edge_sdk.scopes import WORKSPACE_LABEL

NAMESPACES = "/oapis/core/v1/namespaces"
VIEW = "system:aggregate-to-view"


def names(found: dict[str, Any]) -> list[str]:
    return [one["metadata"]["name"] for one in found["items"]]


async def make_config(kube: Client, name: str, namespace: str) -> None:
    meta = {"name": name, "namespace": namespace}
    await kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}, manager="test")


async def may_read_natively(kube: Client, user: str, namespace: str) -> None:
    """What the controller's projection makes of the tenant's binding."""
    manifest = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"edge-{user}", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": VIEW},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    await kube.create(manifest, manager="test")
    await becomes(kube, True, user, "list", "configmaps", namespace)


@pytest_asyncio.fixture
async def reader(kube: Client, tenant: Tenant) -> Tenant:
    for namespace in tenant.namespaces:
        await may_read_natively(kube, tenant.user, namespace)
        await make_config(kube, f"of-{namespace}", namespace)
    await make_config(kube, f"hidden-{tenant.workspace}", "default")
    return tenant


async def test_any_column_sorts_and_what_a_column_shows_can_be_selected_by(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    token = await gateway.token(tenant.user)
    expected = sorted(tenant.namespaces, reverse=True)
    for query in ("sort=-name", "sort=workspace,-name", "sortBy=name&ascending=false"):
        found = (await gateway.get(f"{NAMESPACES}?{query}", token=token)).json()
        assert (names(found), found["totalItems"]) == (expected, 2)
    active = (await gateway.get(f"{NAMESPACES}?fieldSelector=status.phase%3DActive", token=token)).json()
    assert active["totalItems"] == 2
    gone = (await gateway.get(f"{NAMESPACES}?fieldSelector=status.phase!%3DActive", token=token)).json()
    assert (gone["items"], gone["totalItems"]) == ([], 0)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("sortBy=colour", "UnknownColumn"),
        ("sort=name,colour", "UnknownColumn"),
        ("fieldSelector=spec.nothing%3D1", "BadSelector"),
        ("labelSelector=a%20in%201", "BadSelector"),
        ("continue=made-up", "BadCursor"),
        ("limit=many", "BadParameter"),
    ],
)
async def test_a_bad_parameter_has_its_code(gateway: RunningGateway, query: str, code: str) -> None:
    for path in (NAMESPACES, "/oapis/tenant/v1alpha1/namespaces", WORKSPACES):
        answer = await gateway.get(f"{path}?{query}", token=await gateway.token())
        assert (answer.status, answer.json()["edge"]["code"]) == (400, code), answer.body


async def test_a_continue_is_of_no_use_to_somebody_else(gateway: RunningGateway, tenant: Tenant) -> None:
    mine = await gateway.token(tenant.user)
    first = (await gateway.get(f"{NAMESPACES}?limit=1", token=mine)).json()
    token = first["metadata"]["continue"]
    assert first["metadata"]["remainingItemCount"] == 1
    second = (await gateway.get(f"{NAMESPACES}?limit=1&continue={token}", token=mine)).json()
    assert names(first) + names(second) == sorted(tenant.namespaces)
    assert "continue" not in second["metadata"]
    theirs = await gateway.get(f"{NAMESPACES}?limit=1&continue={token}", token=await gateway.token())
    assert (theirs.status, theirs.json()["edge"]["code"]) == (400, "BadCursor")


async def test_pages_are_of_one_moment_but_of_the_rights_of_now(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    token = await gateway.token(tenant.user)
    first = (await gateway.get(f"{NAMESPACES}?limit=1", token=token)).json()
    more = first["metadata"]["continue"]
    new = f"ab-{tenant.workspace}"
    meta = ObjectMeta(name=new, labels={WORKSPACE_LABEL: tenant.workspace})
    await kube.create(Namespace(metadata=meta), manager="test")
    await gateway.until(f"{NAMESPACES}/{new}", 200, token=token)
    second = (await gateway.get(f"{NAMESPACES}?limit=5&continue={more}", token=token)).json()
    assert names(second) == sorted(tenant.namespaces)[1:]
    await kube.merge(
        Namespace, Key("", tenant.namespaces[1]), {"metadata": {"labels": {WORKSPACE_LABEL: None}}}
    )
    await gateway.until(f"{NAMESPACES}/{tenant.namespaces[1]}", 403, token=token)
    later = await gateway.get(f"{NAMESPACES}?limit=5&continue={more}", token=token)
    assert names(later.json()) == []


@pytest.mark.parametrize(
    "path", ["/oapis/core/v1/configmaps", "/kapis/core/v1/configmaps", "/api/v1/configmaps"]
)
async def test_a_list_over_all_namespaces_is_put_together_from_those_one_may_list(
    gateway: RunningGateway, reader: Tenant, path: str
) -> None:
    token = await gateway.token(reader.user)
    found = (await gateway.get(path, token=token)).json()
    assert (found["kind"], found["totalItems"]) == ("ConfigMapList", 2)
    assert names(found) == [f"of-{one}" for one in sorted(reader.namespaces)]
    one = (await gateway.get(f"{path}?limit=1", token=token)).json()
    more = quote(one["metadata"]["continue"])
    rest = (await gateway.get(f"{path}?limit=1&continue={more}", token=token)).json()
    assert names(one) + names(rest) == names(found)
    other = await gateway.get(f"{path}?limit=1&labelSelector=a&continue={more}", token=token)
    assert (other.status, other.json()["edge"]["code"]) == (400, "BadCursor")
    assert (await gateway.get(path, token=await gateway.token("ada"))).status == 403


async def test_kubectl_lists_over_all_namespaces_as_a_tenant(gateway: RunningGateway, reader: Tenant) -> None:
    token = await gateway.token(reader.user)
    shown = await gateway.kubectl(token, "get", "configmaps", "--all-namespaces")
    assert [line.split()[:2] for line in shown.splitlines()[1:]] == [
        [one, f"of-{one}"] for one in sorted(reader.namespaces)
    ]


async def test_more_namespaces_than_fifty_are_refused_with_the_limit(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    for number in range(51 - len(tenant.namespaces)):
        meta = ObjectMeta(name=f"n{number:02}-{tenant.workspace}", labels={WORKSPACE_LABEL: tenant.workspace})
        await kube.create(Namespace(metadata=meta), manager="test")
    token = await gateway.token(tenant.user)
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.get(NAMESPACES, token=token)).json()["totalItems"] < 51:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    answer = await gateway.get("/oapis/core/v1/configmaps", token=token)
    assert (answer.status, answer.json()["edge"]["code"]) == (403, "TooManyNamespaces")
    assert "from 50 namespaces at most" in answer.json()["message"]


async def test_a_kind_without_namespaces_is_not_asked_for_namespace_by_namespace(
    gateway: RunningGateway, reader: Tenant
) -> None:
    token = await gateway.token(reader.user)
    answer = await gateway.get("/oapis/core/v1/persistentvolumes", token=token)
    assert answer.status == 403
    assert f'User "{reader.user}" cannot list resource "persistentvolumes"' in answer.json()["message"]


async def test_the_scopes_one_may_enter_need_no_right_to_list_them(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    """console §5.2: with roles, by page, without any right on workspaces or namespaces."""
    name, user = f"n-{tenant.workspace}", await somebody(gateway, kube)
    viewer = binding(name, "namespace-viewer", "namespace", tenant.namespaces[0], user)
    await kube.create(viewer, manager="test")
    token = await gateway.token(user)
    wanted = f"namespace/{tenant.namespaces[0]}"
    async with asyncio.timeout(PATIENCE_S):
        while wanted not in json.dumps((await gateway.get(f"{IAM}/me/scopes", token=token)).json()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    found = (await gateway.get(f"{IAM}/me/scopes?type=namespace&q=a-&limit=1", token=token)).json()
    (one,) = found["items"]
    assert one == {
        "scope": wanted,
        "title": tenant.namespaces[0],
        "parent": f"workspace/{tenant.workspace}",
        "roles": ["namespace-viewer"],
    }
    assert (found["total"], found["cursor"]) == (1, "")
    assert (await gateway.get(f"{IAM}/me/scopes?cursor=x", token=token)).status == 400
