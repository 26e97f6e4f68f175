"""Beginning and ending an instance's sandbox, and tidying up what an interrupted run left of it.

What runs is known from `run/state.json`: the first process by pid *and* start time *and* boot.
It is written as soon as that process exists and before anything is made outside its namespaces;
a process whose record was never written ends by itself, because its network link never arrives.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge.embedded import cgroups, network, processes, sandbox
from edge.embedded.control import Control
from edge.embedded.instance import Instance, recorded, write_json
from edge.embedded.processes import ProcessId
from edge.embedded.steps import StepError

START_S = 20.0
END_S = 20.0
# libcni's cache has a fixed place; the instance sees a folder of its own there.
_CNI_CACHE = Path("/var/lib/cni")


def first_process(instance: Instance) -> ProcessId | None:
    """The instance's process 1 as the machine numbers it; None when the instance does not run."""
    state = _state(instance)
    if not state or state["boot"] != _boot():
        return None
    process = ProcessId(state["pid"], state["started"])
    return process if processes.alive(process) else None


def begin(instance: Instance, listeners: Mapping[str, socket.socket]) -> Control:
    """Start the sandbox with an empty supervisor in it; `listeners` stay bound while it runs."""
    tidy(instance)
    for part in ("run", "logs", "etc/cni"):
        instance.at(part).mkdir(parents=True, exist_ok=True)
    made_cni = not _CNI_CACHE.exists()
    _CNI_CACHE.mkdir(parents=True, exist_ok=True)
    pid = _launch(instance, listeners)
    process = processes.identify(pid)
    if process is None:
        raise StepError(f"the first process ended at once; see {instance.at('logs', 'init.log')}")
    state = {
        "pid": pid,
        "started": process.started,
        "boot": _boot(),
        "made_cni": made_cni,
        "forwarding": False,
    }
    write_json(_state_file(instance), state)
    try:
        if network.connect(instance, pid):
            write_json(_state_file(instance), {**state, "forwarding": True})
        return _await_control(instance, process)
    except BaseException:
        processes.send(process, signal.SIGKILL)
        raise


def end(instance: Instance) -> None:
    """End the sandbox's first process; the kernel ends the rest. Then remove what was made outside."""
    process = first_process(instance)
    if process is not None:
        with suppress(StepError):
            Control(instance.control_socket).end()
        deadline = time.monotonic() + END_S
        while processes.alive(process) and time.monotonic() < deadline:
            time.sleep(0.02)
        processes.send(process, signal.SIGKILL)
        while processes.alive(process):
            time.sleep(0.02)
    tidy(instance)


def tidy(instance: Instance) -> None:
    """Remove the links, tables, groups and files of an instance that does not run."""
    if first_process(instance) is not None:
        raise StepError(f"instance {instance.name} runs; `down` ends it")
    network.disconnect(instance)
    if left := cgroups.remove(instance.cgroup):
        raise StepError(f"control groups of {instance.name} are still in use: {', '.join(map(str, left))}")
    state = _state(instance)
    if not state:
        return
    if state["made_cni"]:
        with suppress(OSError):  # another instance, or the user's own runtime, uses it now
            _CNI_CACHE.rmdir()
    others = [one for one in recorded() if one.name != instance.name and first_process(one)]
    if state["forwarding"] and not others and state["boot"] == _boot():
        network.stop_forwarding()
    instance.control_socket.unlink(missing_ok=True)
    _state_file(instance).unlink(missing_ok=True)


def _launch(instance: Instance, listeners: Mapping[str, socket.socket]) -> int:
    furniture = sandbox.Furniture(
        hostname=instance.cgroup,
        resolv_conf=str(instance.at("etc", "resolv.conf")),
        scratch=str(instance.at("run", "kernel")),
        binds={"/var/log": str(instance.at("logs", "node")), str(_CNI_CACHE): str(instance.at("run", "cni"))},
    )
    spec = instance.at("run", "init.json")
    write_json(
        spec,
        {
            "cgroup": instance.cgroup,
            "folder": str(instance.folder),
            "control": str(instance.control_socket),
            "node_ip": instance.node_ip,
            "gateway": instance.host_ip,
            "furniture": asdict(furniture),
        },
    )
    fds = {name: one.fileno() for name, one in listeners.items()}
    started = subprocess.run(
        [sys.executable, "-m", "edge.embedded.init", str(spec), *(f"{n}={fd}" for n, fd in fds.items())],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        pass_fds=tuple(fds.values()),
        timeout=START_S,
        check=False,
    )
    if started.returncode != 0:
        raise StepError(
            f"the namespaces of {instance.name} could not be made: {started.stderr.strip()[-500:]}; "
            "embedded mode needs root and a kernel with namespaces and control groups"
        )
    return int(json.loads(started.stdout)["pid"])


def _await_control(instance: Instance, process: ProcessId) -> Control:
    control = Control(instance.control_socket)
    deadline = time.monotonic() + START_S
    while True:
        try:
            control.status()
        except StepError:
            if not processes.alive(process) or time.monotonic() > deadline:
                log = instance.at("logs", "init.log")
                tail = "\n".join(log.read_text().splitlines()[-15:]) if log.exists() else ""
                raise StepError(f"the instance's first process did not come up; {log}:\n{tail}") from None
            time.sleep(0.02)
        else:
            return control


def _state_file(instance: Instance) -> Path:
    return instance.at("run", "state.json")


def _state(instance: Instance) -> dict[str, Any] | None:
    try:
        return json.loads(_state_file(instance).read_text())
    except FileNotFoundError:
        return None


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
