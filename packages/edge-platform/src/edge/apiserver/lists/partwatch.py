"""Watches for callers who may see a part of a kind, from memory (G3, I15; design §8.3).

Such a caller gets the events of what they may see, and no others: what comes into sight is ADDED, what leaves
it is DELETED, and when nothing is left to see the watch ends with an ERROR that says so. A client that does
not keep up is told to list again (410), never served with a gap.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from aiohttp import web

from edge.apiserver.answers import SECURITY_HEADERS
from edge.apiserver.lists.listing import Query, Shown, fits, number
from edge.apiserver.mirrors.store import Change, Collection, Stored
from edge.apiserver.paths import Target
from edge.apiserver.upstreams.splice import wanted_protocol
from edge_kube.meta import Key
from edge_sdk.problem import Expired, Forbidden, Problem

WAITING_MAX: Final = 1000
SECONDS_MAX: Final = 1_000_000
VERSION_MAX: Final = 2**63 - 1
BOOKMARK_EVERY_S: Final = 60.0
INITIAL_END: Final = {"k8s.io/initial-events-end": "true"}


class PartWatch:
    def __init__(
        self, collection: Collection, query: Query, part: Callable[[], Shown | None], sees: Shown
    ) -> None:
        """part: what the caller may see now, for many objects at once, None for nothing at all.

        sees: the same about one object, by the rights of the moment.
        """
        self._collection = collection
        self._query = query
        self._part = part
        self._sees = sees
        self._shown: dict[Key, str] = {}
        """What the client holds, and in which version."""
        self._waiting: deque[Change] = deque()
        self._overrun = False
        self._rights_changed = False
        self._wake = asyncio.Event()

    def look_again(self) -> bool:
        """The caller's rights may have changed. Always goes on: what has to be said comes as events."""
        self._rights_changed = True
        self._wake.set()
        return True

    async def send(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """Until the client leaves, its time is up, or nothing may be seen. Raises Expired, Problem."""
        if wanted_protocol(request.headers.items()):
            raise Problem(
                "bad-upgrade",
                what="A part of these objects is not watched over a web socket",
                do="watch them with a plain GET and ?watch=1",
            )
        seconds = number(target, "timeoutSeconds", SECONDS_MAX)
        self._collection.followers.add(self._follow)
        try:
            first = b"".join(self._begin(target))
            out = web.StreamResponse()
            out.headers["Content-Type"] = "application/json;stream=watch"
            for name, value in SECURITY_HEADERS:
                out.headers[name] = value
            await out.prepare(request)
            await out.write(first)
            try:
                async with asyncio.timeout(seconds or None):
                    await self._go_on(out, bookmarks=target.flag("allowWatchBookmarks"))
            except TimeoutError:
                await out.write_eof()
            return out
        finally:
            self._collection.followers.discard(self._follow)

    async def _go_on(self, out: web.StreamResponse, *, bookmarks: bool) -> None:
        while True:
            try:
                async with asyncio.timeout(BOOKMARK_EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                if bookmarks:
                    await out.write(self._bookmark({}))
                continue
            self._wake.clear()
            try:
                lines = b"".join(self._next())
            except Problem as problem:
                await out.write(_line("ERROR", msgspec.json.encode(problem.to_status())))
                await out.write_eof()
                return
            if lines:
                await out.write(lines)

    def _follow(self, change: Change) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._overrun = True
            self._waiting.clear()
        self._waiting.append(change)
        self._wake.set()

    def _begin(self, target: Target) -> Iterator[bytes]:
        """From nothing, or from the version of a list. Raises Expired, Forbidden, Problem."""
        shown = self._shown_now()
        present = [item for item in self._collection.ordered() if shown(item)]
        version, initial = number(target, "resourceVersion", VERSION_MAX), target.flag("sendInitialEvents")
        if initial or not version:
            for item in present:
                yield self._event("ADDED", item)
            if initial:
                yield self._bookmark(INITIAL_END)
            return
        changes = self._collection.changes_since(version)
        if changes is None:
            raise _too_old()
        self._shown = {item.key: item.resource_version for item in present}
        for change in reversed(changes):
            self._shown.pop(change.key, None)
            if change.old is not None and self._lets_through(change.old):
                self._shown[change.key] = change.old.resource_version
        for change in changes:
            yield from self._told(change)

    def _next(self) -> Iterator[bytes]:
        """What there is to say now. Raises Expired, Forbidden."""
        if self._overrun:
            raise _too_old()
        if self._rights_changed:
            self._rights_changed = False
            yield from self._compared()
        while self._waiting:
            yield from self._told(self._waiting.popleft())

    def _compared(self) -> Iterator[bytes]:
        shown = self._shown_now()
        for item in self._collection.ordered():
            if item.key not in self._shown:
                if shown(item):
                    yield self._event("ADDED", item)
            elif not shown(item):
                yield self._out_of_sight(item)

    def _told(self, change: Change) -> Iterator[bytes]:
        have = self._shown.get(change.key)
        if have is not None and have.isdecimal() and int(have) >= change.version:
            return  # it came into sight with a right, as it was after this change
        if change.new is not None and self._lets_through(change.new):
            if have != change.new.resource_version:
                yield self._event("ADDED" if have is None else "MODIFIED", change.new)
        elif have is not None and change.new is not None:
            yield self._out_of_sight(change.new)
        elif have is not None and change.old is not None:
            del self._shown[change.key]
            yield _line("DELETED", change.old.raw)

    def _event(self, kind: str, item: Stored) -> bytes:
        self._shown[item.key] = item.resource_version
        return _line(kind, item.raw)

    def _out_of_sight(self, item: Stored) -> bytes:
        """Gone for this client; what it is like now is not for them to see."""
        del self._shown[item.key]
        return _line("DELETED", self._bare({"name": item.key.name, "namespace": item.key.namespace}))

    def _bookmark(self, annotations: dict[str, str]) -> bytes:
        return _line("BOOKMARK", self._bare({"annotations": annotations}))

    def _bare(self, metadata: dict[str, Any]) -> bytes:
        served = self._collection.served
        metadata = {name: value for name, value in metadata.items() if value}
        metadata["resourceVersion"] = self._collection.resource_version
        return msgspec.json.encode(
            {"apiVersion": served.api_version, "kind": served.kind, "metadata": metadata}
        )

    def _shown_now(self) -> Shown:
        part = self._part()
        if part is None:
            raise Forbidden(
                "forbidden",
                what="The watch was ended",
                why="the right behind it is gone",
                do="ask whoever administers that scope for a role that has this right",
            )
        return lambda item: part(item) and fits(item, self._query)

    def _lets_through(self, item: Stored) -> bool:
        return self._sees(item) and fits(item, self._query)


def _line(kind: str, raw: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), raw)


def _too_old() -> Expired:
    return Expired(
        "too-old",
        what="The watch cannot go on from there",
        why="more has happened since than is remembered here",
        do="list again, and watch from the resourceVersion of that list",
    )
