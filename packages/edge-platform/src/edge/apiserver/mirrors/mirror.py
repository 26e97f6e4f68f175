"""Keeps a Collection equal to what the API server holds: a list, then a watch from there.

The objects are kept as bytes, which the runtime's typed informers do not do; the machinery below is theirs.
A cut never empties a collection: readers go on with what was known. Now and then everything is listed anew,
page by page, so that whatever a watch may have lost is put right (I6; design §5.4).
"""

import asyncio
import math
import random
import time
from collections.abc import Callable
from typing import Final

import aiohttp
import structlog

from edge.apiserver.mirrors.store import Collection
from edge_kube.backoff import Backoff
from edge_kube.client import Client
from edge_kube.errors import Gone, KubeError
from edge_kube.meta import Key, Kind
from edge_kube.wire import BareMeta, LineSplitter, UndecodableError, bare, envelope_of, error_of_body

SILENCE_MAX_S: Final = 70.0  # the server sends a bookmark about each minute
HEALTHY_AFTER_S: Final = 30.0

log = structlog.stdlib.get_logger("edge.apiserver.mirror")


class Mirror:
    """One kind of one cluster. `run` ends only when it is cancelled."""

    def __init__(
        self,
        client: Client,
        kind: Kind,
        collection: Collection,
        *,
        relist_s: float = math.inf,
        namespace: str = "",
        fields: str = "",
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        """relist_s: how old a list may become before it is made anew.

        namespace, fields: limit both to a part of the kind, fields as a selector.
        reached: told the version up to which all is taken in, deletions as well: that of a list at its end.
        """
        self._reached = reached
        self._namespace = namespace
        self._fields = fields
        self.collection = collection
        self.drift = 0
        """Objects that a watch should have brought and a later list had to."""
        self._client = client.derive(limited=False)
        self._kind = kind
        self._backoff = Backoff(base_s=0.2, cap_s=10.0)
        self._version = ""
        self._relist_s = relist_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads the kinds
        self._listed_at = -math.inf
        self._heard_at = -math.inf
        self._broken_at = math.inf

    def broken_s(self) -> float:
        """How long the server has refused or not answered; 0 while it is followed."""
        return max(0.0, time.monotonic() - self._broken_at)

    def silence_s(self) -> float:
        """How long the server has not been heard of about this kind."""
        return time.monotonic() - self._heard_at

    def list_first(self) -> None:
        """When the server answers again: then all that was missed is here by the time it is followed."""
        self._version = ""

    async def run(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            try:
                if not self._version or self._list_left_s() <= 0:
                    await self._list()
                await self._watch()
                failures = 0
            except Gone:
                self._version = ""
            except (KubeError, aiohttp.ClientError, TimeoutError, OSError) as error:
                failures = 1 if time.monotonic() - started > HEALTHY_AFTER_S else failures + 1
                self._broken_at = min(self._broken_at, time.monotonic())
                log.info("watch_broken", kind=str(self._kind), error=str(error), tries=failures)
            if failures or time.monotonic() - started < 1:
                await asyncio.sleep(self._backoff.delay_s(max(0, failures - 1)))

    def _list_left_s(self) -> float:
        return self._listed_at + self._relist_s - time.monotonic()

    async def _list(self) -> None:
        """Page by page, so that the loop is never held up; no watch runs meanwhile, so nothing goes back."""
        known_to = int(self._version) if self._version.isdecimal() else -1
        seen: set[Key] = set()
        version = ""
        async for page in self._client.pages(self._kind, self._namespace, fields=self._fields):
            if page is None:
                seen.clear()
                continue
            version = page.metadata.resource_version
            for raw in page.items or ():
                meta = bare(raw)
                key = Key(meta.namespace, meta.name)
                seen.add(key)
                have = self.collection.get(key)
                is_new = have is None or have.resource_version != meta.resource_version
                if is_new and meta.resource_version.isdecimal() and int(meta.resource_version) <= known_to:
                    self.drift += 1
                self._put(bytes(raw))
            await asyncio.sleep(0)
        self.collection.keep_only(seen, version)
        self._version = version
        self._reached(version)
        self._listed_at = self._heard_at = time.monotonic()

    async def _watch(self) -> None:
        """Follow the changes from where we stand until the server ends the watch. Raises KubeError.

        Every event moves the place on at once: a cut must not replay what is over, such as a binding that
        has been taken away since.
        """
        seconds = random.randint(180, 239)  # noqa: S311 - spreads reconnects, is no secret
        seconds = math.ceil(min(seconds, max(1.0, self._list_left_s())))
        params = {
            "watch": "1",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        if self._fields:
            params["fieldSelector"] = self._fields
        path = self._kind.path(self._namespace)
        response = await self._client.raw("GET", path, params=params, sock_read_s=SILENCE_MAX_S)
        async with response:
            if response.status != 200:
                raise error_of_body(response.status, await response.read())
            lines = LineSplitter()
            self._heard_at = time.monotonic()
            self._broken_at = math.inf
            async for chunk in response.content.iter_any():
                self._heard_at = time.monotonic()
                for line in lines.feed(chunk):
                    self._version = self._take(line) or self._version
                    self._reached(self._version)

    def _take(self, line: bytes) -> str:
        event = envelope_of(line)
        raw = bytes(event.object)
        if event.type == "ERROR":
            raise error_of_body(500, raw)
        meta = bare(raw)
        if event.type == "DELETED":
            self.collection.drop(Key(meta.namespace, meta.name), meta.resource_version)
        elif event.type in ("ADDED", "MODIFIED") and not self._is_older(meta):
            self._put(raw)
        elif event.type == "BOOKMARK":
            self.collection.reached(meta.resource_version)
        return meta.resource_version

    def _is_older(self, meta: BareMeta) -> bool:
        """Than what is here: this process has written the object itself, and knows what became of it.

        Of one server versions of a kind grow (KEP 5504). A list is another matter: the server may have been
        restored to what it was.
        """
        have = self.collection.get(Key(meta.namespace, meta.name))
        known, told = have.resource_version if have is not None else "", meta.resource_version
        return known.isdecimal() and told.isdecimal() and int(told) < int(known)

    def _put(self, raw: bytes) -> None:
        try:
            self.collection.put(raw)
        except (UndecodableError, KeyError, TypeError, ValueError) as error:
            log.warning("object_not_understood", kind=str(self._kind), error=type(error).__name__)
