"""An index of one segment, made from it when somebody asks: a small SQLite file beside it, never the truth.

One row per id: the intent makes it, the outcome completes it. A row points at its lines, so that nothing but
what is searched by is kept twice. A damaged index is thrown away and made anew.
"""

import contextlib
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import msgspec

from edge.audit.chain import BODY
from edge.audit.folder import Folder, Segment, pieces
from edge.audit.record import INTENT, Record, read_record

EDITION: Final = 1
BUSY_S: Final = 5.0
_TABLES: Final = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS progress (bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    id TEXT PRIMARY KEY, began INTEGER NOT NULL, user TEXT NOT NULL, verb TEXT NOT NULL, grp TEXT NOT NULL,
    resource TEXT NOT NULL, sub TEXT NOT NULL, cluster TEXT NOT NULL, namespace TEXT NOT NULL,
    name TEXT NOT NULL, scope TEXT NOT NULL, phase TEXT NOT NULL, code INTEGER NOT NULL,
    first_at INTEGER, first_size INTEGER, last_at INTEGER, last_size INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_time ON entries (began, id);
CREATE INDEX IF NOT EXISTS by_user ON entries (user, began, id);
CREATE INDEX IF NOT EXISTS by_object ON entries (resource, name, began, id);
CREATE INDEX IF NOT EXISTS by_namespace ON entries (namespace, began, id);
PRAGMA user_version = {EDITION};
"""
_PUT: Final = """
INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
ON CONFLICT (id) DO UPDATE SET phase = excluded.phase, code = excluded.code,
    name = CASE WHEN excluded.name = '' THEN name ELSE excluded.name END,
    first_at = coalesce(first_at, excluded.first_at), first_size = coalesce(first_size, excluded.first_size),
    last_at = excluded.last_at, last_size = excluded.last_size
"""


class SegmentIndex:
    """One connection, for one thread. `catch_up` first: a segment that is written to has grown."""

    def __init__(self, folder: Folder, segment: Segment) -> None:
        self.segment = segment
        self._path = folder.path / "index" / f"{segment.name}.idx"
        self.rows = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError:
            for path in self._path.parent.glob(f"{self._path.name}*"):
                path.unlink(missing_ok=True)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        made = sqlite3.connect(self._path, timeout=BUSY_S, check_same_thread=False)
        made.row_factory = sqlite3.Row
        try:
            if made.execute("PRAGMA user_version").fetchone()[0] != EDITION:
                made.executescript(_TABLES)
        except sqlite3.DatabaseError:
            made.close()
            raise
        return made

    def catch_up(self) -> None:
        """Take in the lines that have come since."""
        with self.rows:
            self.rows.execute("BEGIN IMMEDIATE")
            found = self.rows.execute("SELECT bytes FROM progress").fetchone()
            at = start = found[0] if found else 0
            for at_piece, lines in pieces(self.segment.path, start):
                at = at_piece
                for line in lines:
                    with contextlib.suppress(msgspec.MsgspecError):  # altered: verify will say so
                        self.rows.execute(_PUT, _row(read_record(line[BODY:]), at, len(line)))
                    at += len(line) + 1
            if at != start:
                self.rows.execute("DELETE FROM progress")
                self.rows.execute("INSERT INTO progress VALUES (?)", (at,))

    def span(self) -> tuple[int, int]:
        """Times of the first and the last entry; (0, 0) without any."""
        first, last = self.rows.execute("SELECT min(began), max(began) FROM entries").fetchone()
        return (first or 0, last or 0)

    def close(self) -> None:
        self.rows.close()


@contextmanager
def index_of(folder: Folder, segment: Segment) -> Generator[SegmentIndex]:
    made = SegmentIndex(folder, segment)
    try:
        made.catch_up()
        yield made
    finally:
        made.close()


def _row(record: Record, at: int, size: int) -> tuple[object, ...]:
    req = record.req
    opens = record.phase == INTENT
    return (
        record.id,
        record.began or record.time,
        record.actor.user,
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
