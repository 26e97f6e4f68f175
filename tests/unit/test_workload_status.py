"""State of a topology from its workloads and pods (A5)."""

from typing import Any

import msgspec
import pytest

from edge_kube.core import DaemonSet, Deployment, Pod, StatefulSet
from edge_sdk.provisioner import Deployed, ProvisionStatus, Topology, Version
from edge_sdk.workload_status import status_of_workloads


def deployment(replicas: int, ready: int, *, generation: int = 1, seen: int = 1, **status: Any) -> Deployment:
    metadata = {"name": "qc", "generation": generation}
    status = {"observedGeneration": seen, "updatedReplicas": replicas, "readyReplicas": ready, **status}
    made = {"metadata": metadata, "spec": {"replicas": replicas}, "status": status}
    return msgspec.convert(made, Deployment)


def waiting(reason: str, message: str = "", node: str = "n1") -> Pod:
    state = {"waiting": {"reason": reason, "message": message}}
    container = {"name": "main", "image": "nginx:1", "state": state}
    made = {
        "metadata": {"name": "qc-1"},
        "spec": {"nodeName": node},
        "status": {"containerStatuses": [container]},
    }
    return msgspec.convert(made, Pod)


def status(*workloads: Deployment | StatefulSet | DaemonSet, pods: tuple[Pod, ...] = ()) -> ProvisionStatus:
    deployed = Deployed(
        namespace="a",
        name="qc",
        version=Version(application="qc", version="1.0.0"),
        topology=Topology(namespace="a"),
        workloads=workloads,
        pods=pods,
    )
    return status_of_workloads(deployed)


def test_nothing_seen_is_pending() -> None:
    assert status().phase == "Pending"


def test_all_pods_ready_is_ready_and_the_first_workload_is_named() -> None:
    found = status(deployment(3, 3), deployment(2, 2))
    assert (found.phase, found.replicas, found.ready_replicas, found.workload_name) == ("Ready", 5, 5, "qc")


def test_a_spec_that_its_controller_has_not_seen_yet_is_not_ready() -> None:
    assert status(deployment(3, 3, generation=2, seen=1)).phase == "Progressing"


def test_pods_of_the_old_template_are_not_ready() -> None:
    assert status(deployment(3, 3, updatedReplicas=1)).phase == "Progressing"


def test_no_pods_wanted_is_ready() -> None:
    assert status(deployment(0, 0)).phase == "Ready"


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_an_image_that_cannot_be_pulled_is_one_state_whatever_the_kubelet_is_at(reason: str) -> None:
    found = status(deployment(1, 0), pods=(waiting(reason, f"{reason} after 3.2 s"),))
    assert (found.phase, found.reason, found.nodes) == ("Failed", "ImagePullBackOff", ("n1",))
    assert "image nginx:1" in found.message
    assert "3.2 s" not in found.message, "a message that changes with time would write a status each time"


def test_a_setting_that_is_wrong_shows_its_detail() -> None:
    pod = waiting("CreateContainerConfigError", 'secret "x" not found')
    assert 'secret "x" not found' in status(deployment(1, 0), pods=(pod,)).message


def test_a_pod_that_finds_no_node_is_pending_with_the_schedulers_words() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    pod = msgspec.convert({"metadata": {"name": "qc-1"}, "status": {"conditions": [condition]}}, Pod)
    found = status(deployment(1, 0), pods=(pod,))
    assert (found.phase, found.reason) == ("Pending", "Unschedulable")
    assert "0/1 nodes" in found.message


def test_a_quota_that_refuses_pods_is_told() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}
    found = status(deployment(1, 0, conditions=[condition]))
    assert (found.phase, found.reason) == ("Failed", "FailedCreate")


def test_daemon_sets_and_stateful_sets_count_in_their_own_way() -> None:
    daemon = {"observedGeneration": 0, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2}
    ready = msgspec.convert({"metadata": {"name": "a"}, "status": {**daemon, "numberReady": 2}}, DaemonSet)
    half = msgspec.convert({"metadata": {"name": "a"}, "status": {**daemon, "numberReady": 1}}, DaemonSet)
    assert status(ready).phase == "Ready"
    assert (status(half).phase, status(half).ready_replicas) == ("Progressing", 1)
    settled = {"replicas": 2, "readyReplicas": 2, "currentRevision": "r1", "updateRevision": "r1"}
    made = {"metadata": {"name": "db"}, "spec": {"replicas": 2}, "status": settled}
    assert status(msgspec.convert(made, StatefulSet)).phase == "Ready"
