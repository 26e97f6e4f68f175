"""What anybody may ask, without a token: health, version, metrics (G2, G9)."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from edge.apiserver.answers import document, json_answer
from edge.apiserver.measures import Measures
from edge.apiserver.mirrors.store import Collection
from edge.apiserver.openapi.operation import Operation
from edge.apiserver.openapi.shapes import Version
from edge.apiserver.upstreams.upstream import Upstream

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

TEXT: Final = "text/plain; charset=utf-8"
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
READY_ASKED_EVERY_S: Final = 1.0
OPERATIONS: Final = (
    *(
        Operation("GET", f"/{word}", about, "system", answer=str, answers_as="text/plain", public=True)
        for word, about in (
            ("healthz", "Whether the process is alive"),
            ("livez", "Whether the process is alive, by its newer name"),
            ("health", "Whether the process is alive, by its older name"),
            ("readyz", "Whether it can serve, and what is missing"),
            ("metrics", "Figures for Prometheus"),
        )
    ),
    Operation("GET", "/oapis/version", "Versions", "system", answer=Version, public=True, name="getVersion"),
)


class System:
    """needed: collections without which nobody can be recognised; until they are there, nothing is ready."""

    def __init__(
        self,
        *,
        host: Upstream,
        needed: Sequence[Collection],
        measures: Measures,
        kubernetes_version: Callable[[], str],
    ) -> None:
        self.draining = False
        self._host = host
        self._needed = needed
        self._measures = measures
        self._kubernetes_version = kubernetes_version
        self._asked_s = 0.0
        self._kubernetes_ready = False

    def routes(self) -> "dict[tuple[str, tuple[str, ...]], Handler]":
        return {
            ("GET", ("healthz",)): self._alive,
            ("GET", ("livez",)): self._alive,
            ("GET", ("health",)): self._alive,
            ("GET", ("readyz",)): self._ready,
            ("GET", ("metrics",)): self._metrics,
            ("GET", ("oapis", "version")): self._version,
        }

    async def _alive(self, _: "Exchange") -> web.StreamResponse:
        return json_answer(b"ok\n", content_type=TEXT)

    async def _ready(self, _: "Exchange") -> web.StreamResponse:
        missing = await self._not_ready()
        if missing:
            return json_answer(f"not ready: {'; '.join(missing)}\n".encode(), 503, TEXT)
        return json_answer(b"ok\n", content_type=TEXT)

    async def _not_ready(self) -> list[str]:
        missing: list[str] = []
        if self.draining:
            missing.append("this process is about to stop")
        missing += [
            f"the list of {one.served.resource}.{one.served.group} has not been read yet"
            for one in self._needed
            if not one.synced
        ]
        if not await self._kubernetes():
            missing.append("the Kubernetes API does not answer, or is not ready itself")
        return missing

    async def _kubernetes(self) -> bool:
        """Asked at most once a second, however often probes and load balancers ask us."""
        now = time.monotonic()
        if now >= self._asked_s + READY_ASKED_EVERY_S:
            self._asked_s = now
            self._kubernetes_ready = await self._host.is_ready()
        return self._kubernetes_ready

    async def _metrics(self, _: "Exchange") -> web.StreamResponse:
        return json_answer(self._measures.page(), content_type=METRICS)

    async def _version(self, _: "Exchange") -> web.StreamResponse:
        return document(version_info(self._kubernetes_version()))


def version_info(kubernetes: str) -> dict[str, Any]:
    """version: of the package; commit and build: what the image was made from, where it says so."""
    try:
        own = version("edge-platform")
    except PackageNotFoundError:
        own = "unknown"
    return {
        "version": f"v{own}",
        "gitVersion": f"v{own}",
        "commit": os.environ.get("EDGE_COMMIT", ""),
        "build": os.environ.get("EDGE_BUILD", ""),
        "python": platform.python_version(),
        "kubernetes": {"gitVersion": kubernetes},
    }
