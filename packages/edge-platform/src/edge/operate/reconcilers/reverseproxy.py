"""Says on each ReverseProxy whether it is served and why not; gateways decide by the same rules (G5)."""

from collections.abc import Hashable, Iterable
from datetime import UTC, datetime
from typing import Final

from edge.operate.matching import match_of, place_of
from edge.operate.plan import plan_status
from edge.operate.types import ReverseProxy
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.clock import Clock, SystemClock

BY_PATH: Final = "path"
"""Index of objects by the path that they answer."""


def path_of(proxy: ReverseProxy) -> tuple[Hashable, ...]:
    match = match_of(proxy)
    return ((match.segments, match.wide),) if match is not None else ()


class Rivals:
    """Whom a changed object concerns; asked of the cache, which the reconciler brings when it is made."""

    def __init__(self) -> None:
        self.cache: Reader | None = None

    def of(self, proxy: ReverseProxy) -> Iterable[Request]:
        """Others with its path: one that goes may have been in their way."""
        if self.cache is None:
            return ()
        found = [one for key in path_of(proxy) for one in self.cache.by(ReverseProxy, BY_PATH, key)]
        return [
            Request(one.metadata.name, one.metadata.namespace)
            for one in found
            if place_of(one) != place_of(proxy)
        ]


class ReverseProxyReconciler:
    def __init__(self, cache: Reader, client: Writer, rivals: Rivals, clock: Clock | None = None) -> None:
        self._cache = rivals.cache = cache
        self._clock = clock or SystemClock()

    async def reconcile(self, request: Request) -> Result:
        proxy = self._cache.get(ReverseProxy, request.name, request.namespace)
        if proxy is None or proxy.metadata.deletion_timestamp:
            return DONE
        others = [one for key in path_of(proxy) for one in self._cache.by(ReverseProxy, BY_PATH, key)]
        now = datetime.fromtimestamp(self._clock.now_s(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Result(status=plan_status(proxy, others, now))
