"""Carries connections from the machine's loopback to a Service of the cluster.

    python -m edge.embedded.forward KUBECTL KUBECONFIG NAMESPACE SERVICE PORT-NAME … FD …

The listening sockets were bound in the machine's network namespace and are inherited; this
process runs inside the instance, so ClusterIPs are reachable and it ends with the instance. The
Service's address is looked up when a connection comes and kept until one fails.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable

CONNECT_S = 5.0
CHUNK_BYTES = 64 * 1024
ASK_AGAIN_S = 2.0


class Target:
    """Where the Service listens now."""

    def __init__(self, kubectl: list[str], namespace: str, service: str) -> None:
        self._command = [*kubectl, "get", "service", service, "-n", namespace, "-o", "json"]
        self._ports: dict[str, tuple[str, int]] = {}
        self._asked_at = 0.0

    async def connect(self, port_name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """OSError when the Service does not exist or does not answer."""
        if port_name not in self._ports:
            await self._look()
        if port_name not in self._ports:
            raise ConnectionRefusedError(f"no port {port_name}")
        try:
            return await asyncio.wait_for(asyncio.open_connection(*self._ports[port_name]), CONNECT_S)
        except (OSError, TimeoutError):
            self._ports = {}
            raise

    async def _look(self) -> None:
        if time.monotonic() - self._asked_at < ASK_AGAIN_S:
            return
        self._asked_at = time.monotonic()
        child = await asyncio.create_subprocess_exec(
            *self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        text, _ = await child.communicate()
        if child.returncode == 0:
            spec = json.loads(text)["spec"]
            self._ports = {one["name"]: (spec["clusterIP"], int(one["port"])) for one in spec["ports"]}


async def serve(target: Target, listeners: dict[str, int]) -> None:
    """`listeners` maps a port's name to an inherited file descriptor; runs for ever."""

    async def handle(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await target.connect(name)
        except (OSError, TimeoutError):
            writer.close()
            return
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            writer.close()
            far_writer.close()

    servers: list[asyncio.Server] = []
    for name, fd in listeners.items():

        def accept(r: asyncio.StreamReader, w: asyncio.StreamWriter, name: str = name) -> Awaitable[None]:
            return handle(name, r, w)

        servers.append(await asyncio.start_server(accept, sock=socket.socket(fileno=fd)))
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction; its end is passed on, so half-closed connections work."""
    try:
        while piece := await reader.read(CHUNK_BYTES):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()  # the other direction then ends too


def main(argv: list[str]) -> None:
    kubectl, kubeconfig, namespace, service, *names = argv
    ports = names[: len(names) // 2]
    fds = [int(one) for one in names[len(ports) :]]
    target = Target([kubectl, "--kubeconfig", kubeconfig], namespace, service)
    asyncio.run(serve(target, dict(zip(ports, fds, strict=True))))


if __name__ == "__main__":
    main(sys.argv[1:])
