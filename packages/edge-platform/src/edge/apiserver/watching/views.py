"""Queries over live collections, each worked out once for all subscriptions that ask the same.

    views = Views()
    held = await views.hold(key, source, offset=0, limit=50, wake=...)    # → Held, with its Window
    held.release()

A change is only noted when it comes; all that came within `TURN_S` are then worked in together, and only the
queries that it may concern are asked. Nothing here polls, and nothing grows with the number of changes.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

import structlog

from edge.apiserver.mirrors.store import Change, Collection, Stored
from edge.apiserver.watching.ranking import Ranking
from edge.apiserver.watching.window import Row, Window
from edge.iam.turns import finish
from edge_kube.meta import Key

TURN_S: Final = 0.02
TOGETHER: Final = 50
BOUNDS_S: Final = 0.2
_key = attrgetter("key")

log = structlog.stdlib.get_logger("edge.apiserver")


class Id(NamedTuple):
    """An object: the number of its collection among those of the source, and its key there."""

    kind: int
    key: Key


class Growing(Protocol):
    """Collections that come to a source and leave it while it is looked at. Nobody waits for their lists."""

    followers: "set[Callable[[int], Awaitable[None]]]"
    """Told of a place among the collections at which another one stands now."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A query. place: what an object is ordered by, None when the query does not find it.

    namespaces: the only ones whose objects it can find, None for all. sees: whether the caller may see one.
    """

    collections: Sequence[Collection]
    columns: tuple[str, ...]
    sees: Callable[[int, Stored], bool]
    place: Callable[[int, Stored], Any]
    row: Callable[[int, Stored], Row]
    namespaces: frozenset[str] | None = None
    facets: Callable[[Iterable[tuple[int, Stored]]], Mapping[str, Any]] | None = None
    growing: Growing | None = None
    is_bounded: bool = False
    """Whether the query is about what lies in a scope: that may change though no object of it does."""

    def item(self, id_: Id) -> Stored | None:
        return self.collections[id_.kind].get(id_.key)

    def everything(self) -> Iterator[Id]:
        """All that it may find. Collections are ordered by namespace, so each one is found at once."""
        for kind, collection in enumerate(self.collections):
            ordered = collection.ordered()
            if self.namespaces is None:
                yield from (Id(kind, item.key) for item in ordered)
                continue
            for namespace in sorted(self.namespaces):
                at = bisect_left(ordered, Key(namespace, ""), key=_key)
                while at < len(ordered) and ordered[at].key.namespace == namespace:
                    yield Id(kind, ordered[at].key)
                    at += 1


@dataclass(slots=True, eq=False)
class Panel:
    """A window of a view, and who is to be told of its changes."""

    window: Window
    offset: int
    limit: int
    ks: dict[Id, str]
    wakes: set[Callable[[], object]] = field(default_factory=set[Callable[[], object]])


class View:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.panels: list[Panel] = []
        self.opening = 0
        """Subscriptions that are about to take a window here."""
        self.fed: dict[int, Collection] = {}
        """The collections whose changes come here, by their place in the source."""
        self.grows: Callable[[int], Awaitable[None]] | None = None
        self._ranking: Ranking[Id] = Ranking()
        self._ranked = 0
        self.built = asyncio.Event()

    def build(self) -> Iterator[None]:
        """In steps; what changes meanwhile comes through `touched` as always."""
        for id_ in list(self.source.everything()):
            self._judge(id_, self.source.item(id_))
            yield None
        self.built.set()

    def take_in(self, ids: Sequence[Id]) -> Iterator[None]:
        """In steps."""
        for start in range(0, len(ids), TOGETHER):
            self.touched(ids[start : start + TOGETHER])
            yield None

    def _judge(self, id_: Id, item: Stored | None) -> bool:
        """Put an object in its place. True when the caller sees it."""
        try:
            seen = item is not None and self.source.sees(id_.kind, item)
            place = self.source.place(id_.kind, item) if seen and item is not None else None
            self._ranking.put(id_, place)
        except Exception as error:  # a member is not ours: what it sends costs the other objects nothing
            log.warning("object_not_understood", name=id_.key.name, error=repr(error))
            self._ranking.put(id_, None)
            return False
        return seen

    def panel(self, offset: int, limit: int) -> Panel:
        """A window as it is now; one that somebody holds already, if it is still the same."""
        ids, facets = self._ranking.part(offset, limit), self._facets()
        for panel in self.panels:
            if (panel.offset, panel.limit) == (offset, limit) and panel.window.is_same(facets):
                return panel
        found = [(id_, item) for id_ in ids if (item := self.source.item(id_)) is not None]
        rows = [self.source.row(id_.kind, item) for id_, item in found]
        window = Window(self.source.columns, rows, len(self._ranking), facets, self._stands_at())
        ks = {id_: row.k for (id_, _), row in zip(found, rows, strict=True)}
        panel = Panel(window, offset, limit, ks)
        self.panels.append(panel)
        return panel

    def touched(self, ids: Iterable[Id]) -> None:
        """These objects have changed, came or went."""
        before = [panel.window.tick for panel in self.panels]
        for id_ in ids:
            item = self.source.item(id_)
            seen = self._judge(id_, item)
            row: Row | None = None
            for panel in self.panels:
                k = panel.ks.get(id_)
                if k is None:
                    continue
                if row is None and seen and item is not None:
                    row = self.source.row(id_.kind, item)
                self._show(panel, id_, k, row)
        if self._ranked != self._ranking.version:
            self._ranked = self._ranking.version
            for panel in self.panels:
                self._count(panel)
        for panel, tick in zip(self.panels, before, strict=True):
            if panel.window.tick != tick:
                panel.window.source_rv = self._stands_at()
                for wake in panel.wakes:
                    wake()

    def _show(self, panel: Panel, id_: Id, k: str, row: Row | None) -> None:
        if row is not None and row.k != k:  # another object of the same name: not the one that is shown
            del panel.ks[id_]
            row = None
        panel.window.put(k, row)

    def _count(self, panel: Panel) -> None:
        ids = self._ranking.part(panel.offset, panel.limit)
        panel.window.rank([panel.ks.get(id_) or f"+{id_}" for id_ in ids], len(self._ranking))

    def _facets(self) -> Mapping[str, Any] | None:
        if self.source.facets is None:
            return None
        items = ((id_.kind, self.source.item(id_)) for id_ in self._ranking.all())
        return self.source.facets((kind, item) for kind, item in items if item is not None)

    def _stands_at(self) -> str:
        if self.source.growing is not None:
            return ""  # as long as there are clusters, and of no use to anybody
        return ".".join(one.resource_version for one in self.source.collections)


class Feed:
    """The views that look at one collection, and which of its objects they have yet to look at."""

    def __init__(self, collection: Collection, noted: Callable[["Feed"], None]) -> None:
        self.collection = collection
        self._noted = noted
        self._dirty: dict[Key, None] = {}
        self._all: dict[View, int] = {}
        self._by_namespace: dict[str, dict[View, int]] = {}
        self._by_key: dict[Key, set[Callable[[], None]]] = {}
        collection.followers.add(self._changed)

    @property
    def is_idle(self) -> bool:
        return not (self._all or self._by_namespace or self._by_key)

    def close(self) -> None:
        self.collection.followers.discard(self._changed)

    def add(self, view: View, kind: int) -> None:
        if view.source.namespaces is None:
            self._all[view] = kind
            return
        for namespace in view.source.namespaces:
            self._by_namespace.setdefault(namespace, {})[view] = kind

    def remove(self, view: View) -> None:
        self._all.pop(view, None)
        for namespace in view.source.namespaces or ():
            views = self._by_namespace.get(namespace, {})
            views.pop(view, None)
            if not views:
                self._by_namespace.pop(namespace, None)

    def add_one(self, key: Key, changed: Callable[[], None]) -> None:
        self._by_key.setdefault(key, set()).add(changed)

    def remove_one(self, key: Key, changed: Callable[[], None]) -> None:
        found = self._by_key.get(key, set())
        found.discard(changed)
        if not found:
            self._by_key.pop(key, None)

    def _changed(self, change: Change) -> None:
        self._dirty[change.key] = None
        self._noted(self)

    def work_in(self) -> None:
        dirty, self._dirty = self._dirty, {}
        concerned: dict[View, list[Id]] = {}
        for key in dirty:
            for changed in tuple(self._by_key.get(key, ())):
                changed()
            for views in (self._all, self._by_namespace.get(key.namespace, {})):
                for view, kind in views.items():
                    concerned.setdefault(view, []).append(Id(kind, key))
        for view, ids in concerned.items():
            view.touched(ids)


class Held:
    """A subscription's hold on a window: it shows what the window shows, and a whole one is always new."""

    def __init__(
        self, view: View, offset: int, limit: int, wake: Callable[[], object], let_go: Callable[[], None]
    ) -> None:
        """let_go: told once after the release."""
        self._view = view
        self._offset = offset
        self._limit = limit
        self._wake = wake
        self._let_go = let_go
        self._hold(view.panel(offset, limit))

    def _hold(self, panel: Panel) -> None:
        self._panel = panel
        panel.wakes.add(self._wake)

    @property
    def window(self) -> Window:
        return self._panel.window

    @property
    def tick(self) -> int:
        return self.window.tick

    @property
    def rv(self) -> str:
        return self.window.rv

    @property
    def hash(self) -> str:
        return self.window.hash

    def snap(self) -> bytes:
        """What has come, gone or moved since the window was made is in it: a client begins with all."""
        now = self._view.panel(self._offset, self._limit)
        if now is not self._panel:
            self._drop()
            self._hold(now)
        return self.window.snap()

    def news(self, since: int) -> tuple[str, bytes]:
        return self.window.news(since)

    def release(self) -> None:
        self._drop()
        self._let_go()

    def _drop(self) -> None:
        self._panel.wakes.discard(self._wake)
        if not self._panel.wakes and self._panel in self._view.panels:
            self._view.panels.remove(self._panel)


class Views:
    def __init__(self) -> None:
        self._views: dict[Hashable, View] = {}
        self._feeds: dict[int, Feed] = {}
        self._noted: dict[Feed, None] = {}
        self._turn: asyncio.TimerHandle | None = None
        self._last_turn_s = 0.0
        self._bounds_moved = False
        self._judging: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._views)

    async def hold(
        self, key: Hashable, source: Source, *, offset: int, limit: int, wake: Callable[[], None]
    ) -> Held:
        """A window of a query. key: equal for queries that find the same for the same rights.

        wake: called when the window has news; a callable of its own for each hold.
        """
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = View(source)
            view.opening += 1
            for kind, collection in enumerate(source.collections):
                self._feed_to(view, kind, collection)
            if source.growing is not None:
                view.grows = partial(self._regrown, view)
                source.growing.followers.add(view.grows)
        else:
            view.opening += 1
        try:
            if not view.built.is_set():
                await self._build(view)
        except BaseException:
            view.opening -= 1
            self.let_go(key, view)
            raise
        self.work_in()  # what is known already must be in the window
        view.opening -= 1
        return Held(view, offset, limit, wake, lambda: self.let_go(key, view))

    async def _build(self, view: View) -> None:
        if view.source.growing is None:
            for collection in view.source.collections:
                await collection.listed.wait()
        await finish(view.build())

    def let_go(self, key: Hashable, view: View) -> None:
        if view.panels or view.opening or self._views.get(key) is not view:
            return
        del self._views[key]
        if view.source.growing is not None and view.grows is not None:
            view.source.growing.followers.discard(view.grows)
        for kind in tuple(view.fed):
            self._unfeed(view, kind)

    async def _regrown(self, view: View, kind: int) -> None:
        """What was there before is gone, what is there now has come. Others get their turn meanwhile."""
        before, now = view.fed.get(kind), view.source.collections[kind]
        if before is now:
            return
        if before is not None:
            self._unfeed(view, kind)
        self._feed_to(view, kind, now)
        keys = dict.fromkeys(one.key for collection in (before or (), now) for one in collection)
        await finish(view.take_in([Id(kind, key) for key in keys]))

    def _feed_to(self, view: View, kind: int, collection: Collection) -> None:
        self._feed(collection).add(view, kind)
        view.fed[kind] = collection

    def _unfeed(self, view: View, kind: int) -> None:
        feed = self._feeds[id(view.fed.pop(kind))]
        feed.remove(view)
        self._end_idle(feed)

    def follow(self, collection: Collection, key: Key, changed: Callable[[], None]) -> Callable[[], None]:
        """Be told when one object has changed, came or went. Returns what ends that."""
        feed = self._feed(collection)
        feed.add_one(key, changed)

        def end() -> None:
            feed.remove_one(key, changed)
            self._end_idle(feed)

        return end

    def _end_idle(self, feed: Feed) -> None:
        if feed.is_idle and self._feeds.pop(id(feed.collection), None) is not None:
            feed.close()
            self._noted.pop(feed, None)

    def _feed(self, collection: Collection) -> Feed:
        feed = self._feeds.get(id(collection))
        if feed is None:
            feed = self._feeds[id(collection)] = Feed(collection, self._note)
        return feed

    def _note(self, feed: Feed) -> None:
        self._noted[feed] = None
        if self._turn is None:
            loop = asyncio.get_running_loop()
            self._turn = loop.call_at(self._last_turn_s + TURN_S, self.work_in)

    def bounds_changed(self) -> None:
        """Something else lies in some scope: queries about a scope look at all of their objects again."""
        self._bounds_moved = True
        if self._judging is None and any(view.source.is_bounded for view in self._views.values()):
            self._judging = asyncio.get_running_loop().create_task(self._judge_again())

    async def _judge_again(self) -> None:
        try:
            while self._bounds_moved:
                await asyncio.sleep(BOUNDS_S)  # namespaces often come by the hundred
                self._bounds_moved = False
                for view in [view for view in self._views.values() if view.source.is_bounded]:
                    await finish(view.take_in(list(view.source.everything())))
        finally:
            self._judging = None

    def work_in(self) -> None:
        """All changes that were noted."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._last_turn_s = asyncio.get_running_loop().time()
        noted: Sequence[Feed] = tuple(self._noted)
        self._noted.clear()
        for feed in noted:
            feed.work_in()
