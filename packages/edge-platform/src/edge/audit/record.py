"""What one line of the trail says: who, when, what, where, by which grant, with which result (O6).

A change has two records with one id: the intent, which is durable before anything is forwarded, and the
outcome. Fields: design operations-and-observability §4.2. Times are whole milliseconds since 1970; there are
no floats, so that the canonical form has one spelling.
"""

from typing import Final

import msgspec
from msgspec import Struct

VERSION: Final = 1

INTENT: Final = "intent"
OUTCOME: Final = "outcome"
UNKNOWN: Final = "unknown"
"""The gateway ended between intent and outcome: the change was made, or not."""
SETTLED: Final = "settled"
"""What an unknown outcome turned out to be, read back later."""
READ: Final = "read"
REFUSED: Final = "refused"
"""A change that was asked for and not allowed: nothing was forwarded."""


class _Part(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Parts leave out what they do not know."""


class Actor(_Part, frozen=True, kw_only=True):
    """impersonated: the user whom they acted as (`--as`), and whose grant then allowed it."""

    user: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    session: str = ""
    impersonated: str = ""


class Origin(_Part, frozen=True, kw_only=True):
    """ip: where it came from, by the rules for trusted proxies; forwarded: what the client claims itself."""

    ip: str = ""
    forwarded: str = ""
    agent: str = ""


class Asked(_Part, frozen=True, kw_only=True):
    """What was asked for. cluster "" is the host. path: of what is no resource. command: first word only."""

    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    sub: str = ""
    cluster: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    command: str = ""
    dry_run: bool = False


class Grant(_Part, frozen=True, kw_only=True):
    """What allowed it."""

    scope: str = ""
    binding: str = ""
    role: str = ""


class Record(_Part, frozen=True, kw_only=True):
    """chain and seq are given by the writer. began: time of the intent, in every record of an id.

    changed: JSON paths that the body sets, never values. code: HTTP status; 0 where there was no answer.
    rv: resourceVersion after the change. request: the X-Request-Id that the client was told.
    """

    v: int = 0
    chain: str = ""
    seq: int = 0
    id: str
    phase: str
    time: int
    began: int = 0
    actor: Actor = Actor()
    origin: Origin = msgspec.field(name="from", default=Origin())
    req: Asked = Asked()
    scope: str = ""
    grant: Grant = Grant()
    body_sha256: str = ""
    changed: tuple[str, ...] = ()
    code: int = 0
    reason: str = ""
    rv: str = ""
    request: str = ""
    trace: str = ""


_encode: Final = msgspec.json.Encoder(order="sorted").encode
_decode: Final = msgspec.json.Decoder(Record).decode


def canonical(record: Record) -> bytes:
    """JSON with sorted keys and no blanks, UTF-8: what is hashed."""
    return _encode(record)


def read_record(line: bytes) -> Record:
    """Raises msgspec.MsgspecError for what is no record."""
    return _decode(line)
