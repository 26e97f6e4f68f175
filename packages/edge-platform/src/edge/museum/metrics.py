"""Metrics under upstream's names (K11), and two of ours."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from edge.museum.catalog import Catalog


class Metrics:
    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "chartmuseum_requests", "Requests answered.", ["code", "method"], registry=self._registry
        )
        self.duration = Histogram(
            "chartmuseum_request_duration_seconds", "Time to answer.", ["action"], registry=self._registry,
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10),
        )  # fmt: skip
        self._charts = Gauge(
            "chartmuseum_charts_served_total", "Charts in the index.", ["repo"], registry=self._registry
        )
        self._versions = Gauge(
            "chartmuseum_chart_versions_served_total",
            "Versions in the index.",
            ["repo"],
            registry=self._registry,
        )
        self._unreadable = Gauge(
            "edge_museum_unreadable_files", "Files left out of the index.", registry=self._registry
        )

    def render(self, catalog: Catalog) -> bytes:
        for repo, index in catalog.repositories.items():
            self._charts.labels(repo).set(len(index.charts))
            self._versions.labels(repo).set(index.version_count)
        self._unreadable.set(catalog.unreadable)
        return generate_latest(self._registry)
