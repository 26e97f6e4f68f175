"""Signed statements about chains: opened, checkpoint, retired, closed. Each names the one before it.

A line is `<Ed25519 signature in base64> <canonical JSON>`. They are few, so copies are kept elsewhere: in the
log, and in a ConfigMap. What they say of a chain cannot be said otherwise without the key.
"""

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

OPENED: Final = "opened"
CHECKPOINT: Final = "checkpoint"
RETIRED: Final = "retired"
CLOSED: Final = "closed"
TAIL_BYTES: Final = 64 * 1024
_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Statement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """About record `seq` of `chain` and its h in hex.

    kind: one of this module. previous: SHA-256 in hex of the statement before it about this chain. key: its
    name. heads, of `opened`: what was there of other chains, `seq:h` by chain. seq of `retired`: the last
    record that went.
    """

    kind: str
    chain: str
    seq: int = 0
    h: str = ""
    time: int
    previous: str = ""
    key: str = ""
    heads: dict[str, str] = {}


_decode: Final = msgspec.json.Decoder(Statement).decode


def key_name(key: Ed25519PublicKey) -> str:
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def public_text(key: Ed25519PublicKey) -> str:
    """As it is kept: the raw key in base64."""
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def read_public(text: str) -> Ed25519PublicKey:
    """Raises ValueError."""
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))


class Signer:
    """Makes the statements of one chain, each bound to the one before."""

    def __init__(self, key: Ed25519PrivateKey, chain: str, previous: str = "") -> None:
        self.public = key.public_key()
        self._key = key
        self._name = key_name(self.public)
        self._chain = chain
        self._previous = previous

    def sign(
        self, kind: str, *, seq: int, digest: bytes, time_ms: int, heads: dict[str, str] | None = None
    ) -> bytes:
        """A line, with its end."""
        statement = Statement(
            kind=kind,
            chain=self._chain,
            seq=seq,
            h=digest.hex(),
            time=time_ms,
            previous=self._previous,
            key=self._name,
            heads=heads or {},
        )
        body = _encode(statement)
        self._previous = hashlib.sha256(body).hexdigest()
        return base64.b64encode(self._key.sign(body)) + b" " + body + b"\n"

    def keep(
        self,
        path: Path,
        kind: str,
        *,
        seq: int,
        digest: bytes,
        time_ms: int,
        heads: dict[str, str] | None = None,
        durable: bool = True,
    ) -> bytes:
        """Sign, and add the line to the file. Raises OSError: then nothing was said, here and there."""
        before = self._previous
        line = self.sign(kind, seq=seq, digest=digest, time_ms=time_ms, heads=heads)
        try:
            append_whole(path, line, durable=durable)
        except OSError:
            self._previous = before
            raise
        return line


class ForgedError(Exception):
    """A statement is not as it was signed; the message says which."""


def read_statements(lines: Iterable[bytes], keys: Iterable[Ed25519PublicKey]) -> Iterator[Statement]:
    """The statements of one chain's file, each checked. A last line that was cut off is not there.

    lines: with their ends, as a file gives them; a year of them need not be in memory. Raises ForgedError.
    """
    known = {key_name(key): key for key in keys}
    previous = ""
    for number, whole in enumerate(lines, 1):
        line = whole.removesuffix(b"\n")
        if line is whole:
            return
        statement, body = _checked(line, known, f"statement {number}"), line.partition(b" ")[2]
        if statement.previous != previous:
            raise ForgedError(f"a statement before statement {number} was removed, altered or moved")
        previous = hashlib.sha256(body).hexdigest()
        yield statement


def read_copy(line: bytes, keys: Iterable[Ed25519PublicKey]) -> Statement:
    """A statement that was kept elsewhere, by itself. Raises ForgedError."""
    known = {key_name(key): key for key in keys}
    return _checked(line.rstrip(b"\n"), known, "a copy that was kept elsewhere")


def _checked(line: bytes, known: Mapping[str, Ed25519PublicKey], what: str) -> Statement:
    signature, _, body = line.partition(b" ")
    try:
        statement = _decode(body)
        key = known.get(statement.key)
        if key is None:
            raise ForgedError(f"{what} is signed with the key {statement.key}, which is not known")
        key.verify(base64.b64decode(signature, validate=True), body)
    except (msgspec.MsgspecError, ValueError, InvalidSignature):
        raise ForgedError(f"{what} does not bear its signature") from None
    return statement


def unchecked(data: bytes) -> Iterator[Statement]:
    """The whole statements of a file as they stand there."""
    for line in data.split(b"\n")[:-1]:
        with contextlib.suppress(msgspec.MsgspecError):
            yield _decode(line.partition(b" ")[2])


def last_statement(path: Path) -> Statement | None:
    """The last whole one as it stands there, without reading the rest. Raises OSError."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        data, at = b"", size
        while at and data.count(b"\n") < 2:
            at = max(0, at - TAIL_BYTES)
            file.seek(at)
            data = file.read(size - at)
    whole = data[: data.rfind(b"\n") + 1]
    return next(unchecked(whole.splitlines(keepends=True)[-1]), None) if whole else None


def last_hash(data: bytes) -> str:
    """Hash of the last whole statement: what a next one is bound to. "" for none."""
    lines = data.split(b"\n")[:-1]
    return hashlib.sha256(lines[-1].partition(b" ")[2]).hexdigest() if lines else ""


def append_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Add to a file all of it, or nothing of it: a full disk takes the first part alone. Raises OSError."""
    with path.open("ab", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            if durable:
                os.fdatasync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), before)
            raise
