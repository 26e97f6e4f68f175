"""Verifications of one folder: on a schedule, when somebody asks, never two at once (O6; design §4.3).

verifier = Verifier(path, "edge-audit-0", at="02:00")
await verifier.run()              # on the schedule, until cancelled
await verifier.verify()           # now
verifier.last                     # what the last one found, also by an earlier process
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from edge.audit.checking import MODULE, Task
from edge.audit.verdict import Verdict, due_ms, found, keep, kept
from edge.audit.verify import Report

START_S: Final = 60.0
"""A process that has just started has other things to do."""
LOOK_S: Final = 30.0
CATCH_UP_S: Final = 60.0
SAID_MAX: Final = 500
PASSED_ON: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "TZ")
"""Of the environment: there may be secrets in the rest."""

log = structlog.stdlib.get_logger("edge.audit")


async def _nothing_kept() -> Sequence[bytes]:
    return ()


async def _those_of_the_folder() -> Sequence[str] | None:
    return None


async def _nobody(_: Verdict) -> None:
    """Nobody is told."""


class Verifier:
    """One for each folder and process."""

    def __init__(
        self,
        path: Path,
        store: str,
        *,
        at: str = "",
        patience: int = 0,
        now_s: Callable[[], float] = time.time,
        anchors: Callable[[], Awaitable[Sequence[bytes]]] = _nothing_kept,
        keys: Callable[[], Awaitable[Sequence[str] | None]] = _those_of_the_folder,
        on_broken: Callable[[Verdict], Awaitable[None]] = _nobody,
    ) -> None:
        """store: who keeps the records. at: HH:MM in UTC; "": not on a schedule. patience: how often one that
        is only behind what copies speak of is looked at again, since its peers may have the rest.
        anchors, keys: what is kept elsewhere, of now. on_broken: told of what is not as it was written.
        """
        self._path = path
        self._at = at
        self._patience = patience
        self._now_s = now_s
        self._anchors, self._keys, self._on_broken = anchors, keys, on_broken
        self._turn = asyncio.Lock()
        self._last = kept(path, store)

    @property
    def last(self) -> Verdict:
        return msgspec.structs.replace(self._last, next=due_ms(self._at, self._last, self._now_ms()))

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(START_S)
        while self._at:
            if self.last.next <= self._now_ms():
                await self._on_schedule()
            await asyncio.sleep(LOOK_S)

    async def verify(self, anchors: Sequence[bytes] | None = None) -> Report:
        """anchors: instead of those that are known here.

        Raises OSError: it did not come to an end.
        """
        async with self._turn:
            began_ms = self._now_ms()
            try:
                lines = await self._anchors() if anchors is None else anchors
                report = await self._in_a_process(lines, await self._keys())
            except Exception as error:
                await self._note(msgspec.structs.replace(self._last, tried=began_ms, trouble=str(error)))
                log.warning("audit_not_verified", store=self._last.store, error=str(error))
                raise
            if not report.behind or not self._patience:
                await self._note(found(self._last.store, report, began_ms, self._now_ms()))
            return report

    async def _on_schedule(self) -> None:
        for again in range(self._patience, -1, -1):
            try:
                report = await self.verify()
            except Exception:  # it was said, and is tried again in a while
                return
            if not report.behind:
                return
            if again:
                await asyncio.sleep(CATCH_UP_S)
            elif self._patience:
                now_ms = self._now_ms()
                await self._note(found(self._last.store, report, now_ms, now_ms))

    async def _note(self, verdict: Verdict) -> None:
        try:
            await asyncio.to_thread(keep, self._path, verdict)
        except OSError as error:  # full or read-only: it is known here all the same
            log.warning("audit_verification_not_kept", error=str(error))
        self._last = verdict
        if verdict.trouble:
            return
        if verdict.broken is None:
            log.info("audit_verified", store=verdict.store, records=verdict.records)
            return
        log.error("audit_trail_broken", store=verdict.store, where=str(verdict.broken))
        await self._on_broken(verdict)

    async def _in_a_process(self, anchors: Sequence[bytes], keys: Sequence[str] | None) -> Report:
        task = Task(
            parent=os.getpid(),
            anchors=[line.decode() for line in anchors],
            keys=None if keys is None else list(keys),
        )
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", MODULE, str(self._path)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
        )
        try:
            out, err = await child.communicate(msgspec.json.encode(task))
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await asyncio.shield(child.wait())
            raise
        if child.returncode or not out:
            said = err.decode(errors="replace").strip().splitlines()[-1:] or [""]
            raise OSError(f"verification ended with {child.returncode}: {said[0][:SAID_MAX]}")
        return msgspec.json.decode(out, type=Report)

    def _now_ms(self) -> int:
        return int(self._now_s() * 1000)
