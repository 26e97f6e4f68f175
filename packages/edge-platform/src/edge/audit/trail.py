"""The trail as the gateway uses it: `begin` before a change, `finish` after, `note` for reads (O6).

await trail.begin(intent)     # durable when it returns; raises NotWrittenError within 500 ms otherwise
trail.finish(outcome)         # never lost while the process lives; settled at the next start otherwise
trail.note(read)              # dropped, and counted, when there is no time for it
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from msgspec.structs import replace

from edge.audit.kept import FolderOrphans
from edge.audit.ports import Appending, Orphans
from edge.audit.received import NotTakenError
from edge.audit.record import OUTCOME, SETTLED, UNKNOWN, Record
from edge.audit.recovery import Left
from edge.audit.writer import Counts, Entry, NotWrittenError, Writer

ACKNOWLEDGED_WITHIN_S: Final = 0.5
LOOK_FOR_ORPHANS_S: Final = 30.0
SETTLE_MAX: Final = 200
NOT_FORWARDED: Final = "not forwarded: the audit trail was too slow"

Settle = Callable[[Record], Awaitable[tuple[int, str, str] | None]]
"""Reads back what became of an intent: (code, reason, resourceVersion), or None when that cannot be told."""

log = structlog.stdlib.get_logger("edge.audit")


class Trail:
    def __init__(
        self,
        writer: Appending,
        settle: Settle | None = None,
        *,
        within_s: float = ACKNOWLEDGED_WITHIN_S,
        orphans: Orphans | None = None,
    ) -> None:
        """within_s: how long a change waits for its record. orphans: of a Writer, those of its folder."""
        self.writer = writer
        self._orphans = orphans or (FolderOrphans(writer) if isinstance(writer, Writer) else None)
        self._settle = settle
        self._within_s = within_s

    @property
    def counts(self) -> Counts:
        return self.writer.counts

    def start(self) -> None:
        self.writer.start(asyncio.get_running_loop())

    async def close(self) -> None:
        await self.writer.closed()

    async def begin(self, record: Record) -> None:
        """Raises NotWrittenError: nothing may be forwarded then."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def not_forwarded() -> None:
            """It was written after all, and nothing followed."""
            self.finish(replace(record, phase=OUTCOME, code=503, reason=NOT_FORWARDED))

        def done(error: NotWrittenError | None) -> None:
            if not future.done():
                future.set_result(None) if error is None else future.set_exception(error)
            elif error is None:  # nobody waits any more
                not_forwarded()

        entry = Entry(record, done)
        if not self.writer.put(entry):
            raise NotWrittenError("queue-full", "too many records are waiting to be written")
        try:
            async with asyncio.timeout(self._within_s):
                await future
        except (TimeoutError, asyncio.CancelledError) as error:
            entry.abandoned = True
            if future.cancel() or future.cancelled():
                pass  # `done` says it, should it be written after all
            elif future.exception() is None:  # it was told between the two
                not_forwarded()
            if isinstance(error, asyncio.CancelledError):
                raise
            why = f"it was not written within {self._within_s * 1000:.0f} ms"
            raise NotWrittenError("too-slow", why) from None

    def finish(self, record: Record) -> None:
        self.writer.put(Entry(record, kept=True))

    def note(self, record: Record) -> None:
        self.writer.put(Entry(record))

    async def settled(self, record: Record) -> None:
        """Write a record and wait for it, however long it takes."""
        written = asyncio.Event()
        self.writer.put(Entry(record, lambda _: written.set(), kept=True))
        await written.wait()

    # -- after a crash ---------------------------------------------------------------------------------------

    async def look_after_orphans(self, now_ms: Callable[[], int]) -> None:
        """Close the chains of writers that died: at the start, and again and again. Until cancelled."""
        assert self._orphans is not None  # noqa: S101 - a trail without a folder is given them
        while True:
            found: list[Left] = []
            with contextlib.suppress(OSError, NotTakenError):  # every change is refused meanwhile
                found = await self._orphans.left()
            for left in found:
                try:
                    await self._close_orphan(self._orphans, left, now_ms())
                except (
                    OSError,
                    NotTakenError,
                ) as error:  # it is found again, and the others are not kept open
                    log.warning("audit_chain_not_closed", chain=left.chain, error=str(error))
            await asyncio.sleep(LOOK_FOR_ORPHANS_S)

    async def _close_orphan(self, orphans: Orphans, left: Left, now_ms: int) -> None:
        reason = "the gateway ended before the answer"
        for record in left.open:
            await self.settled(_later(record, UNKNOWN, now_ms, reason=reason))
        for record in left.open[:SETTLE_MAX] if self._settle is not None else ():
            await self._settle_one(record, now_ms)
        # At the end: who is killed before it leaves all of it to the next one.
        await orphans.let_go(left, now_ms)
        log.info("audit_chain_closed", chain=left.chain, records=left.seq, unknown=len(left.open))

    async def _settle_one(self, record: Record, now_ms: int) -> None:
        assert self._settle is not None  # noqa: S101 - asked by the caller
        try:
            found = await self._settle(record)
        except Exception as error:  # whatever is wrong there, the record stays `unknown`
            log.warning("audit_not_settled", id=record.id, error=str(error))
            return
        if found is not None:
            code, reason, version = found
            await self.settled(_later(record, SETTLED, now_ms, code=code, reason=reason, rv=version))


def _later(
    record: Record, phase: str, now_ms: int, *, code: int = 0, reason: str = "", rv: str = ""
) -> Record:
    """A second record of an id, that can be read without the first."""
    return replace(
        record,
        v=0,
        chain="",
        seq=0,
        phase=phase,
        time=now_ms,
        code=code,
        reason=reason,
        rv=rv,
        body_sha256="",
        changed=(),
    )
