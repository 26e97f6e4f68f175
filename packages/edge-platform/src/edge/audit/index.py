"""An index of one segment, made from it when somebody asks: a small SQLite file beside it, never the truth.

One row per id: the intent makes it, the outcome completes it. A row points at its lines, so that nothing but
what is searched by is kept twice. A damaged index is thrown away and made anew. One that cannot be written,
the volume being full or read-only, is gone on with in memory.
"""

import contextlib
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from edge.audit.chain import BODY
from edge.audit.folder import Folder, Segment, pieces
from edge.audit.record import INTENT, Record, read_record

EDITION: Final = 2
BUSY_S: Final = 5.0
_TABLES: Final = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS progress (bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    id TEXT PRIMARY KEY, began INTEGER NOT NULL, user TEXT NOT NULL, impersonated TEXT NOT NULL,
    verb TEXT NOT NULL, grp TEXT NOT NULL, resource TEXT NOT NULL, sub TEXT NOT NULL,
    cluster TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, scope TEXT NOT NULL,
    phase TEXT NOT NULL, code INTEGER NOT NULL,
    first_at INTEGER, first_size INTEGER, last_at INTEGER, last_size INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_time ON entries (began, id);
CREATE INDEX IF NOT EXISTS by_user ON entries (user, began, id);
CREATE INDEX IF NOT EXISTS by_object ON entries (resource, name, began, id);
CREATE INDEX IF NOT EXISTS by_namespace ON entries (namespace, began, id);
PRAGMA user_version = {EDITION};
"""
_OTHERS: Final = "DROP TABLE IF EXISTS entries; DROP TABLE IF EXISTS progress;"
"""Of another edition: it is filled anew."""
_PUT: Final = """
INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
ON CONFLICT (id) DO UPDATE SET phase = excluded.phase, code = excluded.code,
    name = CASE WHEN excluded.name = '' THEN name ELSE excluded.name END,
    first_at = coalesce(first_at, excluded.first_at), first_size = coalesce(first_size, excluded.first_size),
    last_at = excluded.last_at, last_size = excluded.last_size
"""


class SegmentIndex:
    """One connection, for one thread. `catch_up` first: a segment that is written to has grown."""

    def __init__(self, segment: Segment, rows: sqlite3.Connection) -> None:
        self.segment = segment
        self.rows = rows

    def catch_up(self) -> None:
        """Take in the lines that have come since."""
        with self.rows:
            self.rows.execute("BEGIN IMMEDIATE")
            found = self.rows.execute("SELECT bytes FROM progress").fetchone()
            at = start = found[0] if found else 0
            if start > self.segment.path.stat().st_size:  # what was never acknowledged was cut off again
                self.rows.execute("DELETE FROM entries")
                at = start = 0
            for at_piece, lines in pieces(self.segment.path, start):
                at = at_piece
                for line in lines:
                    with contextlib.suppress(msgspec.MsgspecError):  # altered: verify will say so
                        self.rows.execute(_PUT, _row(read_record(line[BODY:]), at, len(line)))
                    at += len(line) + 1
            if at != start:
                self.rows.execute("DELETE FROM progress")
                self.rows.execute("INSERT INTO progress VALUES (?)", (at,))

    def close(self) -> None:
        self.rows.close()


@contextmanager
def index_of(folder: Folder, segment: Segment) -> Generator[SegmentIndex]:
    """Raises OSError: the segment is gone, or its index was damaged, and is made anew when asked again."""
    path = folder.index(segment)
    made = _made(segment, path)
    try:
        yield made
    except sqlite3.DatabaseError as error:
        _throw_away(path)
        raise OSError(f"the index of {segment.name} was damaged; ask again, and it is made anew") from error
    finally:
        made.close()


def _made(segment: Segment, path: Path) -> SegmentIndex:
    complete = _complete(segment, path)
    if complete is not None:
        return complete
    try:
        try:
            return _caught_up(segment, _connect(path))
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            _throw_away(path)
            return _caught_up(segment, _connect(path))
    except (sqlite3.Error, OSError):  # full, read-only, or held by another search
        return _caught_up(segment, _copied(path))


def _complete(segment: Segment, path: Path) -> SegmentIndex | None:
    """One that has all of a closed segment changes no more: it is read as it lies there, without a lock."""
    with contextlib.suppress(sqlite3.Error, OSError):
        size, found, rows = segment.path.stat().st_size, None, _connect_as_it_is(path)
        with contextlib.suppress(sqlite3.Error):
            if rows.execute("PRAGMA user_version").fetchone()[0] == EDITION:
                found = rows.execute("SELECT bytes FROM progress").fetchone()
        if found is not None and found[0] == size:
            return SegmentIndex(segment, rows)
        rows.close()
    return None


def _caught_up(segment: Segment, rows: sqlite3.Connection) -> SegmentIndex:
    made = SegmentIndex(segment, rows)
    try:
        edition = rows.execute("PRAGMA user_version").fetchone()[0]
        if edition not in (0, EDITION):
            rows.executescript(_OTHERS)
        if edition != EDITION:
            rows.executescript(_TABLES)
        made.catch_up()
    except BaseException:
        made.close()
        raise
    return made


def _connect(path: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    made = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False, uri=uri)
    made.row_factory = sqlite3.Row
    return made


def _connect_as_it_is(path: Path) -> sqlite3.Connection:
    return _connect(f"file:{quote(str(path))}?immutable=1", uri=True)


def _copied(path: Path) -> sqlite3.Connection:
    """In memory, with what the one on the disk holds: nothing where that cannot be read as it is."""
    log = path.with_name(f"{path.name}-wal")
    with contextlib.suppress(sqlite3.Error, OSError):
        if path.exists() and not (log.exists() and log.stat().st_size):
            made = _connect(":memory:")
            with closing(_connect_as_it_is(path)) as kept:
                kept.backup(made)
            return made
    return _connect(":memory:")


def _throw_away(path: Path) -> None:
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink(missing_ok=True)


def _row(record: Record, at: int, size: int) -> tuple[object, ...]:
    req = record.req
    opens = record.phase == INTENT
    return (
        record.id,
        record.began or record.time,
        record.actor.user,
        record.actor.impersonated,
        req.verb,
        req.group,
        req.resource,
        req.sub,
        req.cluster,
        req.namespace,
        req.name,
        record.scope,
        record.phase,
        record.code,
        *((at, size, None, None) if opens else (None, None, at, size)),
    )
