"""What the gateway counts (O1). Labels come from known kinds only, so that no caller can make series grow."""

import time
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edge.apiserver.paths import Resource

BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10)
KINDS_MAX: Final = 400
LABELS: Final = ("verb", "group", "version", "resource", "scope")
OTHER: Final = Resource(group="", version="", resource="other")


class Measures:
    """One registry per process; label children are looked up once and kept."""

    def __init__(
        self, registry: CollectorRegistry, inflight: Callable[[], int], streams: Callable[[], int]
    ) -> None:
        self._registry = registry
        self._requests = Counter(
            "apiserver_request", "Requests by what they were about.", (*LABELS, "code"), registry=registry
        )
        self._seconds = Histogram(
            "apiserver_request_duration_seconds",
            "Time to answer; streams are left out.",
            LABELS,
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.throttled = Counter(
            "edge_gateway_throttled", "Requests delayed or refused by a limit.", ("what",), registry=registry
        )
        self.shells_idle = Counter(
            "edge_gateway_shells_idle",
            "Upgrades closed because nobody used them.",
            registry=registry,
        )
        self.sign_ins = Counter(
            "edge_gateway_sign_ins", "Attempts to sign in.", ("result",), registry=registry
        )
        self.jwt_secret_weak = Gauge(
            "edge_gateway_jwt_secret_weak",
            "JWT_SECRET is published (and ignored) or short.",
            ("problem",),
            registry=registry,
        )
        Gauge("edge_gateway_inflight", "Short requests in hand.", registry=registry).set_function(inflight)
        Gauge("edge_gateway_streams", "Watches, logs and shells open.", registry=registry).set_function(
            streams
        )
        self._kinds: set[tuple[str, str, str]] = set()
        self._counters: dict[tuple[str, ...], Counter] = {}
        self._histograms: dict[tuple[str, ...], Histogram] = {}

    def record(
        self, verb: str, resource: Resource | None, scope: str, code: int, started_s: float, *, stream: bool
    ) -> None:
        """scope: its type. started_s: time.perf_counter() at the start."""
        about = self._bounded(resource, code)
        labels = (verb, about.group, about.version, about.resource, scope)
        counter_key = (*labels, str(code))
        counter = self._counters.get(counter_key)
        if counter is None:
            counter = self._counters[counter_key] = self._requests.labels(*counter_key)
        counter.inc()
        if stream:
            return
        histogram = self._histograms.get(labels)
        if histogram is None:
            histogram = self._histograms[labels] = self._seconds.labels(*labels)
        histogram.observe(time.perf_counter() - started_s)

    def _bounded(self, resource: Resource | None, code: int) -> Resource:
        """A resource that was never answered with success has no series of its own."""
        if resource is None:
            return OTHER
        kind = (resource.group, resource.version, resource.resource)
        if kind in self._kinds:
            return resource
        if code >= 400 or len(self._kinds) >= KINDS_MAX:
            return OTHER
        self._kinds.add(kind)
        return resource

    def page(self) -> bytes:
        return generate_latest(self._registry)
