"""Proof on demand that every change made before now has arrived here (I6, I12; design §5.2, §5.3).

    await beats.prove()          # before a request that changes something is decided
    beats.age_s() <= STALE_S     # unless the server, or the way to it, is in trouble

A beat writes to one object of each kind that is followed, such as those that give or take rights, and waits
until the watches are as far. It is made when somebody needs it, not for ever: an idle process writes nothing,
and all who ask at once share one.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from functools import partial
from typing import Any, Final

import structlog

from edge.iam.freshness import STALE_S
from edge.iam.heartbeat import BEATING, HEARTBEAT
from edge.iam.types import User
from edge_kube.client import Client
from edge_kube.conditions import rfc3339
from edge_kube.errors import KubeError
from edge_kube.meta import Manifest, Resource, kind_of

WITHIN_S: Final = 1.5
"""How long a proof may take: five milliseconds on a quiet machine."""
RENEW_AFTER_S: Final = STALE_S / 2
"""A proof that is younger is good enough: it still holds when the request is decided."""

Write = Callable[[], Awaitable[int]]
"""Writes a beat; the version that it got. Raises KubeError."""

log = structlog.stdlib.get_logger("edge.iam")


class Beats:
    def __init__(self, of: str, writes: Mapping[Hashable, Write]) -> None:
        """of: what is proven to be new, for the log. writes: for each kind that is followed."""
        self._of = of
        self._writes = writes
        self._proven_at = -math.inf
        self._running: asyncio.Task[None] | None = None
        self._seen: dict[Hashable, int] = dict.fromkeys(writes, 0)
        self._arrived = asyncio.Event()

    @property
    def is_due(self) -> bool:
        """Whether the latest proof is too old for a request that comes now."""
        return self.age_s() > RENEW_AFTER_S

    def age_s(self) -> float:
        """How long ago the latest proof was begun: what was written before that has been seen."""
        return time.monotonic() - self._proven_at

    def heard(self, kind: Hashable, resource_version: str) -> None:
        """All that had happened to this kind up to this version has been taken in."""
        if kind in self._seen and resource_version.isdecimal():
            # Versions of one kind grow (KEP 5504); after a cut, a later one stands for those before it.
            self._seen[kind] = max(self._seen[kind], int(resource_version))
            self._arrived.set()

    async def prove(self) -> None:
        """Returns when it is proven, or has failed: `age_s` tells. Who waits together shares one beat."""
        asked_at = time.monotonic()
        for _ in range(2):  # the first may be one that had begun before, and say nothing of what came since
            if asked_at - self._proven_at <= RENEW_AFTER_S:
                return
            if self._running is None or self._running.done():
                self._running = asyncio.get_running_loop().create_task(self._beat())
            before = self._proven_at
            await asyncio.shield(self._running)
            if self._proven_at == before:
                return  # it failed: a second would not be better, and somebody waits

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _beat(self) -> None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(WITHIN_S):
                written = await asyncio.gather(*(write() for write in self._writes.values()))
                await self._wait_for(dict(zip(self._writes, written, strict=True)))
        except (KubeError, TimeoutError, OSError) as error:
            log.warning("not_proven_new", of=self._of, error=str(error) or f"no event within {WITHIN_S:g} s")
        else:
            self._proven_at = begun

    async def _wait_for(self, versions: Mapping[Hashable, int]) -> None:
        while any(self._seen[kind] < version for kind, version in versions.items()):
            self._arrived.clear()
            await self._arrived.wait()


def beats_of_rights(client: Client, writer: str) -> Beats:
    """client: ungated. writer: field manager of the beats, one for each kind of process."""
    return Beats("rights", {kind: partial(_write, client, writer, kind) for kind in BEATING})


async def write_beat(client: Client, manifest: Manifest, writer: str, sub: str = "") -> int:
    """The version of the object that this manifest, which differs each time, has made. Raises KubeError."""
    applied = await client.apply(manifest, manager=writer, sub=sub, rv="")
    version: str = applied.obj["metadata"]["resourceVersion"]
    return int(version)


async def _write(client: Client, writer: str, kind: type[Resource]) -> int:
    """To the status: admission looks at the rest of these objects, and may be down."""
    about, moment = kind_of(kind), f"{time.monotonic():.6f}"
    manifest: Manifest = {
        "apiVersion": about.api_version,
        "kind": about.kind,
        "metadata": {"name": HEARTBEAT},
        "status": {"reason": f"Beat {moment}"} if kind is User else _status(moment),
    }
    return await write_beat(client, manifest, writer, "status")


def _status(moment: str) -> dict[str, Any]:
    beat = {
        "type": "Heard",
        "status": "True",
        "reason": "Beat",
        "message": moment,
        "lastTransitionTime": rfc3339(time.time()),
    }
    return {"conditions": [beat]}
