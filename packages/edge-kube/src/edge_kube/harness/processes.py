"""Child processes that never outlive the test run, and the free ports they listen on."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PORTS = (20_000, 30_000)
"""Above those of known services; below NodePorts, and the kernel's own choices (ip_local_port_range)."""
_libc = ctypes.CDLL(None, use_errno=True)


class ToolMissingError(RuntimeError):
    """A program that the harness starts is not there."""


class ProcessDiedError(RuntimeError):
    """A program ended while it was waited for; the message ends with the last lines of its log."""


def tool(name: str) -> Path:
    """Path of a built program in $EDGE_TOOLS. Raises ToolMissingError."""
    folder = os.environ.get("EDGE_TOOLS", "")
    path = Path(folder) / name
    if not folder or not path.exists():
        raise ToolMissingError(
            f"{name} was not found in EDGE_TOOLS={folder or '(not set)'}; "
            "run the tests through `make test`, which builds the tools and sets it"
        )
    return path


def free_port() -> int:
    """A loopback TCP port that stays free until the program it is for listens there, also between two starts.

    It is below those that the kernel gives to connections and to who asks for any port, and no other process
    that asks here is given it while this one lives.
    """
    while True:
        port = random.randrange(*_PORTS)  # noqa: S311 - spread, no secret
        if _is_ours(port) and not _is_taken(port):
            return port


def _is_ours(port: int) -> bool:
    """Claim it under a name in the network's own scope, which the kernel frees when this process ends."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0edge-test-port-{port}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # open until the process ends
    return True


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _die_with_parent() -> None:
    # The kernel kills the child when the thread that started it ends, however it ends.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """One child with its log in a file. Start it from a thread that lives as long as it shall."""

    def __init__(self, name: str, args: Sequence[str | Path], folder: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [str(arg) for arg in args],
                cwd=folder,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - nothing but one system call happens in it
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def wait_ready(self, ready: Callable[[], bool], within_s: float) -> None:
        """Raises ProcessDiedError when the child ends first, TimeoutError after within_s."""
        ends_at = time.monotonic() + within_s
        while not ready():
            if not self.running:
                raise ProcessDiedError(f"{self.name} ended with {self._child.returncode}:\n{self.tail()}")
            if time.monotonic() > ends_at:
                raise TimeoutError(f"{self.name} was not ready within {within_s:g} s:\n{self.tail()}")
            time.sleep(0.03)

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            self._child.send_signal(number)

    def stop(self, grace_s: float = 5.0) -> None:
        """SIGTERM, then SIGKILL; returns when the process is gone."""
        self.signal(signal.SIGTERM)
        try:
            self._child.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()
