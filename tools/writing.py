"""Write generated files, or with --check compare them with what is there."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(tool: str, files: Mapping[Path, str], *, owned: tuple[Path, str] | None = None) -> None:
    """files: path from the root → content. owned: folder and pattern whose other files are removed."""
    parser = argparse.ArgumentParser(prog=f"python -m tools.{tool}")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    check: bool = parser.parse_args().check
    stale = [path for path, content in files.items() if _read(path) != content]
    left: list[Path] = []
    if owned is not None:
        folder, pattern = owned
        left = [path for path in (ROOT / folder).glob(pattern) if path.relative_to(ROOT) not in files]
    if not check:
        for path in stale:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(files[path])
        for path in left:
            path.unlink()
        print(f"{tool}: {len(stale)} of {len(files)} files written, {len(left)} removed")
        return
    for path in (*stale, *left):
        print(f"{path} is out of date; run `make gen` and commit the result", file=sys.stderr)
    if stale or left:
        sys.exit(1)


def _read(path: Path) -> str | None:
    try:
        return (ROOT / path).read_text()
    except FileNotFoundError:
        return None
