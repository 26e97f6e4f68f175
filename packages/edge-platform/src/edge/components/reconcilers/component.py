"""Keeps a Component's release as its spec says: look, plan, start at most one Helm run, tell (K1-K6)."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from edge.components import reasons as why
from edge.components.automatic import automatic, is_unused, wanted
from edge.components.effective import COMPONENT_LABEL, HASH_LABEL, hash_label
from edge.components.failures import Failure
from edge.components.looking import Looked, Looker, Settled
from edge.components.operations import Operation, Operations
from edge.components.plan import plan_component
from edge.components.ports import Charts, ChartTrouble, Options, Releases, TargetTrouble, ValueSources
from edge.components.repairs import plan_repair, remember
from edge.components.settings import ComponentSettings
from edge.components.status import record, rfc3339, status_of, unhealthy_failure
from edge.components.step import SKIP_ANNOTATION, Step, is_forced_away, retry_token
from edge.components.types import GROUP, Component, DriftStatus
from edge.components.wakes import Wakes
from edge_kube.errors import AlreadyExists
from edge_kube.meta import Key, key_of
from edge_kube.ownership import drop_finalizer, ensure_finalizer
from edge_kube.reconcile import DONE, Reader, Request, Result, Waiting, Writer

MANAGER = "edge-components"
FINALIZER = f"{GROUP}/release"
OPERATION_AGAIN_S = 0.5


class ComponentReconciler:
    def __init__(
        self,
        cache: Reader,
        client: Writer,
        *,
        charts: Charts,
        releases: Releases,
        sources: ValueSources,
        operations: Operations,
        wakes: Wakes,
        settings: ComponentSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cache = cache
        self._client = client
        self._charts = charts
        self._releases = releases
        self._operations = operations
        self._wakes = wakes
        self._settings = settings
        self._now = clock
        self._looker = Looker(cache, charts, releases, sources)
        self._settled: dict[Key, Settled] = {}
        self._repaired: dict[Key, Mapping[str, Sequence[float]]] = {}

    async def reconcile(self, request: Request) -> Result:
        key = request.key
        component = self._cache.get(Component, request.name, request.namespace)
        if component is None:
            self._forget(key)
            return DONE
        self._wakes.learn(component)
        skipped = component.metadata.annotations.get(SKIP_ANNOTATION) == "true"
        if is_forced_away(component) or (skipped and component.metadata.deletion_timestamp):
            return await self._finish(component)  # the release stays, and nothing hangs on a finalizer
        if skipped:
            return DONE
        if self._operations.running(key) is not None:
            return Result(after_s=OPERATION_AGAIN_S)
        if component.spec.enabled:
            component = await ensure_finalizer(self._client, component, FINALIZER)
        failure = self._operations.failure(key)
        status = record(component, failure, self._settings.backoff_base_s)
        component = msgspec.structs.replace(component, status=status)
        try:
            return await self._step(component, failure)
        except TargetTrouble as trouble:  # it went away between two looks
            raise Waiting(trouble.message, 15.0, reason=trouble.reason) from trouble

    async def _step(self, component: Component, failure: Failure | None) -> Result:
        looked = await self._looker.look(component, self._now(), self._settled.get(key_of(component)))
        if looked.is_target_gone and component.metadata.deletion_timestamp:
            return await self._finish(component)
        seen = msgspec.structs.replace(
            looked.seen, failure=failure, backoff_base_s=self._settings.backoff_base_s
        )
        looked = msgspec.structs.replace(looked, seen=seen)
        step = plan_component(component, seen)
        if step.verb == "finish":
            return await self._finish(component)
        if await self._bring_in(component, step):
            return Result(status=status_of(component, seen, step, None), after_s=OPERATION_AGAIN_S)
        if step.verb != "none":
            return self._start(component, looked, step)
        return await self._rest(component, looked, step)

    def _start(self, component: Component, looked: Looked, step: Step) -> Result:
        """Begin the Helm run; the status that says so is written while it runs."""
        key = key_of(component)
        self._settled.pop(key, None)
        if step.unhealthy:
            failure = unhealthy_failure(component, looked.seen)
            status = record(component, failure, self._settings.backoff_base_s)
            component = msgspec.structs.replace(component, status=status)
        operation = Operation(step.verb, looked.seen.desired, retry_token(component))
        self._operations.start(key, operation, self._work(component, looked, step))
        return Result(status=status_of(component, looked.seen, step, None), after_s=OPERATION_AGAIN_S)

    def _work(self, component: Component, looked: Looked, step: Step) -> Callable[[], Awaitable[None]]:
        seen, spec = looked.seen, component.spec
        options = Options(
            timeout=spec.timeout,
            labels={COMPONENT_LABEL: seen.mark, HASH_LABEL: hash_label(seen.desired)},
            take_ownership=spec.adopt == "TakeOwnership",
        )

        async def work() -> None:
            if step.verb == "rollback":
                await self._releases.rollback(seen.release, step.revision, options)
            elif step.verb == "uninstall":
                await self._releases.uninstall(seen.release, options)
            elif seen.chart is not None:
                archive = await self._charts.archive(spec.chart.repository, seen.chart)
                await self._releases.upgrade(seen.release, archive, looked.values, options)

        return work

    async def _rest(self, component: Component, looked: Looked, step: Step) -> Result:
        """No Helm run is due: repair what drifted, remember what is settled, tell."""
        key, seen = key_of(component), looked.seen
        status = status_of(component, seen, step, looked.inspection)
        if looked.inspection is None:
            self._settled.pop(key, None)
            return Result(status=status, after_s=step.after_s)
        repaired = self._repaired.get(key, {})
        repair = plan_repair(step, looked.inspection, component.spec.drift_policy, repaired, seen.now_s)
        if repair.names and looked.content is not None:
            await self._releases.repair(seen.release, looked.content.objects, repair.names)
            self._repaired[key] = remember(repaired, repair.names, seen.now_s)
        status = status_of(component, seen, repair.step, looked.inspection)
        if repair.names:
            before = status.drift or DriftStatus()
            count = (before.count or 0) + len(repair.names)
            drift = msgspec.structs.replace(before, count=count, last_repair=rfc3339(seen.now_s))
            status = msgspec.structs.replace(status, drift=drift)
        self._settle(key, looked, is_settled=step.is_good and not repair.names)
        return Result(status=status, after_s=repair.step.after_s)

    def _settle(self, key: Key, looked: Looked, *, is_settled: bool) -> None:
        seen = looked.seen
        if not is_settled:
            self._settled.pop(key, None)
        elif looked.content is not None and looked.inspection is not None:  # else it was settled already
            self._settled[key] = Settled(
                desired=seen.desired,
                fingerprint=looked.fingerprint,
                history=tuple(seen.history),
                inspection=looked.inspection,
                at_s=seen.now_s,
            )

    async def _bring_in(self, component: Component, step: Step) -> bool:
        """Make the Components this one needs and nobody made, where the repository has their charts."""
        made = False
        graph = {key_of(other): other for other in self._cache.list(Component)}
        for key, need in wanted(component, graph) if step.reason == why.DEPENDENCY_MISSING else ():
            with suppress(ChartTrouble, AlreadyExists):
                await self._charts.resolve(component.spec.chart.repository, key.name, need.version, None)
                await self._client.create(automatic(key, need, component), manager=MANAGER)
                made = True
        if is_unused(component, graph):
            await self._client.delete(
                Component, component.metadata.name, component.metadata.namespace, uid=component.metadata.uid
            )
        return made

    async def _finish(self, component: Component) -> Result:
        await drop_finalizer(self._client, component, FINALIZER)
        self._forget(key_of(component))
        return DONE

    def _forget(self, key: Key) -> None:
        self._settled.pop(key, None)
        self._repaired.pop(key, None)
        self._operations.forget(key)
        self._wakes.forget(key)
