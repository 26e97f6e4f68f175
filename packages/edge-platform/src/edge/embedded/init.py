"""The first process of an instance: makes its namespaces, keeps its components, reaps orphans.

    python -m edge.embedded.init SPEC-FILE [LISTENER-NAME=FD …]

The process that is started leaves its cgroup for the instance's, unshares, forks, prints the
child's pid as JSON and ends. The child is process 1 of the new pid namespace: when it ends, by
command, signal or kill −9, the kernel kills everything it ever started.

Listeners are sockets that the caller bound in *its* network namespace; a component that names
one inherits it, so a service can listen on the machine's loopback and live in here.

Only the standard library is imported: this process stays as long as the instance runs.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from edge.embedded import cgroups, sandbox
from edge.embedded.supervisor import Supervisor

NETWORK_WAIT_S = 20.0


def main(argv: list[str]) -> int:
    spec = json.loads(Path(argv[0]).read_text())
    listeners = {name: int(fd) for name, fd in (one.split("=") for one in argv[1:])}
    cgroups.join(spec["cgroup"])
    sandbox.unshare()
    child = os.fork()
    if child:
        print(json.dumps({"pid": child}), flush=True)
        return 0
    _detach(Path(spec["folder"]) / "logs" / "init.log")
    sandbox.furnish(sandbox.Furniture(**spec["furniture"]))
    cgroups.leave_root()
    _await_link(spec["node_ip"], spec["gateway"])
    supervisor = Supervisor(Path(spec["control"]), listeners)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.end)
    supervisor.serve()
    return 0


def _detach(log: Path) -> None:
    """Let go of the caller's terminal and pipes."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(nothing)
    os.close(out)


def _await_link(node_ip: str, gateway: str) -> None:
    """The caller moves one end of a veth pair in here; give it the node's address."""
    end = time.monotonic() + NETWORK_WAIT_S
    while not Path("/sys/class/net/eth0").exists():
        if time.monotonic() > end:
            print("no network link arrived; ending", flush=True)
            sys.exit(1)
        time.sleep(0.01)
    sandbox.address_link(node_ip, gateway)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
