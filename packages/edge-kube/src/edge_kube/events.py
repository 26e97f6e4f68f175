"""Events about objects (events.k8s.io/v1), for `kubectl describe`. A reconcile never waits for one.

The first of a series (object, type, reason, action) is sent at once; repeats are counted and sent once a
minute. About one object at most 25 at once and then one in five minutes; a queue of 1,000 drops its oldest.
"""

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Protocol

from edge_kube.backoff import TokenBucket
from edge_kube.core import Event, ObjectReference
from edge_kube.errors import KubeError, NotFound
from edge_kube.meta import Key, Manifest, ObjectMeta, Resource, key_of, kind_of
from edge_kube.metrics import Metrics

EventType = Literal["Normal", "Warning"]

FLUSH_EVERY_S = 60.0
QUEUE_MAX = 1_000
NOTE_MAX_BYTES = 1_024
OBJECTS_MAX = 4_096  # budgets and series kept in memory


class EventSink(Protocol):
    """The two verbs of a client that events need."""

    async def create(self, obj: Event, *, manager: str) -> Event: ...
    async def merge(self, cls: type[Event], key: Key, patch: Manifest) -> Event: ...


class _Series(NamedTuple):
    uid: str
    type: str
    reason: str
    action: str


class _Sent:
    __slots__ = ("count", "event", "flushed")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.count = 1
        self.flushed = 1


class Events:
    def __init__(
        self,
        sink: EventSink,
        *,
        component: str,
        instance: str,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """component: reporting controller, such as edge-controller; instance: pod name."""
        self._sink = sink
        self._component = component
        self._instance = instance
        self._metrics = metrics
        self._clock = clock
        self._series: OrderedDict[_Series, _Sent] = OrderedDict()
        self._budgets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._new: OrderedDict[_Series, _Sent] = OrderedDict()
        self._wake = asyncio.Event()

    def emit(
        self, about: Resource, type_: EventType, reason: str, note: str, *, action: str = "Reconcile"
    ) -> None:
        """Note an event. Never blocks, never raises; no secret belongs in a note."""
        series = _Series(about.metadata.uid, type_, reason, action)
        known = self._series.get(series)
        if known is not None:
            known.count += 1
            return
        if not self._budget(about.metadata.uid).try_take():
            self._metrics.events_dropped.inc()
            return
        sent = _Sent(self._event(about, type_, reason, note, action))
        self._series[series] = self._new[series] = sent
        if len(self._series) > OBJECTS_MAX:
            self._series.popitem(last=False)
        if len(self._new) > QUEUE_MAX:
            self._new.popitem(last=False)
            self._metrics.events_dropped.inc()
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        flush_at = self._clock() + FLUSH_EVERY_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, flush_at - self._clock())):
                    await self._wake.wait()
            self._wake.clear()
            await self.send_new()
            if self._clock() >= flush_at:
                await self.send_repeats()
                flush_at = self._clock() + FLUSH_EVERY_S

    async def flush(self, within_s: float = 2.0) -> None:
        """Send what is left, on the way out."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.send_new()
                await self.send_repeats()

    async def send_new(self) -> None:
        while self._new:
            series, sent = self._new.popitem(last=False)
            try:
                await self._sink.create(sent.event, manager=self._component)
            except KubeError:
                self._series.pop(series, None)
                self._metrics.events_dropped.inc()

    async def send_repeats(self) -> None:
        for series, sent in list(self._series.items()):
            if sent.count == sent.flushed:
                del self._series[series]  # a minute of silence ends a series
                continue
            count = sent.count
            patch = {"series": {"count": count, "lastObservedTime": _micro_time()}}
            try:
                await self._sink.merge(Event, key_of(sent.event), patch)
                sent.flushed = count
            except NotFound:
                self._series.pop(series, None)  # expired; the next one starts anew
            except KubeError:
                self._metrics.events_dropped.inc()

    def _budget(self, uid: str) -> TokenBucket:
        bucket = self._budgets.get(uid)
        if bucket is None:
            bucket = self._budgets[uid] = TokenBucket(1 / 300, 25, self._clock)
            if len(self._budgets) > OBJECTS_MAX:
                self._budgets.popitem(last=False)
        self._budgets.move_to_end(uid)
        return bucket

    def _event(self, about: Resource, type_: EventType, reason: str, note: str, action: str) -> Event:
        kind = kind_of(type(about))
        meta = about.metadata
        return Event(
            metadata=ObjectMeta(
                name=f"{meta.name[:200]}.{uuid.uuid4().hex[:16]}",
                namespace=meta.namespace or "default",  # where events of cluster-scoped objects are kept
            ),
            event_time=_micro_time(),
            reporting_controller=self._component,
            reporting_instance=self._instance[:128],
            action=action,
            reason=reason[:128],
            type=type_,
            note=note.encode()[:NOTE_MAX_BYTES].decode(errors="ignore"),
            regarding=ObjectReference(
                api_version=kind.api_version,
                kind=kind.kind,
                name=meta.name,
                namespace=meta.namespace,
                uid=meta.uid,
                resource_version=meta.resource_version,
            ),
        )


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
