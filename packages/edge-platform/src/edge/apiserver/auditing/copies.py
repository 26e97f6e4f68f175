"""Copies of the trail's signed statements in a ConfigMap, apart from the records (design §4.1).

    copies.add(line)           # from any thread; never waits
    await copies.run()         # writes at most once a minute, until cancelled
    await copies.flush()       # at the end
    await copies.lines()       # what the ConfigMap holds

A gateway that cannot write goes on, and tries again: copies are a second witness, not the record.
"""

import asyncio
from collections import deque
from typing import Final

import structlog

from edge.apiserver.mirrors.secretrecords import MANAGER
from edge.audit.copies import all_lines, merged
from edge_kube.client import Client
from edge_kube.core import ConfigMap
from edge_kube.errors import AlreadyExists, Conflict, KubeError
from edge_kube.meta import Key

EVERY_S: Final = 60.0
WAITING_MAX: Final = 1000
FLUSHED_WITHIN_S: Final = 2.0
TRIES: Final = 5

log = structlog.stdlib.get_logger("edge.audit")


class Copies:
    """Several gateways write to the same object: by compare-and-swap."""

    def __init__(self, client: Client, key: Key, every_s: float = EVERY_S) -> None:
        """key: of the ConfigMap; all that write to it share one store of records."""
        self._client = client
        self._key = key
        self._every_s = every_s
        self._added = deque[bytes](maxlen=WAITING_MAX)
        self._waiting = list[bytes]()

    def add(self, line: bytes) -> None:
        self._added.append(line)

    async def run(self) -> None:
        while True:
            await self._write()
            await asyncio.sleep(self._every_s)

    async def flush(self) -> None:
        """Once more, however short ago it was; a server that does not answer is not waited for."""
        try:
            async with asyncio.timeout(FLUSHED_WITHIN_S):
                await self._write()
        except TimeoutError:
            log.warning("audit_copies_not_written", error="no answer in time", waiting=len(self._waiting))

    async def lines(self) -> list[bytes]:
        """Raises KubeError."""
        kept = await self._client.find(ConfigMap, self._key.name, self._key.namespace)
        return [] if kept is None else all_lines(kept.data)

    async def _write(self) -> None:
        while self._added:
            self._waiting.append(self._added.popleft())
        self._waiting = self._waiting[-WAITING_MAX:]
        if not self._waiting:
            return
        try:
            for _ in range(TRIES):
                if await self._swapped(self._waiting):
                    self._waiting = []
                    return
        except (KubeError, OSError) as error:
            log.warning("audit_copies_not_written", error=str(error), waiting=len(self._waiting))

    async def _swapped(self, lines: list[bytes]) -> bool:
        """False when another gateway was faster."""
        kept = await self._client.find(ConfigMap, self._key.name, self._key.namespace)
        data = merged({} if kept is None else kept.data, lines)
        if kept is None:
            manifest = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": self._key.name, "namespace": self._key.namespace},
                "data": data,
            }
            try:
                await self._client.create(manifest, manager=MANAGER)
            except AlreadyExists:
                return False
            return True
        gone = {chain: None for chain in kept.data if chain not in data}
        patch = {"data": {**gone, **data}}
        try:
            await self._client.merge(
                ConfigMap, self._key, patch, rv=kept.metadata.resource_version, manager=MANAGER
            )
        except Conflict:
            return False
        return True
