"""Carries out plans for nodes; shared by the loops of this room."""

from collections.abc import Sequence

import msgspec
import structlog

from edge.clusters.types import Cluster
from edge.nodes.plan import NodePlan
from edge.nodes.rules import cluster_of
from edge.nodes.types import APPLIED_TAINTS_ANNOTATION, NodeGroup
from edge_kube.core import Node
from edge_kube.errors import Conflict
from edge_kube.meta import Key, Manifest
from edge_kube.runtime import Reader, Writer
from edge_sdk.scopes import is_host

NODE_MANAGER = "edge-nodegroup"

log = structlog.stdlib.get_logger("edge.nodes")


def host_named(cache: Reader, name: str) -> bool:
    """Whether a cluster's name means the host."""
    cluster = cache.get(Cluster, name) if name else None
    return is_host(name, cluster.metadata.labels if cluster else {})


def groups_of(cache: Reader, cluster: str) -> list[NodeGroup]:
    """All groups of a cluster; the host has several names."""
    host = host_named(cache, cluster)
    return [
        group
        for group in cache.list(NodeGroup)
        if (name := cluster_of(group)) == cluster or (host and host_named(cache, name))
    ]


async def carry_out(writer: Writer, plans: Sequence[NodePlan], cluster: str) -> None:
    """Node by node; one that changed meanwhile is left to the next look, so that it holds up no other."""
    for plan in plans:
        try:
            if plan.taints is not None:
                await writer.merge(Node, Key("", plan.name), _taint_patch(plan), rv=plan.resource_version)
                log.info("node_tainted", cluster=cluster, node=plan.name, taints=plan.taints.record)
            if plan.manifest is not None:
                applied = await writer.apply(plan.manifest, manager=NODE_MANAGER)
                if applied.result != "unchanged":
                    log.info("node_labelled", cluster=cluster, node=plan.name)
        except Conflict:
            log.debug("node_changed_meanwhile", cluster=cluster, node=plan.name)


def _taint_patch(plan: NodePlan) -> Manifest:
    """Taints and the record of ours in one write: neither is ever there without the other."""
    if plan.taints is None:
        return {}
    return {
        "metadata": {"annotations": {APPLIED_TAINTS_ANNOTATION: plan.taints.record or None}},
        "spec": {"taints": [msgspec.to_builtins(taint) for taint in plan.taints.taints]},
    }
