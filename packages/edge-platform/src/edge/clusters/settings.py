"""Settings of the clusters room; the chart's values `clusters.*` carry the same names."""

from collections.abc import Mapping

import msgspec

from edge_sdk.settings import Section


class NetworkSettings(Section):
    """Pools that virtual clusters get their ranges from, one /20 of each; reserved: never handed out."""

    service_pool: str = "10.128.0.0/12"
    pod_pool: str = "10.160.0.0/12"
    reserved: tuple[str, ...] = ()


class WorkerSettings(Section):
    """Nested workers of virtual clusters that do not say otherwise."""

    enabled: bool = False
    count: int = 1


class ImageSettings(Section):
    """Images of a hosted control plane. kube: one per Kubernetes version that the platform ships."""

    kube: Mapping[str, str] = msgspec.field(default_factory=lambda: {"1.36.3": "localhost/edge/kube:v1.0.0"})
    worker: str = "localhost/edge/worker:v1.0.0"
    etcd: str = "localhost/edge/etcd:v1.0.0"
    coredns: str = "localhost/edge/coredns:v1.0.0"
    pull_policy: str = "IfNotPresent"


class ClusterSettings(Section):
    """engine: hosted or vcluster, for clusters that do not say.

    connection_role: ClusterRole inside the virtual cluster of the kubeconfig in spec.connection.
    external_address: where NodePorts are reached from outside; empty: the first node's internal address.
    shared_etcd: the platform has an etcd of its own (value etcd.enabled), and virtual clusters use it.
    allow_loopback: kubeconfigs may lead to the platform's own machine; for tests and demonstrations.
    probe_period_s: how often a cluster that is Ready is asked; four periods without an answer are an outage.
    """

    engine: str = "hosted"
    connection_role: str = "cluster-admin"
    external_address: str = ""
    shared_etcd: bool = False
    etcd_endpoint: str = "https://etcd.edge-system.svc:2379"
    worker: WorkerSettings = WorkerSettings()
    network: NetworkSettings = NetworkSettings()
    images: ImageSettings = ImageSettings()
    default_quota: Mapping[str, str] = {}
    own_etcd_size: str = "2Gi"
    allow_loopback: bool = False
    probe_period_s: float = 10.0
