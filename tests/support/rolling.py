"""Gateways as processes behind a Service of our own making, and clients that ask without a pause."""

import asyncio
import contextlib
import itertools
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from edge_kube.harness.processes import free_port

LOOKED_AT_EVERY_S = 0.1


@dataclass
class GatewayProcess:
    """The real program. `stop` is what a kubelet does: SIGTERM, then waiting."""

    kubeconfig: Path
    log: Path
    flags: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        command = (
            sys.executable, "-m", "edge.apiserver.main", f"--server.kubeconfig={self.kubeconfig}",
            f"--server.bindAddress=127.0.0.1:{self.port}", "--server.onlyFirst=true",
            "--server.tls.enabled=false",
            *self.flags,
        )  # fmt: skip
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*command, stderr=log, stdout=log)

    async def stop(self, within_s: float = 180) -> int:
        """Its exit code. Raises TimeoutError."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), within_s)

    async def is_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/readyz", timeout=aiohttp.ClientTimeout(total=30)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Balancer:
    """As a Service: each new connection goes to a ready gateway, in turns; open ones stay where they are."""

    def __init__(self, gateways: Sequence[GatewayProcess]) -> None:
        self._gateways = gateways
        self._is_ready = [False] * len(gateways)
        self._turns = itertools.count()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def ready(self) -> int:
        return sum(self._is_ready)

    async def wait_ready(self, count: int, within_s: float = 300) -> None:
        async with asyncio.timeout(within_s):
            while self.ready != count:  # noqa: ASYNC110 - processes come and go elsewhere
                await asyncio.sleep(0.05)

    async def __aenter__(self) -> "Balancer":
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512)
        self._tasks |= {asyncio.create_task(self._look(number)) for number in range(len(self._gateways))}
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self, number: int) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            while True:
                self._is_ready[number] = await self._gateways[number].is_ready(session)
                await asyncio.sleep(LOOKED_AT_EVERY_S)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ready = [one for one, is_ready in zip(self._gateways, self._is_ready, strict=True) if is_ready]
        if not ready:
            writer.transport.abort()
            return
        to = ready[next(self._turns) % len(ready)]
        try:
            there, back = await asyncio.open_connection("127.0.0.1", to.port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        writer.transport.abort()
    finally:
        writer.close()


@dataclass
class Load:
    """What clients that ask one request after another got; a failure names what came instead of an answer.

    unproven: changes that were told to come again: on a busy machine proof that rights are new may be late.
    """

    port: int
    answered: int = 0
    unproven: int = 0
    connections: int = 0
    failures: list[str] = field(default_factory=list[str])

    @asynccontextmanager
    async def running(self, requests: Sequence[bytes]) -> AsyncGenerator["Load"]:
        """One client a request, each asking the same again and again on a connection that it keeps."""
        stop = asyncio.Event()
        clients = [asyncio.create_task(self._client(request, stop)) for request in requests]
        try:
            yield self
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(*clients), 180)

    async def _client(self, request: bytes, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                self.connections += 1
                await self._one_connection(reader, writer, request, stop)
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                self.failures.append(repr(error))

    async def _one_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, stop: asyncio.Event
    ) -> None:
        """Until the answer says that this connection ends, as HTTP clients do. Nothing is asked twice."""
        while not stop.is_set():
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(int(length.split(b":")[1]))
            if head.split(b" ", 2)[1] in (b"200", b"201"):
                self.answered += 1
            elif b'"AuthorizationStale"' in body or b'"SessionsNotKnown"' in body:
                self.unproven += 1
            else:
                self.failures.append(f"{head.splitlines()[0]!r} {body[:200]!r}")
            if b"\r\nconnection: close" in head:
                return
            await asyncio.sleep(0.005)
