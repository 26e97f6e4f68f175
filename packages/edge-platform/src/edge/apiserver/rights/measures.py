"""What is counted of decisions, and how the index behind them is (O1; design §14).

Counted in plain numbers and told when somebody asks: a decision takes microseconds, a counter of the metrics
library as long again.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.iam.access import IndexAccess
from edge.iam.freshness import Freshness, State
from edge.iam.index import Index
from edge_sdk.access import Action, Caller, Decision
from edge_sdk.problem import Unavailable

BUCKETS_S: Final = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2)
ALLOWS_ALL: Final = "authorization.mode is AlwaysAllow"
RESULTS: Final = ("allowed", "denied", "unavailable", "bad")


class Checks:
    """Decisions of this process, by result."""

    def __init__(self) -> None:
        self.results: dict[str, int] = dict.fromkeys(RESULTS, 0)
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.seconds = 0.0

    def seen(self, allowed: bool, seconds: float) -> None:
        self.results["allowed" if allowed else "denied"] += 1
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.seconds += seconds

    def refused(self, result: str) -> None:
        """Nothing was decided. result: "unavailable" or "bad"."""
        self.results[result] += 1


class CountedAccess(IndexAccess):
    def __init__(self, index: Index, freshness: Freshness, checks: Checks) -> None:
        super().__init__(index, freshness)
        self._checks = checks

    def may(self, caller: Caller, action: Action) -> Decision:
        """Raises Unavailable."""
        try:
            return super().may(caller, action)
        except Unavailable:
            self._checks.refused("unavailable")
            raise

    def decide(self, caller: Caller, action: Action) -> Decision:
        start = time.perf_counter()
        decision = super().decide(caller, action)
        self._checks.seen(decision.allowed, time.perf_counter() - start)
        return decision


class AllowAll(CountedAccess):
    """`authorization.mode: AlwaysAllow`. Who it is, is still asked and recorded; roles say nothing."""

    def may(self, caller: Caller, action: Action) -> Decision:
        return self.decide(caller, action)

    def decide(self, caller: Caller, action: Action) -> Decision:
        self._checks.seen(allowed=True, seconds=0.0)
        return Decision(allowed=True, reason=ALLOWS_ALL)

    def why(self, caller: Caller, action: Action) -> str:
        return ALLOWS_ALL


class AuthzCollector(Collector):
    """Registers itself. What is read at the time of asking comes as functions."""

    def __init__(
        self,
        registry: CollectorRegistry,
        checks: Checks,
        *,
        state: Callable[[], State],
        identities: Callable[[], int],
        ages_s: Callable[[], Mapping[str, float]],
        drops: Mapping[str, int],
        drift: Callable[[], int],
        mode: str,
    ) -> None:
        """ages_s: kind → how long its server was not heard of. drops: event → times; kept by the caller."""
        self._checks = checks
        self._state = state
        self._identities = identities
        self._ages_s = ages_s
        self._drops = drops
        self._drift = drift
        self._mode = mode
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        yield from self._decisions()
        mode = GaugeMetricFamily(
            "edge_authz_mode", "1 for authorization.mode; AlwaysAllow asks no role.", labels=("mode",)
        )
        mode.add_metric((self._mode,), 1.0)
        yield mode
        state = GaugeMetricFamily(
            "edge_authz_state", "1 for the state that the picture of rights is in.", labels=("state",)
        )
        now = self._state()
        for one in State:
            state.add_metric((one.value,), float(one is now))
        yield state
        identities = GaugeMetricFamily("edge_authz_identities", "Callers whose rights are worked out.")
        identities.add_metric((), self._identities())
        yield identities
        age = GaugeMetricFamily(
            "edge_authz_index_age_seconds", "Since the API server was heard of a kind.", labels=("kind",)
        )
        for kind, seconds in self._ages_s().items():
            age.add_metric((kind,), seconds)
        yield age
        drops = CounterMetricFamily(
            "edge_authz_drop", "Times that worked out rights were dropped.", labels=("event",)
        )
        for event, times in self._drops.items():
            drops.add_metric((event,), times)
        yield drops
        drift = CounterMetricFamily(
            "edge_authz_relist_drift", "Changes that a list brought and a watch should have."
        )
        drift.add_metric((), self._drift())
        yield drift

    def _decisions(self) -> Iterator[Metric]:
        checks = self._checks
        results = CounterMetricFamily("edge_authz_checks", "Decisions by result.", labels=("result",))
        for result, times in checks.results.items():
            results.add_metric((result,), times)
        yield results
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*BUCKETS_S, float("inf")), checks.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), total))
        took = HistogramMetricFamily("edge_authz_check_seconds", "Time that a decision took.")
        took.add_metric((), buckets, checks.seconds)
        yield took
