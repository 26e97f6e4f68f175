"""From a plugin's plan to the manifests of one place: overrides, labels, affinity, tolerations (A5). Pure.

Order: what the plugin made → the topology's override → what the platform adds. The platform comes last, so
that neither a version nor an override can leave the topology's nodes or hide what belongs to whom.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from msgspec import UNSET

from edge.apps.merge import MergeProblem, strategic_merge
from edge.apps.placement import Placement
from edge.apps.types import ApplicationDeployment, WorkloadOverride, WorkloadOverrideItem
from edge_kube.meta import Manifest
from edge_sdk.provisioner import Plan, Topology, plan_problems
from edge_sdk.scopes import (
    MANAGED_BY_LABEL,
    NODE_GROUP_MEMBER_PREFIX,
    OWNER_KIND_LABEL,
    OWNER_NAME_LABEL,
    OWNER_UID_LABEL,
)

PLACEMENT_LABEL: Final = "app.theriseunion.io/placement"
DEPLOYMENT_LABEL: Final = "app.theriseunion.io/deployment"
APPLICATION_LABEL: Final = "app.theriseunion.io/application"
WORKLOADS: Final = ("Deployment", "StatefulSet", "DaemonSet")
MANAGER_NAME: Final = "edge-platform"


class Unrenderable(ValueError):
    """A place cannot be rendered; reason is CamelCase, the message says where and what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def render(plan: Plan, place: Placement, deployment: ApplicationDeployment) -> tuple[Manifest, ...]:
    """Manifests to be applied, in the plan's order. Raises Unrenderable."""
    if problems := plan_problems(plan):
        raise Unrenderable("ProvisionerBroken", "the provisioner's plan is refused: " + "; ".join(problems))
    objects = [copy.deepcopy(obj) for obj in plan.objects]
    _override(objects, place)
    for obj in objects:
        _mark(obj, place, deployment)
        if obj["kind"] in WORKLOADS:
            _bind_workload(obj, place, deployment)
        elif obj["kind"] == "Service":
            _bind_service(obj, place)
    return tuple(objects)


def pod_labels(place: Placement, deployment: ApplicationDeployment) -> dict[str, str]:
    """Labels of pods. No uid among them: a deployment restored from a backup must not replace its pods."""
    return {
        PLACEMENT_LABEL: place.id,
        DEPLOYMENT_LABEL: deployment.metadata.name,
        APPLICATION_LABEL: deployment.spec.application,
        MANAGED_BY_LABEL: MANAGER_NAME,
    }


def owner_labels(deployment: ApplicationDeployment) -> dict[str, str]:
    """Who made an object, across clusters: an owner reference would let the garbage collector delete it."""
    return {
        OWNER_KIND_LABEL: "ApplicationDeployment",
        OWNER_NAME_LABEL: deployment.metadata.name,
        OWNER_UID_LABEL: deployment.metadata.uid,
    }


def _override(objects: Sequence[Manifest], place: Placement) -> None:
    for kind, path, item in _items(place.override):
        name = place.topology.name(item.name)
        where = f"spec.topologies[{place.index}].workloadOverride.{path}[{item.name}]"
        found = [obj for obj in objects if obj["kind"] == kind and obj["metadata"]["name"] == name]
        if not found:
            known = _known(objects, kind, place.topology)
            raise Unrenderable(
                "UnknownWorkload", f'{where}: the version has no {kind} "{item.name}"; it has {known}'
            )
        spec = cast("Manifest", found[0]["spec"])
        if item.spec.replicas is not UNSET:
            spec["replicas"] = item.spec.replicas
        if item.spec.strategy:
            spec["strategy" if kind == "Deployment" else "updateStrategy"] = dict(item.spec.strategy)
        try:
            spec["template"] = strategic_merge(spec["template"], item.spec.template)
        except MergeProblem as problem:
            raise Unrenderable("BadOverride", f"{where}.spec.template: {problem}") from problem


def _items(
    override: object,
) -> Iterator[tuple[str, str, WorkloadOverrideItem]]:
    """(kind, path, item) of everything an override names."""
    if not isinstance(override, WorkloadOverride):
        return
    for item in override.deployments:
        yield "Deployment", "deployments", item
    for item in override.stateful_sets:
        yield "StatefulSet", "statefulSets", item
    for item in override.daemon_sets:
        yield "DaemonSet", "daemonSets", item


def _known(objects: Sequence[Manifest], kind: str, topology: Topology) -> str:
    """Names as the version writes them: what the topology added is taken off again where it can be."""
    ending = "-".join(part for part in (topology.node_group, topology.node_name) if part)
    names = [str(obj["metadata"]["name"]) for obj in objects if obj["kind"] == kind]
    return ", ".join(name.removesuffix(f"-{ending}") if ending else name for name in names) or "none"


def _mark(obj: Manifest, place: Placement, deployment: ApplicationDeployment) -> None:
    metadata = cast("Manifest", obj["metadata"])
    metadata["namespace"] = place.topology.namespace
    metadata["labels"] = {
        **(metadata.get("labels") or {}),
        **pod_labels(place, deployment),
        **owner_labels(deployment),
    }


def _bind_workload(obj: Manifest, place: Placement, deployment: ApplicationDeployment) -> None:
    """Selector and pods carry the place; pods run on its nodes only and bear its group's taints."""
    spec = cast("Manifest", obj["spec"])
    template = cast("Manifest", spec["template"])
    metadata = cast("Manifest", template.setdefault("metadata", {}))
    have = cast("Manifest", spec.get("selector") or {})
    selector = cast("Manifest", have.get("matchLabels") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **selector, **pod_labels(place, deployment)}
    spec["selector"] = {
        **(spec.get("selector") or {}),
        "matchLabels": {**selector, PLACEMENT_LABEL: place.id},
    }
    pod = cast("Manifest", template.setdefault("spec", {}))
    requirement = _node_requirement(place)
    if requirement:
        pod.pop("nodeName", None)  # it would go past the scheduler, and so past the affinity
        pod["affinity"] = _with_requirement(pod.get("affinity") or {}, requirement)
    if place.taints:
        pod["tolerations"] = _with_tolerations(pod.get("tolerations") or [], place.taints)


def _node_requirement(place: Placement) -> Manifest:
    requirement: Manifest = {}
    topology = place.topology
    groups = [(topology.node_group, "Exists")] if topology.node_group else []
    groups += [(name, "DoesNotExist") for name in place.barred]
    if groups:
        requirement["matchExpressions"] = [
            {"key": f"{NODE_GROUP_MEMBER_PREFIX}{name}", "operator": operator} for name, operator in groups
        ]
    if topology.node_name:
        # By name, not by the hostname label: the two may differ, and a label can be changed.
        field = {"key": "metadata.name", "operator": "In", "values": [topology.node_name]}
        requirement["matchFields"] = [field]
    return requirement


def _with_requirement(affinity: Mapping[str, Any], requirement: Manifest) -> Manifest:
    """Terms are OR-ed, so each of them gets the requirement; none of them is a way out."""
    node_affinity = dict(affinity.get("nodeAffinity") or {})
    required = dict(node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {})
    terms = cast("list[Manifest]", required.get("nodeSelectorTerms") or [{}])
    required["nodeSelectorTerms"] = [
        {**term, **{key: [*term.get(key, []), *value] for key, value in requirement.items()}}
        for term in terms
    ]
    node_affinity["requiredDuringSchedulingIgnoredDuringExecution"] = required
    return {**affinity, "nodeAffinity": node_affinity}


def _with_tolerations(have: Sequence[Manifest], taints: Sequence[str]) -> list[Manifest]:
    new = [_toleration(text) for text in taints]
    return [*have, *(toleration for toleration in new if toleration not in have)]


def _toleration(taint: str) -> Manifest:
    """key[=value]:Effect → the toleration that matches it."""
    rest, _, effect = taint.strip().rpartition(":")
    key, _, value = rest.partition("=")
    if not value:
        return {"key": key, "operator": "Exists", "effect": effect}
    return {"key": key, "operator": "Equal", "value": value, "effect": effect}


def _bind_service(obj: Manifest, place: Placement) -> None:
    """A Service reaches the pods of its own place only; one that names another host stays as it is."""
    spec = cast("Manifest", obj.setdefault("spec", {}))
    if spec.get("type") != "ExternalName":
        spec["selector"] = {**(spec.get("selector") or {}), PLACEMENT_LABEL: place.id}
