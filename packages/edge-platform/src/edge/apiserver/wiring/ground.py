"""What all other parts stand on: settings, clock, the host cluster, and counts of what is in hand."""

import contextlib

from prometheus_client import CollectorRegistry

from edge.apiserver.configuration.settings import GatewaySettings
from edge.apiserver.listening.limits import Gate
from edge.apiserver.measures import Measures
from edge.apiserver.rights.streams import Streams
from edge.apiserver.upstreams.upstream import Upstream
from edge.apiserver.wiring.background import Background
from edge_kube.client import Client
from edge_kube.config import Connection
from edge_kube.errors import KubeError
from edge_sdk.clock import Clock


class Ground:
    """host: for requests that are passed on; client: for the gateway's own."""

    def __init__(self, connection: Connection, settings: GatewaySettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.client = Client(connection)
        self.host = Upstream(connection)
        self.background = Background()
        self.registry = CollectorRegistry()
        self.short = Gate(settings.server.max_concurrent_requests, "requests")
        self.streams = Gate(settings.server.max_streams, "streams")
        self.open_streams = Streams()
        self.measures = Measures(self.registry, lambda: self.short.inflight, lambda: self.streams.inflight)
        self.kubernetes_version = ""

    @property
    def namespace(self) -> str:
        return self.settings.server.namespace

    @property
    def relist_s(self) -> float:
        """How often a mirror is compared with what the API server holds."""
        return self.settings.authorization.cache_ttl.s

    async def learn_version(self) -> None:
        with contextlib.suppress(KubeError, OSError):
            response = await self.client.raw("GET", "/version")
            async with response:
                found: dict[str, str] = await response.json()
                self.kubernetes_version = found.get("gitVersion", "")

    async def close(self) -> None:
        await self.host.close()
        await self.client.close()
