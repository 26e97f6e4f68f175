"""Names and shapes of all metrics of the runtime, on one registry that is passed in.

Names are those of controller-runtime and client-go, so that dashboards made for them work; the white paper's
`controller_reconcile_*` are the same samples under a second name (ruling OP 0.2), never counted twice.
Gauges about the platform's objects are shown by the leader only (OP 0.4), else a sum over replicas doubles.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

RECONCILE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
RESULTS = ("success", "error", "requeue", "requeue_after", "parked")

SECOND_NAMES = {
    "controller_runtime_reconcile": "controller_reconcile",
    "controller_runtime_reconcile_time_seconds": "controller_reconcile_duration_seconds",
}


@dataclass(frozen=True, slots=True)
class QueueState:
    """What a queue answers on a scrape."""

    high: int
    low: int
    parked: int
    unfinished_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class Measure:
    """A gauge family computed from the cache on each scrape. samples: label values by name, and the value."""

    name: str
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]


class Metrics:
    """All families of one process. Built once in an entry point; tests build their own, on a new registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self.queues: dict[str, Callable[[], QueueState]] = {}
        self._reconcile_families()
        self._queue_families()
        self._webhook_families()
        self._client_families()
        self._runtime_families()
        self.registry.register(_QueueCollector(self.queues))
        self.registry.register(_SecondNames((self.reconciles, self.reconcile_seconds)))

    def export_as_leader(
        self, is_leader: Callable[[], bool], sources: Sequence[Callable[[], Iterable[Measure]]]
    ) -> None:
        """Compute `sources` on each scrape, while this process leads."""
        self.registry.register(_LeaderCollector(is_leader, sources))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)

    def _reconcile_families(self) -> None:
        prefix = "controller_runtime_"
        self.reconciles = self._counter(
            prefix + "reconcile_total", "Reconciles by result.", "controller", "result"
        )
        self.reconcile_errors = self._counter(
            prefix + "reconcile_errors_total", "Reconciles that failed and are retried.", "controller"
        )
        self.terminal_errors = self._counter(
            prefix + "terminal_reconcile_errors_total",
            "Reconciles that failed and are not retried before the object changes.",
            "controller",
        )
        self.reconcile_panics = self._counter(
            prefix + "reconcile_panics_total",
            "Reconciles that ended in an error of the program.",
            "controller",
        )
        self.reconcile_timeouts = self._counter(
            prefix + "reconcile_timeouts_total", "Reconciles cancelled at their time limit.", "controller"
        )
        self.reconcile_seconds = self._histogram(
            prefix + "reconcile_time_seconds",
            "Length of reconciles.",
            "controller",
            buckets=RECONCILE_BUCKETS_S,
        )
        self.max_workers = self._gauge(
            prefix + "max_concurrent_reconciles", "Workers of a controller.", "controller"
        )
        self.active_workers = self._gauge(
            prefix + "active_workers", "Workers with a request in hand.", "controller"
        )

    def _queue_families(self) -> None:
        labels = ("name", "controller")
        self.queue_adds = self._counter("workqueue_adds_total", "Requests added to the queue.", *labels)
        self.queue_retries = self._counter("workqueue_retries_total", "Requests sent to back-off.", *labels)
        self.queue_wait = self._histogram(
            "workqueue_queue_duration_seconds",
            "Time from ready to taken by a worker.",
            *labels,
            buckets=RECONCILE_BUCKETS_S,
        )
        self.queue_work = self._histogram(
            "workqueue_work_duration_seconds",
            "Time from taken to finished.",
            *labels,
            buckets=RECONCILE_BUCKETS_S,
        )

    def _webhook_families(self) -> None:
        prefix = "controller_runtime_webhook_"
        self.webhook_requests = self._counter(
            prefix + "requests_total", "Admission requests by HTTP code.", "webhook", "code"
        )
        self.webhook_seconds = self._histogram(
            prefix + "latency_seconds", "Length of admission requests.", "webhook", buckets=REQUEST_BUCKETS_S
        )
        self.webhook_inflight = self._gauge(
            prefix + "requests_in_flight", "Admission requests being answered.", "webhook"
        )

    def _client_families(self) -> None:
        self.client_requests = self._counter(
            "rest_client_requests_total",
            "Requests to API servers; host is `member` for all member clusters.",
            "code",
            "method",
            "host",
        )
        self.client_seconds = self._histogram(
            "rest_client_request_duration_seconds",
            "Length of requests to API servers, without watches.",
            "verb",
            "host",
            buckets=REQUEST_BUCKETS_S,
        )
        self.writes_gated = self._counter(
            "edge_kube_writes_gated_total", "Writes stopped because the lease was lost."
        )

    def _runtime_families(self) -> None:
        prefix = "edge_kube_"
        self.leading = self._gauge("leader_election_master_status", "1 while this process leads.", "name")
        self.informer_objects = self._gauge(prefix + "informer_objects", "Objects cached.", "kind", "cluster")
        self.informer_stale = self._gauge(
            prefix + "informer_stale_seconds", "Time since the watch was last known good.", "kind", "cluster"
        )
        self.relists = self._counter(
            prefix + "relists_total", "Lists made anew, by reason.", "kind", "cluster", "reason"
        )
        self.watch_events = self._counter(
            prefix + "watch_events_total", "Watch events received.", "kind", "cluster", "type"
        )
        self.decode_errors = self._counter(
            prefix + "decode_errors_total", "Objects that could not be decoded.", "kind", "cluster"
        )
        self.breaker_changes = self._counter(
            prefix + "breaker_state_total", "Changes of member clusters' breakers, by new state.", "state"
        )
        self.loop_lag = self._gauge(
            prefix + "loop_lag_seconds", "Longest time the event loop was late, since the last scrape."
        )
        self.loop_stalls = self._counter(
            prefix + "loop_stalls_total", "Times the event loop was more than 250 ms late."
        )
        self.events_dropped = self._counter(
            prefix + "events_dropped_total", "Events not sent: queue full or too many about one object."
        )


class _QueueCollector(Collector):
    """Depths and ages, asked of the queues themselves: a gauge kept by hand drifts."""

    def __init__(self, queues: Mapping[str, Callable[[], QueueState]]) -> None:
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily(
            "workqueue_depth", "Requests ready for a worker.", labels=("name", "controller", "priority")
        )
        parked = GaugeMetricFamily(
            "edge_kube_parked", "Requests waiting for a member cluster.", labels=("controller",)
        )
        unfinished = GaugeMetricFamily(
            "workqueue_unfinished_work_seconds", "Work in hand, summed.", labels=("name", "controller")
        )
        longest = GaugeMetricFamily(
            "workqueue_longest_running_processor_seconds",
            "Age of the oldest request in hand.",
            labels=("name", "controller"),
        )
        for name, ask in self._queues.items():
            state = ask()
            depth.add_metric((name, name, "high"), state.high)
            depth.add_metric((name, name, "low"), state.low)
            parked.add_metric((name,), state.parked)
            unfinished.add_metric((name, name), state.unfinished_s)
            longest.add_metric((name, name), state.longest_s)
        yield from (depth, parked, unfinished, longest)


class _SecondNames(Collector):
    """The same samples once more, under the white paper's names."""

    def __init__(self, families: Sequence[Counter | Histogram]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for source in self._families:
            for family in source.collect():
                name = SECOND_NAMES[family.name]
                second = Metric(name, family.documentation, family.type)
                for sample in family.samples:
                    second.samples.append(sample._replace(name=name + sample.name[len(family.name) :]))
                yield second


class _LeaderCollector(Collector):
    def __init__(
        self, is_leader: Callable[[], bool], sources: Sequence[Callable[[], Iterable[Measure]]]
    ) -> None:
        self._is_leader = is_leader
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        if not self._is_leader():
            return
        for source in self._sources:
            for measure in source():
                names = sorted({name for labels, _ in measure.samples for name in labels})
                family = GaugeMetricFamily(measure.name, measure.help, labels=names)
                for labels, value in measure.samples:
                    family.add_metric([labels.get(name, "") for name in names], value)
                yield family
