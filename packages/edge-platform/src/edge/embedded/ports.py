"""Loopback ports of `make up`: bound before anything starts, so that a taken one is told at once."""

import os
import socket
from pathlib import Path

from edge.embedded import processes
from edge.embedded.steps import StepError

# The gateway's ports (X12) and the variable that moves each; kubectl sends tokens over TLS only.
PORTS = {
    "http": (9090, "EDGE_PORT"),
    "metrics": (8080, "EDGE_PORT_ALT"),
    "https": (8443, "EDGE_PORT_TLS"),
}


def wanted() -> dict[str, int]:
    """Port by listener name, as the environment says."""
    return {name: _number(variable, default) for name, (default, variable) in PORTS.items()}


def bind(ports: dict[str, int]) -> dict[str, socket.socket]:
    """A listening socket on 127.0.0.1 for each; StepError names a taken port and its holder."""
    bound: dict[str, socket.socket] = {}
    for name, port in ports.items():
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            for one in [listener, *bound.values()]:
                one.close()
            raise StepError(_taken(name, port, error)) from error
        listener.listen(128)
        bound[name] = listener
    return bound


def holder(port: int) -> str:
    """`name (pid)` of the process that listens on this TCP port; empty when it cannot be seen."""
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(table, port)}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        try:
            if os.readlink(descriptor) in inodes:  # noqa: PTH115 - the target is no path
                pid = int(descriptor.parts[2])
                return f"{processes.name(pid)} (pid {pid})"
        except OSError:
            continue
    return ""


def _listening(table: str, port: int) -> list[str]:
    listen = "0A"
    rows = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return [r[9] for r in rows if r[3] == listen and int(r[1].rsplit(":", 1)[1], 16) == port]


def _taken(name: str, port: int, error: OSError) -> str:
    who = holder(port)
    by = f" by {who}" if who else ""
    variable = PORTS[name][1] if name in PORTS else "EDGE_PORT"
    return (
        f"port {port} of 127.0.0.1, which the gateway needs, is in use{by} ({error.strerror}). "
        f"Stop that process, or choose another port: `make up {variable}={port + 1}`."
    )


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    if not text:
        return default
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise StepError(f"{variable}={text} is no port: give a number from 1 to 65535")
    return int(text)
