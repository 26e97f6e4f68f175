"""Messages of the watch socket, as console §5.4 writes them. Strict: what is not understood ends the socket.

Pure. Frames to the client are bytes put together from parts, since the same delta goes to many.
"""

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from edge.apiserver.answers import edge_of
from edge_sdk.problem import Forbidden, Missing, Problem, TooMuch, Unavailable

PROTOCOL: Final = "edge.watch.v1"
MESSAGE_MAX_BYTES: Final = 1024 * 1024
ROWS_MAX: Final = 500
SUBS_MAX: Final = 64
UNACKED_MAX: Final = 32
HEARTBEAT_S: Final = 20.0

GOING_AWAY: Final = 1001
RESTART: Final = 1012
BAD_MESSAGE: Final = 4400
UNAUTHENTICATED: Final = 4401
BAD_ORIGIN: Final = 4403
SLOW: Final = 4408
TOO_BIG: Final = 4413
TOO_MANY: Final = 4429

Pace = Literal["visible", "hidden"]
Names = str | tuple[str, ...]
"""Column ids: comma-separated as in the path of rows, or a list."""


class Strict(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


class Rows(Strict, frozen=True):
    """A window of a kind's rows. cluster "": the platform's own."""

    group: str
    version: str
    resource: str
    cluster: str = ""
    namespace: str = ""
    scope: str = ""
    columns: Names = ""
    label_selector: str = ""
    field_selector: str = ""
    q: str = ""
    sort: str = ""
    offset: int = 0
    limit: int = 100
    facets: Names = ""


class Obj(Strict, frozen=True):
    group: str
    version: str
    resource: str
    name: str
    cluster: str = ""
    namespace: str = ""
    fields: Literal["status", "all"] = "all"


class Ref(Strict, frozen=True):
    """The object that events are about. kind is looked up where it is left out."""

    resource: str
    name: str
    group: str = ""
    version: str = "v1"
    cluster: str = ""
    namespace: str = ""


class Events(Strict, frozen=True):
    of: Ref
    limit: int = 100


class Access(Strict, frozen=True):
    scope: str = "platform"


class Ops(Strict, frozen=True):
    scope: str = ""
    offset: int = 0
    limit: int = 100


class Overview(Strict, frozen=True):
    scope: str = ""


What = Rows | Obj | Events | Access | Ops | Overview


class Asked(Strict, frozen=True):
    """`what` of a sub: exactly one of these is given."""

    rows: Rows | UnsetType = UNSET
    object: Obj | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    access: Access | UnsetType = UNSET
    ops: Ops | UnsetType = UNSET
    overview: Overview | UnsetType = UNSET

    def one(self) -> What | None:
        """None unless exactly one is given."""
        given = [
            what
            for what in (self.rows, self.object, self.events, self.access, self.ops, self.overview)
            if not isinstance(what, UnsetType)
        ]
        return given[0] if len(given) == 1 else None


class Have(Strict, frozen=True):
    rv: str
    hash: str


class PartOf(Strict, frozen=True):
    offset: int
    limit: int


class Message(Strict, frozen=True, tag_field="t"):
    pass


class Hello(Message, frozen=True, tag="hello"):
    lang: str = ""
    pace: Pace = "visible"


class Sub(Message, frozen=True, tag="sub"):
    id: int
    what: Asked
    have: Have | None = None


class Mod(Message, frozen=True, tag="mod"):
    id: int
    window: PartOf | None = None
    sort: str | None = None
    q: str | None = None
    apply: bool = False


class Unsub(Message, frozen=True, tag="unsub"):
    id: int


class SetPace(Message, frozen=True, tag="pace"):
    pace: Pace


class Ack(Message, frozen=True, tag="ack"):
    seq: int


class Pong(Message, frozen=True, tag="pong"):
    ts: float = 0


C2S = Hello | Sub | Mod | Unsub | SetPace | Ack | Pong
_DECODER: Final = msgspec.json.Decoder(C2S)
_ID_MAX: Final = 2**53 - 1


class BadMessage(ValueError):
    """A message breaks the protocol; the text says how, and fits into a close frame."""


def read_message(data: str | bytes) -> C2S:
    """Raises BadMessage."""
    try:
        message = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadMessage(str(error)[:100]) from None
    if isinstance(message, Sub | Mod | Unsub) and not 0 <= message.id <= _ID_MAX:
        raise BadMessage(f"id is not within 0 and {_ID_MAX}")
    if isinstance(message, Sub) and message.what.one() is None:
        raise BadMessage("what names not exactly one of rows, object, events, access, ops, overview")
    return message


def names(given: Names) -> str:
    """Column ids as the rows' path takes them."""
    return given if isinstance(given, str) else ",".join(given)


# -- to the client -----------------------------------------------------------------------------------------


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def frame(t: str, seq: int, id_: int | None, body: bytes = b"{}") -> bytes:
    """A numbered frame around a JSON object that others may be sent as well."""
    head = b'{"t":"%s","seq":%d' % (t.encode(), seq)
    if id_ is not None:
        head += b',"id":%d' % id_
    return head + b"}" if body == b"{}" else b"%s,%s" % (head, body[1:])


def welcome(server_time_s: float, subs_max: int = SUBS_MAX) -> bytes:
    return encode(
        {
            "t": "welcome",
            "heartbeatMs": int(HEARTBEAT_S * 1000),
            "limits": {"subs": subs_max, "rows": ROWS_MAX, "unacked": UNACKED_MAX},
            "serverTime": int(server_time_s * 1000),
        }
    )


def ping(ts_ms: int) -> bytes:
    return b'{"t":"ping","ts":%d}' % ts_ms


def bye(code: int, retry_after_ms: int) -> bytes:
    return b'{"t":"bye","code":%d,"retryAfterMs":%d}' % (code, retry_after_ms)


_END_CODES: Final[tuple[tuple[type[Problem], str], ...]] = (
    (Forbidden, "Forbidden"),
    (Missing, "NotFound"),
    (Unavailable, "Unavailable"),
    (TooMuch, "TooManySubscriptions"),
)


def end_body(problem: Problem) -> bytes:
    """`code` is one of six; `edge` says more, as the errors of requests do."""
    code = next((code for kind, code in _END_CODES if isinstance(problem, kind)), "BadRequest")
    if problem.code == "unknown-column":
        code = "UnknownColumn"
    edge = {**problem.details(), "message": str(problem), **edge_of(problem)}
    return encode({"code": code, "edge": edge})
