"""From the topologies a person wrote to the places that are worked on, one by one (A5). Pure.

A place is known by (cluster, node group, node), never by its index: re-ordering topologies changes nothing.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from edge.apps.types import ApplicationDeployment, WorkloadOverride
from edge.apps.types import Topology as WrittenTopology
from edge.clusters.types import Cluster
from edge.nodes.rules import is_granted
from edge.nodes.types import NodeGroup
from edge_kube.meta import Model
from edge_sdk.provisioner import Topology
from edge_sdk.scopes import CLUSTER_LABEL, GRANTED_WORKSPACES_ANNOTATION, HOST, is_host
from edge_sdk.selectors import selects

NOT_GRANTED: Final = "NodeGroupNotGranted"


class Placement(Model):
    """One place. reason and message are set when it cannot be worked on as it is written.

    barred: node groups of its cluster that its workspace was not granted, for a place that names no group:
    its pods stay off their nodes (I18).
    """

    id: str
    index: int
    topology: Topology
    override: WorkloadOverride | UnsetType = UNSET
    taints: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()
    reason: str = ""
    message: str = ""


class World(Model):
    """What a deployment's topologies may name. workspace: of its namespace, "" outside of any."""

    groups: Mapping[str, NodeGroup] = {}
    clusters: Mapping[str, Cluster] = {}
    workspace: str = ""


def expand(deployment: ApplicationDeployment, world: World) -> tuple[Placement, ...]:
    """All places of a deployment, in the order of its topologies; a selector's clusters by name."""
    places: list[Placement] = []
    seen: dict[str, int] = {}
    for index, written in enumerate(deployment.spec.topologies):
        for place in _places(deployment, index, written, world):
            if place.id in seen:
                place = _stopped(
                    place,
                    "DuplicateTopology",
                    f"spec.topologies[{index}] names the same place as spec.topologies[{seen[place.id]}]; "
                    "remove one of them",
                )
                place = msgspec.structs.replace(place, id=f"{place.id}-{index}")
            seen.setdefault(place.id, index)
            places.append(place)
    return tuple(places)


def placement_id(namespace: str, name: str, topology: Topology) -> str:
    """Stable for as long as the deployment names the place; also after a restore from a backup."""
    text = "\0".join((namespace, name, topology.cluster, topology.node_group, topology.node_name))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _places(
    deployment: ApplicationDeployment, index: int, written: WrittenTopology, world: World
) -> Iterator[Placement]:
    group = world.groups.get(written.node_group)
    for cluster, reason, message in _clusters(written, group, world):
        topology = Topology(
            namespace=deployment.metadata.namespace,
            cluster=cluster,
            node_group=written.node_group,
            node_name=written.node_name,
        )
        place = Placement(
            id=placement_id(deployment.metadata.namespace, deployment.metadata.name, topology),
            index=index,
            topology=topology,
            override=written.workload_override,
            taints=group.spec.template.taints if group else (),
            barred=() if group else _barred(cluster, world),
        )
        yield _stopped(place, reason, f"spec.topologies[{index}]: {message}") if reason else place


def _clusters(
    written: WrittenTopology, group: NodeGroup | None, world: World
) -> Iterator[tuple[str, str, str]]:
    """(cluster, reason, message) of each cluster the topology means; reason "" where all is well."""
    if written.node_group and (group is None or group.metadata.deletion_timestamp):
        known = _names(world.groups)
        why = "is being deleted" if group else "does not exist"
        message = f'node group "{written.node_group}" {why}; there is {known}'
        yield written.cluster, "UnknownNodeGroup", message
        return
    if written.cluster_selector is not UNSET:
        selector = written.cluster_selector
        found = [
            name for name, one in sorted(world.clusters.items()) if selects(selector, one.metadata.labels)
        ]
        if not found:
            yield HOST, "NoClusterSelected", "no Cluster has the labels of clusterSelector; label one"
        for name in found:
            yield _one(name, group, world)
        return
    home = group.metadata.labels.get(CLUSTER_LABEL, "") if group else ""
    cluster, reason, message = _one(written.cluster or home, group, world)
    if group and not reason and not is_granted(group, world.workspace):
        reason, message = NOT_GRANTED, not_granted(group.metadata.name, world.workspace)
    yield cluster, reason, message


def not_granted(group: str, workspace: str) -> str:
    who = f'workspace "{workspace}"' if workspace else "namespaces outside of any workspace"
    return (
        f'node group "{group}" is not granted to {who}; name another group, or have an administrator of the '
        f"group add it to annotation {GRANTED_WORKSPACES_ANNOTATION}. What runs there already stays as it is"
    )


def _barred(cluster: str, world: World) -> tuple[str, ...]:
    """Groups of a cluster that the workspace was not granted."""
    return tuple(
        name
        for name, group in sorted(world.groups.items())
        if not is_granted(group, world.workspace) and _home(group, world) == cluster
    )


def _home(group: NodeGroup, world: World) -> str:
    """The cluster of a group as places name it: the host has several names."""
    name = group.metadata.labels.get(CLUSTER_LABEL, "")
    known = world.clusters.get(name)
    return HOST if is_host(name, known.metadata.labels if known else {}) else name


def _one(name: str, group: NodeGroup | None, world: World) -> tuple[str, str, str]:
    cluster = world.clusters.get(name)
    home = group.metadata.labels.get(CLUSTER_LABEL, "") if group else name
    if group and home != name:
        message = (
            f'node group "{group.metadata.name}" belongs to {_called(home)}, not to {_called(name)}; '
            "leave cluster out, or name a group of that cluster"
        )
        return name, "NodeGroupElsewhere", message
    if is_host(name, cluster.metadata.labels if cluster else {}):
        return HOST, "", ""
    if cluster is None:
        return name, "UnknownCluster", f'cluster "{name}" does not exist; there is {_names(world.clusters)}'
    if cluster.metadata.deletion_timestamp:
        return name, "ClusterDeleting", f'cluster "{name}" is being deleted; take the topology out'
    return name, "", ""


def _called(cluster: str) -> str:
    return f'cluster "{cluster}"' if cluster else "the host cluster"


def _names(objects: Mapping[str, object]) -> str:
    names = sorted(objects)
    shown = ", ".join(names[:10]) or "none"
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown


def _stopped(place: Placement, reason: str, message: str) -> Placement:
    return msgspec.structs.replace(place, reason=reason, message=message)
