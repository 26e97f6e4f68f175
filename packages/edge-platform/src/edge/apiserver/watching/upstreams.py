"""Kinds that the gateway does not know by heart: one watch for all who look, ended soon after them.

The watch is made with the gateway's own credential for the cluster, and shows nobody anything by itself:
who may see what is asked of the permission engine, as for the kinds in memory. Source: console §5.4; G3,
C9.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from edge.apiserver.lists.cached import not_namespaced
from edge.apiserver.masking import as_map
from edge.apiserver.mirrors.mirror import Mirror
from edge.apiserver.mirrors.store import Collection, Served
from edge.apiserver.rows.project import clean
from edge.apiserver.upstreams.members import HOST, Members
from edge.apiserver.watching.conversation import Stale
from edge_kube.client import Client
from edge_kube.config import Connection
from edge_kube.errors import KubeError
from edge_kube.meta import Key, Kind
from edge_kube.wire import bare
from edge_sdk.clock import Clock
from edge_sdk.problem import Missing, Problem, Unavailable

UPSTREAMS_MAX: Final = 64
OF_FLEETS_MAX: Final = 512
"""Those that were begun for all clusters at once; they take none from those of one cluster."""
HELD_MAX_BYTES: Final = 256 * 1024 * 1024
"""Of one kind in one cluster, or in one of its namespaces."""
TOO_MUCH: Final = "too-much-to-watch"
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


class HeldTooMuch(KubeError):
    """A cluster has more objects of a kind than are kept here."""


class Cleaned(Collection):
    """Without what no row and no object of a subscription may show, such as the data of Secrets.

    A member is not ours: what it sends must not fill this process, so there is a bound to it.
    """

    size_bytes = 0
    is_full = False

    def drop(self, key: Key, resource_version: str = "") -> None:
        self.size_bytes -= self._size_of(key)
        super().drop(key, resource_version)

    def put(self, raw: bytes) -> None:
        """Raises HeldTooMuch."""
        obj: dict[str, Any] = as_map(msgspec.json.decode(raw))
        meta = bare(raw)
        key = Key(meta.namespace, meta.name)
        have = self.get(key)
        if have is not None and bare(have.raw).uid != meta.uid:
            # Another cluster may stand behind the name now: its versions say nothing about this object.
            self.drop(key)
        shown = msgspec.json.encode(clean(self.served.group, self.served.resource, obj))
        before = self._size_of(key)
        if self.size_bytes - before + len(shown) > HELD_MAX_BYTES:
            self.is_full = True
            raise HeldTooMuch(f"there are more than {HELD_MAX_BYTES >> 20} MiB of {self.served.resource}")
        super().put(shown)
        self.size_bytes += self._size_of(key) - before

    def _size_of(self, key: Key) -> int:
        found = self.get(key)
        return len(found.raw) if found is not None else 0


@dataclass(slots=True, eq=False)
class Upstream:
    """One watch. connection: to a member; None for the host. revision: of how the member was reached then.

    kind, mirror: None until the cluster has answered. refusal: it has, and has no such kind; or it is no
    member any more. of_fleet: begun for all clusters at once. wakes: told when it falls silent, answers or
    ends.
    """

    asked: Asked
    collection: Cleaned
    connection: Connection | None
    client: Client
    revision: int = 0
    of_fleet: bool = False
    kind: Kind | None = None
    mirror: Mirror | None = None
    task: "asyncio.Task[None] | None" = None
    wakes: set[Callable[[], None]] = field(default_factory=set[Callable[[], None]])
    stale: Stale | None = None
    refusal: Problem | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with `kind`, or with `refusal`."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with `refusal`."""
    idle_since_s: float = 0.0

    async def listed(self) -> Kind:
        """Once its objects are here, however long that takes. Raises Missing, Problem (400)."""
        await self.settled.wait()
        if self.kind is None:
            raise self.refusal or Missing("unknown-resource", what="The cluster has no such kind")
        await self.collection.listed.wait()
        if self.refusal is not None:
            raise self.refusal
        if self.stale is not None and self.mirror is not None and not self.mirror.broken_s():
            self.stale = None
            self.wake()
        return self.kind

    def wake(self) -> None:
        for wake in tuple(self.wakes):
            wake()


class Upstreams:
    """`join` and `leave`; `run` looks after them and ends only when it is cancelled."""

    def __init__(self, client: Client, members: Members, clock: Clock) -> None:
        self._client = client
        self._members = members
        self.clock = clock
        self._open: dict[Asked, Upstream] = {}
        self._beginning: dict[Asked, tuple[asyncio.Lock, int]] = {}
        """Who begins it or waits for that."""
        self._counted: Counter[bool] = Counter()
        """Being begun, of fleets and others: they count before they are there."""

    def __len__(self) -> int:
        return len(self._open)

    async def join(self, asked: Asked, wake: Callable[[], None], *, of_fleet: bool = False) -> Upstream:
        """The watch that answers this; of a member that does not answer, one that is stale from the start.

        Raises Missing for no such cluster or kind, Problem (400) for a namespace of a kind that has none,
        Unavailable.
        """
        async with self._alone(asked):
            found = self._open.get(asked)
            if found is None:
                found = await self._begin(asked, of_fleet=of_fleet)
        found.wakes.add(wake)
        return found

    @contextlib.asynccontextmanager
    async def _alone(self, asked: Asked) -> AsyncGenerator[None]:
        """No watch is begun twice."""
        lock, waiting = self._beginning.get(asked, (asyncio.Lock(), 0))
        self._beginning[asked] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._beginning.pop(asked)
            if waiting > 1:
                self._beginning[asked] = lock, waiting - 1

    def leave(self, upstream: Upstream, wake: Callable[[], None]) -> None:
        upstream.wakes.discard(wake)
        upstream.idle_since_s = self.clock.monotonic_s()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for upstream in tuple(self._open.values()):
                if not upstream.wakes and self.clock.monotonic_s() - upstream.idle_since_s > LINGER_S:
                    await self._end(upstream)
                else:
                    await self._look(upstream)

    async def close(self) -> None:
        for upstream in tuple(self._open.values()):
            await self._end(upstream)

    async def _begin(self, asked: Asked, *, of_fleet: bool) -> Upstream:
        await self._make_room(of_fleet=of_fleet)
        self._counted[of_fleet] += 1
        try:
            found = self._open[asked] = await self._begun(asked, of_fleet=of_fleet)
        finally:
            self._counted[of_fleet] -= 1
        return found

    async def _begun(self, asked: Asked, *, of_fleet: bool) -> Upstream:
        is_host = asked.cluster == HOST
        revision = self._members.revision(asked.cluster)
        connection = None if is_host else self._connection(asked.cluster)
        client = self._client if connection is None else Client(connection)
        collection = Cleaned(Served(asked.group, asked.version, asked.resource, ""))
        found = Upstream(asked, collection, connection, client, revision, of_fleet)
        try:
            kind = await self._discover(client, asked)
        except Unavailable:
            if is_host:
                raise
            found.stale = Stale(asked.cluster, int(self.clock.now_s()))
            found.task = asyncio.get_running_loop().create_task(self._wait_for(found))
        except BaseException:
            if not is_host:
                await client.close()
            raise
        else:
            self._follow(found, kind)
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
                if self._members.revision(upstream.asked.cluster) != upstream.revision:
                    await self._dial(upstream)
                kind = await self._discover(upstream.client, upstream.asked)
            except Unavailable:
                continue
            except Problem as refusal:  # who asks next is told by the cluster itself
                self._refuse(upstream, refusal)
                await upstream.client.close()
                return
            self._follow(upstream, kind)
            return

    def _refuse(self, upstream: Upstream, refusal: Problem) -> None:
        """It brings nothing any more, and who looks at it is told why."""
        upstream.refusal = refusal
        if self._open.get(upstream.asked) is upstream:
            del self._open[upstream.asked]
        upstream.settled.set()
        upstream.collection.listed.set()  # nobody waits for its objects any more
        upstream.over.set()
        upstream.wake()

    async def _redial(self, upstream: Upstream, kind: Kind) -> None:
        """It is reached in another way: what is known stays, the watch goes on there.

        Raises Missing when it is no member any more.
        """
        with contextlib.suppress(Unavailable):
            await self._dial(upstream)
            self._follow(upstream, kind)

    async def _dial(self, upstream: Upstream) -> None:
        """Raises Missing, Unavailable."""
        revision = self._members.revision(upstream.asked.cluster)
        connection = self._connection(upstream.asked.cluster)
        upstream.revision, upstream.connection = revision, connection
        if upstream.mirror is not None and upstream.task is not None:
            upstream.task.cancel()
        old, upstream.client = upstream.client, Client(connection)
        await old.close()

    def _connection(self, cluster: str) -> Connection:
        """Raises Missing, Unavailable."""
        self._members.require(cluster)
        return self._members.connection(cluster)

    async def _discover(self, client: Client, asked: Asked) -> Kind:
        """What the cluster calls the kind. Raises Missing, Problem (400), Unavailable."""
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
                if asked.namespace and not namespaced:
                    raise not_namespaced(asked.namespace)
                return Kind(asked.group, asked.version, one["kind"], asked.resource, namespaced)
        raise Missing(
            "unknown-resource",
            what=f'Cluster "{asked.cluster}" has no "{asked.resource}" to watch',
            why=f"it is not among the resources of {asked.group}/{asked.version}",
            do="see /apis and /api/v1 for what there is",
        )

    async def _make_room(self, *, of_fleet: bool) -> None:
        """For one more. Raises Unavailable."""
        most = OF_FLEETS_MAX if of_fleet else UPSTREAMS_MAX
        alike = [one for one in self._open.values() if one.of_fleet is of_fleet]
        if len(alike) + self._counted[of_fleet] < most:
            return
        idle = [one for one in alike if not one.wakes]
        if not idle:
            raise Unavailable(
                "too-many-upstream-watches",
                what="The gateway watches as many other kinds as it may",
                why=f"{most} are watched already",
                do="try again later, or ask for a list",
            )
        await self._end(min(idle, key=lambda one: one.idle_since_s))

    async def _end(self, upstream: Upstream) -> None:
        if self._open.get(upstream.asked) is upstream:
            del self._open[upstream.asked]
        if upstream.task is not None:
            upstream.task.cancel()
            await asyncio.wait((upstream.task,))
        if upstream.connection is not None:
            await upstream.client.close()

    async def _look(self, upstream: Upstream) -> None:
        """Stale while the watch cannot be made; a member that is reached in another way is dialled anew."""
        if upstream.mirror is None or upstream.kind is None:
            return
        if upstream.collection.is_full:
            await self._end(upstream)
            self._refuse(upstream, _too_much(upstream.asked))
            return
        is_host = upstream.connection is None
        if not is_host and self._members.revision(upstream.asked.cluster) != upstream.revision:
            try:
                await self._redial(upstream, upstream.kind)
            except Missing as gone:
                await self._end(upstream)
                self._refuse(upstream, gone)
                return
        broken_s = upstream.mirror.broken_s()
        stale = upstream.stale
        if broken_s < STALE_AFTER_S:
            # One that was down from the start is back when its objects are here.
            stale = stale if not upstream.collection.synced else None
        elif stale is None:
            upstream.mirror.list_first()
            stale = Stale(upstream.asked.cluster, int(self.clock.now_s() - broken_s))
        if stale != upstream.stale:
            upstream.stale = stale
            upstream.wake()


def _too_much(asked: Asked) -> Unavailable:
    return Unavailable(
        TOO_MUCH,
        what=f'Cluster "{asked.cluster}" has too many {asked.resource} to watch them all',
        why=f"they take more than {HELD_MAX_BYTES >> 20} MiB",
        do="watch one namespace, or ask for a list",
    )
