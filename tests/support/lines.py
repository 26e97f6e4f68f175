"""A line to a member cluster that a test cuts and mends."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.support.gateway import RunningGateway

from edge.clusters.types import Cluster
from edge_kube.client import Client
from edge_kube.harness import LightCluster

CLUSTERS = "/oapis/tenant/v1alpha1/clusters"


class Line:
    """A TCP line to an API server. mute: it takes connections, and not a byte comes back."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.is_mute = False

    async def mend(self) -> None:
        self.is_mute = False
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def mute(self) -> None:
        """What is open ends; what is opened from now on is silence."""
        await self.cut()
        await self.mend()
        self.is_mute = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_mute:
            self._writers.add(writer)
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, back}
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        self._writers -= {writer, back}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


def cluster_behind_line(name: str, cluster: LightCluster, line: Line) -> dict[str, object]:
    """A Cluster that is reached through the line."""
    text = cluster.kubeconfig.read_text().replace(cluster.server, f"https://127.0.0.1:{line.port}")
    return {
        "apiVersion": "scope.theriseunion.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {"connection": {"type": "direct", "kubeconfig": base64.b64encode(text.encode()).decode()}},
    }


@asynccontextmanager
async def joined(
    gateway: RunningGateway,
    kube: Client,
    cluster: LightCluster,
    name: str,
    first: Callable[[Line], Awaitable[None]] | None = None,
) -> AsyncGenerator[Line]:
    """A member cluster behind a line. first: done to the line before anybody knows of the cluster."""
    line = Line(int(cluster.server.rpartition(":")[2]))
    await line.mend()
    if first is not None:
        await first(line)
    await kube.create(cluster_behind_line(name, cluster, line), manager="test")
    try:
        await gateway.until(f"{CLUSTERS}/{name}", 200, token=await gateway.token())
        yield line
    finally:
        await kube.delete(Cluster, name)
        await line.cut()
