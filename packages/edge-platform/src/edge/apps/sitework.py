"""Work in one cluster: carries out the steps of a place, and clears one. Shared by the room's loops."""

from collections.abc import Iterator, Sequence
from typing import Final

import structlog

from edge.apps.plan import Inventory, PlaceSteps, Ref, inventory_name, read_inventory
from edge.apps.render import PLACEMENT_LABEL
from edge_kube.core import ConfigMap, DaemonSet, Deployment, Namespace, Pod, Service, StatefulSet
from edge_kube.errors import AlreadyExists
from edge_kube.meta import Manifest, ObjectMeta, Resource, kind_of
from edge_kube.runtime import Writer
from edge_sdk.provisioner import Deployed, Topology, Version
from edge_sdk.sites import Site

FIELD_MANAGER: Final = "edge-appstore"
KINDS: Final[tuple[type[Resource], ...]] = (Deployment, StatefulSet, DaemonSet, Service, ConfigMap)
"""What a place is made of; all of it is watched, so that what is deleted or changed there comes back."""

log = structlog.stdlib.get_logger("edge.apps")


class NameTaken(Exception):
    """An object of the wanted name is there and is not this place's; it is never taken over."""

    def __init__(self, ref: Ref, namespace: str) -> None:
        super().__init__(
            f"{ref.kind} {namespace}/{ref.name} is there already and belongs to something else; remove it, "
            "or give the workload or the deployment's namespace another name"
        )


def inventory_of(site: Site, placement: str, namespace: str) -> Inventory | None:
    found = site.get(ConfigMap, inventory_name(placement), namespace)
    return read_inventory(found) if found is not None else None


def inventories(site: Site) -> Iterator[Inventory]:
    """All places of all deployments in this cluster."""
    for config_map in site.list(ConfigMap):
        inventory = read_inventory(config_map)
        if inventory is not None:
            yield inventory


def observe(site: Site, placement: str, version: Version, topology: Topology, name: str) -> Deployed:
    """What a plugin is shown of a place."""

    def mine(obj: Resource) -> bool:
        return obj.metadata.labels.get(PLACEMENT_LABEL) == placement

    namespace = topology.namespace
    return Deployed(
        namespace=namespace,
        name=name,
        version=version,
        topology=topology,
        workloads=(
            *filter(mine, site.list(Deployment, namespace)),
            *filter(mine, site.list(StatefulSet, namespace)),
            *filter(mine, site.list(DaemonSet, namespace)),
        ),
        pods=tuple(filter(mine, site.list(Pod, namespace))),
    )


async def carry_out(site: Site, steps: PlaceSteps, placement: str, namespace: str) -> None:
    """Raises NameTaken, ApiError. Safe to be cut off anywhere: the inventory is ahead of what it lists."""
    if steps.before is not None:
        await _ensure_namespace(site.writer, namespace)
        await site.writer.apply(steps.before, manager=FIELD_MANAGER)
    for manifest in steps.apply:
        await _put(site, manifest, placement)
    for ref in steps.remove:
        await remove(site, ref, placement, namespace)
    if steps.after is not None:
        await site.writer.apply(steps.after, manager=FIELD_MANAGER)


async def clear(site: Site, inventory: Inventory, keep: Sequence[Ref] = ()) -> None:
    """Remove what a place holds, last made first, then the record of it. keep: stays, without a record."""
    for ref in reversed(inventory.objects):
        if ref not in keep:
            await remove(site, ref, inventory.placement, inventory.namespace)
    name = inventory_name(inventory.placement)
    await site.writer.delete(ConfigMap, name, inventory.namespace)
    log.info("placement_cleared", placement=inventory.placement, deployment=inventory.deployment)


async def remove(site: Site, ref: Ref, placement: str, namespace: str) -> None:
    """Remove one object, if it is still the place's own. Asked live: the copy may be behind."""
    cls = class_of(ref)
    live = await site.writer.find(cls, ref.name, namespace)
    if live is not None and live.metadata.labels.get(PLACEMENT_LABEL) == placement:
        await site.writer.delete(cls, ref.name, namespace, uid=live.metadata.uid)


def class_of(ref: Ref) -> type[Resource]:
    for cls in KINDS:
        kind = kind_of(cls)
        if (kind.api_version, kind.kind) == (ref.api_version, ref.kind):
            return cls
    raise LookupError(f"{ref} is of no kind that places are made of")


async def _put(site: Site, manifest: Manifest, placement: str) -> None:
    """Apply what is ours; make what is not there. A stranger's object of that name is left alone."""
    ref = Ref(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
    namespace = manifest["metadata"]["namespace"]
    cls = class_of(ref)
    known = site.get(cls, ref.name, namespace)
    if known is None:
        # The copy shows labelled objects only, and may be behind: only the server knows whether it is free.
        known = await site.writer.find(cls, ref.name, namespace)
    if known is not None and known.metadata.labels.get(PLACEMENT_LABEL) != placement:
        raise NameTaken(ref, namespace)
    applied = await site.writer.apply(manifest, manager=FIELD_MANAGER)
    if applied.result != "unchanged":
        log.info("object_applied", object=str(ref), namespace=namespace, result=applied.result)


async def _ensure_namespace(writer: Writer, namespace: str) -> None:
    """A member may lack the deployment's namespace. It is made and stays: others may have moved in since."""
    if await writer.find(Namespace, namespace) is not None:
        return
    try:
        await writer.create(Namespace(metadata=ObjectMeta(name=namespace)), manager=FIELD_MANAGER)
    except AlreadyExists:
        return
