"""The build cache: a product is kept under a key of everything it was made from.

A product appears under its final name only when it is complete, so an interrupted build leaves
nothing that could be mistaken for one; two builders of one product take turns.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from edge.embedded import places

_KEY = re.compile(r"[0-9a-f]{16}")


def key(*parts: object) -> str:
    """16 hex digits of the parts, which must be JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def files_key(root: Path, files: Iterable[Path]) -> str:
    """Of the names relative to `root`, the executable bits and the contents of `files`."""
    out = hashlib.sha256()
    for file in sorted(files):
        executable = bool(file.stat().st_mode & 0o100)
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        out.update(f"{file.relative_to(root)}\0{executable}\0{content}\n".encode())
    return out.hexdigest()[:16]


def product(kind: str, name: str, product_key: str, make: Callable[[Path], None], *, keep: int = 0) -> Path:
    """The cached folder of this key; `make` fills an empty one when it is missing.

    `keep` is how many products of this name stay when a new one is made, the last used first;
    0 keeps all.
    """
    shelf = places.cache() / kind
    shelf.mkdir(parents=True, exist_ok=True)
    done = shelf / f"{name}-{product_key}"
    if done.is_dir():
        os.utime(done)
        return done
    with (shelf / f".{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.is_dir():
            return done
        draft = shelf / f".{name}-{product_key}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        make(draft)
        draft.rename(done)
        if keep:
            _drop_old(shelf, name, keep)
    return done


def _drop_old(shelf: Path, name: str, keep: int) -> None:
    mine = [
        folder for folder in shelf.glob(f"{name}-*") if _KEY.fullmatch(folder.name.removeprefix(f"{name}-"))
    ]
    for folder in sorted(mine, key=lambda one: one.stat().st_mtime, reverse=True)[keep:]:
        shutil.rmtree(folder)
