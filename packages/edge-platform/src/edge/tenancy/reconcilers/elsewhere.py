"""Namespaces of workspaces in member clusters: they hold a workspace, and have shares of its quota (I15)."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from edge.iam.facts import home_of
from edge.iam.scope import HOST
from edge.tenancy.ground import SiteGround
from edge.tenancy.limits import Told, out_of_reach
from edge.tenancy.plan import owner_of, released
from edge.tenancy.reconcilers.quota import QuotaKeeper
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace
from edge_kube.errors import ClusterUnavailable, KubeError, NotLeader
from edge_kube.meta import Key
from edge_kube.runtime import DONE, Request, Result
from edge_sdk.sites import Sites

ANSWER_S: Final = 6.0
"""How long one member may take; one that is away holds up nothing (R7, C9)."""
CLUSTERS_AT_ONCE: Final = 16

log = structlog.stdlib.get_logger("edge.tenancy")


class Elsewhere:
    """sites: the member clusters; None where there are none."""

    def __init__(self, sites: Sites | None) -> None:
        self._sites = sites

    async def namespaces_of(self, workspace: Workspace) -> dict[str, Sequence[str]]:
        """Namespaces by cluster, of the members that answer.

        A workspace lies in one cluster. One that is going is looked for in all of them: a label left behind
        would give the namespace to the next workspace of that name.
        """
        limit = asyncio.Semaphore(CLUSTERS_AT_ONCE)

        async def look(cluster: str) -> Sequence[str]:
            async with limit:
                return await self._in(cluster, workspace.metadata.name)

        clusters = self._clusters(workspace)
        found = await asyncio.gather(*map(look, clusters))
        return {cluster: names for cluster, names in zip(clusters, found, strict=True) if names}

    async def release(self, held: Mapping[str, Sequence[str]]) -> None:
        """Take the label off. Raises what went wrong: the workspace stays until it is done."""
        for cluster, names in held.items():
            if self._sites is None:
                return
            async with self._sites.open(cluster) as site:
                for name in names:
                    await site.writer.merge(Namespace, Key("", name), released(name))
                    log.info("namespace_released", cluster=cluster, namespace=name)

    async def keep_quota(self, workspace: Workspace, keeper: QuotaKeeper) -> Told:
        """Take the next step in the cluster that the workspace is in. Raises as `QuotaKeeper.keep`."""
        name, home = workspace.metadata.name, home_of(workspace.metadata)
        if self._sites is None:
            return out_of_reach(workspace, home, "no member cluster is known")
        try:
            async with asyncio.timeout(ANSWER_S), self._sites.open(home) as site:
                mine = [one for one in site.list(Namespace) if owner_of(one) == name]
                return await keeper.keep(workspace, mine, SiteGround(home, site))
        except (ClusterUnavailable, TimeoutError) as error:
            return out_of_reach(workspace, home, str(error) or "no answer in time")

    async def clear_quota(self, request: Request, keeper: QuotaKeeper) -> Result:
        """Take away the shares of a workspace in a cluster that it is not in, once that answers."""
        if self._sites is not None:
            try:
                async with self._sites.open(request.cluster) as site:
                    await keeper.clear(request.name, SiteGround(request.cluster, site))
            except ClusterUnavailable:
                return Result(park=request.cluster)
        return DONE

    def _clusters(self, workspace: Workspace) -> Sequence[str]:
        if self._sites is None:
            return ()
        if workspace.metadata.deletion_timestamp:
            return tuple(self._sites.names)
        own = home_of(workspace.metadata)
        return () if own == HOST else (own,)

    async def _in(self, cluster: str, workspace: str) -> Sequence[str]:
        if self._sites is None:
            return ()
        try:
            async with asyncio.timeout(ANSWER_S), self._sites.open(cluster) as site:
                return [one.metadata.name for one in site.list(Namespace) if owner_of(one) == workspace]
        except NotLeader:
            raise
        except (KubeError, TimeoutError) as error:
            log.debug("cluster_not_asked", cluster=cluster, error=str(error) or "no answer in time")
            return ()
