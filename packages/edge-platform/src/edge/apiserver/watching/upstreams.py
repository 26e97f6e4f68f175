"""Kinds that the gateway does not know by heart: one watch for all who look, ended soon after them.

The watch is made with the gateway's own credential for the cluster, and shows nobody anything by itself:
who may see what is asked of the permission engine, as for the kinds in memory. Source: console §5.4; G3,
C9.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from edge.apiserver.masking import as_map
from edge.apiserver.members import HOST, Members
from edge.apiserver.mirror import Mirror
from edge.apiserver.rows.project import clean
from edge.apiserver.store import Collection, Served
from edge.apiserver.watching.conversation import Stale
from edge_kube.client import Client
from edge_kube.config import Connection
from edge_kube.errors import KubeError
from edge_kube.meta import Kind
from edge_sdk.clock import Clock
from edge_sdk.problem import Missing, Unavailable

UPSTREAMS_MAX: Final = 64
LINGER_S: Final = 30.0
LOOK_EVERY_S: Final = 1.0
STALE_AFTER_S: Final = 5.0
ANSWER_WITHIN_S: Final = 5.0
ASK_AGAIN_S: Final = 5.0

log = structlog.stdlib.get_logger("edge.apiserver")


class Asked(NamedTuple):
    """cluster: HOST or a member's name. namespace "": all."""

    cluster: str
    group: str
    version: str
    resource: str
    namespace: str = ""


class Cleaned(Collection):
    """Without what no row and no object of a subscription may show, such as the data of Secrets."""

    def put(self, raw: bytes) -> None:
        obj: dict[str, Any] = as_map(msgspec.json.decode(raw))
        super().put(msgspec.json.encode(clean(self.served.group, self.served.resource, obj)))


@dataclass(slots=True, eq=False)
class Upstream:
    """One watch. connection: to a member; None for the host. wakes: told when it falls silent or answers.

    kind, mirror: None until the cluster has answered. refusal: it has, and has no such kind.
    """

    asked: Asked
    collection: Collection
    connection: Connection | None
    client: Client
    kind: Kind | None = None
    mirror: Mirror | None = None
    task: "asyncio.Task[None] | None" = None
    wakes: set[Callable[[], None]] = field(default_factory=set[Callable[[], None]])
    stale: Stale | None = None
    refusal: Missing | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with `kind`, or with `refusal`."""
    idle_since_s: float = 0.0

    async def listed(self) -> Kind:
        """Once its objects are here, however long that takes. Raises Missing."""
        await self.settled.wait()
        if self.kind is None:
            raise self.refusal or Missing("unknown-resource", what="The cluster has no such kind")
        await self.collection.listed.wait()
        if self.stale is not None and self.mirror is not None and not self.mirror.broken_s():
            self.stale = None
            for wake in tuple(self.wakes):
                wake()
        return self.kind


class Upstreams:
    """`join` and `leave`; `run` looks after them and ends only when it is cancelled."""

    def __init__(self, client: Client, members: Members, clock: Clock) -> None:
        self._client = client
        self._members = members
        self._clock = clock
        self._open: dict[Asked, Upstream] = {}
        self._beginning: dict[Asked, asyncio.Lock] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def join(self, asked: Asked, wake: Callable[[], None]) -> Upstream:
        """The watch that answers this; of a member that does not answer, one that is stale from the start.

        Raises Missing for no such cluster or kind, Unavailable.
        """
        lock = self._beginning.setdefault(asked, asyncio.Lock())
        try:
            async with lock:
                found = self._open.get(asked)
                if found is None:
                    found = await self._begin(asked)
        finally:
            if not lock.locked():
                self._beginning.pop(asked, None)
        found.wakes.add(wake)
        return found

    def leave(self, upstream: Upstream, wake: Callable[[], None]) -> None:
        upstream.wakes.discard(wake)
        upstream.idle_since_s = self._clock.monotonic_s()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for upstream in tuple(self._open.values()):
                if not upstream.wakes and self._clock.monotonic_s() - upstream.idle_since_s > LINGER_S:
                    await self._end(upstream)
                else:
                    await self._look(upstream)

    async def close(self) -> None:
        for upstream in tuple(self._open.values()):
            await self._end(upstream)

    async def _begin(self, asked: Asked) -> Upstream:
        if len(self._open) >= UPSTREAMS_MAX and not await self._make_room():
            raise Unavailable(
                "too-many-upstream-watches",
                what="The gateway watches as many other kinds as it may",
                why=f"{UPSTREAMS_MAX} are watched already",
                do="try again later, or ask for a list",
            )
        is_host = asked.cluster == HOST
        connection = None if is_host else self._connection(asked.cluster)
        client = self._client if connection is None else Client(connection)
        collection = Cleaned(Served(asked.group, asked.version, asked.resource, ""))
        found = Upstream(asked, collection, connection, client)
        try:
            kind = await self._discover(client, asked)
        except Unavailable:
            if is_host:
                raise
            found.stale = Stale(asked.cluster, int(self._clock.now_s()))
            found.task = asyncio.get_running_loop().create_task(self._wait_for(found))
        except BaseException:
            if not is_host:
                await client.close()
            raise
        else:
            self._follow(found, kind)
        self._open[asked] = found
        return found

    def _follow(self, upstream: Upstream, kind: Kind) -> None:
        upstream.kind = kind
        upstream.collection.served = Served(kind.group, kind.version, kind.plural, kind.kind)
        upstream.mirror = Mirror(
            upstream.client, kind, upstream.collection, namespace=upstream.asked.namespace
        )
        upstream.task = asyncio.get_running_loop().create_task(upstream.mirror.run())
        upstream.settled.set()

    async def _wait_for(self, upstream: Upstream) -> None:
        """Until the member answers what the kind is; from then on it is followed like any other."""
        while True:
            await asyncio.sleep(ASK_AGAIN_S)
            try:
                connection = self._connection(upstream.asked.cluster)
                if connection != upstream.connection:
                    old, upstream.client = upstream.client, Client(connection)
                    upstream.connection = connection
                    await old.close()
                kind = await self._discover(upstream.client, upstream.asked)
            except Unavailable:
                continue
            except Missing as refusal:
                upstream.refusal = refusal
                self._open.pop(upstream.asked, None)  # who asks next is told by the cluster itself
                await upstream.client.close()
                upstream.settled.set()
                return
            self._follow(upstream, kind)
            return

    async def _redial(self, upstream: Upstream, kind: Kind) -> None:
        """Its kubeconfig may have been renewed: what is known stays, the watch goes on with the new one."""
        with contextlib.suppress(Missing, Unavailable):
            connection = self._members.connection(upstream.asked.cluster)
            if connection == upstream.connection:
                return
            old, upstream.connection = upstream.client, connection
            if upstream.task is not None:
                upstream.task.cancel()
            upstream.client = Client(connection)
            self._follow(upstream, kind)
            await old.close()

    def _connection(self, cluster: str) -> Connection:
        """Raises Missing, Unavailable."""
        self._members.require(cluster)
        return self._members.connection(cluster)

    async def _discover(self, client: Client, asked: Asked) -> Kind:
        """What the cluster calls the kind. Raises Missing, Unavailable."""
        path = f"/apis/{asked.group}/{asked.version}" if asked.group else f"/api/{asked.version}"
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                async with await client.raw("GET", path) as response:
                    found: dict[str, Any] = await response.json() if response.status == 200 else {}
        except (KubeError, OSError, TimeoutError) as error:
            raise Unavailable(
                "cluster-unreachable",
                what=f'Cluster "{asked.cluster}" does not answer',
                why=str(error) or type(error).__name__,
                do="try again; others are not affected",
            ) from error
        for one in found.get("resources") or ():
            if one.get("name") == asked.resource and "watch" in (one.get("verbs") or ()):
                namespaced = bool(one.get("namespaced"))
                return Kind(asked.group, asked.version, one["kind"], asked.resource, namespaced)
        raise Missing(
            "unknown-resource",
            what=f'Cluster "{asked.cluster}" has no "{asked.resource}" to watch',
            why=f"it is not among the resources of {asked.group}/{asked.version}",
            do="see /apis and /api/v1 for what there is",
        )

    async def _make_room(self) -> bool:
        idle = [one for one in self._open.values() if not one.wakes]
        if not idle:
            return False
        await self._end(min(idle, key=lambda one: one.idle_since_s))
        return True

    async def _end(self, upstream: Upstream) -> None:
        self._open.pop(upstream.asked, None)
        if upstream.task is not None:
            upstream.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await upstream.task
        if upstream.connection is not None:
            await upstream.client.close()

    async def _look(self, upstream: Upstream) -> None:
        """Stale while the watch cannot be made; a member that is reached in another way is dialled anew."""
        if upstream.mirror is None or upstream.kind is None:
            return
        broken_s = upstream.mirror.broken_s()
        if broken_s and upstream.connection is not None:
            await self._redial(upstream, upstream.kind)
        stale = upstream.stale
        if broken_s < STALE_AFTER_S:
            # One that was down from the start is back when its objects are here.
            stale = stale if not upstream.collection.synced else None
        elif stale is None:
            stale = Stale(upstream.asked.cluster, int(self._clock.now_s() - broken_s))
        if stale != upstream.stale:
            upstream.stale = stale
            for wake in tuple(upstream.wakes):
                wake()
