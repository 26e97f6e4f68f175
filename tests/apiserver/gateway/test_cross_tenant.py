"""A tenant walks every route of the OpenAPI document with the names of another's things (S9, S10).

Nothing of the other's is told, and nothing is changed: neither by names in paths and bodies nor by lists.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.gateway import RunningGateway
from tests.support.probe import Route, operations, routes
from tests.support.workspaces import WORKSPACES, Tenant

from edge.apiserver.openapi.routes import document_bytes
from edge_kube.client import Client

DOCUMENT: Mapping[str, Any] = json.loads(document_bytes())
MARKED = "theriseunion.io/probe"
NATIVE = {"group": "apps", "version": "v1", "cluster": "host"}


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


def paths(route: Route, theirs: Tenant) -> Iterator[str]:
    """With their names wherever one fits."""
    namespace = theirs.namespaces[0]
    names = {theirs.workspace, theirs.user, namespace, theirs.binding} if "{name}" in route.path else {""}
    for resource in ("configmaps", "secrets", "pods") if "{resource}" in route.path else ("",):
        for name in sorted(names):
            filled = {**NATIVE, "namespace": namespace, "name": name, "resource": resource}
            filled |= {"id": "0" * 32, "user": theirs.user}
            yield route.path.format_map(filled)


def body_of(route: Route, theirs: Tenant, path: str) -> dict[str, Any]:
    """headers and body of a call that would do harm if it were let through."""
    if route.method in ("GET", "DELETE"):
        return {}
    place = f"namespace/{theirs.namespaces[0]}"
    if route.expected == "rights":
        question = {"verb": "list", "group": "", "resource": "pods"}
        return {
            "json": {"scope": place, "action": question, "subject": {"kind": "User", "name": theirs.user}}
        }
    if path.endswith("/password"):
        return {"json": {"newPassword": "Qwer!1234-probe"}}
    if path.endswith("/me/kubeconfigs") or route.expected == "public":
        return {"json": {"name": "x" * 100}}
    if route.method == "PATCH":
        headers = {"Content-Type": "application/merge-patch+json"}
        return {"headers": headers, "data": json.dumps({"metadata": {"labels": {"stolen": "yes"}}})}
    obj = {"metadata": {"name": path.rpartition("/")[2], "labels": {"stolen": "yes"}}}
    return {"json": obj}


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
    ):
        answer = await gateway.get(path, token=token)
        assert answer.status == 200, path
        found = answer.json()
        parts.append(json.dumps([one.get("metadata") for one in found.get("items", [found])], sort_keys=True))
    return re.sub(r'"resourceVersion": "\d*"', "", "\n".join(parts))


async def test_a_tenant_learns_and_changes_nothing_of_another(gateway: RunningGateway, kube: Client) -> None:
    mine, theirs = Tenant(kube), Tenant(kube)
    for one in (mine, theirs):
        await one.make()
        await gateway.knows(one.user)
        await gateway.until(f"{WORKSPACES}/{one.workspace}", 200, token=await gateway.token(one.user))
    marker = f"marker-of-{theirs.workspace}"
    await furnished(kube, theirs, marker)
    await furnished(kube, mine, f"marker-of-{mine.workspace}")
    before = await snapshot(gateway, theirs)
    token = await gateway.token(mine.user)
    secret = (marker, f'"{theirs.workspace}"', f'"{theirs.namespaces[1]}"', f'"{theirs.binding}"')
    leaks: list[str] = []
    strange: list[str] = []
    asked = 0
    for route in routes(DOCUMENT)[0]:
        for path in paths(route, theirs):
            answer = await gateway.ask(route.method, path, token=token, **body_of(route, theirs, path))
            asked += 1
            text = answer.body.decode(errors="replace")
            # What was asked for is repeated in a refusal; everything else of theirs would be news.
            told = [
                one for one in secret if one in text and (answer.status < 400 or one.strip('"') not in path)
            ]
            if told:
                leaks.append(f"{route.method} {path} → {answer.status}: {told}")
            if answer.status >= 500:
                strange.append(f"{route.method} {path} → {answer.status}: {text[:200]}")
    assert asked > 300
    assert leaks == []
    assert strange == []
    assert await snapshot(gateway, theirs) == before
    assert marker in (await gateway.get("/api/v1/configmaps", token=await gateway.token())).body.decode()
