"""Python in images: hashed wheels, and our own packages built into wheels, under one folder.

Byte code is compiled here with unchecked hashes: containers have a read-only root and would
otherwise compile every module at each start.
"""

import compileall
import configparser
import os
import py_compile
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge.embedded import places
from edge.embedded.ociimage import Entry, File
from edge.embedded.steps import StepError

EDITION = 1
SITE = "/opt/edge/lib"
_TARGET = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
# pip's own notes about an installation: they hold paths of the machine that built the image.
_NOTES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}


def sources(root: Path) -> list[Path]:
    """The files of a package of ours that its wheel is made from."""
    found = (file for file in root.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return [file for file in found if file.suffix not in (".pyc", ".egg-info")]


def requirements(lock: Path, work: Path) -> list[Entry]:
    """The wheels of a hashed requirements file, installed into SITE."""
    target = work / "site"
    command = [_uv(), "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
    command += [*_TARGET, "--target", str(target), "--link-mode", "copy", "--requirement", str(lock)]
    _run(command, f"the libraries of {lock} could not be installed")
    return _installed(target)


def workspace(roots: Sequence[Path], work: Path) -> list[Entry]:
    """Our packages built into wheels and installed into SITE, with their commands in /usr/local/bin."""
    site, wheels = work / "site", work / "wheels"
    for root in roots:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
        _run(command, f"the wheel of {root} could not be built", cwd=root)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    return [*_commands(site), *_installed(site)]


def _installed(site: Path) -> list[Entry]:
    shutil.rmtree(site / "bin", ignore_errors=True)
    # Python 3.11 is what the images' Debian has; byte code of another release would be ignored.
    if sys.version_info[:2] == (3, 11):
        compileall.compile_dir(
            site, quiet=1, stripdir=str(site), prependdir=SITE,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )  # fmt: skip
    kept = (file for file in sorted(site.rglob("*")) if file.is_file() and not _is_note(file))
    return [File(f"{SITE}/{file.relative_to(site)}", file, _mode(file)) for file in kept]


def _commands(site: Path) -> Iterable[Entry]:
    """A small starter for every command that the installed packages declare."""
    for declared in sorted(site.glob("*.dist-info/entry_points.txt")):
        parser = configparser.ConfigParser(delimiters=("=",))
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(declared.read_text())
        if parser.has_section("console_scripts"):
            for name, target in parser.items("console_scripts"):
                module, function = target.split(":")
                lines = ["#!/usr/bin/python3", "import sys", f"from {module} import {function}"]
                text = "\n".join([*lines, f"sys.exit({function}())", ""])
                yield File(f"/usr/local/bin/{name}", text.encode(), 0o755)


def _is_note(file: Path) -> bool:
    return file.parent.name.endswith(".dist-info") and file.name in _NOTES


def _mode(file: Path) -> int:
    return 0o755 if file.stat().st_mode & 0o100 else 0o644


def _uv() -> str:
    """uv, pinned by hash, from the bootstrap."""
    script = places.checkout() / "tools" / "bootstrap" / "uv.sh"
    done = subprocess.run([str(script)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StepError(f"uv could not be installed: {done.stderr.strip()[-800:]}")
    return done.stdout.strip()


def _run(command: list[str], problem: str, cwd: Path | None = None) -> None:
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    if done.returncode != 0:
        raise StepError(f"{problem}: {done.stderr.strip()[-1500:]}")
