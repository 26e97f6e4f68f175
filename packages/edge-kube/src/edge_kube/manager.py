"""Starts and stops, in the right order, what a controller process consists of.

    manager = Manager(client, rooms, Options(identity=pod_name), metrics=metrics)
    stop = stop_on_signals()
    await manager.run(stop)

Start: caches of all replicas → webhooks and probes → first lists complete (else the process ends, to be
started anew) → elector → loops of the leader. Stop: not ready → loops drain and the lease is released, while
webhooks still answer for as long as endpoints need to forget us → watches and connections closed.
Source: P5, D7; design kube-runtime §11; L5, L6.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import structlog

from edge_kube.cache import Cache
from edge_kube.client import Client
from edge_kube.controller import Controller, Loop
from edge_kube.events import Events
from edge_kube.leader import LeaderElector
from edge_kube.lease import LeaseApi
from edge_kube.meta import Resource
from edge_kube.metrics import Measure, Metrics
from edge_kube.probes import LoopLag, ProbeServer
from edge_kube.reconcile import Index, Reader
from edge_kube.transport import Transport
from edge_kube.webhook import Webhook
from edge_kube.webhookconfig import Target
from edge_kube.webhooks import WebhookService
from edge_kube.writer import RoomWriter

log = structlog.stdlib.get_logger("edge_kube.manager")

SYNC_WITHIN_S = 120.0
LAG_MAX_S = 10.0  # liveness: a loop this late does not lead, does not answer, and will not recover


class Room(Protocol):
    """What the runtime uses of a room; `edge_sdk.room.Room` has this shape."""

    @property
    def name(self) -> str: ...
    @property
    def kinds(self) -> Sequence[type[Resource]]: ...
    @property
    def loops(self) -> Sequence[Loop]: ...
    @property
    def webhooks(self) -> Sequence[Webhook]: ...
    @property
    def indexes(self) -> Sequence[Index[Any]]: ...
    @property
    def measures(self) -> Sequence[Callable[[Reader], Iterable[Measure]]]: ...
    @property
    def status_manager(self) -> str: ...


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Where the webhook server listens, and what the API server is told about it.

    forget_s: how long it goes on answering after a stop: the API server hears late that it left the Service.
    """

    target: Target
    host: str = "0.0.0.0"  # noqa: S104 - API servers call from outside of the pod
    port: int = 9443
    cert_dir: Path = Path("/tmp/k8s-webhook-server/serving-certs")  # noqa: S108 - documented value
    secret: str = "edge-controller-webhook"  # noqa: S105 - its name
    configuration: str = "edge-controller"
    forget_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Options:
    """identity: the pod's name. elect False: lead at once (one replica, tests). workers: by loop label.

    listen: addresses of probes and metrics; none, no server. lease times: see LeaderElector.
    pause_collector: see Cache; for the one manager of a process.
    """

    identity: str
    namespace: str = "edge-system"
    lease: str = "edge-controller-leader"
    elect: bool = True
    workers: Mapping[str, int] = field(default_factory=dict[str, int])
    listen: Sequence[tuple[str, int]] = ()
    webhooks: WebhookOptions | None = None
    drain_s: float = 20.0
    component: str = "edge-controller"
    lease_s: float = 15.0
    renew_deadline_s: float = 10.0
    retry_s: float = 2.0
    grace_s: float = 4.0
    pause_collector: bool = False


class Manager:
    def __init__(
        self,
        client: Client,
        rooms: Sequence[Room],
        options: Options,
        *,
        metrics: Metrics | None = None,
        member_answers: Callable[[str], bool] = lambda cluster: False,
    ) -> None:
        """Builds everything and starts nothing. client: ungated; it stays the caller's to close.

        member_answers: whether a member cluster is up now; what waits for one is woken by `unpark`.
        """
        self._member_answers = member_answers
        self._client = client
        self._options = options
        self.metrics = metrics or Metrics()
        self.cache = Cache(client, metrics=self.metrics, pause_collector=options.pause_collector)
        self._leases = Transport(client.connection, metrics=self.metrics)
        self._elector = LeaderElector(
            LeaseApi(self._leases, options.lease, options.namespace),
            identity=options.identity,
            metrics=self.metrics,
            lease_s=options.lease_s,
            renew_deadline_s=options.renew_deadline_s,
            retry_s=options.retry_s,
            grace_s=options.grace_s,
        )
        gated = client.derive(gate=self.is_leader)
        self.writer = RoomWriter(gated, self.cache)
        self.events = Events(
            gated, component=options.component, instance=options.identity, metrics=self.metrics
        )
        self._lag = LoopLag(self.metrics)
        self._leads_alone = False
        self._stopping = False
        self._electing: asyncio.Task[None] | None = None
        for index in (index for room in rooms for index in room.indexes):
            self.cache.index(index)
        self._webhooks = self._webhook_service(rooms)
        self.controllers = [
            self._controller(loop, room.status_manager, owns=loop.kind in room.kinds)
            for room in rooms
            for loop in room.loops
        ]
        if self._webhooks is not None:
            own = [
                self._controller(loop, "edge-webhooks-status", owns=False) for loop in self._webhooks.loops()
            ]
            self._webhooks.wake(own)
            self.controllers += own
        self.probes = ProbeServer(self.metrics.registry, live=self._live_checks(), ready=self._ready_checks())
        sources = [partial(measure, self.cache) for room in rooms for measure in room.measures]
        self.metrics.export_as_leader(self.is_leader, sources)

    def is_leader(self) -> bool:
        """Whether this process may write as leader, at this moment."""
        return self._leads_alone or self._elector.valid()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then stop in order. Raises what made it impossible to go on."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._leases.close)
            for controller in self.controllers:
                controller.subscribe()
            await self.cache.start()
            stack.push_async_callback(self.cache.stop)
            stack.push_async_callback(
                self.stop, grace_s=0
            )  # for a cancelled run; else nothing is left to stop
            background = await self._start_servers(stack)
            await self._synced(stop)
            if stop.is_set():
                return
            self._electing = asyncio.create_task(self._lead(stop), name="elector")
            stack.push_async_callback(_cancel, self._electing)
            await asyncio.wait({self._electing, *background}, return_when=asyncio.FIRST_COMPLETED)
            for task in (self._electing, *background):
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    raise error

    def unpark(self, cluster: str) -> None:
        """A member cluster answers again: go on with what waited for it."""
        for controller in self.controllers:
            controller.unpark(cluster)

    async def _start_servers(self, stack: AsyncExitStack) -> Sequence[asyncio.Task[None]]:
        background = [
            asyncio.create_task(self.events.run(), name="events"),
            asyncio.create_task(self._lag.run(), name="loop-lag"),
        ]
        if self._options.listen:
            await self.probes.start(*self._options.listen)
            stack.push_async_callback(self.probes.stop)
        if self._webhooks is not None:
            background.append(asyncio.create_task(self._webhooks.run(), name="webhooks"))
        for task in background:
            stack.push_async_callback(_cancel, task)
        return background

    async def _synced(self, stop: asyncio.Event) -> None:
        waiting = asyncio.create_task(self.cache.wait_synced(SYNC_WITHIN_S))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                await waiting
        finally:
            await _cancel(waiting)
            await _cancel(stopped)

    async def _lead(self, stop: asyncio.Event) -> None:
        """Lead whenever possible until `stop`; webhooks go on answering for their `forget_s` after it."""
        watching = asyncio.create_task(self._note_stop(stop))
        try:
            if self._options.elect:
                await self._elector.lead(self, stop, drain_s=self._options.drain_s)
            else:
                self._leads_alone = True
                await self.start()
                await stop.wait()
                await self.stop(grace_s=self._options.drain_s)
                self._leads_alone = False
            if self._webhooks is not None:
                await watching
        finally:
            await _cancel(watching)

    async def _note_stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping = True
        if self._options.webhooks is not None:
            await asyncio.sleep(self._options.webhooks.forget_s)

    # -- Work of the elector ---------------------------------------------------------------------------------

    async def start(self) -> None:
        for controller in self.controllers:
            await controller.start()

    async def stop(self, *, grace_s: float) -> None:
        await asyncio.gather(*(controller.stop(grace_s=grace_s) for controller in self.controllers))
        if grace_s > 0:
            await self.events.flush()

    # -- inside ----------------------------------------------------------------------------------------------

    def _controller(self, loop: Loop, manager: str, *, owns: bool) -> Controller:
        return Controller(
            loop,
            manager=manager,
            cache=self.cache,
            client=self.writer,
            metrics=self.metrics,
            events=self.events,
            workers=self._options.workers.get(loop.label),
            owns=owns,
            answers=self._member_answers,
        )

    def _webhook_service(self, rooms: Sequence[Room]) -> WebhookService | None:
        options = self._options.webhooks
        webhooks = [webhook for room in rooms for webhook in room.webhooks]
        if options is None or not webhooks:
            return None
        return WebhookService(
            webhooks,
            client=self._client,
            target=options.target,
            listen=(options.host, options.port),
            cert_dir=options.cert_dir,
            secret=(options.secret, self._options.namespace),
            configuration=options.configuration,
            metrics=self.metrics,
        )

    def _live_checks(self) -> dict[str, Callable[[], str]]:
        def elector() -> str:
            ended = self._electing is not None and self._electing.done() and not self._stopping
            return "it has ended" if ended else ""

        def loops() -> str:
            dead = [controller.name for controller in self.controllers if not controller.is_alive()]
            return f"workers ended: {', '.join(dead)}" if dead else ""

        def lag() -> str:
            late_s = self._lag.last_s
            return f"the event loop was {late_s:.1f} s late" if late_s > LAG_MAX_S else ""

        return {"elector": elector, "loops": loops, "loop-lag": lag}

    def _ready_checks(self) -> dict[str, Callable[[], str]]:
        """Not whether it leads: a standby is ready too (L6)."""

        def webhooks() -> str:
            return "" if self._webhooks is None or self._webhooks.serving else "not serving yet"

        def cache() -> str:
            return f"waiting for {', '.join(missing)}" if (missing := self.cache.unsynced) else ""

        return {
            "cache": cache,
            "webhooks": webhooks,
            "shutdown": lambda: "the process is stopping" if self._stopping else "",
        }


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = asyncio.Event()

    def handle() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle)
    return stop


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})
