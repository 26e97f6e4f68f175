"""What a cluster's nodes carry because of its node groups, and what a group reports (N1). Pure.

All groups of a cluster are planned together: a node can be in several, and one writer owns what they set.
The older group wins where two want another value for one key; the younger is told.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from edge.nodes.rules import TaintText, granted_to, is_member, is_ready, labelled_group, parse_taints
from edge.nodes.types import APPLIED_TAINTS_ANNOTATION, PRIMARY_ANNOTATION, NodeGroup, NodeGroupStatus
from edge_kube.core import Node, Taint
from edge_kube.meta import Condition, Manifest, Model
from edge_sdk.scopes import (
    GRANTED_WORKSPACES_ANNOTATION,
    NODE_COUNT_ANNOTATION,
    NODE_GROUP_LABEL,
    NODE_GROUP_MEMBER_PREFIX,
    READY_NODE_COUNT_ANNOTATION,
)

NAMES_SHOWN: Final = 5
GRANTS: Final = "GrantsValid"


class Clash(Model):
    """A younger group wants another value than an older one for the same key of a node."""

    node: str
    key: str
    winner: str
    loser: str


class Wanted(Model):
    """What one node carries because of groups: the whole of it, since an apply of ours replaces the last."""

    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    taints: tuple[TaintText, ...] = ()
    clashes: tuple[Clash, ...] = ()


class TaintPlan(Model):
    """A node's new taints, and the record of which are ours; written together or not at all."""

    taints: tuple[Taint, ...]
    record: str


class NodePlan(Model):
    """Steps for one node. manifest: to be applied by manager edge-nodegroup."""

    name: str
    resource_version: str
    manifest: Manifest | None = None
    taints: TaintPlan | None = None


def wanted_on(node: Node, groups: Iterable[NodeGroup]) -> Wanted:
    """Merge the templates of the groups that the node belongs to, oldest first."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    taints: dict[tuple[str, str], TaintText] = {}
    owner: dict[str, str] = {}
    clashes: list[Clash] = []

    def put(target: dict[str, str], path: str, key: str, value: str, group: str) -> None:
        if target.setdefault(key, value) == value:
            owner.setdefault(f"{path}{key}", group)
        else:
            winner = owner[f"{path}{key}"]
            clashes.append(Clash(node=node.metadata.name, key=f"{path}{key}", winner=winner, loser=group))

    members = [group for group in by_age(groups) if is_member(group, node)]
    for group in members:
        name = group.metadata.name
        labels[f"{NODE_GROUP_MEMBER_PREFIX}{name}"] = ""
        for key, value in group.spec.template.labels.items():
            put(labels, "label ", key, value, name)
        for key, value in group.spec.template.annotations.items():
            put(annotations, "annotation ", key, value, name)
        for taint in parse_taints(group.spec.template.taints):
            have = taints.setdefault((taint.key, taint.effect), taint)
            path = f"taint {taint.key}:{taint.effect}"
            if have == taint:
                owner.setdefault(path, name)
            else:
                clashes.append(Clash(node=node.metadata.name, key=path, winner=owner[path], loser=name))
    if members and not labelled_group(node):
        # A label that a person set stays theirs; ours is marked, or it would make the node a member forever.
        primary = members[0].metadata.name
        labels[NODE_GROUP_LABEL] = annotations[PRIMARY_ANNOTATION] = primary
    return Wanted(
        labels=labels, annotations=annotations, taints=tuple(taints.values()), clashes=tuple(clashes)
    )


def plan_nodes(groups: Sequence[NodeGroup], nodes: Iterable[Node]) -> tuple[NodePlan, ...]:
    """Steps for every node that is not yet as the groups of its cluster want it."""
    plans = (plan_node(node, wanted_on(node, groups)) for node in nodes)
    return tuple(plan for plan in plans if plan.manifest is not None or plan.taints is not None)


def plan_node(node: Node, wanted: Wanted) -> NodePlan:
    """Labels and annotations by apply (leaving one out takes it away), taints by a new list.

    A node that carries nothing of ours and is to carry nothing is left alone.
    """
    manifest = None
    if wanted.labels or wanted.annotations or bears_ours(node):
        metadata: Manifest = {"name": node.metadata.name, "uid": node.metadata.uid}
        if wanted.labels:
            metadata["labels"] = dict(wanted.labels)
        if wanted.annotations:
            metadata["annotations"] = dict(wanted.annotations)
        manifest = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
    taints = plan_taints(node, wanted.taints)
    return NodePlan(
        name=node.metadata.name,
        resource_version=node.metadata.resource_version,
        manifest=manifest,
        taints=taints,
    )


def bears_ours(node: Node) -> bool:
    """Whether an apply of ours is still on the node; each one leaves a membership label."""
    return PRIMARY_ANNOTATION in node.metadata.annotations or any(
        label.startswith(NODE_GROUP_MEMBER_PREFIX) for label in node.metadata.labels
    )


def plan_taints(node: Node, wanted: Sequence[TaintText]) -> TaintPlan | None:
    """The node's new taints, or None when they are right.

    Taints that we did not set stay, and one that was there before us, equal to what a group wants, stays
    its setter's: it is not recorded, so that it is not taken away when the node leaves the group.
    """
    record = node.metadata.annotations.get(APPLIED_TAINTS_ANNOTATION, "")
    ours = {(taint.key, taint.effect) for taint in parse_taints(tuple(record.split(",")))}
    have = {(taint.key, taint.effect): taint.value for taint in node.spec.taints}
    values = {(taint.key, taint.effect): taint.value for taint in wanted}
    kept = tuple(
        taint
        for taint in node.spec.taints
        if values.get((taint.key, taint.effect), taint.value) == taint.value
        and ((taint.key, taint.effect) not in ours or (taint.key, taint.effect) in values)
    )
    missing = [taint for taint in wanted if have.get((taint.key, taint.effect)) != taint.value]
    new = tuple(Taint(key=taint.key, value=taint.value, effect=taint.effect) for taint in missing)
    set_by_us = [taint for taint in wanted if taint in missing or (taint.key, taint.effect) in ours]
    new_record = ",".join(sorted(str(taint) for taint in set_by_us))
    if not new and len(kept) == len(node.spec.taints) and new_record == record:
        return None
    return TaintPlan(taints=(*kept, *new), record=new_record)


def counts(group: NodeGroup, nodes: Iterable[Node]) -> dict[str, str]:
    """The two annotations that the printed columns show."""
    members = [node for node in nodes if is_member(group, node)]
    return {
        NODE_COUNT_ANNOTATION: str(len(members)),
        READY_NODE_COUNT_ANNOTATION: str(sum(is_ready(node) for node in members)),
    }


def status_of(group: NodeGroup, groups: Sequence[NodeGroup], nodes: Sequence[Node]) -> NodeGroupStatus:
    """Active, or Degraded when an older group has another value for a key that this one wants."""
    clashes = [
        clash
        for node in nodes
        if is_member(group, node)
        for clash in wanted_on(node, groups).clashes
        if clash.loser == group.metadata.name
    ]
    degraded = _degraded(group.metadata.name, clashes)
    members = sum(is_member(group, node) for node in nodes)
    message = "" if members else "no node is in the group; check spec.selector or label nodes"
    ready = Condition(
        type="Ready", status="True", reason="InPlace" if members else "NoNodes", message=message
    )
    return NodeGroupStatus(
        phase="Degraded" if clashes else "Active",
        observed_generation=group.metadata.generation,
        conditions=(ready, degraded),
    )


def grants_condition(group: NodeGroup, workspaces: Collection[str]) -> Condition | None:
    """Whether the workspaces that the group is granted to are there; None where it is granted to all."""
    names = granted_to(group)
    if names is None:
        return None
    unknown = [name for name in names if name not in workspaces]
    if unknown:
        return Condition(
            type=GRANTS,
            status="False",
            reason="UnknownWorkspace",
            message=f"the group is granted to workspaces that are not there: {', '.join(unknown)}; create "
            f"them, or take them out of annotation {GRANTED_WORKSPACES_ANNOTATION}",
        )
    if not names:
        message = f"annotation {GRANTED_WORKSPACES_ANNOTATION} is empty: no application may use the group"
        return Condition(type=GRANTS, status="True", reason="GrantedToNobody", message=message)
    return Condition(type=GRANTS, status="True", reason="Granted", message=", ".join(names))


def unreachable_status(group: NodeGroup, cluster: str, why: str, *, known: bool) -> NodeGroupStatus:
    """Status while the group's cluster cannot be asked; nothing on its nodes changes meanwhile (C9)."""
    do = (
        "it goes on by itself when the cluster answers again"
        if known
        else f"create the Cluster, or correct the group's label scope.theriseunion.io/cluster ({cluster})"
    )
    condition = Condition(
        type="Ready",
        status="False",
        reason="ClusterOffline" if known else "UnknownCluster",
        message=f"cluster {cluster} {why}; {do}",
    )
    return NodeGroupStatus(
        phase="Offline" if known else "Degraded",
        observed_generation=group.metadata.generation,
        conditions=(condition,),
    )


def by_age(groups: Iterable[NodeGroup]) -> list[NodeGroup]:
    """Oldest first; of one second, by name."""
    return sorted(groups, key=lambda group: (group.metadata.creation_timestamp, group.metadata.name))


def _degraded(group: str, clashes: Sequence[Clash]) -> Condition:
    if not clashes:
        return Condition(type="Degraded", status="False", reason="NoConflict")
    shown = "; ".join(
        f"{clash.key} on node {clash.node} is set by older group {clash.winner}"
        for clash in clashes[:NAMES_SHOWN]
    )
    more = f"; and {len(clashes) - NAMES_SHOWN} more" if len(clashes) > NAMES_SHOWN else ""
    message = f"{shown}{more}. Take the key out of {group} or out of the other group."
    return Condition(type="Degraded", status="True", reason="TemplateConflict", message=message)
