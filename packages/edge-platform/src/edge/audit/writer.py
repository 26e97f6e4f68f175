"""The writer of one chain: a thread that makes batches of records durable and says so.

Promises: a record is acknowledged once it is on the disk; numbers of a chain have no gap. A batch is
what came while the last one was written, at most 256 records: nobody waits for a window to fill. An
outcome is never dropped: while it cannot be written it is kept, and tried again.
No promise about order between chains; only time tells.
"""

import asyncio
import contextlib
import os
import threading
import time
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from edge.audit import chain as links
from edge.audit.folder import Folder, Segment, ages, head_of
from edge.audit.record import VERSION, Record, canonical
from edge.audit.recovery import signed_lines
from edge.audit.retention import DAY_S, Limits, plan_retention
from edge.audit.segment import ROOM_LEAST_BYTES, ROOM_LOW_BYTES, ROOM_STEP_BYTES, OpenSegment
from edge.audit.statements import CHECKPOINT, CLOSED, OPENED, RETIRED, Signer, last_hash, last_statement

BATCH_MAX: Final = 256
QUEUE_MAX: Final = 2000
"""Records that wait; beyond it changes are refused, and reads are not noted."""
NOTES_MAX: Final = 1000
RESERVE_BYTES: Final = 256 * 1024
"""Room kept for the outcomes of what has been let through."""
CHECKPOINT_RECORDS: Final = 1000
CHECKPOINT_S: Final = 60.0
RETRY_S: Final = 0.5
LOOK_S: Final = 1.0
TIDY_S: Final = 3600.0

log = structlog.stdlib.get_logger("edge.audit")


class NotWrittenError(Exception):
    """A record is not durable. reason: disk-full, storage-failed, queue-full, too-slow."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason


@dataclass(slots=True, eq=False)
class Entry:
    """done: called on the loop with the error or None. kept: tried until it is written, never refused."""

    record: Record
    done: Callable[[NotWrittenError | None], None] | None = None
    kept: bool = False
    abandoned: bool = False


@dataclass(slots=True)
class Counts:
    """For metrics; read from any thread."""

    written: int = 0
    dropped: int = 0
    used_ratio: float = 0.0
    checkpoint_ms: int = 0
    waiting: int = 0
    """Records that are not on the disk yet, those being written among them."""
    failing: str = ""
    batches: int = 0


@dataclass
class Writer:
    """on_statement: called in the writer's thread with each signed line."""

    folder: Folder
    chain: str
    key: Ed25519PrivateKey
    limits: Limits = field(default_factory=Limits)
    now_s: Callable[[], float] = time.time
    on_statement: Callable[[bytes], None] = lambda _: None

    def __post_init__(self) -> None:
        self.counts = Counts()
        self.seq = 0
        self.digest = links.GENESIS
        self._signer = Signer(self.key, self.chain)
        self._queue: deque[Entry] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._open: OpenSegment | None = None
        self._opened_s = 0.0
        self._broken = False
        self._lock: int | None = None
        self._signed_seq = 0
        self._signed_s = 0.0
        self._looked_s = self._tidied_s = float("-inf")
        self._began = self.now_s(), _running_s()
        self._full = False
        self._grow_wanted = threading.Event()
        self._threads: list[threading.Thread] = []
        self._loop: AbstractEventLoop | None = None

    # -- on the loop -----------------------------------------------------------------------------------------

    def start(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        for name, work in (("audit-writer", self._run), ("audit-room", self._make_room)):
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def put(self, entry: Entry) -> bool:
        """False when it does not fit; an outcome always does."""
        with self._wake:
            limit = QUEUE_MAX if entry.done is not None else NOTES_MAX
            if not entry.kept and len(self._queue) >= limit:
                if entry.done is None:
                    self.counts.dropped += 1
                return False
            self._queue.append(entry)
            self.counts.waiting += 1
            self._wake.notify()
        return True

    def close(self, within_s: float = 10.0) -> None:
        """Write what is waiting, sign the end, let the chain go. Blocks."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._grow_wanted.set()
        for thread in self._threads:
            thread.join(within_s)

    async def closed(self) -> None:
        await asyncio.to_thread(self.close)

    # -- in the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # tried again with the first record
            self._segment()
            self._grow_wanted.set()
        while True:
            batch = self._take()
            if batch:
                self._commit(batch)
                with self._wake:
                    self.counts.waiting = len(self._queue)
            self._duties()
            with self._wake:
                if self._stopping and (not self._queue or self._broken or self._open is None):
                    break
        self._end()

    def _take(self) -> list[Entry]:
        with self._wake:
            if not self._queue and not self._stopping:
                self._wake.wait(LOOK_S)
            return [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]

    def _commit(self, batch: list[Entry]) -> None:
        live = [entry for entry in batch if not entry.abandoned]
        self._tell([entry for entry in batch if entry.abandoned], NotWrittenError("too-slow", "nobody waits"))
        try:
            segment = self._segment()
            refused = self._no_room(segment)
            if refused is not None:
                self._tell([entry for entry in live if not entry.kept], refused)
                live = [entry for entry in live if entry.kept]
            self._write(segment, live)
        except OSError as error:
            self._failed(live, error)
        else:
            self.counts.failing = str(refused or "")
            self._tell(live, None)

    def _write(self, segment: OpenSegment, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        seq, digest, lines = self.seq, self.digest, list[bytes]()
        for entry in entries:
            seq += 1
            body = canonical(replace(entry.record, v=VERSION, chain=self.chain, seq=seq))
            digest = links.link(digest, body)
            lines.append(links.line_of(digest, body))
        newest_ms = max(max(entry.record.time, entry.record.began) for entry in entries)
        segment.write(b"".join(lines), newest_ms)
        self.seq, self.digest = seq, digest
        self.counts.written += len(entries)
        self.counts.batches += 1
        if segment.left < ROOM_LOW_BYTES:
            self._grow_wanted.set()

    def _segment(self) -> OpenSegment:
        """The open segment, a new one when it is due. Raises OSError."""
        now_s = self.now_s()
        have = self._open
        if have is not None and self._broken:
            have.seal()
            have = self._open = None
        if have is not None:
            old = now_s - self._opened_s >= self.limits.segment_s
            if not have.used or not (old or have.used >= self.limits.segment_bytes):
                return have
        if self._lock is None:
            self._begin_chain()
        try:
            new = OpenSegment(self.folder.segment(self.chain, self.seq + 1))
        except OSError:
            if have is None:
                raise
            return have  # longer than it should be, and still good
        self._open, self._opened_s, self._broken = new, now_s, False
        self.folder.sync()
        if have is not None:
            have.seal()
            self._sign(CHECKPOINT)
        return new

    def _begin_chain(self) -> None:
        self.folder.make()
        self._lock = self.folder.lock(self.chain)
        if self._lock is None:
            raise OSError(f"another process writes the chain {self.chain}")
        self.folder.add_key(self.key.public_key())
        # By what is signed: the end of a file may not be durable yet, and be cut off after a crash.
        heads: dict[str, str] = {}
        for chain in self.folder.chains():
            path = self.folder.statements(chain)
            last = last_statement(path) if chain != self.chain and path.exists() else None
            if last is not None:
                heads[chain] = f"{last.seq}:{last.h}"
        self._sign(OPENED, heads)

    def _no_room(self, segment: OpenSegment) -> NotWrittenError | None:
        self._look()
        if self._full:
            percent = f"{self.counts.used_ratio:.0%}"
            return NotWrittenError("disk-full", f"the volume of the audit trail is {percent} full")
        if segment.left >= RESERVE_BYTES:
            return None
        try:  # the other thread had no chance, or no success
            segment.grow(ROOM_LEAST_BYTES)
        except OSError as error:
            return NotWrittenError("disk-full", f"the audit trail cannot grow: {error.strerror}")
        return None

    def _failed(self, entries: Sequence[Entry], error: OSError) -> None:
        """What is in the file behind the last good record is not known: it is cut off there."""
        why = error.strerror or str(error)
        if self.counts.failing != why:
            log.error("audit_not_written", error=why, folder=str(self.folder.path))
        self.counts.failing = why
        with self._wake:
            self._queue.extendleft(entry for entry in reversed(entries) if entry.kept)
        self._tell([entry for entry in entries if not entry.kept], NotWrittenError("storage-failed", why))
        self._broken = True
        with self._wake:
            if not self._stopping and not any(not entry.kept for entry in self._queue):
                self._wake.wait(RETRY_S)

    def _tell(self, entries: Sequence[Entry], error: NotWrittenError | None) -> None:
        waiting = [entry.done for entry in entries if entry.done is not None]
        if error is not None:
            self.counts.dropped += sum(entry.done is None for entry in entries)
        if not waiting or self._loop is None:
            return

        def all_of_them() -> None:
            for done in waiting:
                done(error)

        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(all_of_them)

    # -- duties ----------------------------------------------------------------------------------------------

    def _duties(self) -> None:
        now_s = self.now_s()
        unsigned = self.seq - self._signed_seq
        try:
            # A clock that was set back counts as well: else nothing would be signed until it is there again.
            since_s = abs(now_s - self._signed_s)
            if unsigned >= CHECKPOINT_RECORDS or (unsigned and since_s >= CHECKPOINT_S):
                self._sign(CHECKPOINT)
            if abs(now_s - self._tidied_s) >= TIDY_S and self._lock is not None:
                self._tidied_s = now_s
                self._tidy()
        except OSError as error:
            log.error("audit_duty_failed", error=str(error))

    def _sign(self, kind: str, heads: dict[str, str] | None = None) -> None:
        now_ms = int(self.now_s() * 1000)
        line = self._signer.keep(
            self.folder.statements(self.chain),
            kind,
            seq=self.seq,
            digest=self.digest,
            time_ms=now_ms,
            heads=heads,
            # One that a power cut takes is made again by the next; a flush would keep changes waiting.
            durable=kind != CHECKPOINT,
        )
        self._signed_seq, self._signed_s = self.seq, now_ms / 1000
        self.counts.checkpoint_ms = now_ms
        self.on_statement(line)

    def _look(self) -> None:
        """How full the volume is, once a second."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        free, total = self.folder.space()
        self.counts.used_ratio = ratio = 1 - free / total if total else 1.0
        self._full = ratio >= self.limits.refuse_ratio and free < self.limits.enough_free_bytes

    def _tidy(self) -> None:
        """Let go of segments whose time is over, each with a signed statement before it goes."""
        self._look()
        now_s = self.now_s()
        ahead_s = (now_s - self._began[0]) - (_running_s() - self._began[1])
        if ahead_s > DAY_S:
            log.error(
                "audit_clock_jumped", ahead_s=round(ahead_s), then="nothing is let go of until a restart"
            )
            return
        open_path = self._open.segment.path if self._open else None
        closed = [one for one in self.folder.segments() if one.path != open_path]
        aged = ages(closed, now_s, self.limits.age_max_s(full=self._full))
        for segment in plan_retention(aged, self.limits, full=self._full):
            self._retire(segment.chain, segment)

    def _retire(self, chain: str, segment: Segment) -> None:
        own = chain == self.chain
        lock = None if own else self.folder.lock(chain)
        if not own and lock is None:
            return  # its writer lives, and will do it itself
        try:
            seq, digest = head_of([segment])
            signer = self._signer
            path = self.folder.statements(chain)
            if not own:
                signed_lines(path)  # without a torn one at the end
                signer = Signer(self.key, chain, last_hash(path.read_bytes()) if path.exists() else "")
            signer.keep(path, RETIRED, seq=seq, digest=digest, time_ms=int(self.now_s() * 1000))
            self.folder.remove(segment)
            log.info("audit_segment_retired", chain=chain, up_to=seq)
        finally:
            if lock is not None:
                os.close(lock)

    def _make_room(self) -> None:
        while not self._stopping:
            self._grow_wanted.wait()
            self._grow_wanted.clear()
            with contextlib.suppress(OSError):  # the writer notices itself when room runs out
                segment = self._open
                if segment is None or self._stopping or segment.left >= ROOM_LOW_BYTES:
                    continue
                # A large step that fails holds all that is free for a moment, from everybody on the volume.
                if self.folder.space()[0] >= 2 * ROOM_STEP_BYTES:
                    segment.grow()

    def _end(self) -> None:
        try:
            if self._open is not None:
                self._open.seal()
                self._open = None
            # With outcomes that were not written it stays open: the next process marks what they belong to.
            if self._lock is not None and not self._queue:
                self._sign(CLOSED)
        except OSError as error:
            log.error("audit_not_closed", error=str(error))
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None


def _running_s() -> float:
    """What no setting of the clock changes; a machine that sleeps counts on."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
