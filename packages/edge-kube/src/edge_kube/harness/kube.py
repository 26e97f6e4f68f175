"""Kube: a real API server with rooms running against it, in the words of a test.

    async def test_a_deleted_namespace_comes_back(kube: Kube) -> None:
        await kube.start(room())
        await kube.create(workspace("press"))
        await kube.eventually(Namespace, "press", lambda ns: owner_of(ns) == "plant-a")

Promises: what a test made is gone after it (objects of the rooms' kinds, namespaces with their content), so
that tests of one run may use the same names one after the other. Not promised: isolation of tests that run at
the same time on one cluster; give those names of their own.
"""

import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from edge_kube.client import Applied, Client
from edge_kube.controller import Loop
from edge_kube.core import Namespace
from edge_kube.errors import Conflict, NotFound
from edge_kube.harness.admission import LookingWebhook, until_asked, until_asked_no_more
from edge_kube.harness.cleaning import Keeps, empty_namespace, nothing, remove_all
from edge_kube.harness.crds import install, is_custom
from edge_kube.harness.light import LightCluster
from edge_kube.harness.mutation import MutationDetector
from edge_kube.harness.processes import free_port
from edge_kube.manager import Manager, Options, Room, WebhookOptions
from edge_kube.meta import Key, Manifest, Resource, key_of, to_manifest
from edge_kube.metrics import Measure
from edge_kube.reconcile import Index, Reader
from edge_kube.webhook import Webhook
from edge_kube.webhookconfig import Target

T = TypeVar("T", bound=Resource)

MANAGER = "test"
_CONFIGURATION = "edge-test"
_START_S = 120.0
_WITHIN_S = 60.0
"""So long a machine that is busy with other tests may take; a second on a quiet one."""
_ADMISSION = "admissionregistration.k8s.io/v1"
_starts = itertools.count()


@dataclass(frozen=True)
class _Harness:
    """A room of nothing but these webhooks."""

    webhooks: Sequence[Webhook]
    name: str = "harness"
    kinds: Sequence[type[Resource]] = ()
    loops: Sequence[Loop] = ()
    indexes: Sequence[Index[Any]] = ()
    measures: Sequence[Callable[[Reader], Iterable[Measure]]] = ()
    status_manager: str = ""


class RoomWithKinds(Room, Protocol):
    @property
    def kinds(self) -> Sequence[type[Resource]]: ...


class Kube:
    """client: of the admin. manager: of the rooms that were started; None before."""

    def __init__(self, cluster: LightCluster, client: Client, keeps: Keeps = nothing) -> None:
        """keeps: objects of the rooms' kinds that the next test makes anew all the same; who shares the
        cluster with others removes them in the end."""
        self.cluster = cluster
        self.client = client
        self._keeps = keeps
        self.manager: Manager | None = None
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._detector = MutationDetector()
        self._kinds: set[type[Resource]] = set()
        self._before: set[str] = set()
        self._hooked = False

    async def __aenter__(self) -> "Kube":
        self._before = {namespace.metadata.name for namespace in await self.client.list(Namespace)}
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.stop()
        finally:
            await self.clean()

    # -- rooms -----------------------------------------------------------------------------------------------

    async def install(self, *kinds: type[Resource]) -> None:
        """Apply the CRDs of these kinds, and remove their objects after the test."""
        wanted = {cls for cls in kinds if is_custom(cls)}
        await install(self.client, wanted)
        self._kinds |= wanted

    async def start(self, *rooms: RoomWithKinds, webhooks: bool = False) -> Manager:
        """Install the rooms' kinds and run their loops as the only leader; returns when the caches are full.

        webhooks: also serve their admission webhooks. Call it again after `stop` to play a restart.
        """
        if self._running is not None:
            raise RuntimeError("rooms are running already; stop them first, or start them together")
        await self.install(*(cls for room in rooms for cls in room.kinds), *_watched(rooms))
        looking = LookingWebhook(f"asked since start {next(_starts)} of {os.getpid()}")
        options = Options(
            identity="test", namespace="default", elect=False, webhooks=await self._webhooks(webhooks)
        )
        served = [*rooms, _Harness((looking,))] if webhooks else rooms
        self.manager = manager = Manager(self.client, served, options)
        self._stop = asyncio.Event()
        self._running = asyncio.create_task(manager.run(self._stop), name="kube-rooms")
        ends_at = time.monotonic() + _START_S
        while not (manager.cache.synced and manager.is_leader()):
            if self._running.done():
                await self._running
                raise RuntimeError("the rooms ended while they were started")
            if time.monotonic() > ends_at:
                raise TimeoutError(f"the rooms did not start within {_START_S:g} s: {manager.cache.unsynced}")
            await asyncio.sleep(0.02)
        if webhooks:
            await until_asked(self.client, looking)
        self._detector = MutationDetector()
        self._detector.attach(manager.cache)
        return manager

    async def stop(self) -> None:
        """Stop the rooms as SIGTERM would. Raises what ended them early, and for changed cached objects."""
        running, self._running = self._running, None
        if running is None:
            return
        self._stop.set()
        await running
        self._detector.check()

    async def kill(self) -> None:
        """End the rooms at once, wherever they are, as SIGKILL would."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    # -- objects ---------------------------------------------------------------------------------------------

    async def create(self, obj: T, *, status: bool = True) -> T:
        """Create an object; a status that it carries is written too."""
        made = await self.client.create(obj, manager=MANAGER)
        wanted = to_manifest(obj).get("status")
        if not (status and wanted):
            return made
        return await self.client.merge(
            type(obj), Key(made.metadata.namespace, made.metadata.name), {"status": wanted}, sub="status"
        )

    async def apply(self, obj: Resource | Manifest, *, manager: str = MANAGER, sub: str = "") -> Applied:
        return await self.client.apply(obj, manager=manager, sub=sub)

    async def patch(self, cls: type[T], name: str, patch: Manifest, namespace: str = "", sub: str = "") -> T:
        """JSON merge patch."""
        return await self.client.merge(cls, Key(namespace, name), patch, sub=sub)

    async def get(self, cls: type[T], name: str, namespace: str = "") -> T:
        return await self.client.get(cls, name, namespace)

    async def find(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        return await self.client.find(cls, name, namespace)

    async def list(self, cls: type[T], namespace: str = "", *, labels: str = "") -> Sequence[T]:
        return await self.client.list(cls, namespace, labels=labels)

    async def delete(self, cls: type[Resource], name: str, namespace: str = "") -> bool:
        """Delete; a namespace is also emptied and finished, which a controller does in a whole cluster."""
        found = await self.client.delete(cls, name, namespace)
        if cls is Namespace:
            await empty_namespace(self.client, name)
        return found

    async def eventually(
        self,
        cls: type[T],
        name: str,
        holds: Callable[[T], bool] = lambda obj: True,
        *,
        namespace: str = "",
        within_s: float = _WITHIN_S,
    ) -> T:
        """The object once it is there and `holds` says yes. Raises AssertionError with its last state."""
        ends_at = time.monotonic() + within_s
        while True:
            self._raise_if_ended()
            obj = await self.client.find(cls, name, namespace)
            if obj is not None and holds(obj):
                return obj
            if time.monotonic() > ends_at:
                last = "it is not there" if obj is None else f"it is {to_manifest(obj)}"
                raise AssertionError(f"{cls.__name__} {name} did not become so in {within_s:g} s; {last}")
            await asyncio.sleep(0.05)

    async def gone(
        self, cls: type[Resource], name: str, *, namespace: str = "", within_s: float = _WITHIN_S
    ) -> None:
        """Wait until there is no such object. Raises AssertionError with its last state."""
        ends_at = time.monotonic() + within_s
        while (obj := await self.client.find(cls, name, namespace)) is not None:
            self._raise_if_ended()
            if time.monotonic() > ends_at:
                raise AssertionError(
                    f"{cls.__name__} {name} is still there after {within_s:g} s: {to_manifest(obj)}"
                )
            await asyncio.sleep(0.05)

    async def caught_up(self) -> None:
        """Until the rooms' caches, and whoever is told by them, hold all that was written before this call.

        Between a write and the watch that brings it anything may be decided by what was before.
        """
        manager = self.manager
        if manager is None:
            raise RuntimeError("no rooms run whose caches could be waited for")
        async with asyncio.timeout(_WITHIN_S):
            for cls in {informer.cls for informer in manager.cache.informers}:
                while not _is_as_new(manager.cache.list(cls), await self.client.list(cls)):
                    self._raise_if_ended()
                    await asyncio.sleep(0.05)

    async def clean(self) -> None:
        """Remove what tests made: objects of the installed kinds, and namespaces with their content."""
        if self._hooked:  # nobody serves the webhooks any more, and finalizers are patched away
            for kind in ("Mutating", "Validating"):
                await self._delete_configuration(kind)
            await until_asked_no_more(self.client)
            self._hooked = False
        for cls in self._kinds:
            await remove_all(self.client, cls, self._keeps)
        for namespace in await self.client.list(Namespace):
            name = namespace.metadata.name
            if name not in self._before:
                await self.client.delete(Namespace, name)
                await empty_namespace(self.client, name)

    # -- inside ----------------------------------------------------------------------------------------------

    def _raise_if_ended(self) -> None:
        if self._running is not None and self._running.done():
            self._running.result()
            raise RuntimeError("the rooms have ended")

    async def _webhooks(self, wanted: bool) -> WebhookOptions | None:
        if not wanted:
            return None
        self._hooked = True
        for kind in ("Mutating", "Validating"):  # the chart ships them empty; without them none are filled
            await self.client.apply(_configuration(kind), manager="helm")
        port = free_port()
        return WebhookOptions(
            target=Target(url=f"https://127.0.0.1:{port}"),
            host="127.0.0.1",
            port=port,
            cert_dir=Path(tempfile.mkdtemp(dir=self.cluster.folder)),
            configuration=_CONFIGURATION,
            forget_s=0.0,
        )

    async def _delete_configuration(self, kind: str) -> None:
        where = await self.client.kind_for(_ADMISSION, f"{kind}WebhookConfiguration")
        with suppress(NotFound, Conflict):
            await self.client.delete(where, _CONFIGURATION)


def _is_as_new(cached: Sequence[Resource], listed: Sequence[Resource]) -> bool:
    versions = {key_of(obj): int(obj.metadata.resource_version) for obj in cached}
    return versions.keys() == {key_of(obj) for obj in listed} and all(
        versions[key_of(obj)] >= int(obj.metadata.resource_version) for obj in listed
    )


def _configuration(kind: str) -> Manifest:
    return {
        "apiVersion": _ADMISSION,
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": _CONFIGURATION},
    }


def _watched(rooms: Iterable[Room]) -> Iterable[type[Resource]]:
    """Kinds of other rooms that these rooms read."""
    for room in rooms:
        for loop in room.loops:
            yield loop.kind
            yield from loop.reads
            watches: Sequence[Any] = loop.watches
            yield from (watch.kind for watch in watches)
