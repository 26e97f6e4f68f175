"""Bytes to objects: typed decoding, pages of a list, lines of a watch. No I/O.

Promise: one object that cannot be decoded spoils neither its list nor its watch (R6); it comes back as
`Broken` with its key. Why our own line splitter: `StreamReader.readline` fails on lines above 512 KiB, while
etcd alone admits objects of 1.5 MiB.
"""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import inspect as types

from edge_kube.errors import ApiError, KubeError, error_of
from edge_kube.meta import Key, Resource

T = TypeVar("T", bound=Resource)

LINE_BYTES_MAX = 16 * 1024 * 1024
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class UndecodableError(KubeError):
    """An object does not fit its type. The message names field and key, never a value."""


class LineTooLongError(KubeError):
    """One line of a watch is longer than LINE_BYTES_MAX."""


class Envelope(msgspec.Struct, frozen=True):
    """One line of a watch."""

    type: str
    object: msgspec.Raw = msgspec.Raw(b"{}")


class BareMeta(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class Bare(msgspec.Struct, frozen=True):
    """Any object, of which only the identity is read."""

    metadata: BareMeta = BareMeta()


class ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct, frozen=True):
    metadata: ListMeta = ListMeta()
    items: list[msgspec.Raw] | None = None


class StatusBody(msgspec.Struct, frozen=True):
    message: str = ""
    reason: str = ""
    code: int = 0
    details: dict[str, Any] | None = None


class Broken(msgspec.Struct, frozen=True):
    """An object kept out of the store because it does not fit its type."""

    key: Key
    uid: str
    resource_version: str
    why: str


_envelopes = msgspec.json.Decoder(Envelope)
_bare = msgspec.json.Decoder(Bare)
_pages = msgspec.json.Decoder(Page)
_statuses = msgspec.json.Decoder(StatusBody)


class ObjectDecoder(Generic[T]):
    """Decodes objects of one type; drops what is big and never read."""

    def __init__(self, cls: type[T]) -> None:
        self._cls = cls
        self._typed = msgspec.json.Decoder(cls)

    def decode(self, body: bytes | msgspec.Raw) -> T:
        """Raises UndecodableError."""
        try:
            obj = self._typed.decode(body)
        except msgspec.ValidationError:
            obj = self._decode_with_nulls(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UndecodableError(f"{self._cls.__name__} is no valid JSON: {error}") from None
        annotations = obj.metadata.annotations
        if _LAST_APPLIED in annotations:
            annotations.pop(_LAST_APPLIED)  # type: ignore[attr-defined]  # fresh from the decoder, not shared yet
        return obj

    def _decode_with_nulls(self, body: bytes | msgspec.Raw) -> T:
        # Go writes absent times and lists as null; types here know only "absent".
        try:
            plain = _without_nulls(msgspec.json.decode(body), types.type_info(self._cls))
            return msgspec.convert(plain, self._cls)
        except (msgspec.ValidationError, RecursionError) as error:
            raise UndecodableError(f"{self._cls.__name__}: {_safe(error)}") from None

    def decode_or_broken(self, body: msgspec.Raw) -> T | Broken:
        try:
            return self.decode(body)
        except UndecodableError as error:
            meta = bare(body)
            return Broken(Key(meta.namespace, meta.name), meta.uid, meta.resource_version, str(error))


def _safe(error: BaseException) -> str:
    # "Expected `str`, got `int` - at `$.spec.x`" holds no value, save for enumerations: those are cut.
    text = str(error)
    return text if text.startswith(("Expected", "Object")) else f"invalid value{text[text.rfind(' - at') :]}"


def _without_nulls(value: Any, info: types.Type) -> Any:
    """Leave out nulls of fields that a type names; what free-form maps hold stays as it is."""
    while isinstance(info, types.Metadata):
        info = info.type
    if isinstance(info, types.UnionType):
        members = [item for item in info.types if not isinstance(item, types.NoneType)]
        return _without_nulls(value, members[0]) if len(members) == 1 else value
    if isinstance(info, types.StructType) and isinstance(value, dict):
        known = {field.encode_name: field.type for field in info.fields}
        items = cast("dict[str, Any]", value)
        return {
            name: _without_nulls(item, known[name])
            for name, item in items.items()
            if item is not None and name in known
        }
    if isinstance(info, types.ListType | types.VarTupleType) and isinstance(value, list):
        elements = cast("list[Any]", value)
        return [_without_nulls(item, info.item_type) for item in elements]
    if isinstance(info, types.DictType) and isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {name: _without_nulls(item, info.value_type) for name, item in entries.items()}
    return value


def bare(body: bytes | msgspec.Raw) -> BareMeta:
    """Identity of an object of any kind; empty when there is none."""
    try:
        return _bare.decode(body).metadata
    except (msgspec.MsgspecError, RecursionError):
        return BareMeta()


def page_of(body: bytes) -> Page:
    """Raises UndecodableError."""
    try:
        return _pages.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UndecodableError(f"the list is no valid JSON: {error}") from None


def envelope_of(line: bytes) -> Envelope:
    """Raises UndecodableError."""
    try:
        return _envelopes.decode(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UndecodableError(f"a line of the watch is no event: {error}") from None


def error_of_body(status: int, body: bytes) -> ApiError:
    """The error an answer stands for, also when its body is a load balancer's HTML page."""
    try:
        parsed = _statuses.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        text = body[:200].decode("utf-8", "replace").strip()
        return error_of(
            status, "", text if not text.startswith("<") else f"HTTP {status} without a Status body"
        )
    return error_of(parsed.code or status, parsed.reason, parsed.message, parsed.details)


class LineSplitter:
    """Cuts a byte stream into lines. Pieces of a long line are joined once, not copied again and again."""

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._pieces: list[bytes] = []
        self._held_bytes = 0
        self._max = line_bytes_max

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that `chunk` completes, without their line ends. Raises LineTooLongError."""
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            line = chunk[start:end]
            if self._pieces:
                line = b"".join((*self._pieces, line))
                self._pieces.clear()
                self._held_bytes = 0
            start = end + 1
            if line:
                yield line
        if start < len(chunk):
            self._pieces.append(chunk[start:])
            self._held_bytes += len(chunk) - start
            if self._held_bytes > self._max:
                raise LineTooLongError(f"a line of the watch is longer than {self._max} bytes")
