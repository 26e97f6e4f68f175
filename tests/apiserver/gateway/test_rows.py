"""Rows for console and scripts on a real API server: what is seen, counted, sorted, refused (G1–G3, S10)."""

import asyncio
import base64
import gzip
import json
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
import yaml
from tests.support.gateway import PATIENCE_S, RunningGateway
from tests.support.projected import becomes
from tests.support.workspaces import Tenant, known

from edge.apiserver.lists import live
from edge.clusters.types import Cluster
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.meta import Key

CONSOLE = "/oapis/console.theriseunion.io/v1alpha1"
ROWS = f"{CONSOLE}/rows"
WORKSPACES = f"{ROWS}/scope.theriseunion.io/v1alpha1/workspaces"
CLUSTERS = f"{ROWS}/scope.theriseunion.io/v1alpha1/clusters"
NAMESPACES = f"{ROWS}/core/v1/namespaces"
VIEW = "system:aggregate-to-view"  # nobody puts `view` together without a controller
CONFIGMAPS = f"{ROWS}/core/v1/configmaps"


async def rows(gateway: RunningGateway, path: str, token: str, **query: str) -> dict[str, Any]:
    answer = await gateway.get(f"{path}?{urlencode(query)}", token=token)
    assert answer.status == 200, answer.body
    return answer.json()


def names(found: Mapping[str, Any]) -> list[str]:
    return [row["n"][0] for row in found["rows"]]


def values(found: Mapping[str, Any], column: str) -> list[Any]:
    ids = [one["id"] for one in found["columns"] if one["id"] != "name"]
    return [row["v"][ids.index(column)] for row in found["rows"]]


async def make_config(kube: Client, name: str, namespace: str, **labels: str) -> None:
    meta = {"name": name, "namespace": namespace, "labels": labels}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "b"}}
    await kube.create(manifest, manager="test")


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
async def other(gateway: RunningGateway, kube: Client) -> Tenant:
    made = Tenant(kube)
    await made.make()
    await known(gateway, made)
    return made


@pytest_asyncio.fixture
async def fleet(gateway: RunningGateway, kube: Client) -> AsyncIterator[str]:
    """Three clusters with figures, of which one is offline; the value of their label `fleet`."""
    tail = secrets.token_hex(3)
    made = {"c1": ("Ready", 9, "east"), "c2": ("Ready", 10, "west"), "c3": ("Offline", 100, "east")}
    for name, (phase, nodes, region) in made.items():
        meta = {"name": f"{name}-{tail}", "labels": {"fleet": tail}}
        manifest = {
            "apiVersion": "scope.theriseunion.io/v1alpha1",
            "kind": "Cluster",
            "metadata": meta,
            "spec": {"connection": {"type": "direct", "token": "TOPSECRET"}},
        }
        await kube.create(manifest, manager="test")
        status = {"phase": phase, "nodeCount": nodes, "region": region}
        await kube.merge(Cluster, Key("", f"{name}-{tail}"), {"status": status}, sub="status")
    token = await gateway.token()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await rows(gateway, CLUSTERS, token, labelSelector=f"fleet={tail}")
            if values(found, "nodes") == [9, 10, 100]:
                break
            await asyncio.sleep(0.05)
    yield tail
    for name in made:
        await kube.delete(Cluster, f"{name}-{tail}")


async def test_rows_have_their_columns_a_total_facets_and_the_actions_that_are_allowed(
    gateway: RunningGateway, fleet: str
) -> None:
    found = await rows(
        gateway,
        CLUSTERS,
        await gateway.token(),
        labelSelector=f"fleet={fleet}",
        columns="name,status,nodes",
        sort="-nodes",
        limit="2",
        facets="status,region",
    )
    assert (found["kind"], found["total"], found["totalIsExact"], found["offset"]) == ("RowList", 3, True, 0)
    assert found["columns"] == [
        {"id": "name", "type": "name", "title": "Name"},
        {"id": "status", "type": "status", "title": "Status"},
        {"id": "nodes", "type": "number", "title": "Nodes"},
    ]
    assert names(found) == [f"c3-{fleet}", f"c2-{fleet}"]
    assert [row["n"][1:] for row in found["rows"]] == [["", ""], ["", ""]]
    assert [row["v"] for row in found["rows"]] == [
        [["Offline", "", "", None, "CheckConnection"], 100],
        [["Ready", "", "", None, ""], 10],
    ]
    assert [row["a"] for row in found["rows"]] == ["gudk", "gudk"]
    assert found["facets"] == {"status": {"Ready": 2, "Offline": 1}, "region": {"east": 2, "west": 1}}
    assert found["stale"] == []
    assert "TOPSECRET" not in json.dumps(found)


async def test_the_columns_of_a_kind_are_told_with_the_letters_of_its_actions(
    gateway: RunningGateway,
) -> None:
    token = await gateway.token()
    found = await rows(gateway, f"{CLUSTERS}/columns", token)
    assert [one["id"] for one in found["columns"][:3]] == ["name", "status", "nodes"]
    assert found["actions"] == {"g": "get", "u": "update", "d": "delete", "k": "kubeconfig"}
    assert (found["cached"], found["namespaced"]) == (True, False)
    pods = await rows(gateway, f"{ROWS}/core/v1/pods/columns", token)
    assert pods["actions"]["e"] == "exec"
    assert (pods["cached"], pods["namespaced"]) == (False, True)


async def test_a_column_of_a_foreign_crd_is_that_of_its_table(gateway: RunningGateway) -> None:
    token = await gateway.token()
    path = f"{ROWS}/apiextensions.k8s.io/v1/customresourcedefinitions"
    found = await rows(gateway, f"{path}/columns", token)
    assert [one["id"] for one in found["columns"]] == ["name", "age", "cluster", "labels", "createdAt"]
    listed = await rows(gateway, path, token, q="workspaces")
    assert names(listed) == ["workspaces.scope.theriseunion.io"]


async def test_a_tenant_sees_counts_searches_and_sorts_their_own_and_nothing_else(
    gateway: RunningGateway, tenant: Tenant, other: Tenant
) -> None:
    token = await gateway.token(tenant.user)
    for path, own, theirs in (
        (WORKSPACES, [tenant.workspace], other.workspace),
        (NAMESPACES, sorted(tenant.namespaces), other.namespaces[0]),
    ):
        found = await rows(gateway, path, token, facets="status")
        assert (names(found), found["total"]) == (own, len(own))
        assert sum(found["facets"]["status"].values()) == len(own)
        backwards = await rows(gateway, path, token, sort="-name")
        assert names(backwards) == own[::-1]
        searched = await rows(gateway, path, token, q=theirs)
        assert (names(searched), searched["total"]) == ([], 0)
        chosen = await rows(gateway, path, token, fieldSelector=f"metadata.name!={theirs}", facets="status")
        assert chosen["total"] == len(own)
        beyond = await rows(gateway, path, token, offset="500", limit="1")
        assert (names(beyond), beyond["total"]) == ([], len(own))


async def test_a_workspace_as_scope_holds_what_is_in_its_namespaces_for_who_may_see_it(
    gateway: RunningGateway, tenant: Tenant, other: Tenant
) -> None:
    admin = await gateway.token()
    found = await rows(gateway, NAMESPACES, admin, scope=f"workspace/{tenant.workspace}")
    assert names(found) == sorted(tenant.namespaces)
    mine = await gateway.token(tenant.user)
    theirs = await rows(gateway, NAMESPACES, mine, scope=f"workspace/{other.workspace}")
    nowhere = await rows(gateway, NAMESPACES, mine, scope="workspace/there-is-none")
    assert (theirs["rows"], theirs["total"]) == (nowhere["rows"], nowhere["total"]) == ([], 0)


async def test_who_may_see_nothing_of_a_kind_is_told_which_right_is_missing(gateway: RunningGateway) -> None:
    token = await gateway.token("ada")
    for path in (CLUSTERS, CONFIGMAPS, f"{CLUSTERS}/columns"):
        answer = await gateway.get(path, token=token)
        assert answer.status == 403, answer.body
        assert 'User "ada" cannot list resource' in answer.json()["message"]
        assert answer.json()["edge"]["code"] == "Forbidden"


async def test_rights_that_are_taken_away_take_the_rows_away(gateway: RunningGateway, tenant: Tenant) -> None:
    token = await gateway.token(tenant.user)
    assert (await rows(gateway, WORKSPACES, token))["total"] == 1
    await tenant.unbind()
    await gateway.until(WORKSPACES, 403, token=token)


@pytest.mark.parametrize(
    ("query", "code", "says"),
    [
        ("columns=name,colour", "UnknownColumn", "colour"),
        ("sort=-colour", "UnknownColumn", "sort"),
        ("facets=colour", "UnknownColumn", "facets"),
        ("labelSelector=a%20in%201", "BadSelector", "labelSelector"),
        ("fieldSelector=spec.nothing%3D1", "BadSelector", "fieldSelector"),
        ("scope=moon/far", "BadScope", "moon/far"),
        ("scope=workspace", "BadScope", "workspace"),
        ("namespace=press", "BadScope", "namespace"),
        ("cluster=%40", "BadScope", "cluster"),
        ("limit=0", "BadParameter", "limit"),
        ("limit=501", "BadParameter", "limit"),
        ("offset=-1", "BadParameter", "offset"),
        ("sort=name,name,name,name,name", "BadParameter", "sort"),
    ],
)
async def test_a_bad_parameter_is_a_400_with_its_code_and_what_is_accepted(
    gateway: RunningGateway, query: str, code: str, says: str
) -> None:
    answer = await gateway.get(f"{CLUSTERS}?{query}", token=await gateway.token())
    assert answer.status == 400, answer.body
    found = answer.json()
    assert (found["kind"], found["reason"], found["edge"]["code"]) == ("Status", "BadRequest", code)
    assert says in found["message"]
    if code == "UnknownColumn":
        assert "nodes" in found["edge"]["params"]["known"]


@pytest.mark.parametrize(
    "path", ["core/v1/unicorns", "no.such.group/v1/things", "core/v1/configmaps/columns/x"]
)
async def test_a_kind_that_is_not_served_is_not_found(gateway: RunningGateway, path: str) -> None:
    answer = await gateway.get(f"{ROWS}/{path}", token=await gateway.token())
    assert answer.status == 404, answer.body


async def test_short_groups_work_for_rows(gateway: RunningGateway, tenant: Tenant) -> None:
    token = await gateway.token()
    for path in ("tenant/v1alpha1/namespaces", "tenant/v1alpha1/workspaces", "iam/v1alpha1/users"):
        assert (await rows(gateway, f"{ROWS}/{path}", token))["total"] > 0
    kapis = f"/kapis/console.theriseunion.io/v1alpha1/rows/tenant/v1alpha1/workspaces?q={tenant.workspace}"
    assert (await gateway.get(kapis, token=token)).json()["total"] == 1


async def test_an_unchanged_list_is_a_304_until_an_object_changes(
    gateway: RunningGateway, fleet: str, kube: Client
) -> None:
    token = await gateway.token()
    for path in (f"{CLUSTERS}?labelSelector=fleet%3D{fleet}", f"{CONFIGMAPS}?namespace=edge-system"):
        first = await gateway.get(path, token=token)
        tag = first.headers["ETag"]
        again = await gateway.get(path, token=token, headers={"If-None-Match": tag})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    path = f"{CLUSTERS}?labelSelector=fleet%3D{fleet}"
    tag = (await gateway.get(path, token=token)).headers["ETag"]
    await kube.merge(Cluster, Key("", f"c1-{fleet}"), {"status": {"nodeCount": 8}}, sub="status")
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.get(path, token=token, headers={"If-None-Match": tag})).status == 304:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_long_answers_are_zipped_for_who_asks_for_that(gateway: RunningGateway, fleet: str) -> None:
    token = await gateway.token()
    path = f"{ROWS}/iam/v1alpha1/iamroles"
    plain = await gateway.get(path, token=token)
    zipped = await gateway.get(path, token=token, headers={"Accept-Encoding": "gzip"})
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.body
    assert fleet


async def test_a_kind_without_a_cache_is_read_page_by_page_by_the_one_who_began(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    namespace = tenant.namespaces[0]
    for number in range(5):
        await make_config(kube, f"conf-{number}", namespace, page="yes")
    token = await gateway.token()
    query = {"namespace": namespace, "labelSelector": "page=yes", "limit": "2"}
    seen: list[str] = []
    cursor = ""
    for offset in (0, 2, 4):
        page = await rows(gateway, CONFIGMAPS, token, **query, **({"cursor": cursor} if cursor else {}))
        assert (page["offset"], page["totalIsExact"]) == (offset, False)
        assert {row["n"][1] for row in page["rows"]} == {namespace}
        seen += names(page)
        cursor = page.get("cursor", "")
        if offset == 2:
            await no_other_may_use(gateway, kube, tenant, query, cursor)
    assert (seen, cursor) == ([f"conf-{number}" for number in range(5)], "")
    backwards = await rows(gateway, CONFIGMAPS, token, **query, sort="-name", offset="1")
    assert names(backwards) == ["conf-3", "conf-2"]
    assert backwards["total"] == 5


async def no_other_may_use(
    gateway: RunningGateway, kube: Client, tenant: Tenant, query: dict[str, str], cursor: str
) -> None:
    await may_read_natively(kube, tenant.user, tenant.namespaces[0])
    theirs = await gateway.token(tenant.user)
    mine = await gateway.token()
    assert (await rows(gateway, CONFIGMAPS, theirs, **query))["rows"]
    for token, asked in (
        (theirs, {**query, "cursor": cursor}),
        (mine, {**query, "cursor": cursor, "labelSelector": "page"}),
        (mine, {**query, "cursor": f"{cursor[:-2]}xx"}),
        (mine, {**query, "cursor": "%"}),
    ):
        answer = await gateway.get(f"{CONFIGMAPS}?{urlencode(asked)}", token=token)
        assert (answer.status, answer.json()["edge"]["code"]) == (400, "BadCursor")


async def test_without_a_right_in_the_cluster_the_rows_of_all_own_namespaces_come_together(
    gateway: RunningGateway, kube: Client, tenant: Tenant, other: Tenant
) -> None:
    for namespace in (*tenant.namespaces, other.namespaces[0]):
        await make_config(kube, f"own-{namespace}", namespace)
    for namespace in tenant.namespaces:
        await may_read_natively(kube, tenant.user, namespace)
    token = await gateway.token(tenant.user)
    found = await rows(gateway, CONFIGMAPS, token, q="own-", sort="-namespace")
    assert names(found) == [f"own-{namespace}" for namespace in sorted(tenant.namespaces, reverse=True)]
    assert found["total"] == 2
    refused = await gateway.get(f"{CONFIGMAPS}?namespace={other.namespaces[0]}", token=token)
    assert refused.status == 403
    admin = await rows(
        gateway, CONFIGMAPS, await gateway.token(), q="own-", scope=f"workspace/{tenant.workspace}"
    )
    assert admin["total"] == 2


async def test_all_clusters_are_asked_and_one_that_is_dead_is_named_and_holds_nothing_up(
    gateway: RunningGateway,
    kube: Client,
    east: LightCluster,
    tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Less than a connection that says nothing has, and enough for those that answer on a busy machine.
    monkeypatch.setattr(live, "CLUSTER_BUDGET_S", 10.0)
    monkeypatch.setattr(live, "ALL_CLUSTERS_S", 30.0)
    name = f"fan-{secrets.token_hex(3)}"
    east.kubectl("create", "configmap", name, "--namespace=default")
    await make_config(kube, name, "default")
    dead = pointing_at("https://127.0.0.1:1")
    silent = socket.create_server(("127.0.0.1", 0))  # takes connections and never says a word
    mute = pointing_at(f"https://127.0.0.1:{silent.getsockname()[1]}")
    for one, kubeconfig in (("dead", dead), ("mute", mute)):
        await kube.create(cluster_at(one, kubeconfig), manager="test")
        await gateway.until(f"/oapis/tenant/v1alpha1/clusters/{one}", 200, token=await gateway.token())
    try:
        found = await rows(gateway, CONFIGMAPS, await gateway.token(), cluster="*", q=name, sort="cluster")
        assert [row["n"] for row in found["rows"]] == [[name, "default", "east"], [name, "default", ""]]
        assert found["totalIsExact"] is False
        assert {one["cluster"]: one["code"] for one in found["stale"]} == {
            "dead": "ClusterUnreachable",
            "mute": "UpstreamTimeout",
        }
        since = {one["cluster"]: one["since"] for one in found["stale"]}
        later = await rows(gateway, CONFIGMAPS, await gateway.token(), cluster="*", q=name)
        assert {one["cluster"]: one["since"] for one in later["stale"]} == since
        alone = await gateway.get(f"{CONFIGMAPS}?cluster=dead", token=await gateway.token())
        assert (alone.status, alone.json()["edge"]["code"]) == (503, "ClusterUnreachable")
        theirs = await gateway.get(f"{CONFIGMAPS}?cluster=dead", token=await gateway.token(tenant.user))
        unknown = await gateway.get(f"{CONFIGMAPS}?cluster=nowhere", token=await gateway.token(tenant.user))
        assert (theirs.status, unknown.status) == (403, 403)
        await may_read_natively(kube, tenant.user, tenant.namespaces[0])
        await may_read_natively(kube, tenant.user, tenant.namespaces[1])
        part = await rows(gateway, CONFIGMAPS, await gateway.token(tenant.user), cluster="*")
        assert part["stale"] == []
        spaces = await rows(gateway, NAMESPACES, await gateway.token(tenant.user), cluster="*")
        assert names(spaces) == sorted(tenant.namespaces)
        assert spaces["stale"] == []
        every = await rows(
            gateway, NAMESPACES, await gateway.token(), cluster="*", q="default", sort="cluster"
        )
        assert [row["n"][2] for row in every["rows"]] == ["east", ""]
        assert [row["a"] for row in every["rows"]] == ["gud", "gud"]
    finally:
        silent.close()
        for one in ("dead", "mute"):
            await kube.delete(Cluster, one)


def cluster_at(name: str, kubeconfig: str) -> dict[str, Any]:
    content = base64.b64encode(kubeconfig.encode()).decode()
    return {
        "apiVersion": "scope.theriseunion.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {"connection": {"type": "direct", "kubeconfig": content}},
    }


def pointing_at(server: str) -> str:
    return yaml.safe_dump(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
    )


async def test_only_rows_that_may_be_changed_offer_it(gateway: RunningGateway, tenant: Tenant) -> None:
    token = await gateway.token(tenant.user)
    found = await rows(gateway, NAMESPACES, token)
    for row in found["rows"]:
        for letter, verb, method in (("g", "get", "GET"), ("u", "update", "PUT"), ("d", "delete", "DELETE")):
            body = {
                "scope": f"namespace/{row['n'][0]}",
                "action": {"verb": verb, "group": "", "resource": "namespaces", "name": row["n"][0]},
            }
            path = "/oapis/iam.theriseunion.io/v1alpha1/access/explain"
            explained = (await gateway.ask("POST", path, token=token, json=body)).json()
            assert explained["allowed"] is (letter in row["a"]), (method, row)
