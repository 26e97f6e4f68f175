"""Calls of one tenant that name another's things, for every route of the document (S9, S10)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.support.probe import Route
from tests.support.workspaces import Tenant

MARKED: Final = "theriseunion.io/probe"
KINDS: Final[Mapping[str, str]] = {"configmaps": "ConfigMap", "secrets": "Secret", "pods": "Pod"}
ROWS: Final = (
    ("core", "v1", "configmaps"),
    ("core", "v1", "namespaces"),
    ("scope.theriseunion.io", "v1alpha1", "workspaces"),
    ("app.theriseunion.io", "v1alpha1", "applicationdeployments"),
    ("iam.theriseunion.io", "v1alpha1", "iamrolebindings"),
    ("iam.theriseunion.io", "v1alpha1", "users"),
)


def paths(route: Route, theirs: Tenant) -> Iterator[str]:
    """With their names wherever one fits."""
    namespace = theirs.namespaces[0]
    if "/rows/" in route.path:
        yield from (route.path.format(group=g, version=v, resource=r) for g, v, r in ROWS)
        return
    names = {theirs.workspace, theirs.user, namespace, theirs.binding} if "{name}" in route.path else {""}
    for resource in KINDS if "{resource}" in route.path else ("",):
        for name in sorted(names):
            filled = {"group": "apps", "version": "v1", "cluster": "host", "namespace": namespace}
            filled |= {"name": name, "resource": resource, "id": "0" * 32, "user": theirs.user}
            yield route.path.format_map(filled)


def queries(route: Route, theirs: Tenant, marker: str) -> Iterator[Mapping[str, str]]:
    """None at all, then each parameter by which a list could be led to what is theirs."""
    yield {}
    if route.method != "GET" or "{name}" in route.path or route.expected == "public":
        return
    namespace = theirs.namespaces[0]
    yield {"scope": f"workspace/{theirs.workspace}"}
    yield {"scope": f"namespace/{namespace}", "namespace": namespace}
    yield {"labelSelector": f"{MARKED}={marker}"}
    yield {
        "q": theirs.workspace,
        "name": theirs.workspace,
        "user": theirs.user,
        "workspace": theirs.workspace,
    }
    yield (
        {"q": marker, "cluster": "*"}
        if "/rows/" in route.path
        else {"fieldSelector": f"metadata.name={namespace}"}
    )


def body_of(route: Route, theirs: Tenant, path: str, schemas: Mapping[str, Any]) -> dict[str, Any]:
    """headers and body of a call that would do harm if it were let through."""
    if route.method in ("GET", "DELETE"):
        return {}
    namespace = theirs.namespaces[0]
    if route.expected == "rights":
        question = {"verb": "list", "group": "", "resource": "pods"}
        subject = {"kind": "User", "name": theirs.user}
        return {"json": {"scope": f"namespace/{namespace}", "action": question, "subject": subject}}
    if path.endswith("/password"):
        return {"json": {"newPassword": "Qwer!1234-probe"}}
    if path.endswith("/oauthclients"):
        return {"json": {"id": "probe", "grants": ["client_credentials"], "user": theirs.user}}
    if path.endswith("/me/kubeconfigs") or route.expected == "public":
        return {"json": {"name": "x" * 100}}
    if route.method == "PATCH":
        headers = {"Content-Type": "application/merge-patch+json"}
        return {"headers": headers, "data": json.dumps({"metadata": {"labels": {"stolen": "yes"}}})}
    name = path.removesuffix("/status").rpartition("/")[2] if "{name}" in route.path else theirs.workspace
    return {"json": _typed(route, path, schemas, {"name": name, "labels": {"stolen": "yes"}}, namespace)}


def _typed(
    route: Route, path: str, schemas: Mapping[str, Any], metadata: dict[str, Any], namespace: str
) -> dict[str, Any]:
    """An object that says what it is, so that it is not refused for that."""
    named = route.operation.get("x-edge-kind")
    if named is not None:
        kind = next(one["x-edge-kind"] for key, one in schemas.items() if key == named)
        group, version = kind["group"], kind["version"]
        head = {"apiVersion": f"{group}/{version}" if group else version, "kind": kind["kind"]}
    else:
        resource = next((part for part in path.split("/") if part in KINDS), "configmaps")
        head = {"apiVersion": "v1" if "/api/" in path else "apps/v1", "kind": KINDS[resource]}
    if "{namespace}" in route.path:
        metadata = {**metadata, "namespace": namespace}
    return {**head, "metadata": metadata, "spec": {}}
