"""What a writer that died has left: the torn end is cut off, and changes without an outcome are found.

Nothing that was acknowledged is behind the first bad line: batches are written one after another, so only the
last, which nobody was told of, can be torn. A bad line before the last signed record is not a torn end; it
stays as it is, for `verify` to find.
"""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.audit.chain import BODY, Walk
from edge.audit.folder import Folder, Segment, head_of, pieces
from edge.audit.record import INTENT, Record, read_record
from edge.audit.statements import CLOSED, Signer, Statement, last_hash, unchecked

log = structlog.stdlib.get_logger("edge.audit")


@dataclass(slots=True)
class Left:
    """A chain whose writer is gone. lock: held until `let_go`, -1: none. open: intents without an outcome."""

    chain: str
    lock: int
    seq: int
    digest: bytes
    open: list[Record] = field(default_factory=list[Record])


def left_behind(folder: Folder, own: str, closed: set[str] | None = None) -> list[Left]:
    """Chains that nobody writes any more and nobody has closed. Blocks; raises OSError.

    closed: chains that need not be looked at again; those that are found to be closed are added.
    """
    done = closed if closed is not None else set[str]()
    found: list[Left] = []
    for chain, segments in folder.chains().items():
        if chain == own or chain in done:
            continue
        lock = folder.lock(chain)
        if lock is None:
            continue
        try:
            left = _left_by(folder, chain, segments, lock)
        except (OSError, ValueError) as error:  # what is wrong with one chain keeps no other open
            log.error("audit_chain_not_mended", chain=chain, error=str(error))
            os.close(lock)
            continue
        if left is None:
            os.close(lock)
            done.add(chain)
        else:
            found.append(left)
    return found


def _left_by(folder: Folder, chain: str, segments: list[Segment], lock: int) -> Left | None:
    """None for a chain that is closed. Raises OSError, ValueError for statements that are none."""
    if is_closed(folder.statements(chain)):
        return None
    signed = list(unchecked(b"".join(line + b"\n" for line in signed_lines(folder.statements(chain)))))
    seq, digest = mend(segments, signed)
    return Left(chain, lock, seq, digest, open_intents(segments))


def is_closed(path: Path) -> bool:
    """Whether the statements say that nothing follows; line by line: there may be a year of them."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return any(one.kind == CLOSED for line in file if b"closed" in line for one in unchecked(line))


def let_go(folder: Folder, left: Left, key: Ed25519PrivateKey, now_ms: int) -> None:
    """Sign the end of it. Raises OSError."""
    try:
        path = folder.statements(left.chain)
        signer = Signer(key, left.chain, last_hash(path.read_bytes()) if path.exists() else "")
        signer.keep(path, CLOSED, seq=left.seq, digest=left.digest, time_ms=now_ms)
    finally:
        os.close(left.lock)


def signed_lines(path: Path) -> list[bytes]:
    """Lines of a file of statements; a torn one at the end is cut off, so that the next one begins a line."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    return data.split(b"\n")[:-1]


def mend(segments: list[Segment], signed: list[Statement]) -> tuple[int, bytes]:
    """Cut what is torn off the last segment; the last good (seq, h)."""
    if not segments:
        return (signed[-1].seq, bytes.fromhex(signed[-1].h)) if signed else head_of([])
    *before, last = segments
    seq, digest = head_of(before[-1:])
    if seq != last.first - 1:  # what was before is gone; what was signed of it is not
        known = {one.seq: one.h for one in signed}
        if last.first - 1 not in known:
            return head_of([last])
        seq, digest = last.first - 1, bytes.fromhex(known[last.first - 1])
    walk, end = Walk(last.chain, seq, digest), 0
    for at, lines in pieces(last.path):
        before_piece = walk.seq
        broken = walk.follow(lines)
        end = at + sum(len(line) + 1 for line in lines[: walk.seq - before_piece])
        if broken is None:
            continue
        if broken.seq <= max((one.seq for one in signed), default=0):
            log.error("audit_chain_broken", chain=last.chain, seq=broken.seq, why=broken.why)
            return head_of([last])
        break
    size = last.path.stat().st_size
    if end < size:
        os.truncate(last.path, end)
        log.info("audit_segment_mended", segment=last.name, cut_bytes=size - end, up_to=walk.seq)
    return walk.seq, walk.digest


def open_intents(segments: list[Segment]) -> list[Record]:
    found: dict[str, Record] = {}
    for segment in segments:
        for _, lines in pieces(segment.path):
            for line in lines:
                with contextlib.suppress(msgspec.MsgspecError):  # altered: verify will say so
                    record = read_record(line[BODY:])
                    if record.phase == INTENT:
                        found[record.id] = record
                    else:
                        found.pop(record.id, None)
    return list(found.values())
