"""Whether a folder holds what was written: every h, every signature, no gap, no missing end (O6).

    report = verify(Folder(path))
    report.broken          # the first record that is not as it was written, or None

What it cannot tell, and says: whether the records after the last signed one (`unsigned`) are all there; and
whether whole chains went together with everything that names them. Copies of the statements (`anchors`) that
were kept elsewhere tell that too.

Chain by chain, in bounded memory: of a year of one gateway's statements, some 20 MB.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.audit.chain import GENESIS, HEX, Broken, Walk
from edge.audit.folder import Folder, Segment, pieces
from edge.audit.statements import (
    CLOSED,
    RETIRED,
    ForgedError,
    Statement,
    read_copy,
    read_statements,
    unchecked,
)

TRIES: Final = 5
"""Of a chain that is let go of while it is read: each time somewhat less is there."""
_DIGEST: Final = 32


@dataclass(slots=True)
class Report:
    """behind: what is broken is an end that only others speak of: copies, or chains that began later.

    Then all that is here is as it was written; a sink that has not caught up with its peers is behind too.
    """

    chains: int = 0
    segments: int = 0
    records: int = 0
    statements: int = 0
    unsigned: int = 0
    retired: int = 0
    broken: Broken | None = None
    behind: bool = False

    def add(self, other: "Report") -> None:
        """What was found about another chain. The first that is broken stays, one of our own first."""
        self.chains += other.chains
        self.segments += other.segments
        self.records += other.records
        self.statements += other.statements
        self.unsigned += other.unsigned
        self.retired += other.retired
        if other.broken is not None and (self.broken is None or (self.behind and not other.behind)):
            self.broken, self.behind = other.broken, other.behind


@dataclass(slots=True)
class _Signed:
    """What is signed about one chain: h by seq, where retired parts end, where it was closed.

    seqs and digests: of its own file, as they follow each other there. copies: of what was kept elsewhere.
    heads: what chains that opened later say of it.
    """

    seqs: "array[int]" = field(default_factory=lambda: array("Q"))
    digests: bytearray = field(default_factory=bytearray)
    copies: dict[int, bytes] = field(default_factory=dict[int, bytes])
    heads: dict[int, bytes] = field(default_factory=dict[int, bytes])
    retired: dict[int, bytes] = field(default_factory=dict[int, bytes])
    closed: int | None = None

    def add(self, statement: Statement, *, copy: bool = False) -> None:
        digest = bytes.fromhex(statement.h)
        if statement.kind == RETIRED:
            self.retired[statement.seq] = digest
        if statement.kind == CLOSED:
            self.closed = statement.seq
        if not statement.seq:
            return
        if copy:
            self.copies[statement.seq] = digest
        elif statement.kind != RETIRED:  # which speaks of older records than the one before
            self.seqs.append(statement.seq)
            self.digests += digest

    @property
    def last_own(self) -> int:
        """The last record that its own file speaks of."""
        return self.seqs[-1] if self.seqs else 0

    @property
    def last(self) -> int:
        """The last record that anything speaks of."""
        return max(self.last_own, *self.retired, *self.copies, *self.heads, 0)

    def between(self, begin: int, end: int) -> dict[int, bytes]:
        """h by seq of what is signed behind `begin` and up to `end`."""
        due = {seq: digest for seq, digest in self.heads.items() if begin < seq <= end}
        place = bisect_left(self.seqs, begin + 1)
        while place < len(self.seqs) and self.seqs[place] <= end:
            due[self.seqs[place]] = bytes(self.digests[place * _DIGEST : (place + 1) * _DIGEST])
            place += 1
        for seq, digest in [*self.retired.items(), *self.copies.items()]:
            if begin < seq <= end:
                # Two that were signed and say different things: whatever is there, one of them is not met.
                due[seq] = digest if due.get(seq, digest) == digest else b""
        return due


def verify(
    folder: Folder, keys: Iterable[Ed25519PublicKey] | None = None, anchors: Sequence[bytes] = ()
) -> Report:
    """keys: those that are trusted; without, the ones in the folder. anchors: signed lines kept elsewhere;
    one that is not as it was signed counts as broken: a forged one could excuse what is gone.

    Raises OSError, ValueError for a file of keys that holds something else.
    """
    report = Report()
    trusted = list(keys) if keys is not None else folder.keys()
    # What others say first: a writer that goes on meanwhile only adds records that they do not speak of.
    copies = _copies(anchors, trusted, report)
    heads = _heads(folder, copies, trusted)
    for chain in sorted({*folder.chains(), *(one.chain for one in copies), *heads}):
        said = [one for one in copies if one.chain == chain]
        named = heads.get(chain, {})
        look = partial(_of, folder, chain, said, named, trusted)
        report.add(_settled(folder, chain, look))
    return report


def _copies(anchors: Sequence[bytes], trusted: list[Ed25519PublicKey], report: Report) -> list[Statement]:
    found: list[Statement] = []
    for line in anchors:
        try:
            found.append(read_copy(line, trusted))
        except ForgedError as error:
            named = next((one.chain for one in unchecked(line)), "")
            report.broken = report.broken or Broken(named, 0, str(error))
    return found


def _heads(
    folder: Folder, copies: Iterable[Statement], trusted: list[Ed25519PublicKey]
) -> dict[str, dict[int, bytes]]:
    """What chains say of others when they open. Who forged one is told of with its chain."""
    found: dict[str, dict[int, bytes]] = {}
    for statement in [*copies, *_openings(folder, trusted)]:
        for chain, head in statement.heads.items():
            seq, _, digest = head.partition(":")
            if int(seq):
                found.setdefault(chain, {}).setdefault(int(seq), bytes.fromhex(digest))
    return found


def _openings(folder: Folder, trusted: list[Ed25519PublicKey]) -> Iterator[Statement]:
    for chain in folder.chains():
        with suppress(FileNotFoundError), folder.statements(chain).open("rb") as file:
            for line in file:
                if b'"heads"' in line:
                    with suppress(ForgedError):
                        yield read_copy(line, trusted)


def _settled(folder: Folder, chain: str, look: Callable[[], tuple[Report, int]]) -> Report:
    """What is found of a chain, once nothing of it is let go of while it is read. Raises OSError."""
    for _ in range(TRIES):
        with suppress(FileNotFoundError):  # its time was over between the list and the reading
            found, retired = look()
            if found.broken is None or _retired(folder, chain) <= retired:
                return found
    return look()[0]


def _retired(folder: Folder, chain: str) -> int:
    """The last record that went, as it is said there now."""
    with suppress(FileNotFoundError), folder.statements(chain).open("rb") as file:
        said = (one for line in file if b"retired" in line for one in unchecked(line))
        return max((one.seq for one in said if one.kind == RETIRED), default=0)
    return 0


def _of(
    folder: Folder,
    chain: str,
    copies: Iterable[Statement],
    heads: dict[int, bytes],
    trusted: list[Ed25519PublicKey],
) -> tuple[Report, int]:
    """(what is found about one chain, the last record that it had let go of before)."""
    report, about = Report(chains=1), _Signed(heads=heads)
    try:
        for statement in _statements(folder, chain, trusted):
            about.add(statement)
            report.statements += 1
    except ForgedError as error:
        report.broken = Broken(chain, 0, str(error))
    retired = max(about.retired, default=0)
    for copy in copies:
        about.add(copy, copy=True)
    broken, behind = _verify_chain(chain, folder.segments(chain), about, report)
    if report.broken is None:
        report.broken, report.behind = broken, behind
    return report, retired


def _statements(folder: Folder, chain: str, keys: list[Ed25519PublicKey]) -> Iterator[Statement]:
    path = folder.statements(chain)
    if path.exists():
        with path.open("rb") as file:
            yield from read_statements(file, keys)


def _verify_chain(
    chain: str, segments: list[Segment], about: _Signed, report: Report
) -> tuple[Broken | None, bool]:
    """(what is broken, whether only others speak of it)."""
    last_signed = about.last
    retired = max(about.retired, default=0)
    report.retired += retired
    walk = Walk(chain, retired, about.retired.get(retired, GENESIS))
    skip = 0
    if segments and segments[0].first <= retired:  # the statement was made, and the file stayed
        walk, skip = _begin(segments[0], about)
    begin = walk.seq
    try:
        for segment in segments:
            report.segments += 1
            if segment.first != walk.seq + 1 - skip:
                return Broken(chain, walk.seq + 1, f"records up to {segment.first - 1} were removed"), False
            for _, all_lines in pieces(segment.path):
                lines, skip = all_lines[skip:], 0
                broken = walk.follow(lines, about.between(walk.seq, walk.seq + len(lines)))
                if broken is not None:
                    return broken, False
        if walk.seq < last_signed:
            why = f"records up to {last_signed} were removed"
            return Broken(chain, walk.seq + 1, why), walk.seq >= about.last_own
        if about.closed is not None and walk.seq > about.closed:
            return Broken(chain, about.closed + 1, "it was added after the chain had been closed"), False
        report.unsigned += walk.seq - max(last_signed, begin)
    finally:
        report.records += walk.seq - begin
    return None, False


def _begin(segment: Segment, about: _Signed) -> tuple[Walk, int]:
    """(where to begin in a file whose first records are over, lines to pass over).

    Files of two sinks do not end at the same record, so that it may not be signed what was before this one.
    Its first record is then not looked at; its h is, since the next ones build on it up to what was signed.
    """
    before = segment.first - 1
    if not before or before in about.retired:
        return Walk(segment.chain, before, about.retired.get(before, GENESIS)), 0
    for _, lines in pieces(segment.path):
        with suppress(ValueError):
            return Walk(segment.chain, segment.first, bytes.fromhex(lines[0][:HEX].decode())), 1
        break
    return Walk(segment.chain, before), 0
