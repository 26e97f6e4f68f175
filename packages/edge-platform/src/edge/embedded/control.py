"""The other end of `supervisor`'s socket."""

import json
import signal
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge.embedded.steps import StepError


@dataclass(frozen=True, slots=True)
class Component:
    """A process that the supervisor keeps: `log` is a path, `listeners` name inherited sockets.

    The file descriptors of the listeners are appended to `argv`.
    """

    name: str
    argv: list[str]
    env: dict[str, str]
    log: str
    listeners: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """`pid` is the one inside the instance, 0 while it does not run; `starts` counts from 1."""

    name: str
    pid: int
    starts: int
    up_s: float
    pss_mib: int
    last_exit: int | None
    wanted: bool


class Control:
    """Commands for a running instance; StepError when it does not answer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(self, component: Component) -> bool:
        """False when it already runs; one that runs with other arguments is replaced."""
        request = {"op": "start", "component": asdict(component)}
        reply = self._ask(request)
        if not reply["started"] and reply["differs"]:
            self.stop(component.name)
            reply = self._ask(request)
        return bool(reply["started"])

    def stop(self, name: str, *, grace_s: float = 15.0) -> None:
        """Returns when the process is gone; it is not started again."""
        self._ask({"op": "stop", "name": name, "grace_s": grace_s}, timeout_s=grace_s + 10)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """A fault for tests: the supervisor starts the component again a second later."""
        self._ask({"op": "kill", "name": name, "signal": int(number)})

    def sweep(self, *, grace_s: float) -> None:
        """End all containers, killing after `grace_s`."""
        self._ask({"op": "sweep", "grace_s": grace_s}, timeout_s=grace_s + 10)

    def status(self) -> list[ComponentStatus]:
        return [ComponentStatus(**row) for row in self._ask({"op": "status"})["components"]]

    def end(self) -> None:
        self._ask({"op": "end"})

    def _ask(self, request: dict[str, Any], *, timeout_s: float = 15.0) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout_s)
                connection.connect(str(self._path))
                connection.sendall(json.dumps(request).encode() + b"\n")
                reply = json.loads(connection.makefile("rb").readline() or b"{}")
        except (OSError, ValueError) as error:
            raise StepError(f"the instance's supervisor does not answer on {self._path}: {error}") from error
        if problem := reply.get("error"):
            raise StepError(f"supervisor: {problem}")
        return reply
