"""Proof on demand that every change of rights made before now has arrived here (I6; design §5.2, §5.3).

    await beats.prove()          # before a request that changes something is decided
    beats.age_s() <= STALE_S     # unless the server, or the way to it, is in trouble

A beat writes to one object of each kind that gives or takes rights and waits for the four events. It is made
when somebody needs it, not for ever: an idle process writes nothing, and all who ask at once share one.
"""

import asyncio
import math
import time
from collections.abc import Sequence
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

log = structlog.stdlib.get_logger("edge.iam")


class Beats:
    def __init__(self, client: Client, writer: str) -> None:
        """client: ungated. writer: field manager of the beats, one for each kind of process."""
        self._client = client
        self._writer = writer
        self._proven_at = -math.inf
        self._running: asyncio.Task[None] | None = None
        self._seen: dict[type[Resource], int] = dict.fromkeys(BEATING, 0)
        self._arrived = asyncio.Event()

    def age_s(self) -> float:
        """How long ago the latest proof was begun: what was written before that has been seen."""
        return time.monotonic() - self._proven_at

    def heard(self, kind: type[Resource], resource_version: str) -> None:
        """The watch of this kind has brought its heartbeat object in this version."""
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
                versions = await asyncio.gather(*(self._write(kind, begun) for kind in BEATING))
                await self._wait_for(versions)
        except (KubeError, TimeoutError, OSError) as error:
            log.warning("rights_not_proven", error=str(error) or f"no event within {WITHIN_S:g} s")
        else:
            self._proven_at = begun

    async def _write(self, kind: type[Resource], begun: float) -> int:
        """To the status: admission looks at the rest of these objects, and may be down."""
        about = kind_of(kind)
        manifest: Manifest = {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "metadata": {"name": HEARTBEAT},
            "status": _user_status(begun) if kind is User else _status(begun),
        }
        applied = await self._client.apply(manifest, manager=self._writer, sub="status", rv="")
        version: str = applied.obj["metadata"]["resourceVersion"]
        return int(version)

    async def _wait_for(self, versions: Sequence[int]) -> None:
        while any(self._seen[kind] < version for kind, version in zip(BEATING, versions, strict=True)):
            self._arrived.clear()
            await self._arrived.wait()


def _status(begun: float) -> dict[str, Any]:
    beat = {
        "type": "Heard",
        "status": "True",
        "reason": "Beat",
        "message": f"{begun:.6f}",
        "lastTransitionTime": rfc3339(time.time()),
    }
    return {"conditions": [beat]}


def _user_status(begun: float) -> dict[str, Any]:
    return {"reason": f"Beat {begun:.6f}"}
