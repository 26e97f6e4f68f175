"""Overviews that live: one board for all who watch the same, renewed at most once a second.

    live = await boards.hold(feed, wake)    # wake: called when there is news
    boards.leave(live, wake)

What has changed is only noted when it comes, once however often it changes; it is worked in together, in
turns, so that no number of overviews holds others up.
"""

import asyncio
import hashlib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from edge.apiserver.mirrors.store import Change, Collection
from edge.apiserver.overview.board import Board, Overview
from edge.apiserver.overview.feed import OverviewFeed, Section
from edge.iam.turns import finish
from edge_kube.meta import Key

RENEW_S: Final = 1.0
Wake = Callable[[], None]


class Live:
    """What a subscription shows; each news is a whole `snap`."""

    def __init__(self, feed: OverviewFeed) -> None:
        self.feed = feed
        self.tick = 0
        self.wakes: set[Wake] = set()
        self.opening = 0
        self.built = asyncio.Event()
        self._board = Board(feed.sections)
        self._made = -1

    def build(self) -> Iterator[None]:
        for name, section in self.feed.sections.items():
            for stored in section.collection.ordered():
                self._board.put(name, stored.key, section.part(stored.key))
                yield None
        self.tick += 1
        self.built.set()

    def with_all(self, dirty: "dict[int, dict[Key, None]]") -> "dict[int, dict[Key, None]]":
        """What has changed or is gone, and everything that is there."""
        of_all = ((id(one.collection), one.collection) for one in self.feed.sections.values())
        return {
            which: {**dirty.get(which, {}), **{stored.key: None for stored in collection}}
            for which, collection in of_all
        }

    def work_in(self, dirty: "dict[int, dict[Key, None]]") -> Iterator[None]:
        changed = False
        for name, section in self.feed.sections.items():
            for key in _in_sight(section, dirty.get(id(section.collection), {})):
                changed |= self._board.put(name, key, section.part(key))
                yield None
        if changed:
            self.tick += 1
            for wake in tuple(self.wakes):
                wake()

    @property
    def hash(self) -> str:
        self._make()
        return self._hash

    @property
    def rv(self) -> str:
        self._make()
        return self._overview.rv

    @property
    def overview(self) -> Overview:
        self._make()
        return self._overview

    def snap(self) -> bytes:
        self._make()
        head = msgspec.json.encode({"rv": self.rv, "hash": self.hash, "total": 1})
        return b'%s,"overview":%s}' % (head[:-1], msgspec.json.encode(self._overview))

    def news(self, since: int) -> tuple[str, bytes]:
        return "snap", self.snap()

    def _make(self) -> None:
        if self._made == self.tick:
            return
        found = self._board.overview(self.feed.scope)
        self._hash = hashlib.blake2b(msgspec.json.encode(found), digest_size=9).hexdigest()
        versions = (one.collection.resource_version for one in self.feed.sections.values())
        found.rv = f"{'.'.join(versions)}-{self._hash}"
        self._overview, self._made = found, self.tick


def _in_sight(section: Section, keys: dict[Key, None]) -> Iterator[Key]:
    """Without those of namespaces in which the caller sees nothing: most of them, for most."""
    spaces = section.sight.namespaces
    return (key for key in keys if spaces is None or key.namespace in spaces)


@dataclass(slots=True, eq=False)
class _Followed:
    collection: Collection
    follower: Callable[[Change], None]
    users: int = 0


@dataclass(slots=True, eq=False)
class Boards:
    _live: dict[Hashable, Live] = field(default_factory=dict[Hashable, Live])
    _followed: dict[int, _Followed] = field(default_factory=dict[int, _Followed])
    _dirty: dict[int, dict[Key, None]] = field(default_factory=dict[int, dict[Key, None]])
    _noted: asyncio.Event = field(default_factory=asyncio.Event)
    _bounds_moved: bool = False
    _running: "asyncio.Task[None] | None" = None

    def __len__(self) -> int:
        return len(self._live)

    async def hold(self, feed: OverviewFeed, wake: Wake) -> Live:
        live = self._live.get(feed.key)
        if live is None:
            live = self._live[feed.key] = Live(feed)
            self._begin(feed)
        live.opening += 1
        try:
            if not live.built.is_set():
                for section in live.feed.sections.values():
                    await section.collection.listed.wait()
                await finish(live.build())
        except BaseException:
            live.opening -= 1
            self._let_go(live)
            raise
        live.opening -= 1
        live.wakes.add(wake)
        return live

    def leave(self, live: Live, wake: Wake) -> None:
        live.wakes.discard(wake)
        self._let_go(live)

    def _let_go(self, live: Live) -> None:
        if live.wakes or live.opening or self._live.get(live.feed.key) is not live:
            return
        del self._live[live.feed.key]
        for section in live.feed.sections.values():
            followed = self._followed[id(section.collection)]
            followed.users -= 1
            if not followed.users:
                followed.collection.followers.discard(followed.follower)
                del self._followed[id(section.collection)]
        if not self._live and self._running is not None:
            self._running.cancel()
            self._running = None

    def _begin(self, feed: OverviewFeed) -> None:
        for section in feed.sections.values():
            which = id(section.collection)
            followed = self._followed.get(which)
            if followed is None:
                follower = partial(self._changed, which)
                followed = self._followed[which] = _Followed(section.collection, follower)
                section.collection.followers.add(follower)
            followed.users += 1
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())

    def _changed(self, which: int, change: Change) -> None:
        self._dirty.setdefault(which, {})[change.key] = None
        self._noted.set()

    def bounds_changed(self) -> None:
        """Something else lies in some scope: what is about a scope is counted anew."""
        self._bounds_moved = True
        self._noted.set()

    async def _run(self) -> None:
        """A change after a quiet time is worked in at once. Until cancelled."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            dirty, self._dirty = self._dirty, {}
            moved, self._bounds_moved = self._bounds_moved, False
            for live in tuple(self._live.values()):
                is_moved = moved and live.feed.is_bounded
                await finish(live.work_in(live.with_all(dirty) if is_moved else dirty))
            await asyncio.sleep(RENEW_S)


async def overview_of(feed: OverviewFeed) -> Live:
    """One that is looked at once. Others get their turn while it is worked out."""
    live = Live(feed)
    await finish(live.build())
    return live
