"""Where chart files lie: a volume that is written to, over a folder of preloaded charts that is not (R31).

Promises: a file is there whole or not at all, also after a kill or a power cut at any point (write to a
temporary file on the same volume, fsync, rename, fsync of the folder); several files of one upload are
written before the first is shown; a full disk changes nothing that was there.
Not promised: safety against a second writing process. One museum owns its volume (the chart's Deployment
uses Recreate).
"""

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_TEMPORARY = ".upload-"
_WHITEOUT = ".wh."
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SEGMENT = re.compile(r"^[a-zA-Z0-9_][a-zA-Z0-9._-]*$")
SUFFIXES = (".tgz", ".tgz.prov")


class FileExists(Exception):
    """A file of that name is there and may not be replaced."""


class NoSuchFile(Exception):
    """Neither layer has the file."""


class StorageFull(Exception):
    """The volume took no more; nothing was changed. The message says how much is free."""


class Stamp(NamedTuple):
    """Tells a changed file without reading it."""

    path: str
    size_bytes: int
    mtime_ns: int
    inode: int


def is_repository(repo: str) -> bool:
    """True for "" and for paths such as org/team that stay inside the root."""
    return repo == "" or all(_SEGMENT.match(segment) and ".." not in segment for segment in repo.split("/"))


class Storage:
    """Blocking: call it in a thread, one writer at a time."""

    def __init__(self, volume: Path, preloaded: Path, *, volume_wins: bool) -> None:
        """volume_wins: a file on the volume hides the preloaded one of its name (where overwrite is on)."""
        self._volume = volume
        self._preloaded = preloaded
        self._volume_wins = volume_wins

    def prepare(self) -> None:
        """Make the volume's folder, and sweep what an upload that was killed has left."""
        self._volume.mkdir(parents=True, exist_ok=True)
        for folder, _, names in os.walk(self._volume):
            for name in names:
                if name.startswith(_TEMPORARY):
                    Path(folder, name).unlink(missing_ok=True)

    def scan(self, repo: str) -> Mapping[str, Stamp]:
        """file name → stamp of the file that is shown under it."""
        volume = dict(_files(self._volume / repo))
        shown = {
            name: stamp
            for name, stamp in _files(self._preloaded / repo)
            if _WHITEOUT + name not in volume and not name.startswith(".")
        }
        for name, stamp in volume.items():
            if not name.startswith(".") and (self._volume_wins or name not in shown):
                shown[name] = stamp
        return shown

    def path(self, repo: str, filename: str) -> Path:
        """The file that is shown under a name; raises NoSuchFile."""
        stamp = self.scan_one(repo, filename)
        if stamp is None:
            raise NoSuchFile(filename)
        return Path(stamp.path)

    def scan_one(self, repo: str, filename: str) -> Stamp | None:
        volume, preloaded = self._volume / repo / filename, self._preloaded / repo / filename
        hidden = (self._volume / repo / (_WHITEOUT + filename)).exists()
        candidates = [volume, preloaded] if self._volume_wins or hidden else [preloaded, volume]
        for candidate in candidates:
            if candidate == preloaded and hidden:
                continue
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                return _stamp(candidate)
        return None

    def write(self, repo: str, files: Mapping[str, bytes], *, overwrite: bool) -> None:
        """All files or none; raises FileExists, StorageFull."""
        if not overwrite:
            for name in files:
                if self.scan_one(repo, name) is not None:
                    raise FileExists(name)
        folder = self._volume / repo
        written: dict[str, Path] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                written[name] = _write_temporary(folder, content)
            for name, temporary in written.items():
                temporary.replace(folder / name)
            for name in files:
                (folder / (_WHITEOUT + name)).unlink(missing_ok=True)
            _sync(folder)
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFull(self._no_room(files)) from error
            raise
        finally:
            for temporary in written.values():
                temporary.unlink(missing_ok=True)

    def delete(self, repo: str, filename: str) -> None:
        """Raises NoSuchFile. A preloaded file cannot be removed, so a marker on the volume hides it."""
        if self.scan_one(repo, filename) is None:
            raise NoSuchFile(filename)
        folder = self._volume / repo
        folder.mkdir(parents=True, exist_ok=True)
        if (self._preloaded / repo / filename).exists():
            (folder / (_WHITEOUT + filename)).touch()
        (folder / filename).unlink(missing_ok=True)
        _sync(folder)

    def free_bytes(self) -> int:
        usage = os.statvfs(self._volume)
        return usage.f_bavail * usage.f_frsize

    def _no_room(self, files: Mapping[str, bytes]) -> str:
        needed = sum(map(len, files.values()))
        with contextlib.suppress(OSError):
            return (
                f"insufficient storage: {', '.join(files)} ({needed} bytes) was not saved, the volume at "
                f"{self._volume} has {self.free_bytes()} bytes left; delete chart versions or enlarge the "
                "claim chartmuseum-data"
            )
        return f"insufficient storage: {', '.join(files)} ({needed} bytes) was not saved"


def _files(folder: Path) -> Iterator[tuple[str, Stamp]]:
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if entry.name.endswith(SUFFIXES) and entry.is_file():
                with contextlib.suppress(FileNotFoundError):
                    info = entry.stat()
                    yield entry.name, Stamp(entry.path, info.st_size, info.st_mtime_ns, info.st_ino)


def _stamp(path: Path) -> Stamp:
    info = path.stat()
    return Stamp(str(path), info.st_size, info.st_mtime_ns, info.st_ino)


def _write_temporary(folder: Path, content: bytes) -> Path:
    path = folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
    try:
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return path


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
