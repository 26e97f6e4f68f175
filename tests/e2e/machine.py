"""What a machine shows of an instance, to compare before and after."""

import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

from edge.embedded import cgroups, processes
from edge.embedded.instance import Instance, recorded


@dataclass(frozen=True)
class Machine:
    """Sets of lines; an instance that has ended must have added none to any.

    What other instances have at that moment (a `make up`, another test run) is not counted.
    """

    links: frozenset[str]
    routes: frozenset[str]
    mounts: frozenset[str]
    firewall: frozenset[str]
    groups: frozenset[str]
    folders: frozenset[str]

    def added(self, before: "Machine") -> dict[str, list[str]]:
        """By kind, what is here and was not there."""
        marks = [mark for other in recorded() for mark in _marks(other)]
        new = {
            f.name: sorted(
                line
                for line in getattr(self, f.name) - getattr(before, f.name)
                if not any(mark in line for mark in marks)
            )
            for f in fields(self)
        }
        return {kind: lines for kind, lines in new.items() if lines}


def _marks(one: Instance) -> list[str]:
    link = [f"{one.link}{end}" for end in ("@", " ", '"')]
    return [*link, f"edge_{one.number} ", f"/{one.cgroup}", str(one.folder), one.network, one.service_cidr]


def look() -> Machine:
    """The machine now."""
    links = [line.split(":")[1].strip() + " " for line in _lines("ip", "-o", "link")]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    groups = [str(p) for h in cgroups.hierarchies() for p in h.mount.glob("edge-*")]
    folders = [
        str(p) for root in ("/run/netns", "/var/lib/cni", "/var/log/pods") for p in Path(root).glob("*")
    ]
    return Machine(
        links=frozenset(links),
        routes=frozenset(_lines("ip", "route")),
        mounts=frozenset(line.split(" ", 3)[3] for line in mounts),
        firewall=frozenset([*_lines("nft", "list", "ruleset"), *_lines("iptables-save", without="#")]),
        groups=frozenset(groups),
        folders=frozenset(folders),
    )


def processes_of(one: Instance) -> list[str]:
    """Every process that any cgroup hierarchy, or its own command line, says belongs to the instance."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            in_group = f"/{one.cgroup}" in (folder / "cgroup").read_text().replace("\n", " ") + " "
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if processes.identify(int(folder.name)) and (in_group or f"{one.folder}/" in command):
            found.append(f"{folder.name} {command}")
    return found


def _lines(*command: str, without: str = "") -> list[str]:
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in out if line.strip() and not (without and line.startswith(without))]
