"""A kubeconfig file that others write too: put one kubeconfig into it, and lose nothing that is there.

The lock beside it is the one that kubectl takes; the file is replaced whole and is its owner's alone.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import yaml

from edge.cli.gateway import CommandError

LISTS: Final = ("clusters", "users", "contexts")
Document = dict[str, Any]


def default_file() -> Path:
    """The first of KUBECONFIG, else ~/.kube/config: where kubectl writes. Raises CommandError."""
    named = next((part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part), "")
    try:
        return Path(named) if named else Path.home() / ".kube" / "config"
    except RuntimeError:
        raise CommandError("There is no home folder: name a file with -f, or set KUBECONFIG.", 2) from None


def put_into(path: Path, new: Document, *, use: bool) -> None:
    """Merge `new`, which wins over entries of the same names. use: make its context the current one.

    Raises CommandError when the file is no kubeconfig, is being written, or cannot be.
    """
    try:
        target = path.resolve()  # a link stays one
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(target):
            have = _read(target) if target.exists() else {}
            _write(target, merged(have, new, use=use))
    except OSError as error:
        raise CommandError(f"{path} was not written: {error.strerror or error}.") from None


def merged(have: Document, new: Document, *, use: bool) -> Document:
    """Raises CommandError where a name is taken by another gateway."""
    for name, entry in _by_name(new, "clusters").items():
        there = _by_name(have, "clusters").get(name)
        servers = [one["cluster"].get("server", "") for one in (there, entry) if one is not None]
        if len(set(servers)) > 1:
            raise CommandError(
                f'The file has a cluster "{name}" at {servers[0]} already, and this one is at {servers[1]}. '
                "Choose another name with --context, or another file with -f."
            )
    found: Document = {"apiVersion": "v1", "kind": "Config", **have}
    for kind in LISTS:
        found[kind] = list({**_by_name(have, kind), **_by_name(new, kind)}.values())
    if use or not have.get("current-context"):
        found["current-context"] = new["current-context"]
    return found


def renamed(document: Document, name: str) -> Document:
    """The same kubeconfig with one name for its cluster, user and context."""
    for kind in LISTS:
        document[kind][0]["name"] = name
    document["contexts"][0]["context"] |= {"cluster": name, "user": name}
    return {**document, "current-context": name}


def _by_name(document: Document, kind: str) -> dict[str, Document]:
    return {str(one["name"]): one for one in document.get(kind) or ()}


def _read(path: Path) -> Document:
    try:
        found = yaml.safe_load(path.read_text())
        for kind in LISTS:
            _by_name(found or {}, kind)
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError, KeyError):
        raise CommandError(f"{path} is no kubeconfig; it was left as it is. Name another with -f.") from None
    return cast("Document", found or {})


def _write(path: Path, document: Document) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        beside.touch(mode=0o600, exist_ok=False)
        with beside.open("w") as file:
            yaml.safe_dump(document, file, sort_keys=False, allow_unicode=True)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Generator[None]:
    lock = path.with_name(f"{path.name}.lock")
    try:
        os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise CommandError(
            f"Another program is writing {path}. If none is, remove {lock} and try again."
        ) from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
