"""The teams of the documents, as shipped roles: what each may, in its scope and next door (I15, I17).

Each row is asked of a gateway, of Kubernetes' own RBAC after projection (I3), and, where a path is given, put
as a real request with `dryRun`, decided by both.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple

import pytest_asyncio
from tests.support.gateway import IAM, PASSWORD, RunningGateway, make_user
from tests.support.members import Members, clear_nodes
from tests.support.projected import Projected, becomes, binding, may, projected_goes
from tests.support.shipped import all_shipped

from edge.apiserver.mirrors.kinds import SERVED
from edge.nodes.types import NodeGroup
from edge.projection.room import MEMBER_WATCHES
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace, Node
from edge_kube.harness import Kube
from edge_kube.meta import ObjectMeta, Resource
from edge_sdk.scopes import NODE_GROUP_MEMBER_PREFIX, WORKSPACE_LABEL

APP, OTA, DEVICE = "app.theriseunion.io", "ota.theriseunion.io", "device.vast.theriseunion.io"
METRICS = "monitoring.theriseunion.io"
HERE, NEXT_DOOR = "beijing", "shanghai"


__all__ = ["projected_goes"]


class Persona(NamedTuple):
    role: str
    scope: str
    value: str


class Row(NamedTuple):
    """resource: plural[/sub][.group], as kubectl writes it. native: what RBAC says, where not the same.

    request: method and path of a real request for the same."""

    who: str
    scope: str
    verb: str
    resource: str
    allowed: bool
    native: bool | None = None
    name: str = ""
    request: str = ""


PERSONAS: Final[Mapping[str, Persona]] = {
    "region": Persona("nodegroup-regional-operations", "nodegroup", HERE),
    "business": Persona("workspace-business-developer", "workspace", "production"),
    "device": Persona("nodegroup-device-team", "nodegroup", HERE),
    "nodeadmin": Persona("nodegroup-node-administrator", "nodegroup", HERE),
    "deployer": Persona("nodegroup-app-deployer", "nodegroup", HERE),
    "viewer": Persona("nodegroup-monitoring-viewer", "nodegroup", HERE),
}
GROUP, NODE, NODE_THERE = f"nodegroup/{HERE}", f"node/{HERE}-1", f"node/{NEXT_DOOR}-1"
GROUP_THERE = f"nodegroup/{NEXT_DOOR}"
NODE_PATH, NODE_PATH_THERE = f"/api/v1/nodes/{HERE}-1", f"/api/v1/nodes/{NEXT_DOOR}-1"
CONFIG = "/api/v1/namespaces/{}/configmaps"


def on_nodes(who: str, verb: str, allowed: bool, request: str = "") -> tuple[Row, ...]:
    """The same on a node of the group, and never on one of the group next door."""
    ask = f"{request} " if request else ""
    return (
        Row(who, NODE, verb, "nodes", allowed, name=f"{HERE}-1", request=ask and ask + NODE_PATH),
        Row(who, NODE_THERE, verb, "nodes", False, name=f"{NEXT_DOOR}-1",
            request=ask and ask + NODE_PATH_THERE),
    )  # fmt: skip


ROWS: Final = (
    *on_nodes("region", "get", True, "GET"),
    *on_nodes("region", "patch", True, "PATCH"),
    *on_nodes("region", "delete", True, "DELETE"),
    Row("region", GROUP, "create", f"applicationdeployments.{APP}", True, native=False),
    Row("region", GROUP, "get", f"nodegroups/metrics.{METRICS}", True, native=False),
    Row("region", GROUP_THERE, "create", f"applicationdeployments.{APP}", False),
    Row("region", "namespace/shop", "get", "pods", False, request="GET /api/v1/namespaces/shop/pods"),
    Row("region", "cluster/host", "list", "nodes", False),
    Row("business", "namespace/shop", "create", f"applicationdeployments.{APP}", True),
    Row("business", "namespace/shop", "create", f"applicationdeployments/rollback.{APP}", True),
    Row("business", "namespace/shop", "get", "pods", True, request="GET /api/v1/namespaces/shop/pods/none"),
    Row("business", "namespace/shop", "get", "pods/log", True),
    Row("business", "namespace/shop", "create", "configmaps", True, request=f"POST {CONFIG.format('shop')}"),
    Row("business", "namespace/shop", "create", "iamrolebindings.iam.theriseunion.io", False),
    Row("business", "namespace/lab", "create", "configmaps", False, request=f"POST {CONFIG.format('lab')}"),
    Row("business", "namespace/lab", "get", "pods", False, request="GET /api/v1/namespaces/lab/pods/none"),
    Row("business", "namespace/lab", "create", f"applicationdeployments.{APP}", False),
    Row("business", "workspace/other", "get", "pods", False),
    *on_nodes("business", "get", False, "GET"),
    *on_nodes("business", "patch", False, "PATCH"),
    *on_nodes("device", "patch", True, "PATCH"),
    Row("device", GROUP, "update", f"tasks.{OTA}", True, native=False),
    Row("device", GROUP, "update", f"devices.{DEVICE}", True, native=False),
    Row("device", GROUP, "create", f"applicationdeployments.{APP}", False),
    Row("device", GROUP_THERE, "update", f"tasks.{OTA}", False),
    Row("device", "namespace/shop", "get", "pods", False, request="GET /api/v1/namespaces/shop/pods"),
    *on_nodes("nodeadmin", "patch", True, "PATCH"),
    *on_nodes("nodeadmin", "delete", True, "DELETE"),
    Row("nodeadmin", GROUP, "create", f"applicationdeployments.{APP}", False),
    Row("nodeadmin", GROUP, "update", f"tasks.{OTA}", False),
    *on_nodes("deployer", "get", True, "GET"),
    *on_nodes("deployer", "patch", False, "PATCH"),
    Row("deployer", GROUP, "create", f"applicationdeployments.{APP}", True, native=False),
    Row("deployer", GROUP_THERE, "create", f"applicationdeployments.{APP}", False),
    *on_nodes("viewer", "get", True, "GET"),
    *on_nodes("viewer", "patch", False, "PATCH"),
    *on_nodes("viewer", "delete", False, "DELETE"),
    Row("viewer", GROUP, "get", f"nodegroups/metrics.{METRICS}", True, native=False),
    Row("viewer", GROUP_THERE, "get", f"nodegroups/metrics.{METRICS}", False),
    Row("viewer", GROUP, "create", f"applicationdeployments.{APP}", False),
    Row("viewer", "namespace/shop", "get", "secrets", False),
)


class Town(NamedTuple):
    gateway: RunningGateway
    kube: Kube


@pytest_asyncio.fixture
async def town(kube: Kube) -> AsyncIterator[Town]:
    """A workspace and a node group each for the teams, one next door, and native RBAC kept by projection."""
    await kube.apply(Namespace(metadata=ObjectMeta(name="edge-system")))
    async with Members(MEMBER_WATCHES) as members:
        await kube.install(*SERVED)
        for one in _places():
            await kube.create(one)
        await make_user(kube.client, "root", admin=True)
        for name in PERSONAS:
            await make_user(kube.client, name)
        await Projected(kube, members).start()
        await all_shipped(kube)
        for name, persona in PERSONAS.items():
            await kube.create(binding(f"is-{name}", persona.role, persona.scope, persona.value, name))
        async with RunningGateway(kube.cluster.connection) as gateway:
            yield Town(gateway, kube)
        await kube.stop()
        await clear_nodes(kube)


def _places() -> list[Resource]:
    found: list[Resource] = []
    for name, namespace in (("production", "shop"), ("other", "lab")):
        found.append(Workspace(metadata=ObjectMeta(name=name)))
        labels = {WORKSPACE_LABEL: name}
        found.append(Namespace(metadata=ObjectMeta(name=namespace, labels=labels)))
    for name in (HERE, NEXT_DOOR):
        found.append(NodeGroup(metadata=ObjectMeta(name=name)))
        found.append(
            Node(metadata=ObjectMeta(name=f"{name}-1", labels={f"{NODE_GROUP_MEMBER_PREFIX}{name}": ""}))
        )
    return found


async def test_I17_each_team_may_what_its_scenario_says_and_nothing_next_door(town: Town) -> None:
    gateway, kube = town
    root = await gateway.token("root", PASSWORD)
    for name in PERSONAS:
        await gateway.until(f"{IAM}/iamrolebindings/is-{name}", 200, token=root)
    tokens = {name: await gateway.token(name) for name in PERSONAS}
    await _settled(kube)
    wrong: list[str] = []
    for row in ROWS:
        said = await _explained(gateway, tokens[row.who], row)
        native = await may(kube.client, *_natively(row))
        if (said, native) != (row.allowed, _is_native(row)):
            wrong.append(f"{row}: the gateway says {said}, RBAC {native}")
        if row.request:
            status = await _asked(gateway, tokens[row.who], row.request)
            if (status == 403) is row.allowed or status in (401, 500, 503):
                wrong.append(f"{row}: the answer is {status}")
    assert not wrong, "\n".join(wrong)


async def test_I17_a_teams_lists_hold_its_own_nodes_and_namespaces_alone(town: Town) -> None:
    gateway, _ = town
    for name in ("region", "device", "nodeadmin", "deployer", "viewer"):
        token = await gateway.token(name)
        await gateway.until("/oapis/tenant/v1alpha1/nodes", 200, token=token)
        assert await _names(gateway, "nodes", token) == [f"{HERE}-1"], name
        assert (await gateway.get("/oapis/tenant/v1alpha1/namespaces", token=token)).status == 403, name
    token = await gateway.token("business")
    await gateway.until("/oapis/tenant/v1alpha1/namespaces", 200, token=token)
    assert await _names(gateway, "namespaces", token) == ["shop"]
    assert await _names(gateway, "nodes", token) == []


async def _names(gateway: RunningGateway, resource: str, token: str) -> list[str]:
    found: dict[str, Any] = (await gateway.get(f"/oapis/tenant/v1alpha1/{resource}", token=token)).json()
    return [one["metadata"]["name"] for one in found["items"]]


async def _settled(kube: Kube) -> None:
    """Until projection has brought every team its native rights; which are missing is told by the rows."""
    waits = [becomes(kube.client, True, *_natively(row)) for row in ROWS if _is_native(row)]
    await asyncio.gather(*waits, return_exceptions=True)


def _is_native(row: Row) -> bool:
    return row.allowed if row.native is None else row.native


async def _explained(gateway: RunningGateway, token: str, row: Row) -> bool:
    plain, _, group = row.resource.partition(".")
    resource, _, sub = plain.partition("/")
    action = {"verb": row.verb, "group": group, "resource": resource, "subresource": sub, "name": row.name}
    answer = await gateway.ask(
        "POST", f"{IAM}/access/explain", token=token, json={"scope": row.scope, "action": action}
    )
    assert answer.status == 200, answer.body
    return answer.json()["allowed"]


def _natively(row: Row) -> tuple[str, str, str, str, str]:
    """User, verb, resource, namespace and name, as Kubernetes is asked."""
    namespace = row.scope.removeprefix("namespace/") if row.scope.startswith("namespace/") else ""
    plain, _, group = row.resource.partition(".")
    resource, _, sub = plain.partition("/")
    asked = f"{resource}{'/' + sub if sub else ''}{'.' + group if group else ''}"
    return row.who, row.verb, asked, namespace, row.name


async def _asked(gateway: RunningGateway, token: str, request: str) -> int:
    method, path = request.split()
    options: dict[str, Any] = {"params": {} if method == "GET" else {"dryRun": "All"}}
    if method == "POST":
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tried"}}
        options["json"] = manifest
    elif method == "PATCH":
        options["json"] = {"metadata": {"annotations": {"tried": "yes"}}}
        options["headers"] = {"Content-Type": "application/merge-patch+json"}
    return (await gateway.ask(method, path, token=token, **options)).status
