"""The instance's own control-group root, in each hierarchy the machine has (version 1, 2, hybrid)."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted hierarchy: where it is, its file-system type and mount options that name it."""

    mount: Path
    kind: str
    options: str


def hierarchies() -> list[Hierarchy]:
    """What is mounted at or below /sys/fs/cgroup, read from this process's mount table."""
    found: list[Hierarchy] = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        point, (kind, _, superblock) = Path(fields.split()[4]), tail.split()[:3]
        if kind not in ("cgroup", "cgroup2") or (point != ROOT and ROOT not in point.parents):
            continue
        names = [o for o in superblock.split(",") if o not in ("rw", "ro") and "=" not in o]
        named = [o for o in superblock.split(",") if o.startswith("name=")]
        options = ",".join(["none", *named] if named else names) if kind == "cgroup" else ""
        found.append(Hierarchy(point, kind, options))
    return found


def join(name: str) -> None:
    """Move this process into `name` below every root, making it where it is missing."""
    for hierarchy in hierarchies():
        folder = hierarchy.mount / name
        folder.mkdir(exist_ok=True)
        _inherit_cpuset(hierarchy.mount, folder)
        (folder / "cgroup.procs").write_text(str(os.getpid()))


def leave_root() -> None:
    """Move this process into `system`, below its namespace's root.

    Version 2 lets a group hand controllers to its children only while no process is in it, and
    the kubelet makes its groups directly below the root.
    """
    for hierarchy in hierarchies():
        folder = hierarchy.mount / "system"
        folder.mkdir(exist_ok=True)
        _inherit_cpuset(hierarchy.mount, folder)
        (folder / "cgroup.procs").write_text(str(os.getpid()))


def remove(name: str, *, within_s: float = 5.0) -> list[Path]:
    """Remove the empty groups of a stopped instance; what could not be removed in time is returned."""
    end = time.monotonic() + within_s
    while True:
        for hierarchy in hierarchies():
            top = hierarchy.mount / name
            for folder, _, _ in os.walk(top, topdown=False):
                with suppress(OSError):  # a process in it is still on its way out
                    Path(folder).rmdir()
        left = [h.mount / name for h in hierarchies() if (h.mount / name).exists()]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.05)


def _inherit_cpuset(parent: Path, folder: Path) -> None:
    """A fresh version-1 cpuset group is empty and takes no process until it has processors and memory."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        target, source = folder / file, parent / file
        if (folder / "cgroup.clone_children").exists() and target.exists() and not target.read_text().strip():
            target.write_text(source.read_text())
