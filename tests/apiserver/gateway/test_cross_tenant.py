"""A tenant walks every route of the OpenAPI document with the names of another's things (S9, S10).

Nothing of the other's is told, and nothing is changed: neither by names in paths, queries and bodies nor by
lists, rows, operations or the watch socket.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest_asyncio
from tests.support.gateway import PATIENCE_S, Answer, RunningGateway
from tests.support.probe import Route, operations, routes
from tests.support.probecalls import MARKED, body_of, paths, queries
from tests.support.watching import watching
from tests.support.workspaces import WORKSPACES, Tenant, known

from edge.apiserver.openapi.routes import document_bytes
from edge.apps.types import ApplicationDeployment, ApplicationDeploymentSpec
from edge.iam.types import IAMRoleBinding
from edge.tenancy.types import Workspace
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.meta import Key, ObjectMeta

DOCUMENT: Mapping[str, Any] = json.loads(document_bytes())
AUDIT_ON = {"audit.acknowledgeWithin": "10s", "audit.enoughFree": "0", "audit.refuseAtPercent": "100"}


@pytest_asyncio.fixture
async def gateway(gateway_cluster: LightCluster, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """With an audit trail, so that its routes have something to tell; more calls than one user may send."""
    settings = {**AUDIT_ON, "audit.folder": str(tmp_path / "trail"), "rateLimit.enabled": "false"}
    async with RunningGateway(gateway_cluster.connection, settings) as running:
        yield running


def test_every_route_says_what_a_stranger_may_see() -> None:
    found, missing = routes(DOCUMENT)
    assert missing == [], "declare the tag in tests/support/probe.py"
    assert len(found) == len(list(operations(DOCUMENT)))


async def furnished(kube: Client, tenant: Tenant, marker: str) -> None:
    """Things of the tenant that hold a marker: in Kubernetes and among the platform's kinds."""
    for namespace in tenant.namespaces:
        for kind, extra in (
            ("ConfigMap", {"data": {"k": marker}}),
            ("Secret", {"stringData": {"k": marker}}),
        ):
            await kube.create(
                {
                    "apiVersion": "v1",
                    "kind": kind,
                    "metadata": {
                        "name": tenant.workspace,
                        "namespace": namespace,
                        "labels": {MARKED: marker},
                    },
                    **extra,
                },
                manager="test",
            )
    await kube.merge(Workspace, Key("", tenant.workspace), {"spec": {"displayName": f"shown-{marker}"}})
    await kube.merge(IAMRoleBinding, Key("", tenant.binding), {"metadata": {"annotations": {MARKED: marker}}})
    meta = ObjectMeta(name=tenant.workspace, namespace=tenant.namespaces[0], labels={MARKED: marker})
    spec = ApplicationDeploymentSpec(application=f"shop-{marker}", version="latest")
    await kube.create(ApplicationDeployment(metadata=meta, spec=spec), manager="test")
    status = {"phase": "Progressing", "message": f"rolls out {marker}"}
    await kube.merge(ApplicationDeployment, Key(meta.namespace, meta.name), {"status": status}, sub="status")


async def snapshot(gateway: RunningGateway, theirs: Tenant) -> str:
    """All that an administrator sees of a tenant, without what changes by itself."""
    token, parts = await gateway.token(), list[str]()
    for path in (
        f"{WORKSPACES}/{theirs.workspace}",
        f"/oapis/iam.theriseunion.io/v1alpha1/users/{theirs.user}",
        f"/oapis/iam.theriseunion.io/v1alpha1/iamrolebindings/{theirs.binding}",
        *(f"/api/v1/namespaces/{one}" for one in theirs.namespaces),
        *(
            f"/api/v1/namespaces/{one}/{what}"
            for one in theirs.namespaces
            for what in ("configmaps", "secrets")
        ),
        *(
            f"/apis/app.theriseunion.io/v1alpha1/namespaces/{one}/applicationdeployments"
            for one in theirs.namespaces
        ),
    ):
        answer = await gateway.get(path, token=token)
        assert answer.status == 200, path
        found = answer.json()
        for one in found.get("items", [found]):
            parts.append(json.dumps([one.get("metadata"), one.get("spec")], sort_keys=True))
    return re.sub(r'"resourceVersion": "\d*"', "", "\n".join(parts))


def wrong(route: Route, path: str, answer: Answer, theirs: Tenant) -> str:
    """What is wrong with an answer by what the route is expected to tell; "" when nothing is."""
    if answer.status >= 500 and answer.status not in (503, 504):
        return "a mistake"
    if answer.status >= 400 or route.expected in ("public", "rights"):
        return ""
    if route.expected == "admin":
        return "let in where only administrators are"
    names = {theirs.workspace, theirs.user, theirs.binding, *theirs.namespaces}
    return "let in where the path names another's thing" if names & set(path.split("/")) else ""


def strangers(answer: Answer, mine: Tenant) -> list[str]:
    """Who is told of in records beside the caller; what the caller tried with their names is his to read."""
    found = answer.json()
    items = found.get("items", [found]) if answer.status < 400 else []
    return sorted({one["actor"]["user"] for one in items if "actor" in one} - {mine.user})


async def until_marked(gateway: RunningGateway, path: str, marker: str) -> None:
    """Until the gateway's own copy has the marker: what changes later would look like somebody's doing."""
    token = await gateway.token()
    async with asyncio.timeout(PATIENCE_S):
        while marker not in (await gateway.get(path, token=token)).body.decode():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def both(gateway: RunningGateway, kube: Client) -> tuple[Tenant, Tenant, str]:
    """Two tenants with their things, and the second one's marker."""
    mine, theirs = Tenant(kube), Tenant(kube)
    for one in (mine, theirs):
        await one.make()
        await known(gateway, one)
        await furnished(kube, one, f"marker-of-{one.workspace}")
        bindings = "/oapis/iam.theriseunion.io/v1alpha1/iamrolebindings"
        for path in (f"{WORKSPACES}/{one.workspace}", f"{bindings}/{one.binding}"):
            await until_marked(gateway, path, f"marker-of-{one.workspace}")
    return mine, theirs, f"marker-of-{theirs.workspace}"


async def test_a_tenant_learns_and_changes_nothing_of_another(gateway: RunningGateway, kube: Client) -> None:
    mine, theirs, marker = await both(gateway, kube)
    before = await snapshot(gateway, theirs)
    token = await gateway.token(mine.user)
    secret = (marker, f'"{theirs.workspace}"', f'"{theirs.namespaces[1]}"', f'"{theirs.binding}"')
    leaks: list[str] = []
    strange: list[str] = []
    asked = 0
    for route in sorted(routes(DOCUMENT)[0], key=lambda one: (one.expected == "own", one.method == "DELETE")):
        for path in paths(route, theirs):
            for query in queries(route, theirs, marker):
                options = body_of(route, theirs, path, DOCUMENT["components"]["schemas"])
                answer = await gateway.ask(route.method, path, token=token, params=query, **options)
                if answer.status == 401 and "/sessions" not in path and not path.startswith("/oauth"):
                    token = await gateway.token(mine.user)  # the probe has signed itself out
                    answer = await gateway.ask(route.method, path, token=token, params=query, **options)
                asked += 1
                text = answer.body.decode(errors="replace")
                # What was asked for is repeated in a refusal; everything else of theirs would be news.
                given = path + str(query) + str(options)
                told = [
                    one
                    for one in (strangers(answer, mine) if "/audit." in path else secret)
                    if one in text and (answer.status < 400 or one.strip('"') not in given)
                ]
                if told:
                    leaks.append(f"{route.method} {path} {query} → {answer.status}: {told}")
                if why := wrong(route, path, answer, theirs):
                    strange.append(f"{route.method} {path} {query} → {answer.status} {why}: {text[:200]}")
    assert asked > 600
    assert leaks == []
    assert strange == []
    assert await snapshot(gateway, theirs) == before
    admin = await gateway.token()
    for path in ("/api/v1/configmaps", WORKSPACES, "/oapis/console.theriseunion.io/v1alpha1/operations"):
        assert marker in (await gateway.get(path, token=admin)).body.decode(), path


async def test_the_watch_socket_tells_a_tenant_nothing_of_another(
    gateway: RunningGateway, kube: Client
) -> None:
    mine, theirs, marker = await both(gateway, kube)
    namespace = theirs.namespaces[0]
    shop = {"group": "app.theriseunion.io", "version": "v1alpha1", "resource": "applicationdeployments"}
    kinds = (
        shop,
        {"group": "", "version": "v1", "resource": "namespaces"},
        {"group": "scope.theriseunion.io", "version": "v1alpha1", "resource": "workspaces"},
        {"group": "iam.theriseunion.io", "version": "v1alpha1", "resource": "iamrolebindings"},
    )
    wanted: list[dict[str, Any]] = [{"ops": {}}, {"ops": {"scope": f"workspace/{theirs.workspace}"}}]
    narrowed = (
        {},
        {"scope": f"workspace/{theirs.workspace}"},
        {"q": marker},
        {"labelSelector": f"{MARKED}={marker}"},
    )
    for kind in kinds:
        wanted.extend({"rows": {**kind, **more}} for more in narrowed)
        wanted.append({"object": {**kind, "name": theirs.workspace}})
    wanted.append({"rows": {**shop, "namespace": namespace}})
    wanted.append({"object": {**shop, "namespace": namespace, "name": theirs.workspace}})
    wanted.append({"events": {"of": {**shop, "namespace": namespace, "name": theirs.workspace}}})
    wanted.append({"access": {"scope": f"workspace/{theirs.workspace}"}})
    async with watching(gateway, await gateway.token(mine.user)) as watcher:
        models = [await watcher.sub(what) for what in wanted]
        seen = [one for what, one in zip(wanted, models, strict=True) if "access" not in what]
        await watcher.until(lambda: all(one.hash or one.object or one.ended for one in seen))
        news = {"status": {"message": f"goes on with {marker}"}}
        await kube.merge(ApplicationDeployment, Key(namespace, theirs.workspace), news, sub="status")
        own = {"status": {"message": "goes on"}}
        place = Key(mine.namespaces[0], mine.workspace)
        await kube.merge(ApplicationDeployment, place, own, sub="status")
        await watcher.until(lambda: "goes on" in str(watcher.frames))
        await asyncio.sleep(0.5)
    told = json.dumps(watcher.frames)
    secret = (marker, f'"{theirs.workspace}"', f'"{namespace}"', f'"{theirs.binding}"')
    assert [one for one in secret if one in told] == []
    assert mine.workspace in told
