"""Carries out what the client of one socket asks for: opens windows, changes them, and looks at rights again.

Each subscription is opened in a task of its own, so that a cluster that does not answer holds up nothing
else. When the caller's rights change, nothing of what was worked out before goes out until all of it has
been worked out anew.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec
import structlog

from edge.apiserver.lists.asked import EVERY, bad_scope, check_namespace
from edge.apiserver.overview.boards import Boards
from edge.apiserver.overview.feed import OverviewFeed
from edge.apiserver.rights.sight import Eyes
from edge.apiserver.upstreams.members import HOST
from edge.apiserver.watching import protocol, sources
from edge.apiserver.watching.conversation import Conversation, Stale, Subscription
from edge.apiserver.watching.fleet import Fleet, Fleets, looks_of
from edge.apiserver.watching.objectview import Blank, ObjectView
from edge.apiserver.watching.protocol import Access, Events, Have, Mod, Obj, Ops, Overview, Rows
from edge.apiserver.watching.sources import Collections, Place, Query
from edge.apiserver.watching.upstreams import Asked, Upstream, Upstreams
from edge.apiserver.watching.views import Views
from edge_kube.meta import Key
from edge_sdk.problem import Problem, TooMuch, Unavailable

log = structlog.stdlib.get_logger("edge.apiserver")


@dataclass(frozen=True, slots=True)
class World:
    """What all sockets share."""

    eyes: Eyes
    collections: Collections
    views: Views
    upstreams: Upstreams
    fleets: Fleets
    boards: Boards = field(default_factory=Boards)

    def scopes_changed(self) -> None:
        """Something else lies in some scope."""
        self.views.bounds_changed()
        self.boards.bounds_changed()


@dataclass(slots=True, eq=False)
class Opened:
    """What a subscription holds on to, and has to let go."""

    query: Query | None = None
    fleet: Fleet | None = None
    ends: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    def release(self) -> None:
        while self.ends:
            self.ends.pop()()


class Desk:
    def __init__(self, world: World, user: str, talk: Conversation, wake: Callable[[], None]) -> None:
        """wake: there may be frames to send."""
        self._world = world
        self._user = user
        self._talk = talk
        self._wake = wake
        self._opened: dict[int, Opened] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None

    def sub(self, message: protocol.Sub) -> None:
        """Raises BadMessage for an id that is in use."""
        what = message.what.one()
        if what is None:
            raise protocol.BadMessage("what names nothing")
        is_over = len(self._talk.subs) >= protocol.SUBS_MAX
        self._talk.begin(message.id, what)
        if is_over:
            self._talk.ended(message.id, _too_many())
            self._wake()
            return
        self._start(message.id, message.have)

    def mod(self, message: Mod) -> None:
        """A subscription that is not there has ended just now, and its `end` is on the way: nothing to do."""
        sub = self._talk.subs.get(message.id)
        if sub is None or not isinstance(sub.what, Rows | Ops):
            return
        sub.what = _modified(sub.what, message)
        self._start(message.id, None)

    def unsub(self, id_: int) -> None:
        self._stop(id_)
        self._talk.drop(id_)

    def rights_changed(self) -> None:
        """The caller's rights may be others: from now on nothing goes out that they do not cover."""
        self._talk.held_back = True
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look_again())

    async def close(self) -> None:
        tasks = [*self._tasks.values(), *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for opened in self._opened.values():
            opened.release()

    async def _look_again(self) -> None:
        """Until the rights are the same before and after."""
        while self._talk.held_back:
            generation = self._world.eyes.generation(self._user)
            for id_, sub in list(self._talk.subs.items()):
                if self._talk.subs.get(id_) is not sub:
                    continue
                is_under_way = id_ in self._tasks or sub.shown is None
                if (is_under_way or self._sees_other_clusters(sub)) and not isinstance(
                    sub.what, Access
                ):  # begun with other rights
                    have = sub.have if sub.shown is None else None
                    self._stop(id_)
                    self._talk.emptied(id_)
                    self._start(id_, have)
                else:
                    await self._again(sub)
            self._talk.held_back = self._world.eyes.generation(self._user) != generation
        self._wake()

    def _sees_other_clusters(self, sub: Subscription) -> bool:
        """Then no other subscription waits until those have answered."""
        opened = self._opened.get(sub.id)
        if opened is None or opened.fleet is None or not isinstance(sub.what, Rows):
            return False
        try:
            return looks_of(self._world.eyes, self._user, sub.what).key != opened.fleet.looks.key
        except Problem:  # which ends it
            return False

    async def _again(self, sub: Subscription) -> None:
        """Look at one subscription with the rights of now."""
        before = self._opened.get(sub.id)
        query = before.query if before else None
        try:
            await self._open(sub, None, keeps=query)
        except Problem as problem:
            self._end(sub.id, problem)

    def _start(self, id_: int, have: Have | None) -> None:
        running = self._tasks.pop(id_, None)
        if running is not None:
            running.cancel()
        sub = self._talk.subs[id_]
        sub.have = have
        task = asyncio.get_running_loop().create_task(self._opening(sub, have))
        self._tasks[id_] = task
        task.add_done_callback(partial(self._forget, id_))

    def _forget(self, id_: int, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(id_) is task:
            del self._tasks[id_]
        if not task.cancelled() and task.exception() is not None:
            log.error("subscription_failed", error=repr(task.exception()))
            self._end(id_, Unavailable("internal", what="The gateway made a mistake", do="subscribe again"))

    def _stop(self, id_: int) -> None:
        running = self._tasks.pop(id_, None)
        if running is not None:
            running.cancel()
        opened = self._opened.pop(id_, None)
        if opened is not None:
            opened.release()

    def _end(self, id_: int, problem: Problem) -> None:
        if id_ in self._talk.subs:
            self._stop(id_)
            self._talk.ended(id_, problem)
            self._wake()

    async def _opening(self, sub: Subscription, have: Have | None) -> None:
        try:
            await self._open(sub, have)
        except Problem as problem:
            self._end(sub.id, problem)
        self._wake()

    async def _open(self, sub: Subscription, have: Have | None, keeps: Query | None = None) -> None:
        """Hold what the subscription shows, then let go of what it showed before. Raises Problem.

        keeps: the query that is held; when it would be the same again, nothing is done.
        """
        if isinstance(sub.what, Access):
            self._talk.access_is(sub.id, self._world.eyes.access(self._user, sub.what.scope))
            return
        opened = Opened()
        again = sub.shown is not None and have is None and keeps is not None
        try:
            if isinstance(sub.what, Obj):
                await self._open_object(sub, sub.what, opened, have, again=sub.shown is not None)
            elif isinstance(sub.what, Overview):
                await self._open_overview(sub, sub.what, opened, have)
            else:
                query = await self._query(sub, sub.what, opened, have)
                if keeps is not None and query.key == keeps.key and sub.id in self._opened:
                    opened.release()
                    return
                await self._open_rows(sub, query, opened, have, again=again)
        except BaseException:
            opened.release()
            raise
        before = self._opened.pop(sub.id, None)
        self._opened[sub.id] = opened
        if before is not None:
            before.release()

    async def _open_rows(
        self, sub: Subscription, query: Query, opened: Opened, have: Have | None, *, again: bool
    ) -> None:
        held = await self._world.views.hold(
            query.key, query.source, offset=query.offset, limit=query.limit, wake=self._waker(sub.id)
        )
        opened.query = query
        opened.ends.append(held.release)
        if self._talk.subs.get(sub.id) is not sub:
            raise asyncio.CancelledError
        if again:
            self._talk.replaced(sub.id, held)
        else:
            self._talk.opened(sub.id, held, have)

    async def _open_object(
        self, sub: Subscription, asked: Obj, opened: Opened, have: Have | None, *, again: bool
    ) -> None:
        eyes, user = self._world.eyes, self._user
        place = await self._place(sub, asked, opened, have)
        collection = place.collection
        await collection.listed.wait()
        sight = sources.see(eyes, user, sources.GET_VERBS, collection.served, place.cluster)
        shown = ObjectView(sources.find(sight, user, collection, asked), asked.fields)
        key = Key(asked.namespace, asked.name)

        def changed() -> None:
            stored = collection.get(key)
            if stored is None or not sight.sees(stored):
                self._end(sub.id, sources.gone(asked))
            elif shown.put(stored):
                self._talk.woken(sub.id)
                self._wake()

        opened.ends.append(self._world.views.follow(collection, key, changed))
        if again:
            self._talk.replaced(sub.id, shown)
        else:
            self._talk.opened(sub.id, shown, have)

    async def _open_overview(
        self, sub: Subscription, asked: Overview, opened: Opened, have: Have | None
    ) -> None:
        world, again = self._world, sub.shown is not None
        wake = self._waker(sub.id)
        feed = OverviewFeed(world.eyes, self._user, world.collections, asked.scope, sources.LIST_VERBS)
        live = await world.boards.hold(feed, wake)
        opened.ends.append(lambda: world.boards.leave(live, wake))
        if self._talk.subs.get(sub.id) is not sub:
            raise asyncio.CancelledError
        if again:
            self._talk.replaced(sub.id, live)
        else:
            self._talk.opened(sub.id, live, have)

    async def _query(
        self, sub: Subscription, what: Rows | Events | Ops, opened: Opened, have: Have | None
    ) -> Query:
        world, user = self._world, self._user
        if isinstance(what, Ops):
            return sources.ops(world.eyes, user, world.collections, what)
        if isinstance(what, Events):
            of = what.of
            asked = Rows("", "v1", "events", cluster=of.cluster, namespace=of.namespace)
            return sources.events(world.eyes, user, await self._place(sub, asked, opened, have), what)
        what = msgspec.structs.replace(what, cluster=self._cluster_of(what))
        if what.cluster == EVERY:
            return await self._everywhere(sub, what, opened, have)
        place = await self._place(sub, what, opened, have)
        return sources.rows(world.eyes, user, place, what)

    def _cluster_of(self, what: Rows) -> str:
        """As lists of rows take it: the one that the scope is in, where none is named. Raises Problem (400).

        The platform's own kinds are the host's, whichever cluster is meant.
        """
        if sources.is_of_host_alone(what.group, what.version, what.resource):
            return ""
        return what.cluster or self._world.eyes.cluster_of(what.scope)

    async def _everywhere(self, sub: Subscription, what: Rows, opened: Opened, have: Have | None) -> Query:
        """The host and all members in which the caller may see something; who is late is stale (C9).

        Raises Missing, Forbidden, Problem (400), Unavailable.
        """
        fleets, eyes = self._world.fleets, self._world.eyes
        fleet: Fleet

        def told() -> None:
            if fleet.has_begun:
                self._tell_stale(sub, fleet.stale, have, is_empty=fleet.kind is None)

        fleet = fleets.join(eyes, self._user, what, told)
        opened.fleet = fleet
        opened.ends.append(lambda: fleets.leave(fleet, told))
        await fleet.begun()
        told()
        return sources.rows_of(fleet.extent(await fleet.known(), eyes, what), what)

    async def _place(self, sub: Subscription, what: Rows | Obj, opened: Opened, have: Have | None) -> Place:
        """In memory, or an upstream watch that is shared.

        Raises Missing, Forbidden, Problem (400), Unavailable.
        """
        group, version, resource = sources.full(what.group, what.version, what.resource)
        check_namespace(what.namespace)
        if what.cluster == EVERY:
            raise bad_scope("cluster", EVERY, "only rows are of all clusters", "the name of one cluster")
        if what.cluster in ("", HOST):
            found = sources.in_memory(self._world.collections, group, version, resource)
            if found is not None:
                return found
        asked = Asked(what.cluster or HOST, group, version, resource, what.namespace)
        self._world.eyes.may_ask(self._user, asked.cluster, group, version, resource)
        upstream: Upstream

        def told() -> None:
            if upstream.refusal is not None:
                self._end(sub.id, upstream.refusal)
                return
            stale = () if upstream.stale is None else (upstream.stale,)
            is_empty = upstream.stale is not None and not upstream.collection.synced
            self._tell_stale(sub, stale, have, is_empty=is_empty)

        upstream = await self._world.upstreams.join(asked, told)
        opened.ends.append(lambda: self._world.upstreams.leave(upstream, told))
        told()
        kind = await upstream.listed()
        return sources.upstream_place(upstream.collection, asked.cluster, namespaced=kind.namespaced)

    def _tell_stale(
        self, sub: Subscription, stale: Sequence[Stale], have: Have | None, *, is_empty: bool
    ) -> None:
        """Which members do not answer now. C9: what a client has, it keeps.

        is_empty: nothing has come yet. Who has nothing then gets an empty window, so that a page need not
        wait for what may take days.
        """
        talk = self._talk
        if talk.subs.get(sub.id) is not sub:
            return
        if not is_empty and isinstance(sub.shown, Blank):
            talk.emptied(sub.id)
        if is_empty and sub.shown is None and have is None:
            talk.opened(sub.id, Blank(is_object=isinstance(sub.what, Obj)))
        if not {one.cluster for one in stale}.issuperset(sub.stale):
            self._world.views.work_in()  # what it brings on its return must be in the window
        talk.stale(sub.id, stale)
        self._wake()

    def _waker(self, id_: int) -> Callable[[], None]:
        def woken() -> None:
            if self._talk.woken(id_):
                self._wake()

        return woken


def _modified(what: Rows | Ops, message: Mod) -> Rows | Ops:
    """What is asked for after a mod; `apply` alone asks for the same anew."""
    if message.window is not None:
        what = msgspec.structs.replace(what, offset=message.window.offset, limit=message.window.limit)
    if isinstance(what, Rows) and message.sort is not None:
        what = msgspec.structs.replace(what, sort=message.sort)
    if isinstance(what, Rows) and message.q is not None:
        what = msgspec.structs.replace(what, q=message.q)
    return what


def _too_many() -> TooMuch:
    return TooMuch(
        "too-many-subscriptions",
        what=f"This socket has {protocol.SUBS_MAX} subscriptions",
        why="that is the most there may be",
        do="unsub what is not looked at",
        retry_after_s=1,
    )
