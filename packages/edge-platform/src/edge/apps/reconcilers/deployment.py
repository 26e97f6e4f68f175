"""Brings an ApplicationDeployment to its topologies, each on its own, and takes it away again (A1, A5)."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeVar

import structlog

from edge.apps.placement import Placement, expand
from edge.apps.places import PlaceWork
from edge.apps.plan import Inventory
from edge.apps.provisioning import Plugins
from edge.apps.resolution import settle
from edge.apps.rules import provisioner_of, versions_of
from edge.apps.settings import AppsSettings
from edge.apps.sitework import clear, inventories
from edge.apps.status import STOPPED, Settled, deferred, deployment_status, failed, place_status
from edge.apps.types import Application, ApplicationDeployment, ApplicationVersion, TopologyStatus
from edge.apps.world import world_of
from edge_kube.conditions import rfc3339
from edge_kube.errors import ClusterUnavailable, Conflict, KubeError, NotLeader
from edge_kube.ownership import drop_finalizer, ensure_finalizer
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.scopes import FINALIZER, HOST
from edge_sdk.sites import HostSite, Site, Sites

LOOK_AGAIN_S: Final = 5.0
CLUSTERS_AT_ONCE: Final = 16
FAREWELL_S: Final = 5.0

T = TypeVar("T")

log = structlog.stdlib.get_logger("edge.apps")


class DeploymentReconciler:
    def __init__(
        self,
        sites: Sites,
        plugins: Plugins,
        settings: AppsSettings,
        cache: Reader,
        client: Writer,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sites = sites
        self._settings = settings
        self._cache = cache
        self._client = client
        self._clock = clock
        self._work = PlaceWork(plugins, cache)

    async def reconcile(self, request: Request) -> Result:
        """One deployment. A topology that fails, and a cluster that is away, hold up no other."""
        deployment = self._cache.get(ApplicationDeployment, request.name, request.namespace)
        if deployment is None:
            return await self._clear_orphans(request)
        if deployment.metadata.deletion_timestamp:
            return await self._remove(deployment)
        deployment = await ensure_finalizer(self._client, deployment, FINALIZER)
        application = self._cache.get(Application, deployment.spec.application)
        versions = versions_of(deployment.spec.application, self._cache.list(ApplicationVersion))
        review_required = self._settings.review.required
        settled = settle(deployment, application, versions, review_required=review_required)
        if settled.version is None or application is None:
            statuses: Sequence[TopologyStatus] = deployment.status.topology_statuses
        else:
            statuses = await self._deploy(deployment, application, settled)
        status = deployment_status(deployment, settled, statuses, rfc3339(self._clock()))
        # What a topology lacks (a version, a group, a cluster) is not watched for it: it is looked for.
        waits = settled.version is None or any(one.phase in STOPPED for one in statuses)
        return Result(status=status, after_s=LOOK_AGAIN_S if waits else None)

    async def _deploy(
        self, deployment: ApplicationDeployment, application: Application, settled: Settled
    ) -> Sequence[TopologyStatus]:
        version = settled.version
        if version is None:
            return ()
        provisioner = provisioner_of(application, version)
        places = expand(deployment, world_of(self._cache, deployment.metadata.namespace))
        job = _Job(deployment, version, provisioner, places)
        clusters = {*(place.topology.cluster for place in places), HOST, *self._sites.names}
        limit = asyncio.Semaphore(CLUSTERS_AT_ONCE)
        found = await _all(self._deploy_in(cluster, job, limit) for cluster in clusters)
        states = {placement: status for part in found for placement, status in part.items()}
        return [states[place.id] for place in places]

    async def _deploy_in(
        self, cluster: str, job: "_Job", limit: asyncio.Semaphore
    ) -> dict[str, TopologyStatus]:
        """The deployment's places of one cluster, by id. Trouble of the cluster is told for them alone."""
        own = [place for place in job.places if place.topology.cluster == cluster]
        found: dict[str, TopologyStatus] = {}
        try:
            async with limit, self._open(cluster) as site:
                for place in own:
                    state = await self._work.bring(site, job.deployment, job.version, job.provisioner, place)
                    found[place.id] = place_status(place, state)
                await self._work.prune(site, job.deployment, job.places)
        except ClusterUnavailable as away:
            before = {one.placement: one for one in job.deployment.status.topology_statuses}
            found |= {place.id: deferred(place, before.get(place.id), away.why) for place in own}
        except (NotLeader, Conflict):
            raise
        except (KubeError, TimeoutError) as error:
            found |= {place.id: failed(place, error) for place in own if place.id not in found}
        return found

    async def _remove(self, deployment: ApplicationDeployment) -> Result:
        """Clear every cluster that answers; one that does not is cleared by the sweep on its return (R7)."""
        if FINALIZER not in deployment.metadata.finalizers:
            return DONE
        await self._clear_in(HOST, deployment)
        await _all(self._say_farewell(name, deployment) for name in self._sites.names)
        await drop_finalizer(self._client, deployment, FINALIZER)
        return DONE

    async def _say_farewell(self, cluster: str, deployment: ApplicationDeployment) -> None:
        """A member gets a few seconds, whatever is wrong with it: what it lists stays known to the sweep."""
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._clear_in(cluster, deployment)
        except NotLeader:
            raise
        except (KubeError, TimeoutError) as error:
            log.warning("cluster_left_for_later", cluster=cluster, error=str(error) or "no answer in time")

    async def _clear_orphans(self, request: Request) -> Result:
        """Clear the host of a deployment that is gone: removed by force, or faster than our view of it."""
        site = HostSite(self._cache, self._client)
        left = [one for one in inventories(site) if (one.namespace, one.deployment) == request.key]
        if left and await self._client.find(ApplicationDeployment, request.name, request.namespace) is None:
            for inventory in left:
                await clear(site, inventory)
        return DONE

    async def _clear_in(self, cluster: str, deployment: ApplicationDeployment) -> None:
        async with self._open(cluster) as site:
            for inventory in list(inventories(site)):
                if _is_of(inventory, deployment):
                    await clear(site, inventory, await self._work.kept(site, deployment, inventory))

    @asynccontextmanager
    async def _open(self, cluster: str) -> AsyncGenerator[Site]:
        if cluster == HOST:
            yield HostSite(self._cache, self._client)
            return
        async with self._sites.open(cluster) as site:
            yield site


class _Job(NamedTuple):
    """What is to be done in every cluster."""

    deployment: ApplicationDeployment
    version: ApplicationVersion
    provisioner: str
    places: Sequence[Placement]


async def _all(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Results of work done side by side. All of it has ended when the first error goes up."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def _is_of(inventory: Inventory, deployment: ApplicationDeployment) -> bool:
    meta = deployment.metadata
    return (inventory.namespace, inventory.deployment) == (meta.namespace, meta.name)
