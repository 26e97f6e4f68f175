"""Cache: one exact, indexed copy of each kind that somebody asked for, and the events of its changes.

    cache = Cache(client, metrics=metrics)
    cache.informer(Workspace).on(handler, resync=30)
    await cache.start(); await cache.wait_synced(60)
    cache.get(Workspace, "plant-a"); cache.by(Namespace, "workspace", "plant-a")

Promises: one watch per kind and selector however many use it; reads are synchronous, never wait and never
see half a change; handlers run in the order of events, and one that raises does not stop the others; a
resync is made of the stored objects, spread evenly, without a request. Not promised: order between kinds,
and freshness: `stale_s` tells how long the server has not been heard of.
Source: P1, P3; design kube-runtime §6.
"""

import asyncio
import gc
import time
import zlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar, cast

import structlog

from edge_kube.client import Client
from edge_kube.meta import Key, Resource, key_of, kind_of
from edge_kube.metrics import Metrics
from edge_kube.reconcile import Index
from edge_kube.reflector import Reflector, ServerTraits, Timing
from edge_kube.store import Delta, Handler, Store
from edge_kube.wire import Broken

log = structlog.stdlib.get_logger("edge_kube.cache")

T = TypeVar("T", bound=Resource)

RESYNC_SLOTS = 120
_TICK_S = 0.25
_GC_OFF_S_MAX = 60.0


class Subscription(Generic[T]):
    def __init__(self, handler: Handler[T], resync_s: float) -> None:
        self.handler = handler
        self.resync_s = resync_s
        self.slot = -1


class Informer(Generic[T]):
    """The copy of one kind. Made by `Cache.informer`."""

    def __init__(
        self,
        cls: type[T],
        indexes: Mapping[str, Callable[[T], Iterable[Hashable]]],
        transform: Callable[[T], T] | None,
    ) -> None:
        self.cls = cls
        self.synced = False
        self.resource_version = ""
        self._store: Store[T] = Store(self._emit, indexes, transform)
        self._subscriptions: list[Subscription[T]] = []
        self._slots: list[dict[Key, None]] | None = None
        self._moved = asyncio.Event()

    def get(self, key: Key) -> T | None:
        return self._store.get(key)

    def list(self, namespace: str = "") -> Sequence[T]:
        return self._store.all(namespace)

    def by(self, index: str, value: Hashable) -> Sequence[T]:
        return self._store.by(index, value)

    def __len__(self) -> int:
        return len(self._store)

    @property
    def broken(self) -> Mapping[Key, str]:
        """Objects that are there but could not be decoded, with the reason."""
        return self._store.broken

    def on(self, handler: Handler[T], *, resync: float = 0.0) -> Subscription[T]:
        """Call handler on each change, and with each object every `resync` seconds (0: never).

        Handlers are synchronous and only map and enqueue. What is stored already is told at once as added.
        """
        subscription = Subscription(handler, resync)
        self._subscriptions.append(subscription)
        if resync > 0 and self._slots is None:
            self._slots = [{} for _ in range(RESYNC_SLOTS)]
            for obj in self._store.all():
                self._slots[_slot(key_of(obj))][key_of(obj)] = None
        for obj in self._store.all():
            _call(handler, Delta("added", None, obj, True))
        return subscription

    @property
    def has_handlers(self) -> bool:
        return bool(self._subscriptions)

    async def at_least(self, rv: str, timeout: float) -> bool:
        """Wait until the copy is as new as this version; False when it is not in time."""
        wanted = int(rv)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not (self.resource_version.isdigit() and int(self.resource_version) >= wanted):
                    self._moved.clear()
                    await self._moved.wait()
                return True
        return False

    def add_index(self, name: str, of: Callable[[T], Iterable[Hashable]]) -> None:
        self._store.add_index(name, of)

    def write_through(self, obj: T) -> bool:
        return self._store.write_through(obj)

    def tick(self, now: float) -> None:
        """Hand out the slots of the resync whose time has come."""
        for subscription in self._subscriptions:
            if subscription.resync_s <= 0 or self._slots is None or not self.synced:
                continue
            slot = int(now / subscription.resync_s * RESYNC_SLOTS)
            first = max(subscription.slot + 1, slot - RESYNC_SLOTS + 1) if subscription.slot >= 0 else slot
            for number in range(first, slot + 1):
                for key in tuple(self._slots[number % RESYNC_SLOTS]):
                    if (obj := self._store.get(key)) is not None:
                        _call(subscription.handler, Delta("resync", obj, obj))
            subscription.slot = slot

    # -- Sink of the reflector -------------------------------------------------------------------------------

    def replace(self, objects: Sequence[T | Broken], rv: str, *, went_back: bool) -> None:
        self._store.replace(objects, went_back=went_back)
        self.synced = True
        self.resource_version = rv
        self._moved.set()

    def put(self, obj: T | Broken) -> None:
        self._store.put(obj)

    def remove(self, obj: T) -> None:
        self._store.remove(obj)

    def seen(self, rv: str) -> None:
        self.resource_version = rv
        self._moved.set()

    def stored(self, obj: T) -> T:
        return self._store.stored(obj)

    def _emit(self, delta: Delta[T]) -> None:
        obj = delta.new or delta.old
        if self._slots is not None and obj is not None and delta.op != "modified":
            key = key_of(obj)
            if delta.op == "added":
                self._slots[_slot(key)][key] = None
            else:
                self._slots[_slot(key)].pop(key, None)
        for subscription in tuple(self._subscriptions):
            _call(subscription.handler, delta)


class Cache:
    """All informers of one cluster. It is the `Reader` that reconcilers get."""

    def __init__(
        self,
        client: Client,
        *,
        metrics: Metrics | None = None,
        cluster: str = "host",
        timing: Timing | None = None,
        pause_collector: bool = False,
        objects_max: int = 0,
    ) -> None:
        """cluster: label of metrics. objects_max: more of one kind are refused (0: no bound).

        pause_collector: for the one big cache of a process: the garbage collector rests while the first
        lists come in, and does not look at their objects afterwards.
        """
        self._client = client
        self._metrics = metrics
        self._cluster = cluster
        self._timing = timing or Timing()
        self._pause_collector = pause_collector
        self._objects_max = objects_max
        self._traits = ServerTraits()
        self._informers: dict[tuple[type[Resource], str, str], Informer[Any]] = {}
        self._by_class: dict[type[Resource], Informer[Any]] = {}
        self._reflectors: dict[tuple[type[Resource], str, str], Reflector[Any]] = {}
        self._indexes: dict[type[Resource], dict[str, Callable[[Any], Iterable[Hashable]]]] = {}
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._running = False

    # -- before the start ------------------------------------------------------------------------------------

    def index(self, index: Index[Any]) -> None:
        """Declare an index, before objects of its kind come in. Raises ValueError afterwards."""
        known = self._indexes.setdefault(index.kind, {})
        if known.get(index.name) is index.of:
            return
        if index.name in known:
            raise ValueError(f"index {index.name!r} of {index.kind.__name__} was declared twice")
        known[index.name] = index.of
        for (cls, _, _), informer in self._informers.items():
            if cls is index.kind:
                informer.add_index(index.name, index.of)

    def informer(
        self,
        cls: type[T],
        *,
        ns: str = "",
        labels: str = "",
        transform: Callable[[T], T] | None = None,
    ) -> Informer[T]:
        """The informer of a kind and selector; made on first use, and started when the cache runs."""
        name = (cls, ns, labels)
        informer = self._informers.get(name)
        if informer is None:
            informer = Informer(cls, self._indexes.get(cls, {}), transform)
            self._informers[name] = informer
            if not (ns or labels) or cls not in self._by_class:
                self._by_class[cls] = informer
            if self._running:
                self._start(name, informer)
        return cast("Informer[T]", informer)

    # -- life ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to list and watch; returns at once."""
        self._running = True
        if self._pause_collector:
            gc.disable()
            self._tasks["collector"] = asyncio.create_task(self._resume_collector(), name="cache-collector")
        for name, informer in self._informers.items():
            self._start(name, informer)
        self._tasks["tick"] = asyncio.create_task(self._tick(), name=f"cache-tick-{self._cluster}")

    async def wait_synced(self, timeout: float) -> None:
        """Raises TimeoutError that names the kinds whose first list is not complete."""
        ends_at = time.monotonic() + timeout
        while missing := self.unsynced:
            if time.monotonic() > ends_at:
                raise TimeoutError(
                    f"after {timeout:g} s the cache of {self._cluster} still lacks {', '.join(missing)}; "
                    "is the API server reachable, are the CRDs installed, may we list and watch them?"
                )
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End all watches; what is stored can still be read."""
        self._running = False
        tasks = list(self._tasks.values())
        self._tasks.clear()
        self._reflectors.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._pause_collector:
            gc.enable()

    def nudge(self) -> None:
        """The server answers again: watches that pause between tries go on at once."""
        for reflector in self._reflectors.values():
            reflector.nudge()

    # -- reads -----------------------------------------------------------------------------------------------

    def get(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        return self._of(cls).get(Key(namespace, name))

    def list(self, cls: type[T], namespace: str = "") -> Sequence[T]:
        return self._of(cls).list(namespace)

    def by(self, cls: type[T], index: str, value: Hashable) -> Sequence[T]:
        return self._of(cls).by(index, value)

    def type_of(self, api_version: str, kind: str) -> type[Resource] | None:
        """The cached type of a kind by the names a manifest uses; None when it is not cached."""
        for cls in self._by_class:
            known = kind_of(cls)
            if known.kind == kind and known.api_version == api_version:
                return cls
        return None

    def write_through(self, obj: Resource) -> None:
        """Show the answer to a write of our own before the watch does."""
        for (cls, _, _), informer in self._informers.items():
            if cls is type(obj):
                informer.write_through(obj)

    @property
    def synced(self) -> bool:
        return not self.unsynced

    @property
    def unsynced(self) -> Sequence[str]:
        """Kinds whose first list is not complete."""
        return [str(kind_of(cls)) for (cls, _, _), informer in self._informers.items() if not informer.synced]

    @property
    def informers(self) -> Sequence[Informer[Any]]:
        return tuple(self._informers.values())

    @property
    def has_handlers(self) -> bool:
        """Whether anybody is told of changes."""
        return any(informer.has_handlers for informer in self._informers.values())

    def stale_s(self, cls: type[Resource]) -> float:
        """Longest time that the server of this kind has not been heard of; 0 when it was not asked yet."""
        now = time.monotonic()
        contacts = [
            reflector.contact_at for (kind, _, _), reflector in self._reflectors.items() if kind is cls
        ]
        return max((now - at for at in contacts), default=0.0)

    # -- inside ----------------------------------------------------------------------------------------------

    def _of(self, cls: type[T]) -> Informer[T]:
        informer = self._by_class.get(cls)
        if informer is None:
            raise LookupError(
                f"{cls.__name__} is not cached; name it in the room, as a loop's kind, a watch, or in `reads`"
            )
        return cast("Informer[T]", informer)

    def _start(self, name: tuple[type[Resource], str, str], informer: Informer[Any]) -> None:
        cls, ns, labels = name
        reflector = Reflector(
            self._client,
            cls,
            informer,
            namespace=ns,
            labels=labels,
            traits=self._traits,
            timing=self._timing,
            metrics=self._metrics,
            cluster=self._cluster,
            objects_max=self._objects_max,
        )
        self._reflectors[name] = reflector
        self._tasks[name] = asyncio.create_task(reflector.run(), name=f"watch-{kind_of(cls)}")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            for informer in self._informers.values():
                informer.tick(now)
            self._measure(now)

    def _measure(self, now: float) -> None:
        if self._metrics is None:
            return
        for name, reflector in self._reflectors.items():
            labels = (str(kind_of(name[0])), self._cluster)
            self._metrics.informer_objects.labels(*labels).set(len(self._informers[name]))
            self._metrics.informer_stale.labels(*labels).set(now - reflector.contact_at)

    async def _resume_collector(self) -> None:
        ends_at = time.monotonic() + _GC_OFF_S_MAX
        while self.unsynced and time.monotonic() < ends_at:  # noqa: ASYNC110 - a look now and then will do
            await asyncio.sleep(0.1)
        # Stored objects hold no cycles: reference counting frees them, so the collector may skip them.
        gc.freeze()
        gc.enable()
        gc.set_threshold(50_000, 20, 100)


def _slot(key: Key) -> int:
    return zlib.crc32(f"{key.namespace}/{key.name}".encode()) % RESYNC_SLOTS


def _call(handler: Handler[T], delta: Delta[T]) -> None:
    try:
        handler(delta)
    except Exception:
        log.exception("handler_failed", op=delta.op)


__all__ = ["Cache", "Delta", "Handler", "Informer", "Subscription"]
