"""What a Cluster's status says, worked out from what was seen. Pure.

`Ready` is what a user waits for: the API server answers, wanted workers are nodes, runtime and components
are there. DistributionExact and VersionExact only tell; they do not make a cluster less ready (R27).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec import structs

from edge.clusters import rules
from edge.clusters.engines import Engine, Wish
from edge.clusters.manifests import Child, child_name
from edge.clusters.plan import Obstacle, Plan, Seen, component_children, runtime_children
from edge.clusters.ports import MemberView
from edge.clusters.types import (
    Cluster,
    ClusterStatus,
    DistributionStatus,
    Endpoints,
)
from edge.components.types import Component
from edge_kube.conditions import condition, is_true
from edge_kube.meta import Condition

MISSED_PERIODS = 4


@dataclass(frozen=True, slots=True)
class Outlook:
    """alive: the cluster answers, or did so a moment ago."""

    alive: bool
    member: MemberView | None


def outlook(member: MemberView | None, now_s: float, period_s: float) -> Outlook:
    """A cluster counts as gone after four periods of silence: 40 s by default (C9)."""
    if member is None:
        return Outlook(alive=False, member=None)
    fresh = member.ok_at > 0 and now_s - member.ok_at < MISSED_PERIODS * period_s
    return Outlook(alive=member.ok or fresh, member=member)


def virtual_status(
    cluster: Cluster,
    wish: Wish,
    choice: rules.VersionChoice,
    seen: Seen,
    plan: Plan,
    look: Outlook,
    endpoints: Endpoints,
) -> ClusterStatus:
    """Status of a virtual cluster that is being made or kept."""
    plane = _plane(seen, plan, look)
    reachable = _reachable(look)
    runtime = _children("EdgeRuntimeReady", "ensureEdgeRuntime", runtime_children(cluster), cluster, seen)
    parts = _children("ComponentsReady", "ensureComponents", component_children(cluster), cluster, seen)
    ready = _ready((plane, reachable, _workers(wish, look), _connected(cluster, plan), runtime, parts))
    conditions = (ready, plane, reachable, runtime, parts, *exactness(wish.engine, wish.distribution, choice))
    return structs.replace(
        _facts(cluster.status, look),
        conditions=conditions,
        phase=_phase(cluster, ready, plane, reachable),
        distribution=distribution_status(cluster, wish.engine),
        network=wish.network,
        endpoints=endpoints,
        datastore=wish.store,
    )


def stopped_status(cluster: Cluster, obstacle: Obstacle, extra: Iterable[Condition] = ()) -> ClusterStatus:
    """Status of a cluster that cannot be made before something changes."""
    ready = Condition(type="Ready", status="False", reason=obstacle.reason, message=obstacle.message)
    phase = "Degraded" if obstacle.stalled else "Pending"
    return structs.replace(cluster.status, conditions=(ready, *extra), phase=phase)


def leaving_status(cluster: Cluster, message: str) -> ClusterStatus:
    ready = Condition(type="Ready", status="False", reason="Deleting", message=message)
    return structs.replace(cluster.status, conditions=(ready,), phase="Deleting")


def physical_status(cluster: Cluster, look: Outlook, obstacle: Obstacle | None) -> ClusterStatus:
    """Status of a joined cluster."""
    if obstacle is not None:
        reachable = _false("Reachable", obstacle.reason, obstacle.message)
    else:
        reachable = _reachable(look)
    ready = _ready((reachable,))
    phase = "Ready" if ready.status == "True" else "Offline" if cluster.status.uid else "Pending"
    facts = _facts(cluster.status, look) if obstacle is None else cluster.status
    return structs.replace(facts, conditions=(ready, reachable), phase=phase)


def exactness(engine: Engine, distribution: str, choice: rules.VersionChoice) -> tuple[Condition, Condition]:
    """Whether what was asked for is what serves (R27)."""
    if engine.served == distribution:
        kind = _true("DistributionExact", "AsRequested", f"{distribution} serves.")
    else:
        message = (
            f"{distribution} was requested; engine {engine.engine} serves {engine.served}. "
            "Set spec.engine: vcluster for upstream's own distribution."
        )
        kind = _false("DistributionExact", "DistributionSubstituted", message)
    make = _true if choice.exact else _false
    return kind, make("VersionExact", choice.reason, choice.message)


def distribution_status(cluster: Cluster, engine: Engine) -> DistributionStatus:
    return DistributionStatus(
        requested=rules.distribution_of(cluster),
        served=engine.served,
        requested_version=cluster.spec.version,
        engine=engine.engine,
        chart=engine.chart,
        chart_version=engine.chart_version,
    )


def _plane(seen: Seen, plan: Plan, look: Outlook) -> Condition:
    if look.alive:
        return _true("ControlPlaneReady", "ApiServerReady", "The API server answers.")
    if plan.obstacle is not None:
        return _false("ControlPlaneReady", plan.obstacle.reason, f"ensureVCluster: {plan.obstacle.message}")
    component = seen.component
    if component is None:
        return _false(
            "ControlPlaneReady", "Preparing", "ensureVCluster: keys, addresses and rights are made."
        )
    told = condition(component.status.conditions, "Ready")
    if told is None or told.status != "True":
        what = f"{told.reason}: {told.message}" if told else "not yet looked at"
        name = f"{component.metadata.namespace}/{component.metadata.name}"
        reason = told.reason if told and told.reason else "Installing"
        return _false("ControlPlaneReady", reason, f"ensureVCluster: Component {name}: {what}")
    why = look.member.why if look.member else "it was not asked yet"
    return _false("ControlPlaneReady", "Starting", f"ensureVCluster: the API server is not ready: {why}")


def _reachable(look: Outlook) -> Condition:
    if look.alive:
        return _true("Reachable", "Answered", "The API server answered within the last 40 s.")
    member = look.member
    if member is None:
        return Condition(
            type="Reachable", status="Unknown", reason="NotYetAsked", message="The cluster was not asked yet."
        )
    reason = {401: "Unauthorized", 403: "Forbidden"}.get(member.code, "Offline")
    return _false("Reachable", reason, f"The API server gave no good answer: {member.why}")


def _workers(wish: Wish, look: Outlook) -> Condition:
    nodes = look.member.nodes if look.member else ()
    ready = sum(1 for node in nodes if node.nested and node.ready)
    if ready >= wish.workers:
        return _true("Workers", "Joined", f"{ready} of {wish.workers} nested workers are ready.")
    message = f"{ready} of {wish.workers} nested workers are ready nodes."
    return _false("Workers", "WaitingForWorkers", message)


def _connected(cluster: Cluster, plan: Plan) -> Condition:
    if plan.obstacle is not None:
        return _false("Connected", plan.obstacle.reason, f"ensureVCluster: {plan.obstacle.message}")
    if cluster.spec.connection.kubeconfig:
        return _true("Connected", "Written", "spec.connection.kubeconfig is written.")
    return _false("Connected", "WaitingForConnection", "spec.connection.kubeconfig is not written yet.")


def _children(type_: str, step: str, children: Sequence[Child], cluster: Cluster, seen: Seen) -> Condition:
    if not children:
        return _true(type_, "NotRequested", "None is asked for.")
    for child in children:
        name = child_name(cluster.metadata.name, child.chart)
        found = (seen.children or {}).get(name)
        if found is None or not is_true(found.status.conditions, "Ready"):
            return _false(type_, "Installing", f"{step}: {_told(name, found)}")
    return _true(type_, "Installed", f"{len(children)} Components are Ready.")


def _told(name: str, component: Component | None) -> str:
    told = condition(component.status.conditions, "Ready") if component is not None else None
    return (
        f"Component {name}: {told.reason}: {told.message}" if told else f"Component {name} is not ready yet."
    )


def _ready(needs: Sequence[Condition]) -> Condition:
    missing = next((one for one in needs if one.status != "True"), None)
    if missing is None:
        return _true("Ready", "Ready", "The cluster can be used.")
    return _false("Ready", missing.reason, missing.message)


def _phase(cluster: Cluster, ready: Condition, plane: Condition, reachable: Condition) -> str:
    if ready.status == "True":
        return "Ready"
    was_up = bool(cluster.status.uid)
    if was_up and reachable.status != "True":
        return "Offline"
    return (
        "Degraded"
        if was_up and plane.status == "True" and cluster.status.phase == "Ready"
        else (cluster.status.phase if cluster.status.phase == "Degraded" else "Provisioning")
    )


def _facts(before: ClusterStatus, look: Outlook) -> ClusterStatus:
    """Facts of the cluster; while it is silent the last ones stay."""
    member = look.member
    if member is None or not member.ok:
        return before
    zones = tuple(sorted({node.zone for node in member.nodes if node.zone}))
    regions = sorted({node.region for node in member.nodes if node.region})
    return structs.replace(
        before,
        kubernetes_version=member.version,
        node_count=len(member.nodes),
        uid=member.uid,
        zones=zones,
        region=regions[0] if regions else "",
    )


def _true(type_: str, reason: str, message: str) -> Condition:
    return Condition(type=type_, status="True", reason=reason, message=message)


def _false(type_: str, reason: str, message: str) -> Condition:
    return Condition(type=type_, status="False", reason=reason, message=message)
