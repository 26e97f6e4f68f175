"""Verification in a process of its own, so that whoever asked for it is not kept from its work (O6).

    python -m edge.audit.checking FOLDER < task > report      JSON, `Task` and `Report`

It yields to everything else on the machine, ends with its parent, and waits while another one reads the same
folder. Exit code 1 and the reason on standard error when the folder could not be read.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Final

import msgspec

from edge.audit.folder import Folder
from edge.audit.statements import read_public
from edge.audit.verify import verify

MODULE: Final = "edge.audit.checking"
NICE: Final = 19
_PR_SET_PDEATHSIG: Final = 1


class Task(msgspec.Struct):
    """anchors: signed lines that were kept elsewhere. keys: the trusted ones; None: those of the folder."""

    parent: int
    anchors: list[str] = []
    keys: list[str] | None = None


def main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != task.parent:
        return  # it died before it could be said
    os.nice(NICE)
    folder = Folder(Path(sys.argv[1]))
    try:
        with _alone(folder):
            keys = None if task.keys is None else [read_public(text) for text in task.keys]
            report = verify(folder, keys, [line.encode() for line in task.anchors])
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(msgspec.json.encode(report))


@contextlib.contextmanager
def _alone(folder: Folder) -> Generator[None]:
    """By a lock on the folder itself: a volume that cannot be written is verified too. Raises OSError."""
    descriptor = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
