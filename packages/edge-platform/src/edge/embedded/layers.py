"""Layers of images, each in the cache under a key of what it is made from.

A recipe (`images/<name>/image.toml`) names layers from the bottom up; the kinds are below. Only
the layer whose input changed is made again: a change in our own code costs a small top layer.

    files        = [{tool|file|image|link|folder = …, to = …, mode = "755", owner = 65532}, …]
    debian       = ["package", …]            a minimal Debian with these packages
    busybox      = "/bin"                    Debian's static busybox and a link a command
    compile      = "main.c", to = "/main"    one static C program
    requirements = "requirements/x.txt"      hashed Python wheels
    workspace    = ["packages/x", …]         our own packages, with their commands
    charts       = "/folder"                 all of charts/, packed
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.embedded import charts, keyed, ociimage, places, pylayers
from edge.embedded.ociimage import Entry, File, Folder, Layer, Link
from edge.embedded.steps import Progress, StepError

# All times in layers are this one, so that a layer depends on its input alone.
EPOCH = "1700000000"
_DEBIAN = "bookworm"
_LEFT_OUT = (
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/lib/x86_64-linux-gnu/gconv/*",
)
# Versions of this file's own behaviour: raise one when equal input must give another layer.
_EDITION = 1
_DEBIAN_EDITION = 3
_KEPT = 8

Recipe = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sources:
    """What recipes refer to: built executables, the recipe's folder, archives of other images."""

    tools: Path
    folder: Path
    image: Callable[[str], Path]
    progress: Progress


def build(recipe: Recipe, sources: Sources) -> Layer:
    """The layer that one `[[layer]]` table describes."""
    for kind, make in _KINDS.items():
        if kind in recipe:
            return make(recipe, sources)
    raise StepError(f"{sources.folder}/image.toml: a layer needs one of {', '.join(_KINDS)}")


def _cached(
    name: str, layer_key: str, make: Callable[[Path], None], sources: Sources, *, told: bool = False
) -> Layer:
    """A layer is kept with its digest beside it: hashing 200 MB costs more than building the rest."""

    def fill(draft: Path) -> None:
        tar = draft / "layer.tar"
        if told:
            with sources.progress.step(f"layer {name}"):
                make(tar)
        else:
            make(tar)
        shutil.rmtree(draft / "work", ignore_errors=True)
        made = ociimage.measure(tar)
        (draft / "layer.json").write_text(json.dumps({"digest": made.digest, "size": made.size}))

    folder = keyed.product("layers", name, layer_key, fill, keep=_KEPT)
    known = json.loads((folder / "layer.json").read_text())
    return Layer(folder / "layer.tar", known["digest"], known["size"])


def _files(recipe: Recipe, sources: Sources) -> Layer:
    entries: list[Entry] = []
    idents: list[object] = []
    for one in recipe["files"]:
        entry, ident = _entry(one, sources)
        entries.append(entry)
        idents.append([entry.to, ident, {k: v for k, v in one.items() if k in ("mode", "owner")}])
    name = f"files-{sources.folder.name}"
    layer_key = keyed.key(_EDITION, idents)
    return _cached(name, layer_key, lambda tar: _write(tar, entries), sources)


def _entry(one: Mapping[str, Any], sources: Sources) -> tuple[Entry, str]:
    """An entry and what identifies its content without reading large files."""
    to, owner = str(one["to"]), int(one.get("owner", 0))
    mode = int(str(one.get("mode", "755" if "tool" in one or "folder" in one else "644")), 8)
    if "link" in one:
        return Link(to, one["link"]), one["link"]
    if "folder" in one:
        return Folder(to, mode, owner), ""
    if "tool" in one:
        # The path names the folder of a key, and so the content.
        path = (sources.tools / one["tool"]).resolve()
        return File(to, path, mode, owner), str(path.relative_to(places.cache()))
    if "image" in one:
        path = sources.image(one["image"])
        return File(to, path, mode, owner), ociimage.digest(path)
    path = (sources.folder / one["file"]).resolve()
    return File(to, path, mode, owner), keyed.files_key(path.parent, [path])


def _write(tar: Path, entries: list[Entry]) -> None:
    ociimage.write_layer(tar, entries)


def _debian(recipe: Recipe, sources: Sources) -> Layer:
    packages = sorted(recipe["debian"])

    def make(tar: Path) -> None:
        # Without usr-is-merged Debian installs usrmerge, and with it 45 MB of Perl.
        command = ["mmdebstrap", "--variant=apt", f"--include={','.join(['usr-is-merged', *packages])}"]
        command += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]
        command += ['--aptopt=APT::Install-Recommends "false"']
        command += [f"--dpkgopt=path-exclude={one}" for one in _LEFT_OUT]
        command += ["--customize-hook=rm -rf $1/var/cache/* $1/var/log/* $1/var/lib/apt/lists/*"]
        command += ["--format=tar", _DEBIAN, str(tar)]
        if mirror := os.environ.get("EDGE_DEBIAN_MIRROR"):
            command.append(mirror)
        _run(command, "a Debian base could not be made; EDGE_DEBIAN_MIRROR names another mirror")

    name = f"debian-{_DEBIAN}"
    return _cached(name, keyed.key(_DEBIAN_EDITION, _DEBIAN, packages), make, sources, told=True)


def _busybox(recipe: Recipe, sources: Sources) -> Layer:
    binary, folder = Path("/bin/busybox"), str(recipe["busybox"])
    if not binary.exists():
        raise StepError("/bin/busybox is missing: install Debian's busybox-static")

    def make(tar: Path) -> None:
        listed = subprocess.run([str(binary), "--list"], capture_output=True, text=True, check=True)
        commands = [one for one in listed.stdout.split() if one != "busybox"]
        links: list[Entry] = [Link(f"{folder}/{one}", "busybox") for one in commands]
        _write(tar, [File(f"{folder}/busybox", binary, 0o755), Folder("/tmp", 0o1777), *links])  # noqa: S108

    layer_key = keyed.key(_EDITION, folder, keyed.files_key(Path("/bin"), [binary]))
    return _cached("busybox", layer_key, make, sources)


def _compiled(recipe: Recipe, sources: Sources) -> Layer:
    source = sources.folder / recipe["compile"]

    def make(tar: Path) -> None:
        program = tar.with_name("program")
        _run(["gcc", "-static", "-Os", "-s", "-o", str(program), str(source)], f"{source} does not compile")
        _write(tar, [File(recipe["to"], program, 0o755)])
        program.unlink()

    layer_key = keyed.key(_EDITION, recipe["to"], keyed.files_key(source.parent, [source]))
    return _cached(f"c-{source.stem}", layer_key, make, sources)


def _requirements(recipe: Recipe, sources: Sources) -> Layer:
    lock = places.checkout() / recipe["requirements"]
    layer_key = keyed.key(_EDITION, pylayers.EDITION, sys.version_info[:2], lock.read_text())
    return _cached(
        f"python-{lock.stem}",
        layer_key,
        lambda tar: _write(tar, pylayers.requirements(lock, tar.parent / "work")),
        sources,
        told=True,
    )


def _workspace(recipe: Recipe, sources: Sources) -> Layer:
    roots = [places.checkout() / one for one in recipe["workspace"]]
    sums = [keyed.files_key(root, pylayers.sources(root)) for root in roots]
    return _cached(
        "python-workspace",
        keyed.key(_EDITION, pylayers.EDITION, sys.version_info[:2], sums),
        lambda tar: _write(tar, pylayers.workspace(roots, tar.parent / "work")),
        sources,
        told=True,
    )


def _charts(recipe: Recipe, sources: Sources) -> Layer:
    packed = charts.packed(places.checkout() / "charts")
    entries: list[Entry] = [Folder(recipe["charts"])]
    entries += [File(f"{recipe['charts']}/{file.name}", file) for file in sorted(packed.glob("*.tgz"))]
    return _cached(
        "charts",
        keyed.key(_EDITION, recipe["charts"], packed.name),
        lambda tar: _write(tar, entries),
        sources,
    )


def _run(command: list[str], problem: str) -> None:
    env = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode != 0:
        raise StepError(f"{problem}: {done.stderr.strip()[-1500:]}")


_KINDS: Mapping[str, Callable[[Recipe, Sources], Layer]] = {
    "files": _files,
    "debian": _debian,
    "busybox": _busybox,
    "compile": _compiled,
    "requirements": _requirements,
    "workspace": _workspace,
    "charts": _charts,
}
