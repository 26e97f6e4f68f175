"""What the metrics say about clusters (O1; seed documents: white paper 12.3.2, 13.2.2, 13.6.3)."""

from collections import Counter
from collections.abc import Iterable

from edge.clusters.rules import distribution_of, type_of
from edge.clusters.types import Cluster
from edge_kube.conditions import is_true
from edge_kube.runtime import Measure, Reader

FAMILIES = {
    "cluster_info": "One series a cluster, with what it is.",
    "cluster_total": "Clusters by type.",
    "cluster_status": "Clusters by state: running, failed (once Ready and silent now), creating.",
}


def measures(cache: Reader) -> Iterable[Measure]:
    """Computed from the cache on each scrape, by the leader only."""
    clusters = cache.list(Cluster)
    types = Counter({"physical": 0, "virtual": 0})
    types.update(type_of(cluster) for cluster in clusters)
    states = Counter({"running": 0, "failed": 0, "creating": 0})
    states.update(state_of(cluster) for cluster in clusters)
    yield _family("cluster_info", [(_info(cluster), 1.0) for cluster in clusters])
    yield _family("cluster_total", [({"type": name}, float(count)) for name, count in types.items()])
    yield _family("cluster_status", [({"status": name}, float(count)) for name, count in states.items()])


def state_of(cluster: Cluster) -> str:
    if is_true(cluster.status.conditions, "Ready"):
        return "running"
    # It has a version once it answered for the first time.
    return "failed" if cluster.status.kubernetes_version else "creating"


def _info(cluster: Cluster) -> dict[str, str]:
    return {
        "name": cluster.metadata.name,
        "type": type_of(cluster),
        "distribution": cluster.status.distribution.served or distribution_of(cluster),
        "version": cluster.status.kubernetes_version,
        "region": cluster.status.region,
    }


def _family(name: str, samples: list[tuple[dict[str, str], float]]) -> Measure:
    return Measure(name, FAMILIES[name], samples)
