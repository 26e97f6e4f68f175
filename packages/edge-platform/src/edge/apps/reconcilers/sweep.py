"""Clears what deployments left in a cluster that was away when they were deleted (R7)."""

from edge.apps.sitework import clear, inventories
from edge.apps.types import ApplicationDeployment
from edge_kube.errors import ClusterUnavailable
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.sites import Sites


class AppSweep:
    """Looks at one member cluster; a place whose deployment is gone from the host is cleared there."""

    def __init__(self, sites: Sites, cache: Reader, client: Writer) -> None:
        self._sites = sites
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        if request.name not in self._sites.names:
            return DONE
        try:
            async with self._sites.open(request.name) as site:
                for inventory in list(inventories(site)):
                    if await self._is_gone(inventory.deployment, inventory.namespace):
                        await clear(site, inventory)
        except ClusterUnavailable:
            return DONE  # the next resync asks again
        return DONE

    async def _is_gone(self, name: str, namespace: str) -> bool:
        """Asked live when the cache knows it not: an empty cache must not clear a cluster."""
        if self._cache.get(ApplicationDeployment, name, namespace) is not None:
            return False
        return await self._client.find(ApplicationDeployment, name, namespace) is None
