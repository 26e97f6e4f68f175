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
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from edge_kube.backoff import jittered
from edge_kube.cache import Cache, Delta
from edge_kube.conditions import rfc3339
from edge_kube.errors import (
    AlreadyExists,
    ApiError,
    ClusterUnavailable,
    Conflict,
    Forbidden,
    Invalid,
    KubeError,
    NotLeader,
    TooLarge,
)
from edge_kube.events import Events
from edge_kube.meta import Resource, key_of
from edge_kube.metrics import RESULTS, Metrics, QueueState
from edge_kube.queue import Priority, Queue, QueueClosed
from edge_kube.reconcile import (
    Fence,
    MemberWatch,
    Reconciler,
    ReconcilerFactory,
    Request,
    Result,
    Stalled,
    TerminalError,
    Waiting,
    Watch,
    Writer,
    enter_fence,
)
from edge_kube.status import StatusWriter

FAILURES_BEFORE_TOLD = 3
BUSY_PAUSE_S = 5.0  # a member that is up and yet refused: all its seats were taken
FORBIDDEN_PAUSE_S = 30.0  # a missing right does not come back within milliseconds


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


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a reconcile ended: a metric label, and what the queue does next."""

    label: str
    then: Callable[[], object]


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
        answers: Callable[[str], bool] = lambda cluster: False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """manager: field manager of the statuses, edge-<room>-status. client: gated by the elector.

        answers: whether a member cluster is up at this moment; parking for one that is would last for ever.
        """
        self._answers = answers
        self.name = loop.label
        self._loop = loop
        self._cache = cache
        self._events = events
        self._metrics = metrics
        self._workers_wanted = workers or loop.workers
        self._status = StatusWriter(client, manager, lambda: rfc3339(wall_clock()))
        self._reconciler: Reconciler = loop.reconciler(cache, client)
        self._queue: Queue[Request] | None = None
        self._stalled: set[Request] = set()
        self._running: dict[Request, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._log = structlog.stdlib.get_logger("edge_kube.controller").bind(controller=self.name)
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
        if queue is None:
            return
        queue.close()
        if grace_s > 0 and self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    def enqueue(self, request: Request) -> None:
        """Wake a request from outside (a member's watch); nothing on a standby."""
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
        outcome = await self._attempt(queue, request, obj, fence)
        outcome.then()
        self._metrics.reconciles.labels(self.name, outcome.label).inc()
        self._metrics.reconcile_seconds.labels(self.name).observe(time.monotonic() - started)
        if obj is None:
            queue.forget(request)

    async def _attempt(
        self, queue: Queue[Request], request: Request, obj: Resource | None, fence: Fence
    ) -> _Outcome:
        try:
            async with asyncio.timeout(self._loop.timeout_s):
                result = await self._reconciler.reconcile(request)
                if result.status is not None and obj is not None:
                    await self._status.write(obj, result.status, fence)
            return self._after_result(queue, request, result)
        except Waiting as waiting:
            again_in_s = jittered(waiting.again_in_s)
            await self._tell(obj, waiting.reason, waiting.message, fence)
            return _Outcome("requeue_after", lambda: self._later(queue, request, again_in_s))
        except ClusterUnavailable as gone:
            cluster = gone.cluster
            await self._tell(obj, "ClusterUnreachable", str(gone), fence)
            return _Outcome("parked", lambda: self._park(queue, request, cluster))
        except (Conflict, AlreadyExists) as stale:
            # Somebody was faster and the cache does not show it yet. Neither an error nor news.
            self._log.debug("reconcile_was_stale", request=str(request), reason=str(stale))
            return _Outcome("requeue", lambda: self._retry(queue, request))
        except NotLeader:
            return _Outcome("requeue", lambda: None)  # the next leader looks at every object
        except (TerminalError, Invalid, TooLarge) as error:
            return await self._terminal(request, obj, error, fence)
        except (KubeError, TimeoutError) as error:
            return await self._failed(queue, request, obj, error, fence)
        except Exception as error:
            self._metrics.reconcile_panics.labels(self.name).inc()
            self._log.exception("reconcile_crashed", request=str(request))
            return await self._failed(queue, request, obj, error, fence)

    def _after_result(self, queue: Queue[Request], request: Request, result: Result) -> _Outcome:
        if result.park is not None:
            cluster = result.park
            return _Outcome("parked", lambda: self._park(queue, request, cluster))
        if result.after_s is not None:
            again_in_s = jittered(result.after_s)
            return _Outcome("requeue_after", lambda: self._later(queue, request, again_in_s))
        return _Outcome("success", lambda: queue.forget(request))

    async def _terminal(
        self, request: Request, obj: Resource | None, error: Exception, fence: Fence
    ) -> _Outcome:
        self._metrics.terminal_errors.labels(self.name).inc()
        self._metrics.reconcile_errors.labels(self.name).inc()
        reason = error.reason if isinstance(error, Stalled | ApiError) and error.reason else "Stalled"
        self._log.error("reconcile_stalled", request=str(request), reason=reason, message=str(error))
        await self._tell(obj, reason, str(error), fence)
        if obj is not None:
            self._events.emit(obj, "Warning", reason, str(error))
        return _Outcome("error", lambda: self._stalled.add(request))

    async def _failed(
        self, queue: Queue[Request], request: Request, obj: Resource | None, error: Exception, fence: Fence
    ) -> _Outcome:
        self._metrics.reconcile_errors.labels(self.name).inc()
        if isinstance(error, TimeoutError):
            self._metrics.reconcile_timeouts.labels(self.name).inc()
        failures = queue.failures(request) + 1
        reason, message = _explain(error, self._loop.timeout_s)
        self._log.warning("reconcile_failed", request=str(request), failures=failures, error=message)
        if failures >= FAILURES_BEFORE_TOLD:
            await self._tell(obj, reason, message, fence)
        if isinstance(error, Forbidden):
            return _Outcome("error", lambda: self._retry(queue, request, at_least_s=FORBIDDEN_PAUSE_S))
        return _Outcome("error", lambda: self._retry(queue, request))

    async def _tell(self, obj: Resource | None, reason: str, message: str, fence: Fence) -> None:
        """Write the Ready condition; a failure of that is not worth more than a line, it is tried again."""
        if obj is None:
            return
        try:
            async with asyncio.timeout(10):
                await self._status.write_trouble(obj, reason, message, fence)
        except (KubeError, TimeoutError) as error:
            self._log.debug("trouble_not_told", object=str(key_of(obj)), error=str(error))

    # -- queue -----------------------------------------------------------------------------------------------

    def _park(self, queue: Queue[Request], request: Request, cluster: str) -> None:
        if self._answers(cluster):
            queue.add_after(request, jittered(BUSY_PAUSE_S))
        else:
            queue.park(request, cluster)

    def _later(self, queue: Queue[Request], request: Request, again_in_s: float) -> None:
        queue.forget(request)
        queue.add_after(request, again_in_s)

    def _retry(self, queue: Queue[Request], request: Request, at_least_s: float = 0.0) -> None:
        self._metrics.queue_retries.labels(self.name, self.name).inc()
        queue.retry(request, at_least_s=at_least_s)

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


def _explain(error: Exception, timeout_s: float) -> tuple[str, str]:
    """Reason and message for a person. The text of an error of our own may hold anything: not shown."""
    if isinstance(error, ApiError):
        return error.reason or "ApiError", f"the API server answered: {error}. It is tried again."
    if isinstance(error, KubeError):
        return "ApiUnreachable", f"{error}. It is tried again."
    if isinstance(error, TimeoutError):
        return "TimedOut", f"not finished within {timeout_s:g} s. It is tried again."
    return "InternalError", f"an error of the program ({type(error).__name__}); the controller's log has it."
