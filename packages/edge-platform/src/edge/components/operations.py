"""Helm runs of this process: at most three at once, at most one a Component, in the order they were asked
for (K6). A reconcile starts one and comes back; it never waits, so that a slow site holds no worker.

Nothing here is needed after a restart: what succeeded is read from the release, and an operation that was
cut off is recovered from it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from edge.components.failures import Failure
from edge.components.ports import ChartTrouble, HelmTrouble, TargetTrouble
from edge_kube.meta import Key

log = structlog.stdlib.get_logger("edge.components")

Work = Callable[[], Awaitable[None]]


class Operation:
    """verb, hash, token: as a Failure tells them."""

    def __init__(self, verb: str, hash_: str, token: str) -> None:
        self.verb = verb
        self.hash = hash_
        self.token = token
        self.task: asyncio.Task[None] | None = None


class Operations:
    def __init__(self, limit: int, done: Callable[[Key, str, float], None] | None = None) -> None:
        """done: called with Component, verb and seconds after each success."""
        self._turn = asyncio.Semaphore(limit)
        self._running: dict[Key, Operation] = {}
        self._failures: dict[Key, Failure] = {}
        self._done = done

    def start(self, key: Key, operation: Operation, work: Work) -> None:
        self._running[key] = operation
        operation.task = asyncio.create_task(self._run(key, operation, work), name=f"helm-{key}")

    def running(self, key: Key) -> Operation | None:
        return self._running.get(key)

    def failure(self, key: Key) -> Failure | None:
        """How the last operation failed; None after a success and before the first."""
        return self._failures.get(key)

    def forget(self, key: Key) -> None:
        self._failures.pop(key, None)

    async def stop(self) -> None:
        """Cancel all; Helm's children end with them."""
        tasks = [o.task for o in self._running.values() if o.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key, operation: Operation, work: Work) -> None:
        try:
            async with self._turn:
                started_s = time.monotonic()
                await work()
            self._failures.pop(key, None)
            seconds = time.monotonic() - started_s
            log.info("helm_finished", component=str(key), verb=operation.verb, seconds=round(seconds, 2))
            if self._done is not None:
                self._done(key, operation.verb, seconds)
        except HelmTrouble as trouble:
            self._fail(key, operation, trouble.kind, trouble.message)
        except (ChartTrouble, TargetTrouble) as trouble:
            self._fail(key, operation, "Unreachable", trouble.message)
        except Exception as error:
            log.exception("operation_crashed", component=str(key), verb=operation.verb)
            self._fail(key, operation, "Unknown", f"{type(error).__name__}: {error}")
        finally:
            del self._running[key]

    def _fail(self, key: Key, operation: Operation, kind: str, message: str) -> None:
        self._failures[key] = Failure(
            kind=kind,
            message=message,
            verb=operation.verb,
            hash=operation.hash,
            at_s=time.time(),
            token=operation.token,
        )
