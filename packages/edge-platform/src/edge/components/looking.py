"""Gathers everything the plan of one Component may know. Reads only."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec
import yaml

from edge.components import reasons as why
from edge.components.durations import seconds_of
from edge.components.effective import (
    Release,
    chart_name,
    deep_merge,
    effective_hash,
    hash_label,
    mark_of,
    release_of,
)
from edge.components.graph import Graph, dependencies, dependents
from edge.components.plan import Seen, Trouble, is_ours
from edge.components.ports import (
    Charts,
    ChartTrouble,
    Content,
    Inspection,
    Releases,
    TargetTrouble,
    ValueSources,
)
from edge.components.recovery import DEPLOYED, Revision, newest, recover
from edge.components.types import Component, ResolvedChart
from edge.components.wakes import INDEX, WATCHED, fingerprint
from edge_kube.meta import Key, Model, key_of
from edge_kube.reconcile import Reader

HOST_RECHECK_S = 300.0
MEMBER_RECHECK_S = 30.0


class Looked(Model):
    """seen: for the plan. values: merged. content, inspection: where a deployed release was compared."""

    seen: Seen
    values: Mapping[str, Any] = {}
    content: Content | None = None
    inspection: Inspection | None = None
    is_target_gone: bool = False
    fingerprint: tuple[tuple[str, str], ...] = ()


class Settled(Model):
    """A release found as it should be: nothing is asked again before something changes or time has passed."""

    desired: str
    fingerprint: tuple[tuple[str, str], ...]
    history: tuple[Revision, ...]
    inspection: Inspection
    at_s: float


class Looker:
    def __init__(self, cache: Reader, charts: Charts, releases: Releases, sources: ValueSources) -> None:
        self._cache = cache
        self._charts = charts
        self._releases = releases
        self._sources = sources

    async def look(self, component: Component, now_s: float, settled: Settled | None) -> Looked:
        graph = {key_of(other): other for other in self._cache.list(Component)}
        release, key = release_of(component), key_of(component)
        seen = Seen(
            release=release,
            mark=mark_of(key),
            now_s=now_s,
            dependencies=dependencies(component, graph),
            dependents=dependents(key, graph),
            taken_by=_taken_by(component, graph),
            timeout_s=seconds_of(component.spec.timeout),
        )
        removing = bool(component.metadata.deletion_timestamp) or not component.spec.enabled
        try:
            uid = await self._releases.target_uid(release.cluster)
            if removing or component.spec.suspend or seen.taken_by or seen.dependencies.cycle:
                return Looked(seen=await self._with_history(seen, component))
            return await self._look_closely(component, seen, uid, settled)
        except TargetTrouble as trouble:
            found = Trouble(reason=trouble.reason, message=trouble.message, again_in_s=15.0)
            return Looked(seen=msgspec.structs.replace(seen, trouble=found), is_target_gone=trouble.is_gone)

    async def _look_closely(
        self, component: Component, seen: Seen, uid: str, settled: Settled | None
    ) -> Looked:
        values: Mapping[str, Any] = {}
        try:
            values = await self._values(component)
            chart = await self._chart(component)
            desired = effective_hash(component, chart, values, uid)
            seen = msgspec.structs.replace(seen, chart=chart, desired=desired)
        except ChartTrouble as trouble:
            found = Trouble(reason=trouble.reason, message=trouble.message)
            seen = msgspec.structs.replace(seen, trouble=found)
        print_ = self._fingerprint(seen.release)
        if settled and seen.desired and self._is_settled(settled, seen, print_):
            seen = msgspec.structs.replace(seen, history=settled.history)
            return Looked(seen=seen, values=values, inspection=settled.inspection, fingerprint=print_)
        seen = await self._with_history(seen, component)
        looked = Looked(seen=seen, values=values, fingerprint=print_)
        current = newest(seen.history)
        if current is None or current.status != DEPLOYED or current.hash != hash_label(seen.desired or "-"):
            return looked
        content = await self._releases.content(seen.release, current.number)
        inspection = await self._releases.inspect(seen.release, content.objects)
        seen = msgspec.structs.replace(seen, unhealthy=inspection.unhealthy)
        return msgspec.structs.replace(looked, seen=seen, content=content, inspection=inspection)

    def _is_settled(self, settled: Settled, seen: Seen, print_: tuple[tuple[str, str], ...]) -> bool:
        recheck_s = MEMBER_RECHECK_S if seen.release.cluster else HOST_RECHECK_S
        return (
            settled.desired == seen.desired
            and settled.fingerprint == print_
            and seen.now_s - settled.at_s < recheck_s
        )

    async def _with_history(self, seen: Seen, component: Component) -> Seen:
        history = tuple(await self._releases.history(seen.release))
        seen = msgspec.structs.replace(seen, history=history)
        if recover(history).interrupted or (history and not component.spec.enabled):
            seen = msgspec.structs.replace(seen, holder=await self._releases.holder(seen.release))
        current = newest(history)
        if current and component.spec.adopt != "Never" and not is_ours(component, seen):
            content = await self._releases.content(seen.release, current.number)
            seen = msgspec.structs.replace(seen, foreign_chart=content.chart.name)
        return seen

    def _fingerprint(self, release: Release) -> tuple[tuple[str, str], ...]:
        if release.cluster:
            return ()
        where = Key(release.namespace, release.name)
        return fingerprint(obj for kind in WATCHED for obj in self._cache.by(kind, INDEX, where))

    async def _chart(self, component: Component) -> ResolvedChart:
        spec = component.spec
        known = component.status.chart or None
        installed = known if component.status.observed_hash else None
        chart = await self._charts.resolve(
            spec.chart.repository, chart_name(component), spec.version, installed
        )
        if spec.digest and chart.digest != spec.digest:
            raise ChartTrouble(
                "DigestMismatch",
                f"Chart {chart.name} {chart.version} has SHA-256 {chart.digest}, but spec.digest is "
                f"{spec.digest}. It was not installed. Upload the right one, or correct spec.digest.",
            )
        return chart

    async def _values(self, component: Component) -> Mapping[str, Any]:
        """Layers of spec.valuesFrom in their order, spec.values on top."""
        layers: list[Mapping[str, Any]] = []
        for source in component.spec.values_from:
            where = Key(component.metadata.namespace, source.name)
            text = await self._sources.read(source.kind, where, source.key)
            if text is not None:
                layers.append(_parsed(text, f"{source.kind} {where}, key {source.key}"))
            elif not source.optional:
                raise ChartTrouble(
                    why.VALUES_MISSING,
                    f"{source.kind} {where} has no key {source.key}, which spec.valuesFrom names. Create it, "
                    "or mark it optional.",
                )
        return deep_merge([*layers, component.spec.values])


def _parsed(text: str, where: str) -> Mapping[str, Any]:
    try:
        loaded: object = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)  # the text itself may be secret
        line = f" at line {mark.line + 1}" if mark else ""
        raise ChartTrouble(why.VALUES_INVALID, f"{where} is no YAML{line}. Correct it.") from None
    if not isinstance(loaded, dict):
        raise ChartTrouble(why.VALUES_INVALID, f"{where} is no map of values. Correct it.")
    return cast("Mapping[str, Any]", loaded)


def _taken_by(component: Component, graph: Graph) -> str:
    """The older Component with the same release; of equal age, the one whose name comes first."""
    release = release_of(component)
    mine = (component.metadata.creation_timestamp, key_of(component))
    rivals = [
        (other.metadata.creation_timestamp, key)
        for key, other in graph.items()
        if key != key_of(component) and other.spec.enabled and release_of(other) == release
    ]
    older = [key for created, key in rivals if (created, key) < mine]
    return str(min(older)) if older else ""
