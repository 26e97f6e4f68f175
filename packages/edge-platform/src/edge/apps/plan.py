"""Steps that bring one place to what is wanted, and those that clear it (A1, A5). Pure.

An inventory, a ConfigMap beside the objects, says what was made there. It is written before an object is
made and shortened after one is gone, so that a controller killed between any two lines leaves nothing that
the next one does not know of; and it is found by label, so that no record has to survive in the host.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from edge.apps.placement import Placement
from edge.apps.render import DEPLOYMENT_LABEL, PLACEMENT_LABEL, owner_labels, pod_labels
from edge.apps.types import ApplicationDeployment, ApplicationVersion
from edge_kube.core import ConfigMap
from edge_kube.meta import Manifest, Model
from edge_sdk.provisioner import Topology
from edge_sdk.scopes import OWNER_UID_LABEL

INVENTORY_LABEL: Final = "app.theriseunion.io/inventory"


class Ref(NamedTuple):
    """One object of a place."""

    api_version: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}/{self.name}"


class Inventory(Model):
    """What was made in one place, by whom, from which version."""

    placement: str
    namespace: str
    deployment: str
    owner_uid: str
    version_name: str
    topology: Topology
    objects: tuple[Ref, ...] = ()


class PlaceSteps(Model):
    """In this order: write `before`, apply, remove, write `after`. before and after are None when equal."""

    before: Manifest | None = None
    apply: tuple[Manifest, ...] = ()
    remove: tuple[Ref, ...] = ()
    after: Manifest | None = None


def refs_of(manifests: Sequence[Manifest]) -> tuple[Ref, ...]:
    return tuple(Ref(obj["apiVersion"], obj["kind"], obj["metadata"]["name"]) for obj in manifests)


def plan_place(
    deployment: ApplicationDeployment,
    version: ApplicationVersion,
    place: Placement,
    manifests: Sequence[Manifest],
    inventory: Inventory | None,
) -> PlaceSteps:
    """Everything wanted is applied on every look; the writer leaves out what still stands as it was sent."""
    wanted = refs_of(manifests)
    have = inventory.objects if inventory else ()
    stale = tuple(ref for ref in have if ref not in wanted)
    union = (*wanted, *stale)
    version_name = version.metadata.name
    changed = inventory is None or (
        (inventory.version_name, inventory.owner_uid, set(have))
        != (version_name, deployment.metadata.uid, set(union))
    )
    return PlaceSteps(
        before=inventory_manifest(deployment, version_name, place, union) if changed else None,
        apply=tuple(manifests),
        remove=stale[::-1],
        after=inventory_manifest(deployment, version_name, place, wanted) if stale else None,
    )


def inventory_name(placement: str) -> str:
    return f"edge-placement-{placement}"


def inventory_manifest(
    deployment: ApplicationDeployment, version_name: str, place: Placement, objects: Sequence[Ref]
) -> Manifest:
    topology = place.topology
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": inventory_name(place.id),
            "namespace": topology.namespace,
            "labels": {
                **pod_labels(place, deployment),
                **owner_labels(deployment),
                INVENTORY_LABEL: "",
            },
        },
        "data": {
            "version": version_name,
            "topology": json.dumps(
                {
                    "cluster": topology.cluster,
                    "nodeGroup": topology.node_group,
                    "nodeName": topology.node_name,
                }
            ),
            "objects": "\n".join(str(ref) for ref in objects),
        },
    }


def read_inventory(config_map: ConfigMap) -> Inventory | None:
    """None for a ConfigMap that is no inventory of ours."""
    labels = config_map.metadata.labels
    if INVENTORY_LABEL not in labels or PLACEMENT_LABEL not in labels:
        return None
    place = _topology_text(config_map.data.get("topology", ""))
    lines = config_map.data.get("objects", "").splitlines()
    return Inventory(
        placement=labels[PLACEMENT_LABEL],
        namespace=config_map.metadata.namespace,
        deployment=labels.get(DEPLOYMENT_LABEL, ""),
        owner_uid=labels.get(OWNER_UID_LABEL, ""),
        version_name=config_map.data.get("version", ""),
        topology=Topology(
            namespace=config_map.metadata.namespace,
            cluster=place.get("cluster", ""),
            node_group=place.get("nodeGroup", ""),
            node_name=place.get("nodeName", ""),
        ),
        objects=tuple(_ref(line) for line in lines if line.count("/") >= 2),
    )


def _topology_text(text: str) -> Mapping[str, str]:
    """Nothing for a text that somebody spoiled: the objects can still be cleared by their names."""
    try:
        return msgspec.json.decode(text.encode(), type=dict[str, str])
    except msgspec.DecodeError:
        return {}


def _ref(line: str) -> Ref:
    api_version, kind, name = line.rsplit("/", 2)
    return Ref(api_version, kind, name)
