"""Leader election with one Lease: 15 s lease, 10 s renew deadline, a renewal each 2 s.

Promises
- L1 `valid()` is true only until renew_deadline after the moment the last successful renewal was *sent*.
- L2 The holder has stopped (deadline + grace) before another may take over (lease − slack); the constructor
  refuses times that break this.
- L3 A process frozen for longer than that writes nothing on waking: the transport asks `valid()` each time.
- L4 The holder is the pod's name exactly; a boot id in an annotation tells a restarted container from its
  former self, so that it waits like any other candidate (R5).
- Clean stop: the work is drained while the lease is still renewed, then the lease is released and a standby,
  which watches it, takes over at once.
Not promised: fencing of writes that had already left the process when the deadline passed; status writes
carry a resourceVersion for that. Clock *rates* must agree; wall clocks are never compared.

Source: D7, P5; design kube-runtime §9; rulings R5.
"""

import asyncio
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import structlog

from edge_kube.core import Lease
from edge_kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from edge_kube.lease import BOOT_ANNOTATION, LeaseApi, micro_time
from edge_kube.metrics import Metrics

log = structlog.stdlib.get_logger("edge_kube.leader")


class Work(Protocol):
    """What only the leader does."""

    async def start(self) -> None: ...
    async def stop(self, *, grace_s: float) -> None:
        """Take nothing new, end what runs within grace_s, cancel it then. Returns when nothing runs."""
        ...


def boottime_s() -> float:
    """A clock that also counts while the machine sleeps, which asyncio's does not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaderElector:
    def __init__(
        self,
        api: LeaseApi,
        *,
        identity: str,
        metrics: Metrics,
        lease_s: float = 15.0,
        renew_deadline_s: float = 10.0,
        retry_s: float = 2.0,
        slack_s: float = 0.5,
        grace_s: float = 4.0,
        clock: Callable[[], float] = boottime_s,
        die: Callable[[], None] = lambda: os._exit(1),
    ) -> None:
        """identity: pod name. grace_s: how long work may take to end once the lease is lost; then `die`."""
        if renew_deadline_s + grace_s > lease_s - slack_s or retry_s * 1.2 >= renew_deadline_s:
            raise ValueError(
                f"lease {lease_s:g} s, renew deadline {renew_deadline_s:g} s, grace {grace_s:g} s and retry "
                f"{retry_s:g} s do not fit: deadline + grace must end before lease − {slack_s:g} s, "
                "and 1.2 × retry before the deadline"
            )
        self._api = api
        self._identity = identity
        self._boot = uuid.uuid4().hex
        self._lease_s = lease_s
        self._renew_s = renew_deadline_s
        self._retry_s = retry_s
        self._slack_s = slack_s
        self._grace_s = grace_s
        self._clock = clock
        self._die = die
        self._valid_until = float("-inf")
        self._held: Lease | None = None  # as of our last successful write
        self._seen: Lease | None = None  # newest record of anyone
        self._seen_at = float("inf")  # our clock when that record was first seen; inf: none was seen yet
        self._changed = asyncio.Event()
        self._gauge = metrics.leading.labels(api.name)
        self._gauge.set(0)

    def valid(self) -> bool:
        """Whether this process may write as leader now. Synchronous: asked right before bytes are sent."""
        return self._clock() < self._valid_until

    async def lead(self, work: Work, stop: asyncio.Event, *, drain_s: float = 20.0) -> None:
        """Stand by, lead, stand by again when lost, until `stop` is set; then drain and release the lease."""
        while not stop.is_set():
            if not await self._acquire(stop):
                return
            log.info("leadership_acquired", lease=self._api.name, identity=self._identity)
            self._gauge.set(1)
            renewing = asyncio.create_task(self._renew(), name="lease-renewal")
            try:
                await work.start()
                await _first(renewing, stop.wait())
                await self._end(work, renewing, drain_s)
            finally:
                renewing.cancel()
                with suppress(asyncio.CancelledError):
                    await renewing
                self._valid_until = float("-inf")
                self._gauge.set(0)

    async def _end(self, work: Work, renewing: asyncio.Task[None], drain_s: float) -> None:
        if not renewing.done():
            stopping = asyncio.create_task(work.stop(grace_s=drain_s))
            await _first(renewing, stopping)
            if not renewing.done():
                renewing.cancel()
                await self._release()
                return
            stopping.cancel()
            with suppress(asyncio.CancelledError):
                await stopping
        log.warning("leadership_lost", lease=self._api.name, identity=self._identity)
        self._gauge.set(0)
        try:
            async with asyncio.timeout(self._grace_s):
                await work.stop(grace_s=0)
        except TimeoutError:
            # Another process may lead from now on. Work that will not end must not live beside it.
            log.error("leader_work_stuck", lease=self._api.name, grace_s=self._grace_s)
            self._die()

    # -- standing by -----------------------------------------------------------------------------------------

    async def _acquire(self, stop: asyncio.Event) -> bool:
        """Wait until the lease is ours; False when stop came first."""
        following = asyncio.create_task(self._api.follow(self._observe), name="lease-watch")
        try:
            while not stop.is_set():
                self._changed.clear()
                wait_s = self._free_in_s()
                if wait_s > 0:
                    await _first(self._changed.wait(), stop.wait(), timeout_s=wait_s)
                elif await self._try_acquire():
                    return True
                elif self._free_in_s() <= 0:
                    # Free, yet not ours: the server failed. Look again soon, at a slightly random time.
                    pause_s = self._retry_s * (1 + 0.2 * (uuid.uuid4().int % 100) / 100)
                    await _first(self._changed.wait(), stop.wait(), timeout_s=pause_s)
            return False
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    def _observe(self, lease: Lease | None) -> None:
        if self._seen_at != float("inf") and _record(lease) == _record(self._seen):
            self._seen = lease  # same record, perhaps another resourceVersion
            return
        if lease is None and self._seen is not None:
            # Deleted by hand: its holder does not know yet, and may write for as long as its last renewal.
            self._changed.set()
            return
        self._seen = lease
        self._seen_at = self._clock()
        self._changed.set()

    def _free_in_s(self) -> float:
        """How long until this candidate may take the lease; 0 or less: now."""
        if self._seen_at == float("inf"):
            return self._retry_s
        lease = self._seen
        if lease is None or not lease.spec.holder_identity or self._is_own(lease):
            return 0.0
        # The time since we saw the record change, never its renewTime: wall clocks may differ by hours.
        duration_s = lease.spec.lease_duration_seconds or self._lease_s
        return self._seen_at + duration_s - self._slack_s - self._clock()

    async def _try_acquire(self) -> bool:
        """A quorum read first (a cut watch may hide renewals), then a write at exactly that version."""
        try:
            lease = await self._api.read()
            self._observe(lease)
            if self._free_in_s() > 0:
                return False
            sent_at = self._clock()
            now = micro_time()
            spec: dict[str, Any] = self._spec(now) | {"acquireTime": now}
            if lease is None:
                spec["leaseTransitions"] = 0
                held = await self._api.create(spec, self._boot)
            else:
                spec["leaseTransitions"] = lease.spec.lease_transitions + 1
                held = await self._api.write(lease.metadata.resource_version, spec, self._boot)
        except (Conflict, AlreadyExists):
            return False
        except (KubeError, TimeoutError) as error:
            log.warning("lease_not_acquired", lease=self._api.name, error=str(error))
            return False
        self._renewed(held, sent_at)
        return True

    # -- leading ---------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        """Renew each retry_s; return when the lease is lost."""
        while True:
            await asyncio.sleep(max(0.0, min(self._retry_s, self._valid_until - self._clock())))
            if not self.valid():
                return
            try:
                async with asyncio.timeout(self._valid_until - self._clock()):
                    if not await self._renew_once():
                        self._valid_until = float("-inf")
                        return
            except (KubeError, TimeoutError) as error:
                log.warning("lease_not_renewed", lease=self._api.name, error=str(error) or "timed out")

    async def _renew_once(self) -> bool:
        """False: another one holds the lease now."""
        assert self._held is not None  # noqa: S101 - set by acquiring
        sent_at = self._clock()
        try:
            held = await self._api.write(
                self._held.metadata.resource_version, self._spec(micro_time()), self._boot
            )
        except NotFound:
            held = await self._recreate()
        except Conflict:
            lease = await self._api.read()
            if lease is not None and not self._is_own(lease):
                return False
            if lease is not None:
                self._held = lease  # someone touched labels, or an answer of ours got lost
            return True
        if held is None:
            return False
        self._renewed(held, sent_at)
        return True

    async def _recreate(self) -> Lease | None:
        """Deleted by hand while we hold it: still ours unless someone else was faster."""
        now = micro_time()
        spec = self._spec(now) | {"acquireTime": now, "leaseTransitions": 0}
        try:
            return await self._api.create(spec, self._boot)
        except AlreadyExists:
            return None

    async def _release(self) -> None:
        """Let the standby in at once. Not releasing costs it the rest of the lease, nothing else."""
        self._valid_until = float("-inf")
        if self._held is None:
            return
        spec = self._spec(micro_time()) | {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._api.write(self._held.metadata.resource_version, spec, self._boot)
            log.info("leadership_released", lease=self._api.name, identity=self._identity)
        except (KubeError, TimeoutError) as error:
            log.warning("lease_not_released", lease=self._api.name, error=str(error))

    def _renewed(self, held: Lease, sent_at: float) -> None:
        self._held = held
        self._observe(held)
        self._valid_until = sent_at + self._renew_s

    def _spec(self, now: str) -> dict[str, Any]:
        duration_s = max(1, round(self._lease_s))
        return {"holderIdentity": self._identity, "leaseDurationSeconds": duration_s, "renewTime": now}

    def _is_own(self, lease: Lease) -> bool:
        own = lease.metadata.annotations.get(BOOT_ANNOTATION) == self._boot
        return own and lease.spec.holder_identity == self._identity


def _record(lease: Lease | None) -> object:
    if lease is None:
        return None
    return lease.spec, lease.metadata.uid, lease.metadata.annotations.get(BOOT_ANNOTATION)


async def _first(*things: Any, timeout_s: float | None = None) -> None:
    """Return when the first of the tasks and coroutines is done; coroutines are cancelled then, not tasks."""
    tasks = [asyncio.ensure_future(thing) for thing in things]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, thing in zip(tasks, things, strict=True):
            if task is not thing:
                task.cancel()
