"""Keeps an instance's components running; answers commands on a socket, a JSON line each way.

A component that ends by itself is started again, after 1, 2, 4 … 30 s; the delay begins anew
once it has run for a minute. Commands (`op`):

    start    {component: {name, argv, env, listeners}}   no-op while it runs; tells whether argv differ
    stop     {name, grace_s}                             SIGTERM, then SIGKILL; answers when it is gone
    kill     {name, signal}                              a fault: the component will be started again
    sweep    {grace_s}                                   ends all containers' first processes
    status   {}                                          pid, starts, seconds up, memory of each component
    end      {}                                          ends this process and so the namespace
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from edge.embedded import processes

Reply = dict[str, Any]

MAX_REQUEST_BYTES = 1 << 20
LOG_LIMIT_BYTES = 64 << 20
STEADY_S = 60.0
MAX_DELAY_S = 30.0


@dataclass
class _Component:
    name: str
    argv: list[str]
    env: dict[str, str]
    log: str
    listeners: list[str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    started_at: float = 0.0
    delay_s: float = 1.0
    start_again_at: float = 0.0
    stop_by: float = 0.0
    wanted: bool = True
    last_exit: int | None = None
    waiting: list[socket.socket] = field(default_factory=list[socket.socket])


class Supervisor:
    """`listeners` are inherited sockets by name."""

    def __init__(self, control: Path, listeners: dict[str, int]) -> None:
        self._listeners = listeners
        self._components: dict[str, _Component] = {}
        self._ending = False
        self._selector = selectors.DefaultSelector()
        control.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(control))
        control.chmod(0o600)
        self._server.listen(16)
        self._selector.register(self._server, selectors.EVENT_READ, self._accept)
        self._wake_read, wake_write = socket.socketpair()
        self._wake_write = wake_write
        for end in (self._wake_read, wake_write):
            end.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno())
        signal.signal(signal.SIGCHLD, _wake)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._drain_wakeups)
        self._operations: dict[str, Callable[[Any, socket.socket], Reply | None]] = {
            "start": self._start,
            "stop": self._stop,
            "kill": self._kill,
            "sweep": self._sweep,
            "status": self._status,
            "end": self._end,
        }

    def end(self, *_signal: object) -> None:
        """Leave `serve`; may be used as a signal handler."""
        self._ending = True

    def serve(self) -> None:
        """Until `end`; the kernel then kills what is left in the pid namespace."""
        while not self._ending:
            for key, _ in self._selector.select(self._next_deadline()):
                key.data(key.fileobj)
            self._reap()
            self._keep_deadlines()

    # ---------------------------------------------------------------- commands
    def _accept(self, server: socket.socket) -> None:
        client, _ = server.accept()
        client.settimeout(5)
        self._selector.register(client, selectors.EVENT_READ, self._serve_client)

    def _serve_client(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        try:
            request = json.loads(_read_line(client))
            reply = self._operations[request["op"]](request, client)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        if reply is not None:
            _answer(client, reply)

    def _start(self, request: Any, _: socket.socket) -> Reply:
        want = request["component"]
        known = self._components.get(want["name"])
        if known is not None and known.process is not None and known.wanted:
            same = (known.argv, known.env) == (want["argv"], want["env"])
            return {"started": False, "differs": not same}
        component = _Component(want["name"], want["argv"], want["env"], want["log"], want["listeners"])
        if known is not None:
            component.starts, component.last_exit = known.starts, known.last_exit
        self._components[component.name] = component
        self._spawn(component)
        return {"started": True}

    def _stop(self, request: Any, client: socket.socket) -> Reply | None:
        component = self._components.get(request["name"])
        if component is None:
            return {"stopped": False}
        component.wanted = False
        if component.process is None:
            return {"stopped": False}
        component.stop_by = time.monotonic() + request["grace_s"]
        component.waiting.append(client)
        component.process.send_signal(signal.SIGTERM)
        return None

    def _kill(self, request: Any, _: socket.socket) -> Reply:
        component = self._components.get(request["name"])
        if component is None or component.process is None:
            return {"error": f"{request['name']} does not run"}
        component.process.send_signal(request["signal"])
        return {"killed": component.process.pid}

    def _sweep(self, request: Any, _: socket.socket) -> Reply:
        """Ends containers as the kubelet would: SIGTERM to the first process of each, later SIGKILL."""
        firsts = processes.first_of_nested_namespaces()
        for pid in firsts:
            processes.send(pid, signal.SIGTERM)
        end = time.monotonic() + request["grace_s"]
        while time.monotonic() < end and any(processes.alive(pid) for pid in firsts):
            self._reap()
            time.sleep(0.05)
        slow = [pid for pid in firsts if processes.alive(pid)]
        for pid in slow:
            processes.send(pid, signal.SIGKILL)
        return {"ended": len(firsts), "killed": len(slow)}

    def _status(self, _request: Any, _client: socket.socket) -> Reply:
        now = time.monotonic()
        rows = [
            {
                "name": c.name,
                "pid": c.process.pid if c.process else 0,
                "starts": c.starts,
                "up_s": now - c.started_at if c.process else 0.0,
                "pss_mib": processes.pss_mib(c.process.pid) if c.process else 0,
                "last_exit": c.last_exit,
                "wanted": c.wanted,
            }
            for c in self._components.values()
        ]
        return {"components": rows}

    def _end(self, _request: Any, _client: socket.socket) -> Reply:
        self._ending = True
        return {"ending": True}

    # ---------------------------------------------------------------- processes
    def _spawn(self, component: _Component) -> None:
        log = Path(component.log)
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
        fds = [self._listeners[name] for name in component.listeners]
        component.start_again_at = 0.0
        try:
            with log.open("ab") as out:
                component.process = subprocess.Popen(
                    [*component.argv, *(str(fd) for fd in fds)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=component.env,
                    pass_fds=fds,
                    start_new_session=True,
                )
        except OSError as error:
            print(f"{component.name}: {error}", flush=True)
            self._schedule(component)
            return
        component.starts += 1
        component.started_at = time.monotonic()

    def _schedule(self, component: _Component) -> None:
        if time.monotonic() - component.started_at > STEADY_S:
            component.delay_s = 1.0
        component.start_again_at = time.monotonic() + component.delay_s
        component.delay_s = min(component.delay_s * 2, MAX_DELAY_S)

    def _reap(self) -> None:
        """Collect ended children: components, and orphans that the kernel gave to process 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for component in self._components.values():
                if component.process is not None and component.process.pid == pid:
                    self._ended(component, os.waitstatus_to_exitcode(status))

    def _ended(self, component: _Component, code: int) -> None:
        assert component.process is not None  # noqa: S101 - the caller looked
        component.process.returncode = code  # reaped above: Popen must not wait for it again
        component.process, component.last_exit = None, code
        if component.wanted:
            print(f"{component.name} ended with {code}; starting it again", flush=True)
            self._schedule(component)
        for client in component.waiting:
            _answer(client, {"stopped": True, "exit": code})
        component.waiting = []

    def _keep_deadlines(self) -> None:
        now = time.monotonic()
        for component in self._components.values():
            if component.process is None and component.wanted and now >= component.start_again_at > 0:
                self._spawn(component)
            if component.process is not None and not component.wanted and now >= component.stop_by > 0:
                component.stop_by = 0.0
                component.process.send_signal(signal.SIGKILL)

    def _next_deadline(self) -> float:
        times = [t for c in self._components.values() for t in (c.start_again_at, c.stop_by) if t > 0]
        return max(0.02, min(min(times, default=60.0) - time.monotonic(), 5.0)) if times else 5.0

    def _drain_wakeups(self, end: socket.socket) -> None:
        try:
            while end.recv(512):
                pass
        except BlockingIOError:
            return


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Python writes to the wake-up socket only for signals that have a handler."""


def _read_line(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        piece = client.recv(65536)
        if not piece or len(data) > MAX_REQUEST_BYTES:
            raise ValueError("a request is one line of JSON")
        data += piece
    return data


def _answer(client: socket.socket, reply: Reply) -> None:
    try:
        client.sendall(json.dumps(reply).encode() + b"\n")
    except OSError as error:  # the caller was interrupted; what it asked for is done
        print(f"reply lost: {error}", flush=True)
    finally:
        client.close()
