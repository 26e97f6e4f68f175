"""The hash chain: h(n) = SHA-256(h(n-1) ‖ canonical record n); a line is `<h in hex> <record>`. Pure.

Whoever changes, drops or moves a record must compute all that follow anew, and then no longer meets the
signed checkpoints (`statements.py`).
"""

import binascii
import hashlib
from collections.abc import Iterator
from typing import Final

import msgspec

GENESIS: Final = bytes(32)
HEX: Final = 64
BODY: Final = HEX + 1


def link(previous: bytes, body: bytes) -> bytes:
    """h of a record, from the h of the one before it."""
    return hashlib.sha256(previous + body).digest()


def line_of(digest: bytes, body: bytes) -> bytes:
    return b"%s %s\n" % (digest.hex().encode(), body)


class Broken(msgspec.Struct, frozen=True):
    """The first record that is not as it was written. found: h in the file; expected: h by its content."""

    chain: str
    seq: int
    why: str
    expected: str = ""
    found: str = ""

    def __str__(self) -> str:
        hashes = f" (expected h {self.expected}, found {self.found})" if self.expected else ""
        return f"chain {self.chain}, record {self.seq}: {self.why}{hashes}"


class _Place(msgspec.Struct):
    seq: int = 0


_place = msgspec.json.Decoder(_Place).decode


class Walk:
    """Follows one chain from a known point. `seq` and `digest` are those of the last good record."""

    def __init__(self, chain: str, seq: int = 0, digest: bytes = GENESIS) -> None:
        self.chain = chain
        self.seq: int = seq
        self.digest: bytes = digest

    def follow(self, lines: list[bytes], marks: "dict[int, bytes] | None" = None) -> Broken | None:
        """Check whole lines, without their ends. marks: signed h by seq. The first broken one, or None."""
        sha256, digest = hashlib.sha256, self.digest
        found: list[bytes] = []
        for line in lines:
            digest = sha256(digest + line[BODY:]).digest()
            found.append(digest)
        # All h of a piece are compared at once: it halves the time, and one wrong h spoils all behind it.
        written = b"".join([line[:BODY] for line in lines])
        if lines and written != binascii.hexlify(b"".join(found), b" ", 32) + b" ":
            return self._first_broken(lines, found)
        begin: int = self.seq
        end: int = begin + len(lines)
        for seq in sorted(seq for seq in marks or () if begin < seq <= end):
            if marks and marks.pop(seq) != found[seq - begin - 1]:
                self.seq, self.digest = seq, found[seq - begin - 1]
                why = "it or one before it is not what was signed"
                return Broken(self.chain, seq, why, "", self.digest.hex())
        self.seq, self.digest = end, digest
        return None

    def _first_broken(self, lines: list[bytes], found: list[bytes]) -> Broken:
        for line, digest in zip(lines, found, strict=True):
            if line[:BODY] != binascii.hexlify(digest) + b" ":
                return _broken(self.chain, self.seq + 1, line, digest)
            self.seq, self.digest = self.seq + 1, digest
        raise AssertionError("the lines differ as a whole, and none of them does")


def _broken(chain: str, expected_seq: int, line: bytes, digest: bytes) -> Broken:
    """What was done to a record, as far as its number tells."""
    expected, found = digest.hex(), line[:HEX].decode("ascii", "replace")
    try:
        seq = _place(line[BODY:]).seq
    except msgspec.MsgspecError:
        return Broken(chain, expected_seq, "it is no record", expected, found)
    if seq == expected_seq:
        return Broken(chain, seq, "it was altered", expected, found)
    if seq > expected_seq:
        why = f"it was removed, or moved to another place; record {seq} stands there"
    else:
        why = f"record {seq} stands there a second time, or was moved there"
    return Broken(chain, expected_seq, why, expected, found)


def whole_lines(data: bytes) -> Iterator[bytes]:
    """The lines of a piece of a file that are complete; zeros are room that is not used yet."""
    end = data.find(b"\0")
    used = data if end < 0 else data[:end]
    yield from used[: used.rfind(b"\n") + 1].split(b"\n")[:-1]
