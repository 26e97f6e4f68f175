"""One kind in all clusters in which a caller may see some of it: in the host and in each member (G3, C9).

    fleet = fleets.join(eyes, "ann", asked, wake)    # wake: another cluster is cut off, or back
    await fleet.begun()                              # two seconds at most
    fleet.stale                                      # those whose rows are missing, or as they were

Each cluster is a branch with a task of its own, so that one that is dead or slow holds up no other. Clusters
that join or leave the platform come and go here too. Callers with equal rights share a fleet. Source: console
§5.3 (`cluster=*`), §5.4.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from edge.apiserver.answers import camel
from edge.apiserver.lists.asked import EVERY, check_namespace
from edge.apiserver.lists.kinds import RowKind, known
from edge.apiserver.lists.live import ALL_CLUSTERS_S, CLUSTER_BUDGET_S, CLUSTERS_AT_ONCE
from edge.apiserver.mirrors.store import Change, Collection, Served, Stored
from edge.apiserver.rights.sight import AllAllowed, Allowed, Eyes, Sight, Sights
from edge.apiserver.rows.project import Item
from edge.apiserver.upstreams.members import HOST
from edge.apiserver.watching import sources
from edge.apiserver.watching.conversation import Stale
from edge.apiserver.watching.protocol import Rows
from edge.apiserver.watching.sources import Collections, Extent, Place
from edge.apiserver.watching.upstreams import TOO_MUCH, Asked, Upstream, Upstreams
from edge_sdk.problem import Missing, Problem, Unavailable
from edge_sdk.scopes import SCOPE_GROUP, is_host

JOIN_AGAIN_S: Final = 5.0
REFUSED_AGAIN_S: Final = 60.0
Wake = Callable[[], None]

log = structlog.stdlib.get_logger("edge.apiserver")


@dataclass(frozen=True, slots=True)
class Looks:
    """What is asked for, and with which rights. within: names of the clusters it is about; None for all."""

    asked: Asked
    sights: Sights
    actions: AllAllowed
    within: frozenset[str] | None

    @property
    def key(self) -> Hashable:
        return self.asked, self.sights.key, self.actions.key, self.within


@dataclass(slots=True, eq=False)
class Branch:
    """One cluster. place: of its collection in the fleet, kept for it if it leaves and comes back.

    listed: its objects are here. refused: it has none of the kind. late: when it counts as stale.
    """

    cluster: str
    place: int
    sight: Sight
    allowed: Allowed
    task: "asyncio.Task[None] | None" = None
    late: asyncio.TimerHandle | None = None
    stale: Stale | None = None
    listed: bool = False
    refused: Problem | None = None

    @property
    def shown(self) -> str:
        """As rows name the cluster."""
        return "" if self.cluster == HOST else self.cluster

    @property
    def has_answered(self) -> bool:
        return self.listed or self.stale is not None or self.refused is not None


class Fleet:
    def __init__(
        self, looks: Looks, upstreams: Upstreams, host: Place | None, gate: asyncio.Semaphore
    ) -> None:
        """host: its objects, where they are known by heart. gate: how many clusters are asked at once."""
        self.looks = looks
        self.kind: RowKind | None = host.kind if host is not None else None
        self.collections: list[Collection] = []
        self.wakes: set[Wake] = set()
        self.followers: set[Callable[[int], Awaitable[None]]] = set()
        self._upstreams = upstreams
        self._host = host
        self._gate = gate
        self._branches: dict[str, Branch] = {}
        self._by_place: list[Branch] = []
        self._places: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._answered = asyncio.Event()
        self._known = asyncio.Event()

    # -- who looks -------------------------------------------------------------------------------------------

    @property
    def stale(self) -> list[Stale]:
        return [one.stale for one in self._branches.values() if one.stale is not None]

    @property
    def has_begun(self) -> bool:
        """Whether each cluster has answered once, or is stale for having not."""
        return self._answered.is_set()

    async def begun(self) -> None:
        """Until it has."""
        await self._answered.wait()

    async def known(self) -> RowKind:
        """The kind, once a cluster has told it. Raises Missing when all have answered that there is none.

        Raises Problem (400) for a namespace of a kind that is in none.
        """
        await self._known.wait()
        if self.kind is None:
            refused = (one.refused for one in self._branches.values() if one.refused is not None)
            raise next(refused, Missing("unknown-resource", what="No cluster has such a kind"))
        return self.kind

    def extent(self, kind: RowKind, eyes: Eyes, asked: Rows) -> Extent:
        """Raises Problem (400)."""
        served = Served(kind.group, asked.version, kind.resource, "")
        bounds: dict[str, Callable[[Stored], bool] | None] = {}

        def within(which: int, stored: Stored) -> bool:
            cluster = self._by_place[which].cluster
            if cluster not in bounds:
                bounds[cluster] = eyes.within(asked.scope, served, self._as_placed(cluster))
            bound = bounds[cluster]
            return bound is None or bound(stored)

        eyes.within(asked.scope, served, HOST)
        return Extent(
            key=self.looks.key,
            collections=self.collections,
            kind=kind,
            item=partial(self._item, kind),
            sees=lambda which, stored: self._by_place[which].sight.sees(stored),
            actions=lambda which, stored: self._by_place[which].allowed.of(stored),
            within=within,
            namespaces=frozenset({asked.namespace}) if asked.namespace else None,
            whose=lambda item: f"@{item.cluster}" if item.cluster else "",
            growing=self,
        )

    def _item(self, kind: RowKind, which: int, stored: Stored) -> Item:
        cluster = self._as_placed(self._by_place[which].cluster)
        return Place(self.collections[which], kind, cluster).item(stored)

    def _as_placed(self, cluster: str) -> str:
        """As sights and places name it: the host that is known by heart has no name."""
        return "" if cluster == HOST and self._host is not None else cluster

    # -- clusters come and go --------------------------------------------------------------------------------

    def look(self, members: Iterable[str]) -> None:
        """These are the member clusters now."""
        within = self.looks.within
        wanted = dict.fromkeys(one for one in (HOST, *members) if within is None or one in within)
        for cluster in [one for one in self._branches if one not in wanted]:
            self._cut(self._branches.pop(cluster))
        for cluster in wanted:
            if cluster not in self._branches:
                self._begin(cluster)
        self._told()

    def close(self) -> "list[asyncio.Task[None]]":
        """Its tasks, which have yet to end."""
        for branch in self._branches.values():
            _stop(branch)
        self._branches.clear()
        for task in self._tasks:
            task.cancel()
        return list(self._tasks)

    @property
    def is_empty(self) -> bool:
        """Whether there is no cluster in which the caller may see anything."""
        return not self._branches

    def _begin(self, cluster: str) -> None:
        sight = self.looks.sights.at(self._as_placed(cluster))
        if sight is None:
            return
        place = self._places.setdefault(cluster, len(self._places))
        branch = Branch(cluster, place, sight, self.looks.actions.at(self._as_placed(cluster)))
        if place == len(self.collections):
            self.collections.append(_nothing(self.looks.asked))
            self._by_place.append(branch)
        self._by_place[place] = self._branches[cluster] = branch
        loop = asyncio.get_running_loop()
        branch.late = loop.call_later(ALL_CLUSTERS_S, self._mark, branch, "UpstreamTimeout")
        branch.task = self._spawn(self._keep(branch))

    def _cut(self, branch: Branch) -> None:
        """The cluster has left: its rows are gone."""
        _stop(branch)
        self._spawn(self._stands(branch, _nothing(self.looks.asked)))

    async def _stands(self, branch: Branch, collection: Collection) -> None:
        """This is what the cluster has, unless it has left and come back meanwhile."""
        if self._by_place[branch.place] is branch:
            self.collections[branch.place] = collection
            for follow in tuple(self.followers):
                await follow(branch.place)

    def _spawn(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("branch_failed", error=repr(task.exception()))

    # -- one cluster -----------------------------------------------------------------------------------------

    async def _keep(self, branch: Branch) -> None:
        """Until its objects are here; from then on the watch itself says how it is."""
        if branch.cluster == HOST and self._host is not None:
            await self._stands(branch, self._host.collection)
            await self._host.collection.listed.wait()
            self._has(branch)
            return
        while True:
            try:
                await self._follow(branch)
            except Unavailable as problem:
                if branch.listed:
                    branch.listed = False
                    await self._stands(branch, _nothing(self.looks.asked))
                self._mark(branch, camel(problem.code))
                await asyncio.sleep(REFUSED_AGAIN_S if problem.code == TOO_MUCH else JOIN_AGAIN_S)
            except Problem as refusal:  # it may have the kind later
                branch.refused, branch.stale, branch.listed = refusal, None, False
                await self._stands(branch, _nothing(self.looks.asked))
                self._told()
                await asyncio.sleep(REFUSED_AGAIN_S)

    async def _follow(self, branch: Branch) -> None:
        """Ends only with an error or by cancellation. Raises Missing, Problem (400), Unavailable."""
        upstream: Upstream

        def told() -> None:
            self._heard(branch, upstream)

        upstream = await self._join(branch, told)
        try:
            told()
            await self._stands(branch, upstream.collection)
            kind = await upstream.listed()
            if self.kind is None:
                self.kind = known(kind.group, kind.plural) or sources.kind_of_rows(
                    kind.group, kind.plural, namespaced=kind.namespaced
                )
            self._has(branch)
            self._heard(branch, upstream)
            await upstream.over.wait()
            raise upstream.refusal or Missing("unknown-cluster", what="The watch has ended")
        finally:
            self._upstreams.leave(upstream, told)

    async def _join(self, branch: Branch, told: Wake) -> Upstream:
        """One that is slow does not keep its seat: those behind it are asked."""
        loop, asked = asyncio.get_running_loop(), self.looks.asked._replace(cluster=branch.cluster)
        async with self._gate:
            self._hurry(branch)
            joining = loop.create_task(self._upstreams.join(asked, told, of_fleet=True))
            try:
                await asyncio.wait((joining,), timeout=CLUSTER_BUDGET_S)
            except asyncio.CancelledError:
                self._give_up(joining, told)
                raise
        try:
            return await joining
        except asyncio.CancelledError:
            self._give_up(joining, told)
            raise

    def _give_up(self, joining: "asyncio.Task[Upstream]", told: Wake) -> None:
        """It may be through already: then nobody else would leave."""

        def leave(done: "asyncio.Task[Upstream]") -> None:
            if not done.cancelled() and done.exception() is None:
                self._upstreams.leave(done.result(), told)

        joining.cancel()
        joining.add_done_callback(leave)

    def _hurry(self, branch: Branch) -> None:
        """It is asked now: its own two seconds begin."""
        if branch.late is not None and not branch.has_answered:
            branch.late.cancel()
            loop = asyncio.get_running_loop()
            branch.late = loop.call_later(CLUSTER_BUDGET_S, self._mark, branch, "UpstreamTimeout")

    def _has(self, branch: Branch) -> None:
        branch.listed, branch.refused = True, None
        self._told()

    def _heard(self, branch: Branch, upstream: Upstream) -> None:
        """From its watch: it has fallen silent, or is back. Of why it is stale the first is told, once."""
        if upstream.stale is not None:
            branch.stale = branch.stale or upstream.stale._replace(cluster=branch.shown)
        elif branch.listed:
            branch.stale = None
        self._told()

    def _mark(self, branch: Branch, code: str) -> None:
        """It has not answered, or cannot be asked."""
        if branch.stale is None and not branch.listed and branch.refused is None:
            since = int(self._upstreams.clock.now_s())
            branch.stale = Stale(branch.shown, since, code)
            self._told()

    def _told(self) -> None:
        branches = self._branches.values()
        if all(one.has_answered for one in branches):
            self._answered.set()
        if self.kind is not None or all(one.refused is not None for one in branches):
            self._known.set()
        for wake in tuple(self.wakes):
            wake()


class Fleets:
    def __init__(self, upstreams: Upstreams, collections: Collections) -> None:
        self._upstreams = upstreams
        self._collections = collections
        self._open: dict[Hashable, Fleet] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Semaphore(CLUSTERS_AT_ONCE)

    def __len__(self) -> int:
        return len(self._open)

    def join(self, eyes: Eyes, user: str, asked: Rows, wake: Wake) -> Fleet:
        """Raises Missing, Forbidden for who may see nothing anywhere, Problem (400), Unavailable."""
        looks = looks_of(eyes, user, asked)
        fleet = self._open.get(looks.key)
        if fleet is None:
            _, group, version, resource, _ = looks.asked
            host = sources.in_memory(self._collections, group, version, resource)
            fleet = Fleet(looks, self._upstreams, host, self._gate)
            fleet.look(self._members())
            if fleet.is_empty:
                raise sources.forbidden(user, sources.LIST_VERBS, resource)
            self._open[looks.key] = fleet
            self._clusters().followers.add(self._changed)
        fleet.wakes.add(wake)
        return fleet

    def leave(self, fleet: Fleet, wake: Wake) -> None:
        fleet.wakes.discard(wake)
        if fleet.wakes or self._open.get(fleet.looks.key) is not fleet:
            return
        del self._open[fleet.looks.key]
        for task in fleet.close():
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        if not self._open:
            self._clusters().followers.discard(self._changed)

    async def close(self) -> None:
        """After the last one has left: no watch is begun any more."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _clusters(self) -> Collection:
        return self._collections[SCOPE_GROUP, "clusters"]

    def _members(self) -> list[str]:
        return [one.key.name for one in self._clusters() if not is_host(one.key.name, one.labels)]

    def _changed(self, change: Change) -> None:
        old, new = change.old, change.new
        if old is not None and new is not None and old.labels == new.labels:
            return
        for fleet in tuple(self._open.values()):
            fleet.look(self._members())


def looks_of(eyes: Eyes, user: str, asked: Rows) -> Looks:
    """With the rights of now. Raises Missing, Problem (400), Unavailable."""
    group, version, resource = sources.full(asked.group, asked.version, asked.resource)
    check_namespace(asked.namespace)
    served = Served(group, version, resource, "")
    return Looks(
        Asked(EVERY, group, version, resource, asked.namespace),
        eyes.everywhere(user, sources.LIST_VERBS, served),
        eyes.actions_everywhere(user, served),
        eyes.clusters_within(asked.scope),
    )


def _stop(branch: Branch) -> None:
    if branch.late is not None:
        branch.late.cancel()
    if branch.task is not None:
        branch.task.cancel()


def _nothing(asked: Asked) -> Collection:
    return Collection(Served(asked.group, asked.version, asked.resource, ""))
