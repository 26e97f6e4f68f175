"""Whether a folder holds what was written: every h, every signature, no gap, no missing end (O6).

    report = verify(Folder(path))
    report.broken          # the first record that is not as it was written, or None

What it cannot tell, and says: whether the records after the last signed one (`unsigned`) are all there; and
whether whole chains went together with everything that names them. Copies of the statements (`anchors`) that
were kept elsewhere tell that too.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.audit.chain import GENESIS, Broken, Walk
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


@dataclass(slots=True)
class Report:
    chains: int = 0
    segments: int = 0
    records: int = 0
    statements: int = 0
    unsigned: int = 0
    retired: int = 0
    broken: Broken | None = None


@dataclass(slots=True)
class _Signed:
    """What is signed about one chain: h by seq, where retired parts end, where it was closed."""

    marks: dict[int, bytes] = field(default_factory=dict[int, bytes])
    retired: dict[int, bytes] = field(default_factory=dict[int, bytes])
    closed: int | None = None

    def add(self, statement: Statement) -> None:
        digest = bytes.fromhex(statement.h)
        if statement.seq:
            self.marks[statement.seq] = digest
        if statement.kind == RETIRED:
            self.retired[statement.seq] = digest
        if statement.kind == CLOSED:
            self.closed = statement.seq


def verify(
    folder: Folder, keys: Iterable[Ed25519PublicKey] | None = None, anchors: Sequence[bytes] = ()
) -> Report:
    """keys: those that are trusted; without, the ones in the folder. anchors: signed lines kept elsewhere;
    one that is not as it was signed counts as broken: a forged one could excuse what is gone.

    Raises OSError, ValueError for a file of keys that holds something else.
    """
    report = Report()
    trusted = list(keys) if keys is not None else folder.keys()
    # Statements first: a writer that goes on meanwhile only adds records that they do not speak of.
    signed: dict[str, _Signed] = {}
    heads: list[tuple[str, str]] = []
    for chain in folder.chains():
        about = signed.setdefault(chain, _Signed())
        try:
            for statement in _statements(folder, chain, trusted):
                about.add(statement)
                heads += statement.heads.items()
                report.statements += 1
        except ForgedError as error:
            report.broken = report.broken or Broken(chain, 0, str(error))
    for line in anchors:
        try:
            statement = read_copy(line, trusted)
        except ForgedError as error:
            named = next((one.chain for one in unchecked(line)), "")
            report.broken = report.broken or Broken(named, 0, str(error))
            continue
        signed.setdefault(statement.chain, _Signed()).add(statement)
        heads += statement.heads.items()
    for chain, head in heads:
        seq, _, digest = head.partition(":")
        if int(seq):
            signed.setdefault(chain, _Signed()).marks.setdefault(int(seq), bytes.fromhex(digest))
    chains = folder.chains()
    for chain, about in sorted(signed.items()):
        report.chains += 1
        broken = _verify_chain(chain, chains.get(chain, []), about, report)
        report.broken = report.broken or broken
    return report


def _statements(folder: Folder, chain: str, keys: list[Ed25519PublicKey]) -> Iterator[Statement]:
    path = folder.statements(chain)
    if path.exists():
        with path.open("rb") as file:
            yield from read_statements(file, keys)


def _verify_chain(chain: str, segments: list[Segment], about: _Signed, report: Report) -> Broken | None:
    last_signed = max(about.marks, default=0)
    retired = max(about.retired, default=0)
    report.retired += retired
    walk = Walk(chain, retired, about.retired.get(retired, GENESIS))
    if segments and segments[0].first <= retired:  # the statement was made, and the file stayed
        first = segments[0].first - 1
        walk = Walk(chain, first, about.retired.get(first, GENESIS))
    begin = walk.seq
    marks = deque(sorted(seq for seq in about.marks if seq > begin))
    try:
        for segment in segments:
            report.segments += 1
            if segment.first != walk.seq + 1:
                return Broken(chain, walk.seq + 1, f"records up to {segment.first - 1} were removed")
            for _, lines in pieces(segment.path):
                end, due = walk.seq + len(lines), dict[int, bytes]()
                while marks and marks[0] <= end:
                    seq = marks.popleft()
                    due[seq] = about.marks[seq]
                broken = walk.follow(lines, due)
                if broken is not None:
                    return broken
        if walk.seq < last_signed:
            return Broken(chain, walk.seq + 1, f"records up to {last_signed} were removed")
        if about.closed is not None and walk.seq > about.closed:
            return Broken(chain, about.closed + 1, "it was added after the chain had been closed")
        report.unsigned += walk.seq - max(last_signed, begin)
    finally:
        report.records += walk.seq - begin
    return None
