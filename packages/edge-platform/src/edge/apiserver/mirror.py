"""Keeps a Collection equal to what the API server holds: a list, then a watch from there.

The objects are kept as bytes, which the runtime's typed informers do not do; the machinery below is theirs.
A cut never empties a collection: readers go on with what was known.
"""

import asyncio
import random
import time
from typing import Final

import aiohttp
import structlog

from edge.apiserver.store import Collection
from edge_kube.backoff import Backoff
from edge_kube.client import Client
from edge_kube.errors import Gone, KubeError
from edge_kube.meta import Key, Kind
from edge_kube.wire import LineSplitter, UndecodableError, bare, envelope_of, error_of_body

SILENCE_MAX_S: Final = 70.0  # the server sends a bookmark about each minute
HEALTHY_AFTER_S: Final = 30.0

log = structlog.stdlib.get_logger("edge.apiserver.mirror")


class Mirror:
    """One kind of the host cluster. `run` ends only when it is cancelled."""

    def __init__(self, client: Client, kind: Kind, collection: Collection) -> None:
        self.collection = collection
        self._client = client.derive(limited=False)
        self._kind = kind
        self._backoff = Backoff(base_s=0.2, cap_s=10.0)
        self._version = ""

    async def run(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                failures = 0
            except Gone:
                self._version = ""
            except (KubeError, aiohttp.ClientError, TimeoutError, OSError) as error:
                failures = 1 if time.monotonic() - started > HEALTHY_AFTER_S else failures + 1
                log.info("watch_broken", kind=str(self._kind), error=str(error), tries=failures)
            if failures or time.monotonic() - started < 1:
                await asyncio.sleep(self._backoff.delay_s(max(0, failures - 1)))

    async def _list(self) -> None:
        items: list[bytes] = []
        version = ""
        async for page in self._client.pages(self._kind):
            if page is None:
                items.clear()
                continue
            version = page.metadata.resource_version
            items += [bytes(raw) for raw in page.items or ()]
        self.collection.replace(items, version)
        self._version = version

    async def _watch(self) -> None:
        """Follow the changes from where we stand until the server ends the watch. Raises KubeError.

        Every event moves the place on at once: a cut must not replay what is over, such as a binding that
        has been taken away since.
        """
        seconds = random.randint(180, 239)  # noqa: S311 - spreads reconnects, is no secret
        params = {
            "watch": "1",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        response = await self._client.raw("GET", self._kind.path(), params=params, sock_read_s=SILENCE_MAX_S)
        async with response:
            if response.status != 200:
                raise error_of_body(response.status, await response.read())
            lines = LineSplitter()
            async for chunk in response.content.iter_any():
                for line in lines.feed(chunk):
                    self._version = self._take(line) or self._version

    def _take(self, line: bytes) -> str:
        event = envelope_of(line)
        raw = bytes(event.object)
        if event.type == "ERROR":
            raise error_of_body(500, raw)
        meta = bare(raw)
        if event.type == "DELETED":
            self.collection.drop(Key(meta.namespace, meta.name), meta.resource_version)
        elif event.type in ("ADDED", "MODIFIED"):
            self._put(raw)
        return meta.resource_version

    def _put(self, raw: bytes) -> None:
        try:
            self.collection.put(raw)
        except (UndecodableError, KeyError, TypeError, ValueError) as error:
            log.warning("object_not_understood", kind=str(self._kind), error=type(error).__name__)
