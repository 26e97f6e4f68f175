"""The trail's folder: which files there are. Several processes may share it, each with a chain of its own.

<chain>.<first seq, 12 digits>.log   a segment: lines of `chain.py`, then zeros where there is room left
<chain>.sig                          signed statements about the chain
<chain>.lock                         held while its writer lives
index/<segment>.idx                  made from the segment, never the truth
keys                                 public keys, one a line
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.audit.chain import BODY, GENESIS, HEX, whole_lines
from edge.audit.record import Record, read_record
from edge.audit.statements import public_text, read_public

CHAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,120}")
_SEGMENT: Final = re.compile(r"(?P<chain>[A-Za-z0-9_-]{1,120})\.(?P<first>\d{12})\.log")
PIECE_BYTES: Final = 4 * 2**20


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A file of consecutive records of one chain."""

    chain: str
    first: int
    path: Path

    @property
    def name(self) -> str:
        return f"{self.chain}.{self.first:012d}"


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Raises OSError. Readable by its owner alone."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.path / "index").mkdir(mode=0o700, exist_ok=True)

    def segment(self, chain: str, first: int) -> Segment:
        return Segment(chain, first, self.path / f"{chain}.{first:012d}.log")

    def segments(self, chain: str = "") -> list[Segment]:
        """All of them, or those of one chain, by chain and number. Raises OSError."""
        found: list[Segment] = []
        begin = f"{chain}." if chain else ""
        with os.scandir(self.path) as entries:
            for entry in entries:
                match = _SEGMENT.fullmatch(entry.name) if entry.name.startswith(begin) else None
                if match:
                    found.append(Segment(match["chain"], int(match["first"]), Path(entry.path)))
        return sorted(found)

    def chains(self) -> dict[str, list[Segment]]:
        """Segments by chain, those with statements alone too."""
        found: dict[str, list[Segment]] = {path.stem: [] for path in self.path.glob("*.sig")}
        for segment in self.segments():
            found.setdefault(segment.chain, []).append(segment)
        return found

    def index(self, segment: Segment) -> Path:
        return self.path / "index" / f"{segment.name}.idx"

    def remove(self, segment: Segment) -> None:
        """The records, then what was made from them. Raises OSError."""
        segment.path.unlink()
        for path in (self.path / "index").glob(f"{segment.name}.idx*"):
            path.unlink(missing_ok=True)

    def statements(self, chain: str) -> Path:
        return self.path / f"{chain}.sig"

    def keys(self) -> list[Ed25519PublicKey]:
        """Raises ValueError for a line that is no key."""
        path = self.path / "keys"
        lines = path.read_text().split() if path.exists() else []
        return [read_public(line) for line in lines]

    def add_key(self, key: Ed25519PublicKey) -> None:
        text, path = public_text(key), self.path / "keys"
        if not path.exists() or text not in path.read_text().split():
            with path.open("a") as file:
                file.write(f"{text}\n")

    def lock(self, chain: str) -> int | None:
        """A descriptor that holds the chain until closed; None while its writer lives. Raises OSError."""
        descriptor = os.open(self.path / f"{chain}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def space(self) -> tuple[int, int]:
        """(free, total) bytes of the volume, as an ordinary user may fill it. Raises OSError."""
        found = os.statvfs(self.path)
        free = found.f_bavail * found.f_frsize
        return free, (found.f_blocks - found.f_bfree) * found.f_frsize + free

    def sync(self) -> None:
        """Make names of new files durable."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def pieces(path: Path, start: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """Whole lines, piece by piece, each list with the place of its first line. Ends at unused room."""
    with path.open("rb") as file:
        file.seek(start)
        rest, at = b"", start
        while piece := file.read(PIECE_BYTES):
            data = rest + piece
            lines = list(whole_lines(data))
            if lines:
                yield at, lines
            used = sum(map(len, lines)) + len(lines)
            rest, at = data[used:], at + used
            if b"\0" in rest:
                return


def last_line(segment: Segment) -> tuple[Record, bytes] | None:
    """The last record of a segment and its h as they stand there, unchecked; what is none is passed over."""
    found: tuple[Record, bytes] | None = None
    for _, lines in pieces(segment.path):
        for line in reversed(lines):
            with contextlib.suppress(msgspec.MsgspecError, ValueError):
                found = read_record(line[BODY:]), bytes.fromhex(line[:HEX].decode())
                break
    return found


def ages(segments: Iterable[Segment], now_s: float, old_s: float) -> list[tuple[Segment, float]]:
    """Each with the age of its newest record in s. Raises OSError.

    A file that says it is older than `old_s` is looked into: its time can be set by anybody, and what goes
    because it is old goes with our signature. What cannot be read in it is not old.
    """
    found: list[tuple[Segment, float]] = []
    for segment in segments:
        age_s = now_s - segment.path.stat().st_mtime
        if age_s > old_s and segment.path.stat().st_size:
            last = last_line(segment)
            age_s = min(age_s, now_s - last[0].time / 1000) if last is not None else 0.0
        found.append((segment, age_s))
    return found


def head_of(segments: list[Segment]) -> tuple[int, bytes]:
    """(seq, h) of the last record of a chain, as `last_line`; (0, GENESIS) for none."""
    for segment in reversed(segments):
        last = last_line(segment)
        if last is not None:
            return last[0].seq, last[1]
    return 0, GENESIS
