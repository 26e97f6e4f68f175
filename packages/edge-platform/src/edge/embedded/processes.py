"""Looking at processes through /proc. A pid alone is never trusted: it may have been given away again."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class ProcessId(NamedTuple):
    """A pid and its start time in clock ticks since boot: together they name one process for ever."""

    pid: int
    started: int


def identify(pid: int) -> ProcessId | None:
    """The process behind a pid; None when there is none or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else ProcessId(pid, int(fields[19]))


def alive(process: ProcessId) -> bool:
    return identify(process.pid) == process


def send(process: ProcessId, number: signal.Signals) -> None:
    """Signal exactly this process; nothing happens when it is gone."""
    if alive(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def first_of_nested_namespaces() -> list[ProcessId]:
    """First processes of pid namespaces directly below this one: the containers' mains."""
    found: list[ProcessId] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines = (folder / "status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pids = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), list[str]())
        if len(pids) == 2 and pids[1] == "1" and (one := identify(int(pids[0]))):
            found.append(one)
    return found


def pss_mib(pid: int) -> int:
    """Memory with shared pages split among those who share them; 0 when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) // 1024


def name(pid: int) -> str:
    """The command's name; `?` when the process is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return "?"
