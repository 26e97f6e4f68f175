"""What a deployment reports: each place alone, then all of them together (A5, A10, P8). Pure."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from edge.apps.placement import Placement
from edge.apps.rules import Choice
from edge.apps.types import (
    ApplicationDeployment,
    ApplicationDeploymentStatus,
    ApplicationVersion,
    HistoryEntry,
    Resolution,
    StatusTopology,
    TopologyStatus,
)
from edge_kube.meta import Condition, Model
from edge_sdk.provisioner import ProvisionStatus

HISTORY_KEPT: Final = 10
HISTORY_TOPOLOGIES: Final = 20
MESSAGE_LIMIT: Final = 400
NAMED: Final = 3
STOPPED: Final = ("Failed", "Deferred")


class Settled(Model):
    """What spec.version came to.

    version: what runs; it may be an earlier one, while `choice` says why the wanted one cannot be had.
    resolution: to be recorded; None keeps the record there is. newer: a version offered, not taken.
    """

    choice: Choice
    version: ApplicationVersion | None = None
    resolution: Resolution | None = None
    newer: str = ""


def place_status(place: Placement, state: ProvisionStatus) -> TopologyStatus:
    """One entry of topologyStatuses, without the override: 500 entries must fit into one object."""
    topology = place.topology
    return TopologyStatus(
        topology=StatusTopology(node_group=topology.node_group, node_name=topology.node_name),
        topology_index=place.index,
        cluster=topology.cluster,
        placement=place.id,
        phase=state.phase,
        reason=state.reason,
        message=_cut(state.message),
        replicas=state.replicas,
        ready_replicas=state.ready_replicas,
        nodes=state.nodes,
        workload_name=state.workload_name,
    )


def deferred(place: Placement, before: TopologyStatus | None, why: str) -> TopologyStatus:
    """A place whose cluster is away: what was last seen of it, marked as such (C9)."""
    message = f"cluster {place.topology.cluster} does not answer ({why}); it is brought up to date on return"
    state = ProvisionStatus(phase="Deferred", reason="ClusterOffline", message=message)
    now = place_status(place, state)
    if before is None:
        return now
    return msgspec.structs.replace(
        now, replicas=before.replicas, nodes=before.nodes, workload_name=before.workload_name
    )


def failed(place: Placement, error: Exception) -> TopologyStatus:
    """A place whose cluster gave an unexpected answer; it is tried again."""
    message = f"the cluster answered: {error or 'nothing in time'}; it is tried again"
    return place_status(place, ProvisionStatus(phase="Failed", reason="ApiError", message=message))


def deployment_status(
    deployment: ApplicationDeployment, settled: Settled, places: Sequence[TopologyStatus], now: str
) -> ApplicationDeploymentStatus:
    """The whole status. now: RFC 3339, used for a new history entry only."""
    total = sum(place.replicas for place in places if place.replicas is not UNSET)
    ready = sum(place.ready_replicas for place in places if place.ready_replicas is not UNSET)
    phase, reason, message = summary(deployment, settled, places)
    version = settled.version
    return ApplicationDeploymentStatus(
        application=deployment.spec.application,
        application_version=version.spec.version if version else "",
        application_version_name=version.metadata.name if version else "",
        observed_generation=deployment.metadata.generation,
        resolution=settled.resolution or deployment.status.resolution,
        phase=phase,
        message=_cut(message),
        ready_status=f"{ready}/{total}",
        total_replicas=total,
        ready_replicas=ready,
        workload_count=len(places),
        ready_workload_count=sum(place.phase == "Ready" for place in places),
        topology_statuses=tuple(places),
        history=history(deployment, settled, now),
        conditions=(
            Condition(
                type="Ready",
                status="True" if phase == "Ready" else "False",
                reason=reason,
                message=message if phase != "Ready" else "",
            ),
            _resolved(settled),
            _update_available(settled),
        ),
    )


def summary(
    deployment: ApplicationDeployment, settled: Settled, places: Sequence[TopologyStatus]
) -> tuple[str, str, str]:
    """(phase, reason, message) of the whole. A place that fails names itself; the others go on."""
    if settled.version is None:
        return "Failed", settled.choice.reason, settled.choice.message
    if not deployment.spec.topologies:
        return "Pending", "NoTopologies", "spec.topologies is empty; name a node group, a node or a cluster"
    stopped = [place for place in places if place.phase in STOPPED]
    if stopped:
        failed = [place for place in stopped if place.phase == "Failed"]
        first = (failed or stopped)[:NAMED]
        told = "; ".join(f"{where(place)}: {place.message}" for place in first)
        more = f"; and {len(stopped) - len(first)} more" if len(stopped) > len(first) else ""
        phase = "Failed" if len(failed) == len(places) else "Degraded"
        return phase, first[0].reason, f"{len(stopped)} of {len(places)} topologies stand still: {told}{more}"
    if all(place.phase == "Ready" for place in places):
        return "Ready", "AllTopologiesReady", ""
    waiting = [where(place) for place in places if place.phase != "Ready"]
    shown = ", ".join(waiting[:NAMED]) + (" …" if len(waiting) > NAMED else "")
    reasons = {place.reason for place in places if place.phase == "Pending"}
    reason = "Progressing" if len(reasons) != 1 else reasons.pop()
    return "Progressing", reason, f"waiting for {len(waiting)} of {len(places)} topologies: {shown}"


def where(place: TopologyStatus) -> str:
    parts = (
        ("cluster", place.cluster),
        ("node group", place.topology.node_group),
        ("node", place.topology.node_name),
    )
    named = ", ".join(f"{word} {name}" for word, name in parts if name)
    return f"topology {place.topology_index} ({named or 'host cluster'})"


def history(deployment: ApplicationDeployment, settled: Settled, now: str) -> tuple[HistoryEntry, ...]:
    """A new first entry when the version changes; the newest ten are kept."""
    before = deployment.status.history
    old = deployment.status.application_version
    if settled.version is None or settled.version.spec.version == old:
        return before
    topologies = deployment.spec.topologies
    shown = topologies if len(topologies) <= HISTORY_TOPOLOGIES else ()
    entry = HistoryEntry(
        application=deployment.spec.application,
        from_version=old,
        to_version=settled.version.spec.version,
        reason="VersionChanged" if old else "Deployed",
        timestamp=now,
        message=f"spec.version is {deployment.spec.version}",
        workload_count=len(topologies),
        topologies=tuple(StatusTopology(node_group=t.node_group, node_name=t.node_name) for t in shown),
    )
    return (entry, *before)[:HISTORY_KEPT]


def _resolved(settled: Settled) -> Condition:
    choice = settled.choice
    message = choice.message
    if settled.version is not None and choice.version is None:
        message = f"{choice.message} (version {settled.version.spec.version} goes on running)"
    status = "True" if choice.version is not None else "False"
    return Condition(type="Resolved", status=status, reason=choice.reason, message=message)


def _update_available(settled: Settled) -> Condition:
    if not settled.newer:
        return Condition(type="UpdateAvailable", status="False", reason="NewestInUse")
    return Condition(
        type="UpdateAvailable",
        status="True",
        reason="NewerVersion",
        message=f"version {settled.newer} may be deployed; put any new text into spec.upgradeRequest for it",
    )


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_LIMIT else f"{text[: MESSAGE_LIMIT - 1]}…"
