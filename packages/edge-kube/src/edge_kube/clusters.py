"""Member clusters: many API servers that may be slow, dead or hostile, none of which may hold up the hub.

    pool.update("plant-a", uid, kubeconfig)            # from the Cluster object; again when it changes
    async with pool.get("plant-a") as client:          # ClusterUnavailable at once while it is down
        await client.apply(manifest, manager="edge-apps")

Promises: a member that does not answer costs its callers microseconds once its breaker is open (M1); each
member has its own budget of seats, rate and memory, so that one cannot use up another's (M2); a changed
kubeconfig gets a new handle while the old one drains (M3); a member's answers are untrusted (M4).
Not promised: that a member that is `up` answers the next request.
Source: C9; design kube-runtime §10; rulings R7, R8.
"""

import asyncio
import hashlib
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import msgspec
import structlog

from edge_kube.backoff import Backoff, jittered
from edge_kube.breaker import Breaker, mark_as_probe
from edge_kube.cache import Cache, Delta, Informer
from edge_kube.client import Client
from edge_kube.config import load_kubeconfig
from edge_kube.errors import ApiError, ClusterUnavailable, KubeError
from edge_kube.meta import Resource
from edge_kube.metrics import Metrics
from edge_kube.reflector import Timing
from edge_kube.transport import Call, Limits

log = structlog.stdlib.get_logger("edge_kube.clusters")

T = TypeVar("T", bound=Resource)

MEMBER_LIMITS = Limits(in_flight=8, rate_per_s=10.0, burst=20.0, body_bytes_max=32 * 1024 * 1024)
OBJECTS_MAX = 5_000
PROBE_S = 3.0
PROBES_AT_ONCE = 32
HEARTBEAT_S = 10.0
HEARTBEATS_MISSED_MAX = 3
SHARE_S = 30.0
"""How much of one reconcile a member may take."""
SEAT_WAIT_S = 10.0
DRAIN_S = 30.0
UNUSED_S = 600.0
_RETRY = Backoff(base_s=5.0, cap_s=60.0)

ClusterHandler = Callable[[Delta[Any], str], None]


class ClusterState(StrEnum):
    UP = "up"
    PROBING = "probing"
    """No answer has come yet."""
    DOWN = "down"
    GONE = "gone"
    """Not in the pool: no such cluster, or no kubeconfig for it."""


class Watching(NamedTuple):
    """A watch wanted in every member."""

    cls: type[Resource]
    labels: str
    handler: ClusterHandler


class ClusterHandle:
    """One member with one set of credentials. `async with handle as client` takes a seat for some work.

    Entry raises ClusterUnavailable while the member is down; the block raises TimeoutError after SHARE_S.
    """

    def __init__(
        self,
        name: str,
        kubeconfig: bytes | Mapping[str, Any],
        *,
        probes: asyncio.Semaphore,
        on_state: Callable[["ClusterHandle"], None],
        metrics: Metrics | None = None,
        timing: Timing | None = None,
    ) -> None:
        """Dials nothing. Raises ConfigError for a kubeconfig that cannot be used."""
        self.name = name
        self.state = ClusterState.PROBING
        self._metrics = metrics
        self._on_state = on_state
        self._probes = probes
        self._breaker = Breaker(name, on_change=self._breaker_changed)
        self.client = Client(
            load_kubeconfig(kubeconfig),
            limits=MEMBER_LIMITS,
            guard=self._breaker,
            metrics=metrics,
            host_label="member",
        )
        self._timing = timing
        self._cache: Cache | None = None
        self._used_at = time.monotonic()
        self._seats = asyncio.Semaphore(MEMBER_LIMITS.in_flight)
        self._shares: dict[asyncio.Task[Any] | None, list[asyncio.Timeout]] = {}
        self._check_now = asyncio.Event()
        self._watching = asyncio.create_task(self._watch_over(), name=f"cluster-{name}")

    @property
    def why_down(self) -> str:
        return self._breaker.why

    async def __aenter__(self) -> Client:
        self._breaker.check()
        try:
            async with asyncio.timeout(SEAT_WAIT_S):
                await self._seats.acquire()
        except TimeoutError:
            raise ClusterUnavailable(self.name, "all its seats are taken") from None
        share = asyncio.timeout(SHARE_S)
        await share.__aenter__()
        self._shares.setdefault(asyncio.current_task(), []).append(share)
        return self.client

    async def __aexit__(self, *error: Any) -> None:
        task = asyncio.current_task()
        held = self._shares[task]
        share = held.pop()
        if not held:
            del self._shares[task]
        self._seats.release()
        await share.__aexit__(*error)

    async def informer(self, cls: type[T], *, labels: str = "") -> Informer[T]:
        """The copy of one kind in this member, begun on first use. Ask for it each time: it is given up
        after ten minutes without use. labels: keep it narrow; more than OBJECTS_MAX objects are refused."""
        self._used_at = time.monotonic()
        if self._cache is None:
            self._cache = Cache(self.client, cluster="member", timing=self._timing, objects_max=OBJECTS_MAX)
            await self._cache.start()
        return self._cache.informer(cls, labels=labels)

    async def close(self) -> None:
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        if self._cache is not None:
            await self._cache.stop()
            self._cache = None
        await self.client.close()

    # -- liveness --------------------------------------------------------------------------------------------

    def _breaker_changed(self, is_open: bool) -> None:
        if self._metrics is not None:
            self._metrics.breaker_changes.labels("open" if is_open else "closed").inc()
        self._set(ClusterState.DOWN if is_open else ClusterState.UP)
        self._check_now.set()
        if not is_open and self._cache is not None:
            self._cache.nudge()

    def _set(self, state: ClusterState) -> None:
        if state is self.state:
            return
        self.state = state
        log.info("cluster_state_changed", cluster=self.name, state=state.value, why=self._breaker.why)
        self._on_state(self)

    async def _watch_over(self) -> None:
        """Heartbeats while the member is idle, probes while it is down."""
        mark_as_probe()
        missed = 0
        while True:
            last = self._breaker.last_success_at
            if self._breaker.is_open or last is None or time.monotonic() - last >= HEARTBEAT_S:
                missed = 0 if await self._probe() else missed + 1
                if missed >= HEARTBEATS_MISSED_MAX:
                    self._breaker.trip(self._breaker.why or "three heartbeats in a row were missed")
            else:
                missed = 0
            if self.state is ClusterState.PROBING and self._breaker.last_success_at is not None:
                self._set(ClusterState.UP)
            wait_s = _RETRY.delay_s(missed) if self._breaker.is_open else jittered(HEARTBEAT_S)
            self._check_now.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._check_now.wait()
            await self._rest_when_unused()

    async def _probe(self) -> bool:
        async with self._probes:
            try:
                await self.client.transport.request(Call("GET", "/readyz", deadline_s=PROBE_S, limited=False))
            except ApiError as answer:
                return answer.status < 500
            except (KubeError, TimeoutError):
                return False
        return True

    async def _rest_when_unused(self) -> None:
        cache = self._cache
        if cache is None or cache.has_handlers or time.monotonic() - self._used_at < UNUSED_S:
            return
        self._cache = None
        await cache.stop()


class ClusterPool:
    """All members by name. Everything here returns at once; `close` waits for what runs."""

    def __init__(
        self,
        *,
        metrics: Metrics | None = None,
        on_up: Callable[[str], None] = lambda name: None,
        on_change: Callable[[str, ClusterState], None] = lambda name, state: None,
        timing: Timing | None = None,
    ) -> None:
        """on_up: a member answers (again): wake what is parked for it. on_change: any change of state."""
        self._metrics = metrics
        self._on_up = on_up
        self._on_change = on_change
        self._timing = timing
        self._handles: dict[str, tuple[tuple[str, bytes], ClusterHandle]] = {}
        self._wanted: list[Watching] = []
        self._probes = asyncio.Semaphore(PROBES_AT_ONCE)
        self._chores: set[asyncio.Task[None]] = set()
        self._leaving: set[ClusterHandle] = set()
        raise_file_limit()

    def update(self, name: str, uid: str, kubeconfig: bytes | Mapping[str, Any]) -> ClusterHandle:
        """Use these credentials from now on; the same ones again change nothing. Raises ConfigError.

        uid: of the Cluster object, so that a cluster made anew under an old name gets a new handle.
        """
        identity = (uid, _digest(kubeconfig))
        known = self._handles.get(name)
        if known is not None and known[0] == identity:
            return known[1]
        handle = ClusterHandle(
            name,
            kubeconfig,
            probes=self._probes,
            on_state=self._state_changed,
            metrics=self._metrics,
            timing=self._timing,
        )
        if known is not None:
            self._retire(known[1], DRAIN_S)
        self._handles[name] = (identity, handle)
        for wanted in self._wanted:
            self._later(self._begin(handle, wanted))
        return handle

    def remove(self, name: str) -> None:
        """Forget a member: its watches end, its requests are cut."""
        known = self._handles.pop(name, None)
        if known is not None:
            self._retire(known[1], 0)
            self._on_change(name, ClusterState.GONE)

    def get(self, name: str) -> ClusterHandle:
        """Raises ClusterUnavailable for a name that is not in the pool."""
        known = self._handles.get(name)
        if known is None:
            raise ClusterUnavailable(name, "it is not joined, or has no kubeconfig yet")
        return known[1]

    def state(self, name: str) -> ClusterState:
        known = self._handles.get(name)
        return known[1].state if known is not None else ClusterState.GONE

    @property
    def names(self) -> Sequence[str]:
        return list(self._handles)

    def watch(self, cls: type[Resource], handler: ClusterHandler, *, labels: str = "") -> None:
        """Call handler(delta, cluster) for each change of a kind in every member, now and later ones."""
        wanted = Watching(cls, labels, handler)
        self._wanted.append(wanted)
        for _, handle in self._handles.values():
            self._later(self._begin(handle, wanted))

    async def close(self) -> None:
        for chore in tuple(self._chores):
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        handles = {*self._leaving, *(handle for _, handle in self._handles.values())}
        self._handles.clear()
        self._leaving.clear()
        await asyncio.gather(*(handle.close() for handle in handles))

    async def _begin(self, handle: ClusterHandle, wanted: Watching) -> None:
        name = handle.name
        informer = await handle.informer(wanted.cls, labels=wanted.labels)
        informer.on(lambda delta: wanted.handler(delta, name))

    async def _leave(self, handle: ClusterHandle, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await handle.close()
        self._leaving.discard(handle)

    def _retire(self, handle: ClusterHandle, after_s: float) -> None:
        self._leaving.add(handle)
        self._later(self._leave(handle, after_s))

    def _later(self, work: Any) -> None:
        chore: asyncio.Task[None] = asyncio.create_task(work)
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    def _state_changed(self, handle: ClusterHandle) -> None:
        known = self._handles.get(handle.name)
        if known is None or known[1] is not handle:
            return  # an old handle that drains
        self._on_change(handle.name, handle.state)
        if handle.state is ClusterState.UP:
            self._on_up(handle.name)


def _digest(kubeconfig: bytes | Mapping[str, Any]) -> bytes:
    body = kubeconfig if isinstance(kubeconfig, bytes) else msgspec.json.encode(kubeconfig)
    return hashlib.sha256(body).digest()


def raise_file_limit() -> int:
    """Let this process open as many sockets as the system allows; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
