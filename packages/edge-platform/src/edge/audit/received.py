"""Chains that other processes write and this one keeps: the store of a sink (O6; design §4.1).

A writer numbers and links its records itself; here each link is checked before it is kept, so that a sink
cannot be talked into another past. Chains go on in a new file after a restart.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import structlog

from edge.audit.chain import BODY, Walk
from edge.audit.folder import CHAIN, Folder, ages, head_of, last_line, pieces
from edge.audit.record import Record, read_record
from edge.audit.recovery import mend, open_intents, signed_lines
from edge.audit.retention import Limits, plan_retention
from edge.audit.segment import ROOM_LEAST_BYTES, ROOM_LOW_BYTES, OpenSegment
from edge.audit.statements import (
    CLOSED,
    RETIRED,
    ForgedError,
    append_whole,
    last_hash,
    read_copy,
    unchecked,
)

log = structlog.stdlib.get_logger("edge.audit")

PIECE_MAX: Final = 512 * 1024


class State(msgspec.Struct, frozen=True, rename="camel"):
    """What a sink holds of a chain. statements: how many; closed: nothing more is taken.

    silent_s: since its writer was last heard; digest and last: in hex, of its last record and statement.
    """

    seq: int = 0
    statements: int = 0
    closed: bool = False
    silent_s: float = 0.0
    digest: str = ""
    last: str = ""


class NotTakenError(Exception):
    """What came does not follow what is here. reason: gap, conflict, closed, full, malformed."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason


@dataclass(eq=False)
class _Chain:
    walk: Walk
    statements: int
    last: str
    closed: bool
    heard_s: float
    segment: OpenSegment | None = None
    is_torn: bool = False
    opened_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Received:
    """Blocks; any thread may call it. One process a folder."""

    def __init__(
        self, folder: Folder, limits: Limits, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self._limits = limits
        self._now_s = now_s
        self._chains: dict[str, _Chain] = {}
        self._lock = threading.Lock()

    def states(self, wanted: str = "") -> dict[str, State]:
        """Of all chains, or of one if it is here. Raises OSError."""
        return {chain: self.state(chain) for chain in self.folder.chains() if wanted in ("", chain)}

    def state(self, chain: str) -> State:
        """Raises OSError, NotTakenError for a name that is none."""
        about = self._chain(chain)
        return State(
            seq=about.walk.seq,
            statements=about.statements,
            closed=about.closed,
            silent_s=round(self._now_s() - about.heard_s, 3),
            digest=about.walk.digest.hex(),
            last=about.last,
        )

    def heard(self, chain: str) -> None:
        self._chain(chain).heard_s = self._now_s()

    def append(self, chain: str, data: bytes) -> State:
        """Whole lines, as the writer linked them. Durable when it returns; what is here is passed over.

        Raises NotTakenError, OSError.
        """
        about = self._chain(chain)
        with about.lock:
            lines = _new_lines(about, data.split(b"\n")[:-1])
            if lines:
                if about.closed:
                    raise NotTakenError("closed", "the chain was closed: its writer was taken for dead")
                self._write(chain, about, lines)
        return self.state(chain)

    def sign(self, chain: str, first: int, data: bytes) -> State:
        """Statements from number `first`, counted from 0. Raises NotTakenError, OSError."""
        about = self._chain(chain)
        with about.lock:
            if first > about.statements:
                raise NotTakenError("gap", f"statement {about.statements} is missing here")
            lines = data.split(b"\n")[:-1][about.statements - first :]
            if lines:
                self._keep_statements(chain, about, lines)
        return self.state(chain)

    def begin_behind(self, chain: str, seq: int, digest: bytes) -> State:
        """An empty chain begins behind record `seq`: it was signed that the records up to it went."""
        about = self._chain(chain)
        with about.lock:
            if not about.walk.seq and not about.statements:
                about.walk = Walk(chain, seq, digest)
        return self.state(chain)

    def records(self, chain: str, after: int) -> bytes:
        """Lines behind record `after`, a piece of them at most. Raises OSError, NotTakenError."""
        about = self._chain(chain)
        with about.lock:
            segments = self.folder.segments(chain)
        found, size = list[bytes](), 0
        held = [segment for segment in segments if segment.first <= after + 1]
        for segment in [*held[-1:], *(segment for segment in segments if segment.first > after + 1)]:
            seq = segment.first - 1
            for _, lines in pieces(segment.path):
                skip = max(0, after - seq)
                for line in lines[skip:]:
                    found.append(line)
                    size += len(line) + 1
                    if size >= PIECE_MAX:
                        return b"".join(line + b"\n" for line in found)
                seq += len(lines)
        return b"".join(line + b"\n" for line in found)

    def statements(self, chain: str, first: int) -> bytes:
        """Statement lines from number `first`, a piece of them at most."""
        found, size = list[bytes](), 0
        for line in signed_lines(self._path(chain))[first:]:
            found.append(line)
            size += len(line) + 1
            if size >= PIECE_MAX:
                break
        return b"".join(line + b"\n" for line in found)

    def open_intents(self, chain: str) -> list[Record]:
        """Changes of it that have no outcome."""
        self._chain(chain)
        return open_intents(self.folder.segments(chain))

    def aged(self) -> list[tuple[str, Record, bytes]]:
        """(chain, last record, its h) of each part whose time is over. Raises OSError."""
        with self._lock:
            chains = list(self._chains.values())
        open_paths = {about.segment.segment.path for about in chains if about.segment}
        closed = [one for one in self.folder.segments() if one.path not in open_paths]
        aged = ages(closed, time.time(), self._limits.age_max_s(full=False))
        found = ((one.chain, last_line(one)) for one in plan_retention(aged, self._limits, full=False))
        return [(chain, *last) for chain, last in found if last is not None]

    def close(self) -> None:
        for about in self._chains.values():
            with about.lock, contextlib.suppress(OSError):
                if about.segment is not None:
                    about.segment.seal()
                    about.segment = None

    # -- the files -------------------------------------------------------------------------------------------

    def _path(self, chain: str) -> Path:
        if CHAIN.fullmatch(chain) is None:
            raise NotTakenError("malformed", f'"{chain[:80]}" is no name of a chain')
        return self.folder.statements(chain)

    def _chain(self, chain: str) -> _Chain:
        path = self._path(chain)
        with self._lock:
            about = self._chains.get(chain)
            if about is None:
                about = self._chains[chain] = self._read(chain, path)
            return about

    def _read(self, chain: str, path: Path) -> _Chain:
        """What an earlier run of this process left of it, without its torn end."""
        lines = signed_lines(path)
        data = b"".join(line + b"\n" for line in lines)
        signed = list(unchecked(data))
        segments = self.folder.segments(chain)
        seq, digest = mend(segments, signed)
        for segment in segments:
            if segment.first > seq:
                segment.path.unlink()  # room that was made ready, and nothing in it
        closed = any(one.kind == CLOSED for one in signed)
        return _Chain(Walk(chain, seq, digest), len(lines), last_hash(data), closed, self._now_s())

    def _write(self, chain: str, about: _Chain, lines: list[bytes]) -> None:
        before = about.walk
        walk = Walk(chain, before.seq, before.digest)
        broken = walk.follow(lines)
        if broken is not None:
            raise NotTakenError("conflict", str(broken))
        self._refuse_when_full()
        segment = self._segment(chain, about)
        if segment.left < ROOM_LOW_BYTES:
            with contextlib.suppress(OSError):  # the write itself says when there is really none
                segment.grow(ROOM_LEAST_BYTES * 2)
        try:
            segment.write(b"".join(line + b"\n" for line in lines), _newest_ms(lines))
        except OSError:
            about.is_torn = True
            raise
        about.walk = walk

    def _segment(self, chain: str, about: _Chain) -> OpenSegment:
        now_s, have = self._now_s(), about.segment
        limits = self._limits
        old = have is not None and now_s - about.opened_s >= limits.segment_s
        if have is not None and (about.is_torn or (have.used and (old or have.used >= limits.segment_bytes))):
            have.seal()  # what is behind the last good record is cut off
            have = about.segment = None
            about.is_torn = False
        if have is None:
            have = about.segment = OpenSegment(self.folder.segment(chain, about.walk.seq + 1))
            about.opened_s = now_s
            self.folder.sync()
        return have

    def _refuse_when_full(self) -> None:
        free, total = self.folder.space()
        if (1 - free / total if total else 1) >= self._limits.refuse_ratio and (
            free < self._limits.enough_free_bytes
        ):
            raise NotTakenError("full", f"the volume is {1 - free / total:.0%} full")

    def _keep_statements(self, chain: str, about: _Chain, lines: list[bytes]) -> None:
        data = b"".join(line + b"\n" for line in lines)
        found = list(unchecked(data))
        if len(found) != len(lines) or found[0].previous != about.last or found[0].chain != chain:
            raise NotTakenError("conflict", "the statements do not follow those that are here")
        self._check_signatures(lines)
        append_whole(self._path(chain), data)
        about.statements += len(lines)
        about.last = last_hash(data)
        self._let_go(chain, max((one.seq for one in found if one.kind == RETIRED), default=0))
        if any(one.kind == CLOSED for one in found):
            about.closed = True
            if about.segment is not None:
                about.segment.seal()
                about.segment = None

    def _check_signatures(self, lines: list[bytes]) -> None:
        """What bears no signature would spoil the chain for good. Raises NotTakenError."""
        keys = self.folder.keys()
        for line in lines:
            try:
                read_copy(line, keys)
            except ForgedError as error:
                raise NotTakenError("conflict", str(error)) from None

    def _let_go(self, chain: str, up_to: int) -> None:
        """Drop what was signed to be over, and is so by our own clock: a stolen key drops nothing young."""
        if not up_to:
            return
        for name, record, _ in self.aged():
            if name == chain and record.seq <= up_to:
                for segment in self.folder.segments(chain):
                    if head_of([segment])[0] <= record.seq:
                        self.folder.remove(segment)
                        log.info("audit_segment_retired", chain=chain, up_to=record.seq)


class _When(msgspec.Struct):
    time: int = 0
    began: int = 0


_when: Final = msgspec.json.Decoder(_When).decode


def _newest_ms(lines: list[bytes]) -> int:
    """Raises NotTakenError."""
    try:
        found = [_when(line[BODY:]) for line in lines]
    except msgspec.MsgspecError:
        raise NotTakenError("malformed", "a line is no record") from None
    return max(max(one.time, one.began) for one in found)


def _new_lines(about: _Chain, lines: list[bytes]) -> list[bytes]:
    """Those that are not here yet. Raises NotTakenError."""
    if not lines:
        return []
    try:
        first = read_record(lines[0][BODY:]).seq
    except msgspec.MsgspecError:
        raise NotTakenError("malformed", "the first line is no record") from None
    have = about.walk.seq
    if first > have + 1:
        raise NotTakenError("gap", f"records {have + 1} to {first - 1} are missing here")
    known = lines[: have + 1 - first]
    ours = about.walk.digest.hex().encode()
    if len(known) == have + 1 - first and known and known[-1][: BODY - 1] != ours:
        raise NotTakenError("conflict", f"record {have} is another one here")
    return lines[len(known) :]
