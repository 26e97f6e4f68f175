"""One loop: the events of its kinds become requests, workers reconcile them, the result becomes status.

Promises
- One request is with one worker at a time; every object is looked at each resync_s, from the cache.
- All of a kind's objects are looked at once after the lead was won; on a standby nothing runs.
- Status is written once, fenced, and only when it differs. What ended without a result is told in the Ready
  condition: what a person must do (Stalled), what is waited for (Waiting), an error after three in a row.
- A stalled request is not tried again by the resync, only when something changed.
Source: P2, P3, P6; rulings R2; design kube-runtime §7.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from edge_kube.attempts import Attempts
from edge_kube.cache import Cache, Delta
from edge_kube.conditions import rfc3339
from edge_kube.events import Events
from edge_kube.meta import Resource
from edge_kube.metrics import RESULTS, Metrics, QueueState
from edge_kube.queue import Priority, Queue, QueueClosed
from edge_kube.reconcile import (
    Fence,
    MemberWatch,
    ReconcilerFactory,
    Request,
    Watch,
    Writer,
    enter_fence,
)
from edge_kube.status import StatusWriter


class Loop(Protocol):
    """What a room says about one loop; `edge_sdk.room.Loop` has this shape."""

    @property
    def kind(self) -> type[Resource]: ...
    @property
    def reconciler(self) -> ReconcilerFactory: ...
    @property
    def watches(self) -> Sequence[Watch[Any]]: ...
    @property
    def member_watches(self) -> Sequence[MemberWatch[Any]]: ...
    @property
    def reads(self) -> Sequence[type[Resource]]: ...
    @property
    def label(self) -> str: ...
    @property
    def workers(self) -> int: ...
    @property
    def resync_s(self) -> float: ...
    @property
    def timeout_s(self) -> float: ...
    @property
    def lane(self) -> Callable[[Request], str] | None: ...
    @property
    def attach(self) -> Callable[[Callable[[Request], None]], None] | None: ...


class Controller:
    """`subscribe` on every replica, before the cache starts; `start` and `stop` with the lead."""

    def __init__(
        self,
        loop: Loop,
        *,
        manager: str,
        cache: Cache,
        client: Writer,
        metrics: Metrics,
        events: Events,
        workers: int | None = None,
        owns: bool = True,
        answers: Callable[[str], bool] = lambda cluster: False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """manager: field manager of the statuses, edge-<room>-status. client: gated by the elector.

        owns: whether the kind is the room's own. Trouble with another's object (a Node, a kind of another
        room) is only logged: its Ready condition is not ours to set.
        answers: whether a member cluster is up at this moment; parking for one that is would last for ever.
        """
        self.name = loop.label
        self._loop = loop
        self._cache = cache
        self._metrics = metrics
        self._workers_wanted = workers or loop.workers
        self._status = StatusWriter(client, manager, lambda: rfc3339(wall_clock()))
        self._attempts = Attempts(
            self.name,
            loop.reconciler(cache, client),
            timeout_s=loop.timeout_s,
            status=self._status,
            metrics=metrics,
            events=events,
            owns=owns,
            answers=answers,
        )
        self._queue: Queue[Request] | None = None
        self._stalled: set[Request] = set()
        self._running: dict[Request, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        for result in RESULTS:
            metrics.reconciles.labels(self.name, result)
        metrics.max_workers.labels(self.name).set(self._workers_wanted)
        metrics.queues[self.name] = self._state

    # -- life ------------------------------------------------------------------------------------------------

    def subscribe(self) -> None:
        """Attach to the informers of all kinds that the loop names."""
        own = self._cache.informer(self._loop.kind)
        own.on(self._on_own, resync=self._loop.resync_s)
        for watch in self._loop.watches:
            self._cache.informer(watch.kind).on(self._mapped(watch.to))
        for kind in self._loop.reads:
            self._cache.informer(kind)
        if self._loop.attach is not None:
            self._loop.attach(self.enqueue)

    async def start(self) -> None:
        """Look at every object, then at what changes. Called when the lead is won and the cache is synced."""
        self._queue = queue = self._new_queue()
        self._stalled.clear()
        for obj in self._cache.list(self._loop.kind):
            queue.add(_request_of(obj), Priority.LOW)
        self._tasks = [
            asyncio.create_task(self._work(queue), name=f"{self.name}-{number}")
            for number in range(self._workers_wanted)
        ]

    async def stop(self, *, grace_s: float) -> None:
        """No new takes; running reconciles get grace_s, then they are cancelled."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.close()
        # Also when a first stop with more patience was cancelled, because the lease was lost meanwhile.
        if grace_s > 0 and self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    def enqueue(self, request: Request) -> None:
        """Wake a request from outside (a member's watch, an index); nothing on a standby."""
        if self._queue is not None:
            self._stalled.discard(request)
            self._queue.add(request)

    def unpark(self, cluster: str) -> None:
        """A member cluster answers again."""
        if self._queue is not None:
            self._queue.unpark(cluster)

    @property
    def member_watches(self) -> Sequence[MemberWatch[Any]]:
        return self._loop.member_watches

    def is_alive(self) -> bool:
        """False when a worker has ended although it should run."""
        return self._queue is None or not any(task.done() for task in self._tasks)

    # -- events to requests ----------------------------------------------------------------------------------

    def _on_own(self, delta: Delta[Any]) -> None:
        queue = self._queue
        if queue is None:
            return
        obj: Resource | None = delta.new or delta.old
        if obj is None:
            return
        request = _request_of(obj)
        if delta.op == "resync":
            if request not in self._stalled:
                queue.add(request, Priority.LOW)
            return
        if delta.op == "deleted":
            self._status.forget(obj.metadata.uid)
        elif delta.op == "modified" and delta.old is not None and not self._concerns(delta.old, obj):
            return
        self._stalled.discard(request)
        queue.add(request, Priority.LOW if delta.initial else Priority.HIGH)

    def _concerns(self, old: Resource, new: Resource) -> bool:
        """False for the echo of our own status write: answering it would be a loop."""
        before, after = old.metadata, new.metadata
        same_intent = (
            before.generation == after.generation
            and before.labels == after.labels
            and before.annotations == after.annotations
            and before.finalizers == after.finalizers
            and before.deletion_timestamp == after.deletion_timestamp
        )
        return not same_intent or not after.generation or not self._status.is_echo(new)

    def _mapped(self, to: Callable[[Any], Iterable[Request]]) -> Callable[[Delta[Any]], None]:
        def handle(delta: Delta[Any]) -> None:
            if self._queue is None or delta.op == "resync":
                return
            for obj in (delta.old, delta.new):
                if obj is not None:
                    for request in to(obj):
                        self.enqueue(request)

        return handle

    # -- requests to results ---------------------------------------------------------------------------------

    async def _work(self, queue: Queue[Request]) -> None:
        active = self._metrics.active_workers.labels(self.name)
        while True:
            try:
                request = await queue.take()
            except QueueClosed:
                return
            active.inc()
            started = self._running[request] = time.monotonic()
            try:
                await self._process(queue, request)
            finally:
                active.dec()
                del self._running[request]
                self._metrics.queue_work.labels(self.name, self.name).observe(time.monotonic() - started)
                queue.done(request)

    async def _process(self, queue: Queue[Request], request: Request) -> None:
        obj = self._cache.get(self._loop.kind, request.name, request.namespace)
        # Also without an object: its removal may be what the reconciler has to answer to.
        fence = enter_fence(obj) if obj is not None else Fence("", "")
        started = time.monotonic()
        outcome = await self._attempts.run(queue, request, obj, fence)
        outcome.then()
        if outcome.stalled:
            self._stalled.add(request)
        self._metrics.reconciles.labels(self.name, outcome.label).inc()
        self._metrics.reconcile_seconds.labels(self.name).observe(time.monotonic() - started)
        if obj is None:
            queue.forget(request)

    def _new_queue(self) -> Queue[Request]:
        adds = self._metrics.queue_adds.labels(self.name, self.name)
        waits = self._metrics.queue_wait.labels(self.name, self.name)
        return Queue(
            lane=self._loop.lane or (lambda request: request.cluster),
            on_add=adds.inc,
            on_start=waits.observe,
        )

    def _state(self) -> QueueState:
        now = time.monotonic()
        ages = [now - at for at in self._running.values()]
        queue = self._queue
        if queue is None:
            return QueueState(0, 0, 0, sum(ages), max(ages, default=0.0))
        return QueueState(
            queue.depth(Priority.HIGH),
            queue.depth(Priority.LOW),
            queue.parked(),
            sum(ages),
            max(ages, default=0.0),
        )


def _request_of(obj: Resource) -> Request:
    return Request(obj.metadata.name, obj.metadata.namespace)
