"""Member clusters for the rooms that work in them: the pool in the shape of `edge_sdk.sites`."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from edge_kube.cache import Delta, Informer
from edge_kube.clusters import ClusterHandle, ClusterPool, ClusterState
from edge_kube.errors import ClusterUnavailable
from edge_kube.meta import Key, Resource, kind_of
from edge_kube.runtime import MemberWatch, Request, Writer
from edge_kube.writer import RoomWriter
from edge_sdk.sites import Site

T = TypeVar("T", bound=Resource)


class Loop(Protocol):
    """What is woken by members; `edge_kube.controller.Controller` has this shape."""

    @property
    def member_watches(self) -> Sequence[MemberWatch[Any]]: ...
    def enqueue(self, request: Request) -> None: ...
    def unpark(self, cluster: str) -> None: ...


def connect(pool: ClusterPool, loops: Sequence[Loop]) -> None:
    """Let what happens in members wake the loops that watch it. Call it once, before members are added."""
    for loop in loops:
        for watch in loop.member_watches:
            pool.watch(watch.kind, _waking(loop, watch), labels=watch.labels)


def _waking(loop: Loop, watch: MemberWatch[Any]) -> Callable[[Delta[Any], str], None]:
    def handle(delta: Delta[Any], cluster: str) -> None:
        if delta.op == "resync":
            return
        for obj in (delta.old, delta.new):
            if obj is not None:
                for request in watch.to(obj, cluster):
                    loop.enqueue(request)

    return handle


FIRST_LIST_S = 5.0
"""How long the first look at a member may take; later ones find its objects in memory."""


FIRST_ANSWER_LOOKS = 20  # of 50 ms each


class MemberSites:
    """Reads what the given member watches copy anyway; a kind that is not among them is a bug, and raises."""

    def __init__(
        self,
        pool: ClusterPool,
        watches: Sequence[MemberWatch[Any]],
        *,
        gate: Callable[[], bool] = lambda: True,
    ) -> None:
        """gate: whether this process leads; without it no write leaves for a member, as for the host."""
        self._pool = pool
        self._gate = gate
        self._labels = {watch.kind: watch.labels for watch in watches}
        self._sites: WeakKeyDictionary[ClusterHandle, _MemberSite] = WeakKeyDictionary()

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._pool.names)

    @asynccontextmanager
    async def open(self, cluster: str) -> AsyncGenerator[Site]:
        handle = self._pool.get(cluster)
        await _answered(handle)
        async with handle as client:
            site = self._sites.get(handle)
            if site is None:
                site = self._sites[handle] = _MemberSite(client.derive(gate=self._gate))
            site.informers = {
                cls: await handle.informer(cls, labels=labels) for cls, labels in self._labels.items()
            }
            await _synced(cluster, site.informers)
            yield site


class _MemberSite:
    """Kept as long as its handle: the writer remembers what it applied, so that a look costs no request."""

    def __init__(self, client: Writer) -> None:
        self.informers: Mapping[type[Resource], Informer[Any]] = {}
        self.writer = RoomWriter(client, self)

    def get(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        return cast("T | None", self._of(cls).get(Key(namespace, name)))

    def list(self, cls: type[T], namespace: str = "") -> Sequence[T]:
        return cast("Sequence[T]", self._of(cls).list(namespace))

    def type_of(self, api_version: str, kind: str) -> type[Resource] | None:
        for cls in self.informers:
            known = kind_of(cls)
            if (known.kind, known.api_version) == (kind, api_version):
                return cls
        return None

    def write_through(self, obj: Resource) -> None:
        informer = self.informers.get(type(obj))
        if informer is not None:
            informer.write_through(obj)

    def _of(self, cls: type[Resource]) -> Informer[Any]:
        informer = self.informers.get(cls)
        if informer is None:
            raise LookupError(f"{cls.__name__} is not copied from members; name it in a member watch")
        return informer


async def _answered(handle: ClusterHandle) -> None:
    """A member just joined has a moment to answer, so that a restart does not show all of them as away."""
    for _ in range(FIRST_ANSWER_LOOKS):
        if handle.state is not ClusterState.PROBING:
            return
        await asyncio.sleep(0.05)
    raise ClusterUnavailable(handle.name, "it has not answered yet")


async def _synced(cluster: str, informers: Mapping[type[Resource], Informer[Any]]) -> None:
    try:
        async with asyncio.timeout(FIRST_LIST_S):
            while not all(informer.synced for informer in informers.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        missing = ", ".join(cls.__name__ for cls, informer in informers.items() if not informer.synced)
        raise ClusterUnavailable(cluster, f"its objects are not listed yet: {missing}") from None
