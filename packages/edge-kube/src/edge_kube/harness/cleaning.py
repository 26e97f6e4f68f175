"""Removing what tests made, as the namespace controller and the owners of finalizers would in the end."""

import asyncio
from collections.abc import Sequence

import msgspec

from edge_kube.client import Client
from edge_kube.errors import ApiError, Conflict, NotFound
from edge_kube.meta import Key, Kind, Manifest, Resource, key_of
from edge_kube.transport import Call

_CONTENT: Sequence[tuple[str, str]] = (
    *(("v1", name) for name in ("configmaps", "secrets", "serviceaccounts", "pods", "resourcequotas")),
    *(("v1", name) for name in ("limitranges", "persistentvolumeclaims", "events")),
    *(("apps/v1", name) for name in ("deployments", "statefulsets", "daemonsets", "replicasets")),
    ("batch/v1", "jobs"),
    ("coordination.k8s.io/v1", "leases"),
    ("events.k8s.io/v1", "events"),
    ("networking.k8s.io/v1", "networkpolicies"),
    ("rbac.authorization.k8s.io/v1", "roles"),
    ("rbac.authorization.k8s.io/v1", "rolebindings"),
)
_NOW = msgspec.json.encode(
    {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Background"}
)


async def remove_all(client: Client, cls: type[Resource]) -> None:
    """Delete all objects of a kind, finalizers or not."""
    for obj in await client.list(cls):
        await _remove(client, cls, key_of(obj), held=bool(obj.metadata.finalizers))


async def _remove(client: Client, cls: type[Resource], key: Key, *, held: bool) -> None:
    try:
        await client.delete(cls, key.name, key.namespace)
        if held:
            await client.merge(cls, key, {"metadata": {"finalizers": None}})
    except (NotFound, Conflict):
        return


async def empty_namespace(client: Client, name: str) -> None:
    """Delete the content of a namespace that is being deleted, and finish it."""
    await asyncio.gather(*(_delete_collection(client, where, plural, name) for where, plural in _CONTENT))
    services = Kind("", "v1", "Service", "services", True)
    for service in await client.read_all(services, name):
        await client.delete(services, service["metadata"]["name"], name)
    body: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {}}
    call = Call("PUT", f"/api/v1/namespaces/{name}/finalize", body=msgspec.json.encode(body), limited=False)
    try:
        await client.transport.request(call)
    except (NotFound, Conflict):
        return


async def _delete_collection(client: Client, api_version: str, plural: str, namespace: str) -> None:
    group, _, version = api_version.rpartition("/")
    path = Kind(group, version, "", plural, True).path(namespace)
    try:
        await client.transport.request(Call("DELETE", path, body=_NOW, limited=False))
    except ApiError as error:
        if error.status not in {404, 405}:
            raise
