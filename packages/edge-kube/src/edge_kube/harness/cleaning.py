"""Removing what tests made, as the namespace controller and the owners of finalizers would in the end."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from edge_kube.client import Client
from edge_kube.errors import ApiError, Conflict, NotFound
from edge_kube.meta import Key, Kind, Manifest, Resource, key_of, kind_of
from edge_kube.transport import Call

_CONTENT: Sequence[Kind] = [
    Kind(group, version, "", plural, True)
    for group, version, plurals in (
        ("", "v1", ("configmaps", "secrets", "serviceaccounts", "pods", "resourcequotas")),
        ("", "v1", ("limitranges", "persistentvolumeclaims", "events")),
        ("apps", "v1", ("deployments", "statefulsets", "daemonsets", "replicasets")),
        ("batch", "v1", ("jobs",)),
        ("coordination.k8s.io", "v1", ("leases",)),
        ("events.k8s.io", "v1", ("events",)),
        ("networking.k8s.io", "v1", ("networkpolicies",)),
        ("rbac.authorization.k8s.io", "v1", ("roles", "rolebindings")),
    )
    for plural in plurals
]
_NOW = msgspec.json.encode(
    {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Background"}
)


Keeps = Callable[[Resource], bool]


def nothing(_: Resource) -> bool:
    return False


async def remove_all(client: Client, cls: type[Resource], keeps: Keeps = nothing) -> None:
    """Delete all objects of a kind but those to be kept, finalizers or not."""
    kind, found = kind_of(cls), await client.list(cls)
    leaving = [obj for obj in found if not keeps(obj)]
    if len(leaving) == len(found):
        for namespace in {obj.metadata.namespace for obj in found}:
            await _delete_collection(client, kind, namespace)
    else:
        await asyncio.gather(*(client.delete(cls, *reversed(key_of(obj))) for obj in leaving))
    held = (key_of(obj) for obj in leaving if obj.metadata.finalizers)
    await asyncio.gather(*(_let_go(client, cls, key) for key in held))


async def _let_go(client: Client, cls: type[Resource], key: Key) -> None:
    with suppress(NotFound, Conflict):
        await client.merge(cls, key, {"metadata": {"finalizers": None}})


async def empty_namespace(client: Client, name: str) -> None:
    """Delete the content of a namespace that is being deleted, and finish it."""
    await asyncio.gather(*(_delete_collection(client, kind, name) for kind in _CONTENT))
    services = Kind("", "v1", "Service", "services", True)
    for service in await client.read_all(services, name):
        await client.delete(services, service["metadata"]["name"], name)
    body: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {}}
    call = Call("PUT", f"/api/v1/namespaces/{name}/finalize", body=msgspec.json.encode(body), limited=False)
    try:
        await client.transport.request(call)
    except (NotFound, Conflict):
        return


async def _delete_collection(client: Client, kind: Kind, namespace: str) -> None:
    try:
        await client.transport.request(Call("DELETE", kind.path(namespace), body=_NOW, limited=False))
    except ApiError as error:
        if error.status not in {404, 405}:
            raise
