"""The segment that is being written: room is made ready ahead, so that a commit is one write and one flush.

Zeros are written and flushed before records come: a commit then changes no length (P99 of fdatasync falls to
a fifth), and a disk that fills up meanwhile cannot stop the outcome of a change that was let through.
"""

import contextlib
import os
import threading
from typing import Final

from edge.audit.folder import Segment

ROOM_LEAST_BYTES: Final = 2**20
ROOM_STEP_BYTES: Final = 8 * 2**20
"""Large: commits that come meanwhile have to wait, as long for a small step as for a large one."""
ROOM_LOW_BYTES: Final = 2 * 2**20
_ZEROS: Final = bytes(2**18)


class OpenSegment:
    """One writer. `grow` may run in another thread than `write`."""

    def __init__(self, segment: Segment) -> None:
        """Raises OSError; nothing is left behind then."""
        self.segment = segment
        self.used = 0
        self.room = 0
        self._newest_ms = 0
        self._growing = threading.Lock()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(segment.path, flags, 0o600)
        try:
            try:
                self.grow()
            except OSError:  # a small or nearly full volume
                self.grow(ROOM_LEAST_BYTES)
        except OSError:
            os.close(self._file)
            with contextlib.suppress(OSError):
                segment.path.unlink()
            raise

    @property
    def left(self) -> int:
        """Bytes that are sure to be written, however full the disk."""
        return self.room - self.used

    def write(self, data: bytes, newest_ms: int = 0) -> None:
        """Durable when it returns. Raises OSError; the segment must then be sealed, and no more written.

        newest_ms: time of the newest record in it. The file is never older than that, also when the clock was
        set back since, or is another machine's: who searches goes by it.
        """
        view, at = memoryview(data), self.used
        while view:
            done = os.pwrite(self._file, view, at)
            view, at = view[done:], at + done
        os.fdatasync(self._file)
        self.used = at
        self.room = max(self.room, at)
        self._newest_ms = max(self._newest_ms, newest_ms)
        self._age_no_record()

    def grow(self, step: int = ROOM_STEP_BYTES) -> None:
        """More room. Raises OSError, and the room stays as it was."""
        with self._growing:
            if self._file < 0:
                return  # sealed meanwhile, and the descriptor may be another file's now
            at, end = self.room, self.room + step
            try:
                while at < end:
                    at += os.pwrite(self._file, _ZEROS[: end - at], at)
                os.fdatasync(self._file)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self.room)
                raise
            self.room = end

    def _age_no_record(self) -> None:
        newest_ns = self._newest_ms * 1_000_000
        if newest_ns > os.fstat(self._file).st_mtime_ns:
            with contextlib.suppress(OSError):
                os.utime(self._file, ns=(newest_ns, newest_ns))

    def seal(self) -> None:
        """Cut off the room that is left, and close. Raises OSError; then it may be tried again.

        Without a record in it the file goes: the next one begins with the same number, and has its name.
        """
        with self._growing:
            if self.used:
                os.ftruncate(self._file, self.used)
                self._age_no_record()
                os.fsync(self._file)
            else:
                self.segment.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1
            self.room = self.used
