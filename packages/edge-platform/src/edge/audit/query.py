"""Questions to the trail: by user, resource, verb, time, result, newest first, a page at a time (O6).

    page = search(folder, Query(user="ada", verb="delete"), visible=lambda user, scope: True)

Answers come from the indexes of the segments that may hold any. Order between chains is by time.
"""

import base64
import contextlib
import heapq
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import msgspec

from edge.audit.chain import BODY
from edge.audit.folder import Folder, Segment
from edge.audit.index import index_of
from edge.audit.record import (
    INTENT,
    OUTCOME,
    READ,
    REFUSED,
    SETTLED,
    UNKNOWN,
    Actor,
    Asked,
    Grant,
    Origin,
    Record,
    read_record,
)

PAGE: Final = 50
PAGE_MAX: Final = 500
LOOKED_AT_MAX: Final = 20_000
"""Entries that one call passes over at most; a page that comes short says where to go on."""
CLOCKS_APART_MS: Final = 3_600_000
"""How far the clock of a gateway may be before that of the volume that keeps its records."""
TIME_MAX_MS: Final = 10**15
RESULTS: Final = ("success", "failure", "unknown", "open")
_CODE: Final = re.compile(r"[0-9]{3}|[0-9]xx")


class Query(NamedTuple):
    """Empty: any. resource: `pods`, `pods/exec`, `users.iam.theriseunion.io`. code: `403` or `4xx`.

    result: one of RESULTS; open is a change or shell that has not ended. from_ms ≤ time < to_ms.
    """

    id: str = ""
    user: str = ""
    impersonated: str = ""
    verb: str = ""
    resource: str = ""
    cluster: str = ""
    namespace: str = ""
    name: str = ""
    scope: str = ""
    code: str = ""
    result: str = ""
    from_ms: int = 0
    to_ms: int = 0
    limit: int = PAGE
    cursor: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """An intent and what became of it. phase: of the newest record. ended: 0 while it is open."""

    id: str
    time: int
    ended: int = 0
    phase: str
    result: str
    code: int = 0
    reason: str = ""
    actor: Actor = Actor()
    origin: Origin = msgspec.field(name="from", default=Origin())
    req: Asked = Asked()
    scope: str = ""
    grant: Grant = Grant()
    body_sha256: str = ""
    changed: tuple[str, ...] = ()
    rv: str = ""
    request: str = ""
    trace: str = ""
    chain: str = ""
    seq: int = 0


class Page(msgspec.Struct):
    items: list[Entry]
    cursor: str


class BadQueryError(Exception):
    """A question that cannot be asked. field: which part; accepted: what would do."""

    def __init__(self, field: str, value: str, accepted: str) -> None:
        super().__init__(f'{field} is "{value[:60]}"; accepted: {accepted}')
        self.field = field
        self.accepted = accepted


class _Found(NamedTuple):
    """Sorts newest first."""

    minus_ms: int
    id: str
    chain: str
    first: int
    row: Any
    segment: Segment


Visible = Callable[[str, str], bool]
"""Whether the asker may see an entry: by its user and its scope."""


def search(folder: Folder, query: Query, visible: Visible) -> Page:
    """Blocks. Raises BadQueryError, OSError."""
    check(query)
    limit = max(1, min(query.limit, PAGE_MAX))
    items: list[Entry] = []
    looked_at, last = 0, read_cursor(query.cursor)
    with ExitStack() as stack:
        reading = _Reading(folder, query, stack)
        for same in _by_id(reading.merged()):
            if len(items) == limit or looked_at == LOOKED_AT_MAX:
                return Page(items, _cursor(last))
            looked_at += 1
            newest = max(same, key=lambda one: _RANK.get(one.row["phase"], 0)).row
            last = (newest["began"], newest["id"])
            if _fits(newest["phase"], newest["code"], query) and visible(newest["user"], newest["scope"]):
                items.append(reading.entry(same))
    return Page(items, "")


class _Reading:
    """The indexes and files of one search."""

    def __init__(self, folder: Folder, query: Query, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._from_ms = query.from_ms
        self._where, self._values = _where(query)

    def merged(self) -> Iterator[_Found]:
        """Rows of all segments, newest first. A segment is opened when the time has come to it."""
        # By last write: what a segment holds is not newer than that, as far as clocks agree.
        heads: list[tuple[_Found, Iterator[_Found]]] = []
        for newest_ms, segment in sorted(
            ((_written_ms(one), one) for one in self._folder.segments()), reverse=True
        ):
            if newest_ms < self._from_ms:
                break
            while heads and -heads[0][0].minus_ms > newest_ms:
                yield _advance(heads)
            rows = self._stack.enter_context(contextlib.closing(self._rows(segment)))
            first = next(rows, None)
            if first is not None:
                heapq.heappush(heads, (first, rows))
        while heads:
            yield _advance(heads)

    def _rows(self, segment: Segment) -> Generator[_Found]:
        """Its index is closed when they end: of a year's segments not all are open at a time."""
        sql = f"SELECT * FROM entries WHERE {self._where} ORDER BY began DESC, id"  # noqa: S608 - own words
        # A segment whose time was over meanwhile has nothing.
        with contextlib.suppress(FileNotFoundError), index_of(self._folder, segment) as index:
            for row in index.rows.execute(sql, self._values):
                yield _Found(-row["began"], row["id"], segment.chain, segment.first, row, segment)

    def entry(self, same: list[_Found]) -> Entry:
        """The whole of it, read from the lines."""
        first: Record | None = None
        last: Record | None = None
        for one in same:
            if one.row["first_at"] is not None:
                first = _line(one.segment, one.row["first_at"], one.row["first_size"])
            if one.row["last_at"] is not None:
                found = _line(one.segment, one.row["last_at"], one.row["last_size"])
                if found is None:
                    continue
                if last is None or _RANK.get(found.phase, 0) >= _RANK.get(last.phase, 0):
                    last = found
        begin = first or last
        return _joined(begin, last) if begin is not None else _unreadable(same[0])


def _line(segment: Segment, at: int, size: int) -> Record | None:
    """None for what was altered since it was indexed, so that it is none any more."""
    with segment.path.open("rb") as file:
        file.seek(at)
        try:
            return read_record(file.read(size)[BODY:])
        except msgspec.MsgspecError:
            return None


def _unreadable(found: _Found) -> Entry:
    """What the index knows of it."""
    row = found.row
    return Entry(
        id=found.id,
        time=row["began"],
        phase=row["phase"],
        result=result_of(row["phase"], row["code"]),
        code=row["code"],
        reason="the record is not as it was written: run edge audit verify",
        actor=Actor(user=row["user"], impersonated=row["impersonated"]),
        req=Asked(
            verb=row["verb"],
            group=row["grp"],
            resource=row["resource"],
            sub=row["sub"],
            cluster=row["cluster"],
            namespace=row["namespace"],
            name=row["name"],
        ),
        scope=row["scope"],
        chain=found.chain,
    )


def _advance(heads: list[tuple[_Found, Iterator[_Found]]]) -> _Found:
    found, rows = heads[0]
    following = next(rows, None)
    if following is None:
        heapq.heappop(heads)
    else:
        heapq.heapreplace(heads, (following, rows))
    return found


def _written_ms(segment: Segment) -> int:
    try:
        return segment.path.stat().st_mtime_ns // 1_000_000 + CLOCKS_APART_MS
    except FileNotFoundError:  # its time was over meanwhile
        return -1


def _by_id(found: Iterator[_Found]) -> Iterator[list[_Found]]:
    """Rows of one id together: its outcome may be in a later segment, or in another chain."""
    same: list[_Found] = []
    for one in found:
        if same and same[0].id != one.id:
            yield same
            same = []
        same.append(one)
    if same:
        yield same


_RANK: Final = {INTENT: 0, UNKNOWN: 1, READ: 2, REFUSED: 2, OUTCOME: 2, SETTLED: 3}


def _joined(begin: Record, last: Record | None) -> Entry:
    end = last or begin
    return Entry(
        id=begin.id,
        time=begin.began or begin.time,
        ended=last.time if last is not None else 0,
        phase=end.phase,
        result=result_of(end.phase, end.code),
        code=end.code,
        reason=end.reason,
        actor=begin.actor,
        origin=begin.origin,
        req=end.req if end.req.name else begin.req,
        scope=begin.scope,
        grant=begin.grant,
        body_sha256=begin.body_sha256,
        changed=begin.changed,
        rv=end.rv,
        request=begin.request,
        trace=begin.trace,
        chain=begin.chain,
        seq=begin.seq,
    )


def result_of(phase: str, code: int) -> str:
    if phase == INTENT:
        return "open"
    if phase == UNKNOWN or not code:
        return "unknown"
    return "success" if code < 400 else "failure"


def _fits(phase: str, code: int, query: Query) -> bool:
    """What one row alone cannot tell: it may be the intent of something that has ended elsewhere."""
    if query.result and result_of(phase, code) != query.result:
        return False
    if query.code.endswith("xx"):
        return code // 100 == int(query.code[0])
    return not query.code or code == int(query.code)


def check(query: Query) -> None:
    """Raises BadQueryError for what cannot be asked, wherever the records are kept."""
    if query.result and query.result not in RESULTS:
        raise BadQueryError("result", query.result, ", ".join(RESULTS))
    if query.code and not _CODE.fullmatch(query.code):
        raise BadQueryError("code", query.code, "a status such as 403, or a class such as 4xx")
    read_cursor(query.cursor)


def _where(query: Query) -> tuple[str, list[Any]]:
    resource, _, sub = query.resource.partition("/")
    resource, _, group = resource.partition(".")
    equal = {
        "id": query.id,
        "user": query.user,
        "impersonated": query.impersonated,
        "verb": query.verb,
        "resource": resource,
        "grp": group,
        "sub": sub,
        "cluster": query.cluster,
        "namespace": query.namespace,
        "name": query.name,
        "scope": query.scope,
    }
    parts = [f"{column} = ?" for column, value in equal.items() if value]
    values: list[Any] = [value for value in equal.values() if value]
    if query.from_ms:
        parts.append("began >= ?")
        values.append(query.from_ms)
    if query.to_ms:
        parts.append("began < ?")
        values.append(query.to_ms)
    began, id_ = read_cursor(query.cursor)
    if began:
        parts.append("(began < ? OR (began = ? AND id > ?))")
        values += [began, began, id_]
    return " AND ".join(parts) or "1", values


def _cursor(last: tuple[int, str]) -> str:
    return base64.urlsafe_b64encode(f"{last[0]}.{last[1]}".encode()).decode().rstrip("=")


def cursor_at(entry: Entry) -> str:
    """Where a search goes on behind this entry."""
    return _cursor((entry.time, entry.id))


def read_cursor(text: str) -> tuple[int, str]:
    """Raises BadQueryError."""
    if not text:
        return 0, ""
    try:
        plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        began, _, id_ = plain.partition(".")
        if not 0 < int(began) < TIME_MAX_MS:
            raise ValueError(began)
    except ValueError:
        raise BadQueryError("cursor", text, "the cursor of the page before") from None
    return int(began), id_
