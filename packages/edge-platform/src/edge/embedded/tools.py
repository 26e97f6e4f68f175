"""Executables of the cluster, built from their Go modules once per content of each module.

A module's key covers its go.mod, go.sum, own sources, entry in tools/tools.toml and the Go
release; a change in one tool rebuilds no other. The set folder holds links to all of them under
one path (`EDGE_TOOLS`); its name changes with any key.
"""

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.embedded import keyed, places
from edge.embedded.steps import Progress, StepError

_GO_FLAGS = "-mod=readonly -buildvcs=false"


@dataclass(frozen=True, slots=True)
class Tool:
    """A Go module and the executables built from it: `outputs` maps a file name to a package.

    `variant` picks another pinned release of the same sources: `go-<variant>.mod` beside `go.mod`.
    """

    name: str
    folder: Path
    version: str
    ldflags: str
    tags: str
    cgo: bool
    default: bool
    outputs: Mapping[str, str]
    links: Sequence[str]
    modfile: str

    def key(self, go_release: str) -> str:
        sources = [*self.folder.glob("*.go"), self.folder / self.modfile]
        sources.append(self.folder / self.modfile.replace(".mod", ".sum"))
        recipe = [self.ldflags, self.tags, self.cgo, dict(self.outputs), list(self.links), _GO_FLAGS]
        return keyed.key(keyed.files_key(self.folder, sources), recipe, go_release)


def catalogue(root: Path | None = None, variants: Mapping[str, str] | None = None) -> dict[str, Tool]:
    """All tools of tools/tools.toml by name; `variants` maps a tool to its variant."""
    root = root or places.checkout() / "tools"
    table = tomllib.loads((root / "tools.toml").read_text())
    return {name: _tool(root, name, entry, (variants or {}).get(name, "")) for name, entry in table.items()}


def ensure(progress: Progress, names: Sequence[str] = (), variants: Mapping[str, str] | None = None) -> Path:
    """The folder with the named tools (the default set when none is named), built where missing."""
    known = catalogue(variants=variants)
    wanted = [known[name] for name in names] if names else [t for t in known.values() if t.default]
    release = _go_release()
    built = {tool.name: _built(tool, release, progress) for tool in wanted}

    def link(draft: Path) -> None:
        for folder in built.values():
            for file in sorted(folder.rglob("*")):
                if not file.is_dir():
                    target = draft / file.relative_to(folder)
                    target.parent.mkdir(exist_ok=True)
                    target.symlink_to(file)

    return keyed.product("tools", "set", keyed.key({n: str(p) for n, p in built.items()}), link)


def _built(tool: Tool, release: str, progress: Progress) -> Path:
    def make(draft: Path) -> None:
        with progress.step(f"build {tool.name} {tool.version}"):
            for output, package in tool.outputs.items():
                _go_build(tool, package, draft / output)
            for name in tool.links:
                (draft / name).symlink_to(next(iter(tool.outputs)))

    return keyed.product("tools", tool.name, tool.key(release), make)


def _go_build(tool: Tool, package: str, out: Path) -> None:
    out.parent.mkdir(exist_ok=True)
    modfile = [] if tool.modfile == "go.mod" else [f"-modfile={tool.modfile}"]
    tags = ["-tags", tool.tags] if tool.tags else []
    command = ["go", "build", "-trimpath", *modfile, *tags, "-ldflags", tool.ldflags, "-o", str(out), package]
    env = {
        **os.environ,
        "CGO_ENABLED": "1" if tool.cgo else "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": _GO_FLAGS,
        "GOWORK": "off",
    }
    done = subprocess.run(command, cwd=tool.folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StepError(
            f"{tool.name} could not be built from {tool.folder}: {done.stderr.strip()[-2000:]}\n"
            "Modules are fetched from GOPROXY; behind a firewall set it to a proxy that can be reached."
        )


def _tool(root: Path, name: str, entry: Mapping[str, Any], variant: str) -> Tool:
    modfile = f"go-{variant}.mod" if variant else "go.mod"
    version = _required_version(root / name / modfile, entry["versioned-by"])
    major, minor, *_ = version.split(".")
    extra = " ".join(str(entry.get("ldflags", "")).split())
    for placeholder, value in {"version": version, "major": major, "minor": minor}.items():
        extra = extra.replace("{" + placeholder + "}", value)
    return Tool(
        name=name,
        folder=root / name,
        version=version,
        ldflags=f"-s -w {extra}".strip(),
        tags=entry.get("tags", ""),
        cgo=entry.get("cgo", False),
        default=entry.get("default", False),
        outputs=entry["outputs"],
        links=entry.get("links", []),
        modfile=modfile,
    )


def _required_version(modfile: Path, module: str) -> str:
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)} v(\S+)", modfile.read_text(), re.MULTILINE)
    if found is None:
        raise StepError(f"{modfile} does not require {module}")
    return found.group(1)


def _go_release() -> str:
    if shutil.which("go") is None:
        raise StepError(
            "Go is not installed: the cluster's executables are built with Go 1.26 (https://go.dev/dl)"
        )
    done = subprocess.run(
        ["go", "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    )
    release = done.stdout.strip()
    numbers = re.match(r"go(\d+)\.(\d+)", release)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < (1, 26):
        raise StepError(
            f"Go 1.26 or newer is needed to build the cluster's executables, {release} is installed"
        )
    return release
