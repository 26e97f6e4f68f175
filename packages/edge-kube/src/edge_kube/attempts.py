"""One reconcile and how it ended: what the queue does next, what is counted, and what the object is told."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from edge_kube.backoff import jittered
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
from edge_kube.metrics import Metrics
from edge_kube.queue import Queue
from edge_kube.reconcile import Fence, Reconciler, Request, Result, Stalled, TerminalError, Waiting
from edge_kube.status import StatusWriter

FAILURES_BEFORE_TOLD = 3
BUSY_PAUSE_S = 5.0  # a member that is up and yet refused: all its seats were taken
FORBIDDEN_PAUSE_S = 30.0  # a missing right does not come back within milliseconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reconcile ended: a metric label, and what the queue does next."""

    label: str
    then: Callable[[], object]
    stalled: bool = False


class Attempts:
    """Runs the reconciler of one controller once, and turns whatever comes of it into an Outcome."""

    def __init__(
        self,
        name: str,
        reconciler: Reconciler,
        *,
        timeout_s: float,
        status: StatusWriter,
        metrics: Metrics,
        events: Events,
        owns: bool,
        answers: Callable[[str], bool],
    ) -> None:
        """owns, answers: see Controller."""
        self._name = name
        self._reconciler = reconciler
        self._timeout_s = timeout_s
        self._status = status
        self._metrics = metrics
        self._events = events
        self._owns = owns
        self._answers = answers
        self._log = structlog.stdlib.get_logger("edge_kube.controller").bind(controller=name)

    async def run(
        self, queue: Queue[Request], request: Request, obj: Resource | None, fence: Fence
    ) -> Outcome:
        """obj: as the cache has it; None when it is gone. Never raises, except to be cancelled."""
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await self._reconciler.reconcile(request)
                if result.status is not None and obj is not None:
                    await self._status.write(obj, result.status, fence)
            return self._after_result(queue, request, result)
        except Waiting as waiting:
            again_in_s = jittered(waiting.again_in_s)
            await self._tell(obj, waiting.reason, waiting.message, fence)
            return Outcome("requeue_after", lambda: self._later(queue, request, again_in_s))
        except ClusterUnavailable as gone:
            cluster = gone.cluster
            await self._tell(obj, "ClusterUnreachable", str(gone), fence)
            return Outcome("parked", lambda: self._park(queue, request, cluster))
        except (Conflict, AlreadyExists) as stale:
            # Somebody was faster and the cache does not show it yet. Neither an error nor news.
            self._log.debug("reconcile_was_stale", request=str(request), reason=str(stale))
            return Outcome("requeue", lambda: self._retry(queue, request))
        except NotLeader:
            return Outcome("requeue", lambda: None)  # the next leader looks at every object
        except (TerminalError, Invalid, TooLarge) as error:
            return await self._terminal(request, obj, error, fence)
        except (KubeError, TimeoutError) as error:
            return await self._failed(queue, request, obj, error, fence)
        except Exception as error:
            self._metrics.reconcile_panics.labels(self._name).inc()
            self._log.exception("reconcile_crashed", request=str(request))
            return await self._failed(queue, request, obj, error, fence)

    def _after_result(self, queue: Queue[Request], request: Request, result: Result) -> Outcome:
        if result.park is not None:
            cluster = result.park
            return Outcome("parked", lambda: self._park(queue, request, cluster))
        if result.after_s is not None:
            again_in_s = jittered(result.after_s)
            return Outcome("requeue_after", lambda: self._later(queue, request, again_in_s))
        return Outcome("success", lambda: queue.forget(request))

    async def _terminal(
        self, request: Request, obj: Resource | None, error: Exception, fence: Fence
    ) -> Outcome:
        self._metrics.terminal_errors.labels(self._name).inc()
        self._metrics.reconcile_errors.labels(self._name).inc()
        reason = error.reason if isinstance(error, Stalled | ApiError) and error.reason else "Stalled"
        self._log.error("reconcile_stalled", request=str(request), reason=reason, message=str(error))
        await self._tell(obj, reason, str(error), fence)
        if obj is not None:
            self._events.emit(obj, "Warning", reason, str(error))
        return Outcome("error", lambda: None, stalled=True)

    async def _failed(
        self, queue: Queue[Request], request: Request, obj: Resource | None, error: Exception, fence: Fence
    ) -> Outcome:
        self._metrics.reconcile_errors.labels(self._name).inc()
        if isinstance(error, TimeoutError):
            self._metrics.reconcile_timeouts.labels(self._name).inc()
        failures = queue.failures(request) + 1
        reason, message = _explain(error, self._timeout_s)
        self._log.warning("reconcile_failed", request=str(request), failures=failures, error=message)
        if failures >= FAILURES_BEFORE_TOLD:
            await self._tell(obj, reason, message, fence)
        if isinstance(error, Forbidden):
            return Outcome("error", lambda: self._retry(queue, request, at_least_s=FORBIDDEN_PAUSE_S))
        return Outcome("error", lambda: self._retry(queue, request))

    async def _tell(self, obj: Resource | None, reason: str, message: str, fence: Fence) -> None:
        """Write the Ready condition; a failure of that is not worth more than a line, it is tried again."""
        if obj is None or not self._owns:
            return
        try:
            async with asyncio.timeout(10):
                await self._status.write_trouble(obj, reason, message, fence)
        except (KubeError, TimeoutError) as error:
            self._log.debug("trouble_not_told", object=str(key_of(obj)), error=str(error))

    def _park(self, queue: Queue[Request], request: Request, cluster: str) -> None:
        if self._answers(cluster):
            queue.add_after(request, jittered(BUSY_PAUSE_S))
        else:
            queue.park(request, cluster)

    def _later(self, queue: Queue[Request], request: Request, again_in_s: float) -> None:
        queue.forget(request)
        queue.add_after(request, again_in_s)

    def _retry(self, queue: Queue[Request], request: Request, at_least_s: float = 0.0) -> None:
        self._metrics.queue_retries.labels(self._name, self._name).inc()
        queue.retry(request, at_least_s=at_least_s)


def _explain(error: Exception, timeout_s: float) -> tuple[str, str]:
    """Reason and message for a person. The text of an error of our own may hold anything: not shown."""
    if isinstance(error, ApiError):
        return error.reason or "ApiError", f"the API server answered: {error}. It is tried again."
    if isinstance(error, KubeError):
        return "ApiUnreachable", f"{error}. It is tried again."
    if isinstance(error, TimeoutError):
        return "TimedOut", f"not finished within {timeout_s:g} s. It is tried again."
    return "InternalError", f"an error of the program ({type(error).__name__}); the controller's log has it."
