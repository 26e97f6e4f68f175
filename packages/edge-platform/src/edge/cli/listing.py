"""A list behind the gateway, page by page, and every change in it afterwards.

A stream that ends, as all do after a while, is taken up where it was. When that place is not known any more
(410) the list is got again, and what is new in it is told.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

import msgspec

from edge.cli import output
from edge_sdk.client import EdgeClient, errors
from edge_sdk.client.http import status_in

PAGE: Final = 500
WAIT_MIN_S: Final = 0.2
WAIT_MAX_S: Final = 30.0
PASSING: Final = (errors.Unreachable, errors.TooMany, errors.ServerError)

Json = dict[str, Any]


class Listing:
    """Pages are lists, or Tables of the API server; a change is an object, or a Table with one row."""

    def __init__(
        self, edge: EdgeClient, path: str, query: Mapping[str, Any], headers: Mapping[str, str]
    ) -> None:
        self._edge = edge
        self._path = path
        self._query = query
        self._headers = headers
        self._version = ""
        self._seen: dict[tuple[str, str], str] = {}

    async def pages(self) -> list[Json]:
        """Raises CallError."""
        found, seen, token = list[Json](), dict[tuple[str, str], str](), ""
        while True:
            asked = {**self._query, "limit": PAGE, "continue": token}
            page = await self._edge.call("GET", self._path, Json, query=asked, headers=self._headers)
            found.append(page)
            seen |= {_key(meta): _version(meta) for meta in _metas(page)}
            token = str(page.get("metadata", {}).get("continue", ""))
            if not token:
                self._version, self._seen = _version(page.get("metadata", {})), seen
                return found
            output.say(f"{len(seen)} objects so far")

    async def changes(self) -> AsyncIterator[Json]:
        """For ever, after `pages`. Raises CallError for what waiting does not mend."""
        wait_s, is_lost = WAIT_MIN_S, False
        while True:
            try:
                if is_lost:
                    before = self._seen
                    for page in await self.pages():
                        for one in _news(page, before):
                            yield one
                    is_lost = False
                async for change in self._stream():
                    wait_s = WAIT_MIN_S
                    yield change
            except errors.Gone:
                is_lost = True
            except PASSING as error:
                output.tell(f"{error} Trying again.", aside=True)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, WAIT_MAX_S)

    async def _stream(self) -> AsyncIterator[Json]:
        """Until the gateway ends it. Raises CallError."""
        query = {
            **self._query, "watch": True, "allowWatchBookmarks": True, "resourceVersion": self._version,
        }  # fmt: skip
        async for line in self._edge.lines(self._path, query, self._headers):
            try:
                event = msgspec.json.decode(line, type=Json)
            except msgspec.DecodeError:
                raise errors.Unreachable("The stream was cut.") from None
            obj: Json = event["object"]
            if event["type"] == "ERROR":
                raise status_in(msgspec.json.encode(obj))
            for meta in (obj.get("metadata") or {}, *_metas(obj)):
                self._version = _version(meta) or self._version
            if event["type"] == "BOOKMARK":
                continue
            for meta in _metas(obj):
                if event["type"] == "DELETED":
                    self._seen.pop(_key(meta), None)
                else:
                    self._seen[_key(meta)] = _version(meta)
            yield obj


def _metas(page: Json) -> Iterator[Json]:
    """Metadata of each object of a page, or of the object that it is."""
    if page.get("kind") == "Table":
        yield from (row["object"]["metadata"] for row in page.get("rows") or ())
    elif "items" in page:
        yield from (one["metadata"] for one in page["items"] or ())
    else:
        yield page["metadata"]


def _news(page: Json, before: Mapping[tuple[str, str], str]) -> Iterator[Json]:
    """What a list has that was not known, each as a stream would have told it."""
    for meta, one in zip(_metas(page), page.get("rows") or page.get("items") or (), strict=True):
        if before.get(_key(meta)) != _version(meta):
            yield {**page, "rows": [one]} if page.get("kind") == "Table" else one


def _key(meta: Json) -> tuple[str, str]:
    return str(meta.get("namespace", "")), str(meta.get("name", ""))


def _version(meta: Json) -> str:
    return str(meta.get("resourceVersion", ""))
