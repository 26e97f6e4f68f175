"""What a virtual cluster needs in the host cluster, as manifests. Pure."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.clusters import rules
from edge.clusters.engines import HOSTED_CHART, Wish, hosted
from edge.clusters.types import CLUSTER_LABEL, CLUSTER_UID_ANNOTATION, SYSTEM_NAMESPACE
from edge.components.types import (
    BUILTIN_REPOSITORY,
    ChartRef,
    Component,
    ComponentSpec,
    Dependency,
)
from edge_kube.meta import Manifest, ObjectMeta, to_manifest

API_PORT = 6443
PLANE = "plane"
PKI_SECRET = "plane-pki"  # noqa: S105  a name
JOIN_SECRET = "worker-join"  # noqa: S105
PLATFORM_ETCD = "etcd"

_SECURITY = "pod-security.kubernetes.io/enforce"


@dataclass(frozen=True, slots=True)
class Child:
    """A chart inside the cluster; after: the chart that must be Ready before it."""

    chart: str
    namespace: str
    version: str = ""
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    after: str = ""


def labels(name: str) -> dict[str, str]:
    return {CLUSTER_LABEL: name, "app.kubernetes.io/name": "edge-platform"}


def marks(uid: str) -> dict[str, str]:
    return {CLUSTER_UID_ANNOTATION: uid}


def namespace(wish: Wish) -> Manifest:
    """Nested workers are privileged; a control plane alone keeps to the strictest profile."""
    profile = "privileged" if wish.workers or wish.engine.engine != "hosted" else "restricted"
    name = rules.namespace_of(wish.name)
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {**labels(wish.name), "name": name, _SECURITY: profile},
            "annotations": marks(wish.uid),
        },
    }


def service(name: str, uid: str) -> Manifest:
    """Made before the release: its addresses stand in certificates and flags."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": PLANE,
            "namespace": rules.namespace_of(name),
            "labels": {**labels(name), "app": PLANE},
            "annotations": marks(uid),
        },
        "spec": {
            "type": "NodePort",
            "selector": {"app": PLANE},
            "ports": [{"name": "https", "port": API_PORT, "targetPort": API_PORT, "protocol": "TCP"}],
        },
    }


def server_names(name: str, dns_domain: str, service_ip: str, addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Names and addresses in the API server's certificate."""
    namespace_ = rules.namespace_of(name)
    inside = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
    outside = (PLANE, f"{PLANE}.{namespace_}", f"{PLANE}.{namespace_}.svc", "localhost", "127.0.0.1")
    full = (f"kubernetes.default.svc.{dns_domain}", f"{PLANE}.{namespace_}.svc.cluster.local")
    return tuple(dict.fromkeys((*inside, *full, *outside, service_ip, *addresses)))


def secret(name: str, uid: str, secret_name: str, namespace_: str, files: Mapping[str, bytes]) -> Manifest:
    """A Secret of the cluster `name`; files are its keys and their content."""
    made = _secret(secret_name, namespace_, files)
    made["metadata"] |= {"labels": labels(name), "annotations": marks(uid)}
    return made


def system_secret(secret_name: str, files: Mapping[str, bytes]) -> Manifest:
    """A Secret of the platform's etcd."""
    made = _secret(secret_name, SYSTEM_NAMESPACE, files)
    made["metadata"]["labels"] = {"app": PLATFORM_ETCD, "app.kubernetes.io/name": "edge-platform"}
    return made


def _secret(name: str, namespace_: str, files: Mapping[str, bytes]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace_},
        "data": {key: base64.b64encode(value).decode() for key, value in sorted(files.items())},
    }


def component(wish: Wish, address: str) -> Manifest:
    """The Component that installs the control plane and its workers (R21)."""
    own = wish.engine.chart == HOSTED_CHART
    values = hosted(wish, address=address) if own else wish.engine.values(wish)
    needs = (Dependency(name=PLATFORM_ETCD),) if own and wish.store == "shared" else ()
    chart = ChartRef(
        name=wish.engine.chart,
        namespace=rules.namespace_of(wish.name),
        release_name=wish.name,
        repository=BUILTIN_REPOSITORY if own else "",
    )
    spec = ComponentSpec(
        enabled=True,
        chart=chart,
        version=wish.engine.chart_version,
        values=values,
        dependencies=needs,
    )
    return _component(wish, rules.component_of(wish.name), spec)


def child_component(wish: Wish, child: Child) -> Manifest:
    """A Component installed inside the cluster: a part of its edge runtime, or one of spec.components."""
    needs = (Dependency(name=child_name(wish.name, child.after)),) if child.after else ()
    spec = ComponentSpec(
        enabled=True,
        chart=ChartRef(name=child.chart, namespace=child.namespace, release_name=child.chart),
        version=child.version,
        values=dict(child.values),
        dependencies=needs,
        target_cluster=wish.name,
    )
    return _component(wish, child_name(wish.name, child.chart), spec)


def child_name(cluster: str, chart: str) -> str:
    return f"{cluster}-{chart}"


def _component(wish: Wish, name: str, spec: ComponentSpec) -> Manifest:
    metadata = ObjectMeta(
        name=name, namespace=SYSTEM_NAMESPACE, labels=labels(wish.name), annotations=marks(wish.uid)
    )
    manifest = to_manifest(Component(metadata=metadata, spec=spec))
    manifest["spec"]["enabled"] = True  # a default is left out, but the contract requires the field
    return manifest
