"""The writer of one chain whose records are kept by sinks: durable on enough volumes of other machines (O6).

It numbers and links records itself and sends them to every sink at once; a record is acknowledged when
`enough` of the sinks have it on their disks. A sink that was away is sent what it missed, from the ring of
recent lines; what is no longer there it has from its peers.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from edge.audit import chain as links
from edge.audit.received import NotTakenError, State
from edge.audit.record import VERSION, canonical
from edge.audit.statements import CHECKPOINT, CLOSED, OPENED, RETIRED, Signer
from edge.audit.writer import (
    CHECKPOINT_RECORDS,
    CHECKPOINT_S,
    NOTES_MAX,
    QUEUE_MAX,
    Counts,
    Entry,
    NotWrittenError,
)

RING_MAX: Final = 20_000
"""Lines that are kept for a sink that is away."""
STATEMENTS_MAX: Final = 1_000
BATCH_BYTES: Final = 512 * 1024
RETRY_S: Final = (0.05, 0.2, 1.0, 2.0)
BEAT_S: Final = 10.0
"""A sink hears this often that the writer of a quiet chain lives."""

log = structlog.stdlib.get_logger("edge.audit")


class Sink(Protocol):
    """One process that keeps chains. Raises NotTakenError, OSError when it cannot be reached."""

    @property
    def name(self) -> str: ...

    async def state(self, chain: str) -> State: ...

    async def append(self, chain: str, lines: bytes) -> State: ...

    async def sign(self, chain: str, first: int, statements: bytes) -> State: ...

    async def states(self) -> dict[str, State]: ...


class _Feed:
    """How far one sink is."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.acked = 0
        self.signed = 0
        self.failing = ""
        self.wake = asyncio.Event()


class Shipper:
    """Has the face of `Writer` for a Trail. enough: how many sinks must have a record."""

    def __init__(
        self,
        sinks: Sequence[Sink],
        chain: str,
        key: Ed25519PrivateKey,
        *,
        enough: int,
        now_s: Callable[[], float] = time.time,
        on_statement: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self.chain = chain
        self.key = key
        self.counts = Counts()
        self.seq = 0
        self.digest = links.GENESIS
        self._feeds = [_Feed(sink) for sink in sinks]
        self._enough = enough
        self._now_s = now_s
        self._on_statement = on_statement
        self._signer = Signer(key, chain)
        self._ring: deque[bytes] = deque()
        self._waiting: deque[tuple[int, Entry]] = deque()
        self._durable = 0
        self._statements: list[tuple[int, bytes]] = []
        self._untold: deque[tuple[int, bytes]] = deque()
        self._first_statement = 0
        self._signed_seq, self._signed_s = 0, 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._ending = False
        self._name, self._begun = chain, 1

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._tasks = [loop.create_task(self._open_and_sign())]
        self._tasks += [loop.create_task(self._run(feed)) for feed in self._feeds]

    def put(self, entry: Entry) -> bool:
        """On the loop. False when it does not fit; an outcome always does."""
        limit = QUEUE_MAX if entry.done is not None else NOTES_MAX
        if not entry.kept and len(self._waiting) >= limit:
            if entry.done is None:
                self.counts.dropped += 1
            return False
        self.seq += 1
        body = canonical(replace(entry.record, v=VERSION, chain=self.chain, seq=self.seq))
        self.digest = links.link(self.digest, body)
        self._ring.append(links.line_of(self.digest, body))
        self._waiting.append((self.seq, entry))
        self.counts.waiting = len(self._waiting)
        if self.seq - self._signed_seq >= CHECKPOINT_RECORDS:
            self._sign(CHECKPOINT)
        self._wake()
        return True

    async def closed(self, within_s: float = 10.0) -> None:
        """Send what is waiting, sign the end, let the chain go."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._until(lambda: self._durable >= self.seq)
                self._ending = True
                last = self._sign(CLOSED)
                self._wake()
                await self._until(lambda: sum(feed.signed >= last for feed in self._feeds) >= self._enough)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def now_ms(self) -> int:
        return int(self._now_s() * 1000)

    def retire(self, seq: int, digest: bytes) -> None:
        """Say that the records up to `seq` may go: their time is over."""
        self._sign(RETIRED, at=(seq, digest))
        self._wake()

    def _begin_anew(self) -> None:
        """The chain was closed while nobody could reach us: what no sink acknowledged goes into a new one."""
        self._begun += 1
        log.warning("audit_chain_begun_anew", closed=self.chain, waiting=len(self._waiting))
        again = [entry for _, entry in self._waiting]
        self.chain = f"{self._name}-{self._begun}"
        self.seq, self.digest, self._durable = 0, links.GENESIS, 0
        self._signer = Signer(self.key, self.chain)
        self._ring.clear()
        self._waiting.clear()
        self._statements.clear()
        self._untold.clear()
        self._first_statement = self._signed_seq = 0
        for feed in self._feeds:
            feed.acked = feed.signed = 0
        self._sign(OPENED)
        for entry in again:
            entry.kept = True  # it was taken, and its number was given away
            self.put(entry)

    # -- one sink --------------------------------------------------------------------------------------------

    async def _run(self, feed: _Feed) -> None:
        failures, known = 0, False
        while True:
            try:
                if not known:
                    self._learn(feed, await feed.sink.state(self.chain))
                    known = True
                await self._send(feed)
            except (OSError, TimeoutError, NotTakenError) as error:
                self._failed(feed, error)
                known = False
                await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1
                continue
            self._well(feed)
            failures = 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await feed.wake.wait()

    async def _send(self, feed: _Feed) -> None:
        """Everything that the sink has not; once at least, so that it hears of us."""
        feed.wake.clear()
        while True:
            first = self.seq - len(self._ring) + 1
            if feed.acked + 1 < first:
                why = f"records before {first} are kept here no longer; its peers have them"
                raise NotTakenError("gap", why)
            self._learn(feed, await feed.sink.append(self.chain, self._lines(feed.acked + 1 - first)))
            await self._send_statements(feed)
            if feed.acked >= self.seq and feed.signed >= self._first_statement + len(self._statements):
                return

    def _lines(self, skip: int) -> bytes:
        found, size = list[bytes](), 0
        for place in range(skip, len(self._ring)):
            found.append(self._ring[place])
            size += len(found[-1])
            if size >= BATCH_BYTES:
                break
        return b"".join(found)

    async def _send_statements(self, feed: _Feed) -> None:
        """Those about records that the sink has: what is signed must be there."""
        skip = feed.signed - self._first_statement
        if skip < 0:
            raise NotTakenError("gap", "statements are kept here no longer; its peers have them")
        ready = list[bytes]()
        for seq, line in self._statements[skip:]:
            if seq > feed.acked:
                break
            ready.append(line)
        if ready:
            self._learn(feed, await feed.sink.sign(self.chain, feed.signed, b"".join(ready)))

    def _learn(self, feed: _Feed, state: State) -> None:
        if state.closed and not self._ending:
            self._begin_anew()
            return
        self._check(state)
        feed.acked, feed.signed = state.seq, state.statements
        held = sorted((one.acked for one in self._feeds), reverse=True)
        self._durable = max(self._durable, held[self._enough - 1])
        self._tell()
        while self._waiting and self._waiting[0][0] <= self._durable:
            _, entry = self._waiting.popleft()
            self.counts.written += 1
            if entry.done is not None:
                entry.done(None)
        self.counts.waiting = len(self._waiting)
        # What a slow sink misses is kept for it; what was acknowledged nowhere near enough is kept anyway.
        keep_from = min(held[-1], self._durable)
        while self._ring and (
            self.seq - len(self._ring) < keep_from
            or (len(self._ring) > RING_MAX and self.seq - len(self._ring) < self._durable)
        ):
            self._ring.popleft()
        self._changed.set()

    def _check(self, state: State) -> None:
        """That a sink has is not enough: it must be what we wrote, and of the chain that we write now.

        Raises NotTakenError.
        """
        place = state.seq - (self.seq - len(self._ring)) - 1
        ours = self._ring[place][: links.HEX].decode() if 0 <= place < len(self._ring) else state.digest
        if state.seq > self.seq or state.digest != ours:
            raise NotTakenError("conflict", f"record {state.seq} of {self.chain} is another one there")

    def _failed(self, feed: _Feed, error: Exception) -> None:
        why = str(error) or type(error).__name__
        if feed.failing != why:
            log.warning("audit_sink_failing", sink=feed.sink.name, error=why)
        feed.failing = why
        away = [one.failing for one in self._feeds if one.failing]
        if len(self._feeds) - len(away) < self._enough:
            self.counts.failing = away[0]
            if isinstance(error, NotTakenError) and error.reason == "full":
                self._refuse(error)

    def _refuse(self, error: NotTakenError) -> None:
        """Tell who waits why; their records stay in the chain and are sent all the same."""
        for _, entry in self._waiting:
            if entry.done is not None and not entry.kept and not entry.abandoned:
                entry.done(NotWrittenError("disk-full", str(error)))
                entry.abandoned = True

    def _well(self, feed: _Feed) -> None:
        if feed.failing:
            log.info("audit_sink_well", sink=feed.sink.name)
        feed.failing = ""
        away = sum(bool(one.failing) for one in self._feeds)
        if len(self._feeds) - away >= self._enough:
            self.counts.failing = ""

    # -- statements ------------------------------------------------------------------------------------------

    async def _open_and_sign(self) -> None:
        """Open the chain with what is known of the others, then sign where it is, once a minute."""
        heads: dict[str, str] = {}
        for feed in self._feeds:
            with contextlib.suppress(OSError, TimeoutError, NotTakenError):
                for chain, state in (await feed.sink.states()).items():
                    if chain != self.chain and state.seq:
                        heads[chain] = f"{state.seq}:{state.digest}"
                break
        self._sign(OPENED, heads=heads, at=(0, links.GENESIS))
        self._wake()
        while True:
            await asyncio.sleep(1)
            # A clock that was set back counts as well, as in `Writer`.
            if self.seq > self._signed_seq and abs(self._now_s() - self._signed_s) >= CHECKPOINT_S:
                self._sign(CHECKPOINT)
                self._wake()

    def _sign(
        self, kind: str, *, heads: dict[str, str] | None = None, at: tuple[int, bytes] | None = None
    ) -> int:
        """The number that sinks will know the statement by."""
        seq, digest = at or (self.seq, self.digest)
        now_ms = self.now_ms()
        line = self._signer.sign(kind, seq=seq, digest=digest, time_ms=now_ms, heads=heads)
        self._statements.append((seq, line))
        if len(self._statements) > STATEMENTS_MAX:
            del self._statements[0]
            self._first_statement += 1
        self._signed_seq, self._signed_s = max(seq, self._signed_seq), now_ms / 1000
        self.counts.checkpoint_ms = now_ms
        self._untold.append((seq, line))
        self._tell()
        return self._first_statement + len(self._statements)

    def _tell(self) -> None:
        """Of statements about records that nothing takes away any more: else a copy would speak of none."""
        while self._untold and self._untold[0][0] <= self._durable:
            self._on_statement(self._untold.popleft()[1])

    # -- waiting ---------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        for feed in self._feeds:
            feed.wake.set()

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._changed.clear()
            await self._changed.wait()
