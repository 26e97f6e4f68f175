"""Short ways to write the objects of the application store in tests."""

from typing import Any

import msgspec

from edge.apps.types import Application, ApplicationDeployment, ApplicationVersion
from edge.clusters.types import Cluster
from edge.nodes.types import NodeGroup

POD: dict[str, Any] = {"spec": {"containers": [{"name": "main", "image": "nginx:1.25"}]}}


def application(name: str = "qc", **labels: str) -> Application:
    return msgspec.convert({"metadata": {"name": name, "labels": labels}, "spec": {}}, Application)


def version(text: str, phase: str = "", *, name: str = "", **spec: Any) -> ApplicationVersion:
    spec = {"applicationRef": "qc", "version": text, **spec}
    metadata = {"name": name or f"qc-{text}"}
    return msgspec.convert(
        {"metadata": metadata, "spec": spec, "status": {"reviewPhase": phase}}, ApplicationVersion
    )


def workloads(text: str, *names: str, phase: str = "") -> ApplicationVersion:
    items = [{"name": name, "spec": {"template": POD}} for name in names]
    return version(text, phase, workloadConfig={"deployments": items})


def deployment(
    wanted: str = "latest", *topologies: dict[str, Any], generation: int = 1, status: Any = None
) -> ApplicationDeployment:
    metadata = {"name": "qc", "namespace": "team-a", "uid": "uid-1", "generation": generation}
    spec = {"application": "qc", "version": wanted, "topologies": list(topologies)}
    return msgspec.convert(
        {"metadata": metadata, "spec": spec, "status": status or {}}, ApplicationDeployment
    )


def group(name: str, cluster: str = "", *taints: str, granted: str | None = None) -> NodeGroup:
    labels = {"scope.theriseunion.io/cluster": cluster} if cluster else {}
    spec = {"template": {"taints": list(taints)}}
    annotations = {} if granted is None else {"theriseunion.io/granted-workspaces": granted}
    metadata = {"name": name, "labels": labels, "annotations": annotations}
    return msgspec.convert({"metadata": metadata, "spec": spec}, NodeGroup)


def cluster(name: str, **labels: str) -> Cluster:
    return msgspec.convert({"metadata": {"name": name, "labels": labels}}, Cluster)
