"""Installing the kinds of rooms into a test cluster."""

import asyncio
from collections.abc import Iterable

from edge_kube.client import Client
from edge_kube.conditions import is_true
from edge_kube.core import CustomResourceDefinition
from edge_kube.crd import crd_of
from edge_kube.errors import NotFound
from edge_kube.meta import Resource, kind_of

_BUILT_IN = ("", "apps", "batch")
_WITHIN_S = 120.0


def is_custom(cls: type[Resource]) -> bool:
    """Whether the kind needs a CRD: the groups of Kubernetes itself have no dot or end in k8s.io."""
    group = kind_of(cls).group
    return group not in _BUILT_IN and not group.endswith(".k8s.io")


async def install(client: Client, kinds: Iterable[type[Resource]]) -> None:
    """Apply the CRDs and wait until objects of each kind are served. Raises TimeoutError."""
    wanted = [cls for cls in kinds if is_custom(cls)]
    async with asyncio.timeout(_WITHIN_S), asyncio.TaskGroup() as group:
        for cls in wanted:
            group.create_task(_install(client, cls))


async def _install(client: Client, cls: type[Resource]) -> None:
    manifest = crd_of(cls)
    await client.apply(manifest, manager="edge-harness")
    name = manifest["metadata"]["name"]
    while not await _is_served(client, cls, name):  # noqa: ASYNC110 - the change is at the server, not here
        await asyncio.sleep(0.05)


async def _is_served(client: Client, cls: type[Resource], name: str) -> bool:
    if not is_true((await client.get(CustomResourceDefinition, name)).status.conditions, "Established"):
        return False
    # Established says that the server may serve the kind, not that its handler is there already.
    try:
        await client.list(cls)
    except NotFound:
        return False
    return True
