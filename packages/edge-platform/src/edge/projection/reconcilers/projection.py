"""Brings one unit of one cluster in order, or looks for what no unit wants any more."""

import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from edge.clusters.types import Cluster
from edge.iam.projection import Projection, Unit
from edge.iam.scope import HOST
from edge.projection.ground import Ground, HostGround, SiteGround
from edge.projection.objects import Binding, is_as_named, unit_of
from edge.projection.plan import Steps, plan_unit, unused_roles
from edge.projection.requests import (
    SURVEY,
    SWEEP,
    in_requests,
    is_of_object,
    request_of,
    role_in,
    unit_in,
)
from edge_kube.core import ClusterRole
from edge_kube.errors import AlreadyExists, NotFound
from edge_kube.runtime import DONE, Reader, Request, Result, Waiting, Writer
from edge_sdk.scopes import is_host
from edge_sdk.sites import HostSite, Sites

MANAGER: Final = "edge-projection"
ANCHOR: Final = "kube-system"
KEPT_S: Final = 30.0
"""A role without bindings is kept so long: the binding that needs it may be on its way."""

Wake = Callable[[Request], None]

log = structlog.stdlib.get_logger("edge.projection")


class ProjectionReconciler:
    def __init__(
        self,
        projection: Projection,
        sites: Sites,
        wake: Wake,
        cache: Reader,
        client: Writer,
        *,
        kept_s: float = KEPT_S,
    ) -> None:
        """projection: an index that is fed already. wake: puts a request into the queue of this loop."""
        self._projection = projection
        self._sites = sites
        self._wake = wake
        self._cache = cache
        self._host = HostGround(HostSite(cache, client), cache)
        self._kept_s = kept_s
        self._used: dict[tuple[str, str], float] = {}
        self._shrunk: dict[str, float] = {}
        self._going: set[tuple[str, str]] = set()

    async def reconcile(self, request: Request) -> Result:
        if is_of_object(request):
            return self._survey_all() if request.name == ANCHOR else DONE
        if not self._is_there(request.cluster):
            return DONE
        async with self._ground(request.cluster) as ground:
            if request.name == SWEEP:
                return await self._sweep(request.cluster, ground)
            if request.name == SURVEY:
                return self._survey(request, ground)
            if role := role_in(request):
                return self._look_after(role, request.cluster, ground)
            await self._bring_in_order(unit_in(request), ground)
        return DONE

    # -- what wakes what -------------------------------------------------------------------------------------

    def _survey_all(self) -> Result:
        for cluster in ("", *self._sites.names):
            self._wake(Request(SURVEY, cluster=cluster))
        return DONE

    def _survey(self, request: Request, ground: Ground) -> Result:
        cluster = request.cluster or HOST
        units = set(self._projection.units_in(cluster))
        units |= {Unit(cluster, scope) for one in ground.bindings() if (scope := unit_of(one, cluster))}
        for unit in units:
            self._wake(request_of(unit))
        self._wake(Request(SWEEP, cluster=request.cluster))
        return DONE

    def _look_after(self, role: str, cluster: str, ground: Ground) -> Result:
        live = ground.role(role)
        if live is None or not is_as_named(live):
            for one in ground.bindings():
                if one.role_ref.name == role and (scope := unit_of(one, cluster or HOST)):
                    self._wake(Request(scope, cluster=cluster))
        return DONE

    # -- one unit --------------------------------------------------------------------------------------------

    async def _bring_in_order(self, unit: Unit, ground: Ground) -> None:
        projection, cluster = self._projection, in_requests(unit.cluster)
        wanted = projection.wanted(unit)
        names = [(cluster, name) for name in wanted.roles]
        if not self._going.isdisjoint(names):
            raise Waiting("an unused role is being deleted that is wanted again", 0.2)
        self._used.update(dict.fromkeys(names, time.monotonic()))
        steps = plan_unit(unit, wanted, projection.sources(unit), ground.role, ground.bindings_of(unit))
        await _carry_out(steps, ground.writer)
        if steps.first_gone or steps.then_gone:
            self._shrunk[cluster] = time.monotonic()
            self._wake(Request(SWEEP, cluster=cluster))

    async def _sweep(self, cluster: str, ground: Ground) -> Result:
        """Deletes bindings of no unit, and roles long unwanted; comes again for the others."""
        now = time.monotonic()
        young = now - self._shrunk.get(cluster, -self._kept_s) < self._kept_s
        await _delete([one for one in ground.bindings() if not unit_of(one, cluster or HOST)], ground.writer)
        for role in unused_roles(ground.roles(), ground.bindings()):
            name = (cluster, role.metadata.name)
            if now - self._used.setdefault(name, now) < self._kept_s:
                young = True
                continue
            self._going.add(name)
            try:
                await ground.writer.delete(ClusterRole, role.metadata.name, uid=role.metadata.uid)
            finally:
                self._going.discard(name)
            self._used.pop(name, None)
        return Result(after_s=self._kept_s) if young else DONE

    def _is_there(self, cluster: str) -> bool:
        """False too for a Cluster object that stands for the host: the host is brought in order as itself."""
        if not cluster:
            return True
        found = self._cache.get(Cluster, cluster)
        return found is not None and not is_host(cluster, found.metadata.labels)

    @asynccontextmanager
    async def _ground(self, cluster: str) -> AsyncGenerator[Ground]:
        """Raises ClusterUnavailable."""
        if not cluster:
            yield self._host
            return
        async with self._sites.open(cluster) as site:
            yield SiteGround(site)


async def _carry_out(steps: Steps, writer: Writer) -> None:
    """With rv, no write looks at its object first: the plan has, and of ten thousands that would be half."""
    await _delete(steps.first_gone, writer)
    for obj in steps.roles:
        await writer.apply(obj, manager=MANAGER, rv="")
    for obj in steps.new:
        try:
            # An apply costs the API server more than twice as much, and there may be tens of thousands.
            await writer.create(obj, manager=MANAGER)
        except NotFound:
            log.debug("namespace_gone", namespace=obj.metadata.namespace)
        except AlreadyExists:
            await writer.apply(obj, manager=MANAGER, rv="")
    for obj in steps.changed:
        await writer.apply(obj, manager=MANAGER, rv="")
    await _delete(steps.then_gone, writer)


async def _delete(bindings: Iterable[Binding], writer: Writer) -> None:
    for one in bindings:
        meta = one.metadata
        await writer.delete(type(one), meta.name, meta.namespace, uid=meta.uid)
