"""Nodes that come, change or return: they are brought to what the groups of their cluster want (N1)."""

from edge.nodes.plan import plan_nodes
from edge.nodes.reconcilers.keeping import carry_out, groups_of, host_named
from edge_kube.core import Node
from edge_kube.errors import ClusterUnavailable
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.scopes import HOST
from edge_sdk.sites import Sites


class HostNode:
    """One node of the host cluster."""

    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        node = self._cache.get(Node, request.name)
        if node is not None:
            plans = plan_nodes(groups_of(self._cache, HOST), [node])
            await carry_out(self._client, plans, HOST)
        return DONE


class ClusterNodes:
    """All nodes of one member cluster: after a change there, and when the cluster is back.

    This also clears what groups left that were deleted while the cluster was away (R7).
    """

    def __init__(self, sites: Sites, cache: Reader, client: Writer) -> None:
        del client  # a member is written through its site
        self._sites = sites
        self._cache = cache

    async def reconcile(self, request: Request) -> Result:
        if host_named(self._cache, request.name):
            return DONE
        try:
            async with self._sites.open(request.name) as site:
                plans = plan_nodes(groups_of(self._cache, request.name), site.list(Node))
                await carry_out(site.writer, plans, request.name)
        except ClusterUnavailable:
            return DONE  # the next resync asks again; the cluster's own status says that it is away
        return DONE
