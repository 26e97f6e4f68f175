"""Keeps the templates of node groups on the nodes of the host and of member clusters (N1)."""

import asyncio

import msgspec
import structlog

from edge.clusters.types import Cluster
from edge.nodes.plan import counts, grants_condition, plan_nodes, status_of, unreachable_status
from edge.nodes.reconcilers.keeping import carry_out, groups_of, host_named
from edge.nodes.rules import cluster_of
from edge.nodes.types import NodeGroup, NodeGroupStatus
from edge.tenancy.types import Workspace
from edge_kube.core import Node
from edge_kube.errors import ClusterUnavailable, KubeError, NotLeader
from edge_kube.meta import kind_of
from edge_kube.ownership import drop_finalizer, ensure_finalizer
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.scopes import FINALIZER
from edge_sdk.sites import HostSite, Site, Sites

FIELD_MANAGER = "edge-nodes"
LOOK_AGAIN_S = 5.0
FAREWELL_S = 5.0

log = structlog.stdlib.get_logger("edge.nodes")


class NodeGroupReconciler:
    def __init__(self, sites: Sites, cache: Reader, client: Writer) -> None:
        self._sites = sites
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        """One group. All groups of its cluster are merged, since a node may be in several.

        A cluster that does not answer stops nothing: status says so, and a deleted group goes at once; what
        it left on nodes is taken away by ClusterNodes when the cluster is back (R7).
        """
        group = self._cache.get(NodeGroup, request.name)
        if group is None:
            return DONE
        group = await ensure_finalizer(self._client, group, FINALIZER)
        cluster = cluster_of(group)
        if group.metadata.deletion_timestamp:
            return await self._give_back(group, cluster)
        again_in_s = None
        try:
            status = await self._keep(group, cluster)
        except ClusterUnavailable as away:
            again_in_s = LOOK_AGAIN_S
            known = self._cache.get(Cluster, cluster) is not None
            status = unreachable_status(group, cluster, away.why or "does not answer", known=known)
        grants = grants_condition(group, {one.metadata.name for one in self._cache.list(Workspace)})
        if grants is not None:
            status = msgspec.structs.replace(status, conditions=(*status.conditions, grants))
        return Result(status=status, after_s=again_in_s)

    async def _give_back(self, group: NodeGroup, cluster: str) -> Result:
        """A member gets a few seconds, whatever is wrong with it; the host is waited for."""
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._keep(group, cluster)
        except NotLeader:
            raise
        except (KubeError, TimeoutError) as error:
            if host_named(self._cache, cluster):
                raise
            log.warning("cluster_left_for_later", cluster=cluster, error=str(error) or "no answer in time")
        await drop_finalizer(self._client, group, FINALIZER)
        return DONE

    async def _keep(self, group: NodeGroup, cluster: str) -> NodeGroupStatus:
        if host_named(self._cache, cluster):
            return await self._keep_in(HostSite(self._cache, self._client), group)
        async with self._sites.open(cluster) as site:
            return await self._keep_in(site, group)

    async def _keep_in(self, site: Site, group: NodeGroup) -> NodeGroupStatus:
        groups, nodes = groups_of(self._cache, cluster_of(group)), site.list(Node)
        await carry_out(site.writer, plan_nodes(groups, nodes), cluster_of(group))
        await self._count(group, counts(group, nodes))
        return status_of(group, groups, nodes)

    async def _count(self, group: NodeGroup, wanted: dict[str, str]) -> None:
        if group.metadata.deletion_timestamp or wanted.items() <= group.metadata.annotations.items():
            return
        metadata = {"name": group.metadata.name, "uid": group.metadata.uid, "annotations": wanted}
        kind = kind_of(NodeGroup)
        manifest = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        await self._client.apply(manifest, manager=FIELD_MANAGER)
