"""Figures about clusters, worked out from the cache when somebody scrapes. Pure."""

from collections.abc import Iterable

from edge.clusters import rules
from edge.clusters.types import Cluster
from edge_kube.runtime import Measure, Reader

CLUSTER_INFO = "cluster_info"


def measures(reader: Reader) -> Iterable[Measure]:
    samples = [
        (
            {
                "name": one.metadata.name,
                "type": rules.type_of(one),
                "distribution": one.status.distribution.served or rules.distribution_of(one),
                "version": one.status.kubernetes_version,
                "region": one.status.region,
            },
            1.0,
        )
        for one in reader.list(Cluster)
    ]
    yield Measure(CLUSTER_INFO, "One series a cluster, always 1.", samples)
