"""The built-in provisioner `workload`: Deployments, StatefulSets, DaemonSets and their Services (A4).

Registered by entry point like any other plugin, so that the public door is the one we use ourselves.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from edge.apps.types import (
    ApplicationVersionSpec,
    DaemonSetItem,
    ServiceItem,
    StatefulSetItem,
    WorkloadConfig,
    WorkloadItem,
)
from edge_kube.meta import Manifest
from edge_sdk.problem import Violation
from edge_sdk.provisioner import Deployed, Plan, ProvisionerPlugin, ProvisionStatus, Topology, Version
from edge_sdk.workload_status import status_of_workloads

WORKLOAD_LABEL: Final = "app.theriseunion.io/workload"
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

Item = WorkloadItem | StatefulSetItem | DaemonSetItem


class WorkloadProvisioner(ProvisionerPlugin):
    """Label app.theriseunion.io/provisioner: workload; settings in spec.workloadConfig."""

    def validate(self, version: Version) -> Sequence[Violation]:
        try:
            config = _config(version)
        except msgspec.ValidationError as error:
            return [Violation("spec.workloadConfig", None, str(error), "fields as kubectl explain shows")]
        if not _workloads(config):
            accepted = "at least one of deployments, statefulSets, daemonSets"
            return [Violation("spec.workloadConfig", None, "there is nothing to run", accepted)]
        return [*_name_violations(config), *_template_violations(config)]

    def provision(self, version: Version, topology: Topology) -> Plan:
        config = _config(version)
        return Plan(
            objects=(
                *(_service(item, topology) for item in config.services),
                *(_deployment(item, topology) for item in config.deployments),
                *(_stateful_set(item, config, topology) for item in config.stateful_sets),
                *(_daemon_set(item, topology) for item in config.daemon_sets),
            )
        )

    def get_status(self, deployment: Deployed) -> ProvisionStatus:
        return status_of_workloads(deployment)


def _config(version: Version) -> WorkloadConfig:
    config = msgspec.convert(dict(version.spec), ApplicationVersionSpec).workload_config
    return WorkloadConfig() if config is msgspec.UNSET else config


def _workloads(config: WorkloadConfig) -> list[tuple[str, Item]]:
    """(path of the list, item) of everything that runs pods."""
    return [
        *(("deployments", item) for item in config.deployments),
        *(("statefulSets", item) for item in config.stateful_sets),
        *(("daemonSets", item) for item in config.daemon_sets),
    ]


def _name_violations(config: WorkloadConfig) -> list[Violation]:
    found: list[Violation] = []
    names: set[tuple[str, str]] = set()
    services = [("services", item) for item in config.services]
    for path, item in [*_workloads(config), *services]:
        where = f"spec.workloadConfig.{path}[{item.name}].name"
        if not _DNS_LABEL.fullmatch(item.name):
            rule = "lower-case letters, digits and dashes, at most 63"
            found.append(Violation(where, item.name, "is no name of an object", rule))
        if (path, item.name) in names:
            found.append(Violation(where, item.name, "is there twice", "a name of its own"))
        names.add((path, item.name))
    return found


def _template_violations(config: WorkloadConfig) -> list[Violation]:
    found: list[Violation] = []
    for path, item in _workloads(config):
        where = f"spec.workloadConfig.{path}[{item.name}].spec.template.spec.containers"
        containers = _containers(item)
        if not containers:
            found.append(Violation(where, None, "a workload needs a container", "a list of containers"))
        found += [
            Violation(f"{where}[{index}].{field}", None, "is required", "a text")
            for index, container in enumerate(containers)
            for field in ("name", "image")
            if not container.get(field)
        ]
    return found


def _containers(item: Item) -> list[Mapping[str, Any]]:
    """The template's containers; one that is no object counts as an empty one."""
    pod: Any = item.spec.template.get("spec")
    listed: Any = cast("Mapping[str, Any]", pod).get("containers") if isinstance(pod, Mapping) else None
    if not isinstance(listed, list):
        return []
    items = cast("list[Any]", listed)
    return [cast("Mapping[str, Any]", one) if isinstance(one, Mapping) else {} for one in items]


def _deployment(item: WorkloadItem, topology: Topology) -> Manifest:
    spec: Manifest = _pod_part(item)
    if item.spec.replicas is not msgspec.UNSET:
        spec["replicas"] = item.spec.replicas
    if item.spec.strategy:
        spec["strategy"] = dict(item.spec.strategy)
    return _object("apps/v1", "Deployment", topology.name(item.name), spec)


def _stateful_set(item: StatefulSetItem, config: WorkloadConfig, topology: Topology) -> Manifest:
    spec: Manifest = _pod_part(item)
    service = item.spec.service_name or item.name
    own = {one.name for one in config.services}
    spec["serviceName"] = topology.name(service) if service in own or not item.spec.service_name else service
    if item.spec.replicas is not msgspec.UNSET:
        spec["replicas"] = item.spec.replicas
    if item.spec.pod_management_policy:
        spec["podManagementPolicy"] = item.spec.pod_management_policy
    if item.spec.update_strategy:
        spec["updateStrategy"] = dict(item.spec.update_strategy)
    if item.spec.volume_claim_templates:
        spec["volumeClaimTemplates"] = [dict(claim) for claim in item.spec.volume_claim_templates]
    return _object("apps/v1", "StatefulSet", topology.name(item.name), spec)


def _daemon_set(item: DaemonSetItem, topology: Topology) -> Manifest:
    spec: Manifest = _pod_part(item)
    if item.spec.update_strategy:
        spec["updateStrategy"] = dict(item.spec.update_strategy)
    return _object("apps/v1", "DaemonSet", topology.name(item.name), spec)


def _service(item: ServiceItem, topology: Topology) -> Manifest:
    return _object("v1", "Service", topology.name(item.name), dict(item.spec))


def _pod_part(item: Item) -> Manifest:
    """Selector and pod template. Every pod carries its workload's name, whatever labels the template has."""
    template: Manifest = dict(item.spec.template)
    metadata: Manifest = dict(template.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), WORKLOAD_LABEL: item.name}
    template["metadata"] = metadata
    return {"selector": {"matchLabels": {WORKLOAD_LABEL: item.name}}, "template": template}


def _object(api_version: str, kind: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}
