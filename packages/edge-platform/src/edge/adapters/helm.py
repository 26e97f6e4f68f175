"""The component engine's outside, built in one place: charts, releases, values, and the metric of runs."""

import base64
import os
import secrets as random
import socket
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry, Histogram

from edge.adapters.chart_fetch import ChartFetcher
from edge.adapters.helm_lock import LockHolder, ReleaseLock
from edge.adapters.helm_process import HelmProcess
from edge.adapters.helm_releases import HelmReleases
from edge.adapters.helm_targets import Targets
from edge.components.operations import Operations
from edge.components.settings import ComponentSettings
from edge_kube.client import Client
from edge_kube.core import ConfigMap, Secret
from edge_kube.meta import Key

_BUCKETS_S = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)


class HostValues:
    """The port `ValueSources`."""

    def __init__(self, host: Client) -> None:
        self._host = host

    async def read(self, kind: str, key: Key, entry: str) -> str | None:
        if kind == "Secret":
            secret = await self._host.find(Secret, key.name, key.namespace)
            data = secret.data.get(entry) if secret is not None else None
            return None if data is None else base64.b64decode(data).decode("utf-8", "replace")
        config = await self._host.find(ConfigMap, key.name, key.namespace)
        return config.data.get(entry) if config is not None else None


class Helm:
    """All adapters of the components room; nothing is opened before it is used. Close it at the end."""

    def __init__(
        self,
        host: Client,
        *,
        executable: str | Path = "/usr/local/bin/helm",
        museum_url: str = "http://chartmuseum:8080",
        builtin: str | Path = "/usr/share/edge-museum/charts",
        scratch: str | Path = "/tmp/edge-helm",  # noqa: S108 a volume of the pod, in memory
        settings: ComponentSettings | None = None,
        registry: CollectorRegistry | None = None,
        pod: str = "",
        namespace: str = "edge-system",
        chart_fresh_s: float = 20.0,
    ) -> None:
        """registry: where the metric goes. pod, namespace: who holds the locks; the host's name without."""
        self.settings = settings or ComponentSettings()
        self._targets = Targets(host)
        me = LockHolder(
            pod or os.environ.get("POD_NAME") or socket.gethostname(), namespace, random.token_hex(8)
        )
        self.charts = ChartFetcher(museum_url, Path(builtin), Path(scratch), fresh_s=chart_fresh_s)
        self.releases = HelmReleases(
            self._targets, HelmProcess(str(executable), Path(scratch)), ReleaseLock(host, me)
        )
        self.sources = HostValues(host)
        durations = Histogram(
            "component_install_duration_seconds",
            "Time of one Helm install or upgrade.",
            ["component"],
            registry=registry or CollectorRegistry(),
            buckets=_BUCKETS_S,
        )

        def done(key: Key, verb: str, seconds: float) -> None:
            if verb == "upgrade":
                durations.labels(key.name).observe(seconds)

        self.operations = Operations(self.settings.at_once, done)

    async def close(self) -> None:
        await self.operations.stop()
        await self.charts.close()
        await self._targets.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
