"""The engine table: which chart serves which distribution, with which values (C11). Data, and pure functions.

A further row needs no code beside its values function. The charts of engine vcluster are upstream's and are
not part of the platform's own museum; without them the Component says which file to upload.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge.clusters.settings import ImageSettings
from edge.clusters.types import NetworkStatus

Values = dict[str, Any]

HOSTED_CHART = "vcluster-hosted"


@dataclass(frozen=True, slots=True)
class Wish:
    """A virtual cluster as it shall be: the spec, the settings and what was allocated, worked out."""

    name: str
    uid: str
    engine: "Engine"
    distribution: str
    kubernetes: str
    images: ImageSettings
    network: NetworkStatus
    dns_ip: str
    store: str
    store_endpoint: str
    store_size: str
    workers: int
    worker_resources: Mapping[str, Any]
    quota: Mapping[str, str]
    pools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Engine:
    """One row. served: the distribution that runs; kubernetes: version in the chart, "" is the platform's.

    secret: name of the kubeconfig Secret that the chart makes, with {name} in it; "" when we make it.
    """

    engine: str
    distribution: str
    served: str
    chart: str
    chart_version: str
    values: Callable[[Wish], Values]
    kubernetes: str = ""
    secret: str = ""


def hosted(wish: Wish, *, address: str = "") -> Values:
    """Values of chart vcluster-hosted. address: that of Service plane, known once the Service is there."""
    values: Values = {
        "cluster": {"name": wish.name, "uid": wish.uid},
        "images": {
            "kube": wish.images.kube[wish.kubernetes],
            "worker": wish.images.worker,
            "etcd": wish.images.etcd,
            "pullPolicy": wish.images.pull_policy,
        },
        "plane": {"address": address},
        "network": {
            "serviceCIDR": wish.network.service_cidr,
            "podCIDR": wish.network.pod_cidr,
            "dnsDomain": wish.network.dns_domain,
            "dnsIP": wish.dns_ip,
        },
        "store": _store(wish),
        "worker": {"count": wish.workers},
        "networkPolicy": {"pools": list(wish.pools)},
    }
    if wish.worker_resources:
        values["worker"]["resources"] = dict(wish.worker_resources)
    if wish.quota:
        values["quota"] = dict(wish.quota)
    return values


def _store(wish: Wish) -> Values:
    if wish.store == "shared":
        return {"mode": "shared", "endpoint": wish.store_endpoint, "prefix": store_prefix(wish.uid)}
    return {"mode": "own", "size": wish.store_size}


def store_prefix(uid: str) -> str:
    """Where a tenant's keys lie. By uid: a later cluster of the same name sees none of them (R23)."""
    return f"/tenants/{uid}"


def store_user(uid: str) -> str:
    """The etcd user of a tenant, and the common name of its client certificate."""
    return f"tenant-{uid}"


def _vcluster(wish: Wish, distro: Values) -> Values:
    values: Values = {
        "controlPlane": {
            "distro": distro,
            "service": {"spec": {"type": "NodePort"}},
            "statefulSet": {
                "persistence": {"volumeClaim": {"size": wish.store_size}},
                "imagePullPolicy": wish.images.pull_policy,
            },
        },
        "exportKubeConfig": {
            "context": wish.name,
            "server": f"https://{wish.name}.vcluster-{wish.name}.svc:443",
        },
        "networking": {"advanced": {"clusterDomain": wish.network.dns_domain}},
        "policies": {"networkPolicy": {"enabled": True}},
        "sync": {"fromHost": {"nodes": {"enabled": True}}},
        "telemetry": {"enabled": False},
    }
    if wish.quota:
        values["policies"]["resourceQuota"] = {"enabled": True, "quota": dict(wish.quota)}
    return values


def vc_k8s(wish: Wish) -> Values:
    """Values of chart vcluster 0.36.1."""
    return _vcluster(wish, {"k8s": {"enabled": True}})


def vc_k3s(wish: Wish) -> Values:
    """Values of chart vcluster 0.32.3, the last that has k3s."""
    return _vcluster(wish, {"k3s": {"enabled": True}})


def vc_k0s(wish: Wish) -> Values:
    """Values of chart vcluster 0.25.2, the last that has k0s."""
    return _vcluster(wish, {"k0s": {"enabled": True}})


ENGINES: tuple[Engine, ...] = (
    Engine("hosted", "k8s", "k8s", HOSTED_CHART, "1.0.0", hosted),
    Engine("hosted", "k3s", "k8s", HOSTED_CHART, "1.0.0", hosted),
    Engine("hosted", "k0s", "k8s", HOSTED_CHART, "1.0.0", hosted),
    Engine("vcluster", "k8s", "k8s", "vcluster", "0.36.1", vc_k8s, "1.36.0", "vc-{name}"),
    Engine("vcluster", "k3s", "k3s", "vcluster", "0.32.3", vc_k3s, "1.35.0", "vc-{name}"),
    Engine("vcluster", "k0s", "k0s", "vcluster", "0.25.2", vc_k0s, "1.30.2", "vc-{name}"),
)


def engine_for(engine: str, distribution: str) -> Engine | None:
    """The row of the table; None for a pair that nothing serves."""
    return next((row for row in ENGINES if (row.engine, row.distribution) == (engine, distribution)), None)
