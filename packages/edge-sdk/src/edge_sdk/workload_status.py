"""State of a topology from its workloads and pods; what most plugins answer from get_status. Pure (A5)."""

from collections.abc import Iterable, Mapping
from typing import Final

from edge_kube.conditions import condition
from edge_kube.core import ContainerStatus, DaemonSet, Deployment, Pod, StatefulSet
from edge_sdk.provisioner import Deployed, ProvisionStatus

NODES_SHOWN: Final = 10

FAILING: Final = {
    "ImagePullBackOff": "the image cannot be pulled; check its name, or load it into the cluster",
    "ErrImageNeverPull": "the image is not on the node and its pull policy is Never; load it there",
    "InvalidImageName": "the image's name is malformed; correct it in the version or the override",
    "CrashLoopBackOff": "the container keeps ending; read its log",
    "CreateContainerConfigError": "the container's settings are wrong",
    "CreateContainerError": "the container cannot be made",
    "RunContainerError": "the container cannot be started",
}
"""Waiting reasons of a container that do not go away by waiting, and what a person can do."""
_SAME: Final = {"ErrImagePull": "ImagePullBackOff"}  # the kubelet swings between the two; one word, one state
_DETAILED: Final = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
"""Reasons whose message does not change with time; the others hold waiting times."""

Workload = Deployment | StatefulSet | DaemonSet


def status_of_workloads(deployment: Deployed) -> ProvisionStatus:
    """Ready when every workload has all its pods ready at its newest spec; Failed when a pod cannot start."""
    workloads = deployment.workloads
    replicas = sum(wanted(workload) for workload in workloads)
    ready = sum(ready_pods(workload) for workload in workloads)
    nodes = sorted({pod.spec.node_name for pod in deployment.pods if pod.spec.node_name})
    status = ProvisionStatus(
        phase="Pending",
        reason="NotThereYet",
        message="the cluster has not reported any workload yet",
        replicas=replicas,
        ready_replicas=ready,
        nodes=tuple(nodes[:NODES_SHOWN]),
        workload_name=workloads[0].metadata.name if workloads else "",
    )
    if not workloads:
        return status
    if trouble := first_trouble(deployment.pods):
        return _with(status, "Failed", *trouble)
    if trouble := refused(workloads):
        return _with(status, "Failed", *trouble)
    if all(settled(workload) for workload in workloads):
        return _with(status, "Ready", "AllPodsReady", "")
    if trouble := unschedulable(deployment.pods):
        return _with(status, "Pending", *trouble)
    return _with(status, "Progressing", "WaitingForPods", f"{ready} of {replicas} pods are ready")


def wanted(workload: Workload) -> int:
    if isinstance(workload, DaemonSet):
        return workload.status.desired_number_scheduled
    return workload.spec.replicas


def ready_pods(workload: Workload) -> int:
    if isinstance(workload, DaemonSet):
        return min(workload.status.number_ready, wanted(workload))
    return min(workload.status.ready_replicas, wanted(workload))


def settled(workload: Workload) -> bool:
    """The controller has seen the newest spec, and all pods run it and are ready."""
    if workload.status.observed_generation < workload.metadata.generation:
        return False
    if isinstance(workload, DaemonSet):
        status = workload.status
        return status.updated_number_scheduled == status.desired_number_scheduled == status.number_ready
    replicas = workload.spec.replicas
    updated = workload.status.updated_replicas
    if (
        isinstance(workload, StatefulSet)
        and workload.status.current_revision == workload.status.update_revision
    ):
        updated = workload.status.replicas
    return updated == replicas and ready_pods(workload) == replicas


def first_trouble(pods: Iterable[Pod]) -> tuple[str, str] | None:
    """Reason and message of the first pod (by name) that cannot start without help."""
    for pod in sorted(pods, key=lambda pod: pod.metadata.name):
        for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
            if trouble := _container_trouble(pod, container):
                return trouble
    return None


def unschedulable(pods: Iterable[Pod]) -> tuple[str, str] | None:
    for pod in sorted(pods, key=lambda pod: pod.metadata.name):
        scheduled = condition(pod.status.conditions, "PodScheduled")
        if scheduled is not None and scheduled.status == "False":
            return "Unschedulable", f"pod {pod.metadata.name} finds no node: {scheduled.message}"
    return None


def refused(workloads: Iterable[Workload]) -> tuple[str, str] | None:
    """A Deployment whose pods the API refuses (quota, pod security) says so in ReplicaFailure."""
    for workload in workloads:
        failure = condition(workload.status.conditions, "ReplicaFailure")
        if failure is not None and failure.status == "True":
            return failure.reason or "ReplicaFailure", f"{workload.metadata.name}: {failure.message}"
    return None


def _container_trouble(pod: Pod, container: ContainerStatus) -> tuple[str, str] | None:
    waiting: Mapping[str, object] = container.state.waiting
    reason = str(waiting.get("reason", ""))
    reason = _SAME.get(reason, reason)
    if reason not in FAILING:
        return None
    detail = str(waiting.get("message", "")) if reason in _DETAILED else ""
    where = f" on node {pod.spec.node_name}" if pod.spec.node_name else ""
    text = f"container {container.name} of pod {pod.metadata.name}{where}, image {container.image}: "
    return reason, text + FAILING[reason] + (f" ({detail})" if detail else "")


def _with(status: ProvisionStatus, phase: str, reason: str, message: str) -> ProvisionStatus:
    return ProvisionStatus(
        phase=phase,
        reason=reason,
        message=message,
        replicas=status.replicas,
        ready_replicas=status.ready_replicas,
        nodes=status.nodes,
        workload_name=status.workload_name,
    )
