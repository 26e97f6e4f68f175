"""What counts as long work, read off the objects (issue 5 §2, operations feed)."""

import pytest
from msgspec import structs

from edge.apiserver.watching.operations import COLUMNS, Operation, Progress, operation_of
from edge.apps.types import ApplicationDeployment, ApplicationDeploymentSpec, Topology
from edge.apps.types import ApplicationDeploymentStatus as DeploymentStatus
from edge.clusters.types import Cluster, ClusterStatus
from edge.components.types import Component, ComponentSpec, ComponentStatus
from edge_kube.meta import Condition, ObjectMeta, Resource

BORN = "2026-01-02T03:04:05Z"
LATER = "2026-01-02T04:04:05Z"
META = ObjectMeta(name="x", namespace="n", uid="u", creation_timestamp=BORN)
GOING = structs.replace(META, deletion_timestamp=LATER)


def component(meta: ObjectMeta = META, *, suspend: bool = False, **status: object) -> Component:
    found = structs.replace(ComponentStatus(), **status)
    return Component(metadata=meta, spec=ComponentSpec(enabled=True, suspend=suspend), status=found)


def cluster(phase: str, meta: ObjectMeta = META, **met: bool) -> Cluster:
    conditions = tuple(
        Condition(type=type_, status="True" if is_met else "False", reason="R", message=f"{type_} it is")
        for type_, is_met in met.items()
    )
    return Cluster(metadata=meta, status=ClusterStatus(phase=phase, conditions=conditions))


def deployment(
    phase: str, meta: ObjectMeta = META, *, places: int = 1, **status: int
) -> ApplicationDeployment:
    spec = ApplicationDeploymentSpec(application="a", version="1", topologies=(Topology(),) * places)
    found = structs.replace(DeploymentStatus(phase=phase, message="told"), **status)
    return ApplicationDeployment(metadata=meta, spec=spec, status=found)


def one(obj: Resource) -> Operation:
    found = operation_of(obj)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("obj", "what", "state"),
    [
        (component(phase="Installing"), "Install", "Running"),
        (component(phase="Upgrading", retry_count=2, next_retry_time=LATER), "Upgrade", "Retrying"),
        (component(phase="RollingBack"), "RollBack", "Running"),
        (component(GOING, phase="Running"), "Uninstall", "Running"),
        (component(GOING, suspend=True, phase="Running"), "Uninstall", "Running"),
        (component(phase="Pending", waiting_for=("n/etcd",)), "Install", "Waiting"),
        (component(phase="Pending", waiting_for=("n/etcd",), observed_hash="h"), "Upgrade", "Waiting"),
        (component(phase="Failed", next_retry_time=LATER), "Install", "Retrying"),
        (cluster(""), "Create", "Waiting"),
        (cluster("Provisioning"), "Create", "Running"),
        (cluster("Ready", GOING), "Delete", "Running"),
        (deployment("Progressing"), "RollOut", "Running"),
        (deployment(""), "RollOut", "Waiting"),
        (deployment("Ready", GOING), "Delete", "Running"),
    ],
)
def test_what_the_platform_does_is_told_in_a_word(obj: Resource, what: str, state: str) -> None:
    found = one(obj)
    assert (found.what, found.state) == (what, state)
    assert (found.ref.name, found.ref.namespace, found.ref.uid) == ("x", "n", "u")
    assert found.since in (1767323045, 1767326645)
    assert len(found.values()) == len(COLUMNS)


@pytest.mark.parametrize(
    "obj",
    [
        component(phase="Running"),
        component(phase="Failed"),
        component(phase="Installing", suspend=True),
        cluster("Ready"),
        cluster("Offline"),
        cluster("Degraded"),
        deployment("Ready"),
        deployment("Failed"),
        deployment("Pending", places=0),
        Resource(metadata=META),
    ],
)
def test_what_rests_or_has_failed_for_good_is_no_work(obj: Resource) -> None:
    assert operation_of(obj) is None


def test_progress_counts_the_steps_of_a_cluster_and_the_places_of_a_roll_out() -> None:
    found = one(cluster("Provisioning", ControlPlaneReady=True, EdgeRuntimeReady=False, Ready=False))
    assert (found.progress, found.next, found.message) == (Progress(1, 2), "EdgeRuntimeReady", "Ready it is")
    assert one(deployment("Progressing", workload_count=5, ready_workload_count=2)).progress == Progress(2, 5)
    assert one(component(phase="Installing")).progress is None


def test_what_is_waited_for_is_named() -> None:
    assert one(component(phase="Pending", waiting_for=("n/etcd",))).next == "goes on when Ready: n/etcd"
    assert one(component(phase="Failed", next_retry_time=LATER)).next == f"tries again at {LATER}"
