"""A workspace with a quota, and tenants who make things in its namespaces until they are refused."""

import asyncio
import time

import msgspec

from edge.tenancy.limits import QUOTA_NAME
from edge.tenancy.types import Workspace
from edge_kube.core import ConfigMap, ResourceQuota
from edge_kube.errors import Conflict, Forbidden
from edge_kube.harness import Kube
from edge_kube.meta import Condition, ObjectMeta
from edge_kube.runtime import condition

OBJECTS = "count/configmaps"
LABEL = "theriseunion.io/workspace"


def team(
    quota: dict[str, str], *namespaces: str, name: str = "team", labels: dict[str, str] | None = None
) -> Workspace:
    template = {"namespaces": list(namespaces), "resourceQuotas": quota}
    meta = {"name": name, "labels": labels or {}}
    return msgspec.convert({"metadata": meta, "spec": {"template": template}}, Workspace)


async def enforced(kube: Kube, namespace: str, resource: str, at_least: int, within_s: float = 60) -> None:
    await kube.eventually(
        ResourceQuota,
        QUOTA_NAME,
        lambda one: int(one.status.hard.get(resource, "0")) >= at_least,
        namespace=namespace,
        within_s=within_s,
    )


async def told(kube: Kube, reason: str, name: str = "team", within_s: float = 60) -> Condition:
    def holds(one: Workspace) -> bool:
        found = condition(one.status.conditions, "WithinQuota")
        return found is not None and found.reason == reason

    live = await kube.eventually(Workspace, name, holds, within_s=within_s)
    found = condition(live.status.conditions, "WithinQuota")
    assert found is not None
    return found


async def note(kube: Kube, namespace: str, name: str) -> bool:
    """Make one ConfigMap; whether the quota let it in."""
    wanted = ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace))
    async with asyncio.timeout(60):
        while True:
            try:
                await kube.client.create(wanted, manager="tenant")
            except Forbidden as refusal:
                if "exceeded quota" in refusal.message or "status unknown" in refusal.message:
                    return False
                raise
            except Conflict:
                # The API server counts with compare-and-swap, tries three times, and tells the client to try
                # again.
                await asyncio.sleep(0.02)
            else:
                return True


async def noted(kube: Kube, namespace: str, name: str) -> float:
    """As somebody who tries again; seconds until the quota let it in."""
    began = time.monotonic()
    while not await note(kube, namespace, name):
        assert time.monotonic() < began + 60, await kube.list(ResourceQuota)
        await asyncio.sleep(0.02)
    return time.monotonic() - began
