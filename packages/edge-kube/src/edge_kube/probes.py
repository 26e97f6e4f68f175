"""/healthz, /readyz and /metrics over HTTP, and the meter of how late the event loop is."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from aiohttp import web
from prometheus_client import CollectorRegistry, exposition

from edge_kube.metrics import Metrics

_TICK_S = 0.25
STALL_S = 0.25  # from here on, something that belongs into a thread or a child process ran on the loop

Check = Callable[[], str]
"""Says what is wrong; "" when all is well."""


class LoopLag:
    """How late the loop is. `worst_s` is reset by reading it, so that a scrape sees each stall once."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._worst_s = 0.0
        self.last_s = 0.0
        metrics.loop_lag.set_function(self.worst_s)

    def worst_s(self) -> float:
        worst, self._worst_s = self._worst_s, 0.0
        return worst

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            self.last_s = max(0.0, loop.time() - due)
            self._worst_s = max(self._worst_s, self.last_s)
            if self.last_s > STALL_S:
                self._metrics.loop_stalls.inc()


class ProbeServer:
    """One listener that answers all three paths, so that either documented port serves each of them."""

    def __init__(
        self, registry: CollectorRegistry, *, live: Mapping[str, Check], ready: Mapping[str, Check]
    ) -> None:
        self._registry = registry
        self._app = web.Application()
        self._app.router.add_get("/healthz", partial(_checked, live))
        self._app.router.add_get("/readyz", partial(_checked, ready))
        self._app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=1.0)
        self.ports: list[int] = []

    async def start(self, *addresses: tuple[str, int]) -> None:
        """Listen on each (host, port); port 0 takes a free one. Raises OSError."""
        await self._runner.setup()
        for host, port in addresses:
            site = web.TCPSite(self._runner, host, port)
            await site.start()
        self.ports = [int(address[1]) for address in self._runner.addresses]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, kind = exposition.choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": kind})


async def _checked(checks: Mapping[str, Check], _request: web.Request) -> web.Response:
    found = {name: check() for name, check in checks.items()}
    lines = [f"[-] {name}: {wrong}" if wrong else f"[+] {name} ok" for name, wrong in found.items()]
    bad = any(found.values())
    return web.Response(status=503 if bad else 200, text="\n".join([*lines, "failed" if bad else "ok", ""]))
