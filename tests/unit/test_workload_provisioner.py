"""The built-in workload provisioner: conformance as for every plugin, and what it renders (A4, A5)."""

from typing import Any

from edge.apps.provisioners.workload import WORKLOAD_LABEL, WorkloadProvisioner
from edge_sdk.provisioner import Topology, Version
from edge_sdk.testing import ProvisionerConformance

POD: dict[str, Any] = {"spec": {"containers": [{"name": "main", "image": "nginx:1.25"}]}}


def version(**config: Any) -> Version:
    return Version(
        application="qc",
        version="1.0.0",
        spec={"applicationRef": "qc", "version": "1.0.0", "workloadConfig": config},
    )


class TestWorkloadProvisioner(ProvisionerConformance):
    plugin = WorkloadProvisioner
    good = (
        version(deployments=[{"name": "qc", "spec": {"replicas": 3, "template": POD}}]),
        version(
            statefulSets=[{"name": "db", "spec": {"template": POD, "serviceName": "db"}}],
            daemonSets=[{"name": "agent", "spec": {"template": POD}}],
            services=[{"name": "db", "spec": {"clusterIP": "None", "ports": [{"port": 5432}]}}],
        ),
    )
    bad = (
        version(),
        version(deployments=[{"name": "Not A Name", "spec": {"template": POD}}]),
        version(deployments=[{"name": "qc", "spec": {"template": {}}}]),
        version(deployments=[{"name": "qc", "spec": {"template": {"spec": {"containers": [7]}}}}]),
        version(deployments=[{"name": "qc", "spec": {"template": POD}}] * 2),
        version(deployments="qc"),
    )


def test_a_stateful_set_belongs_to_the_service_of_its_own_topology() -> None:
    plan = WorkloadProvisioner().provision(
        TestWorkloadProvisioner.good[1], Topology(namespace="a", node_group="beijing")
    )
    service, stateful_set, daemon_set = plan.objects
    assert service["metadata"]["name"] == stateful_set["spec"]["serviceName"] == "db-beijing"
    assert daemon_set["metadata"]["name"] == "agent-beijing"


def test_replicas_left_out_stay_out_so_that_an_autoscaler_may_set_them() -> None:
    (deployment,) = (
        WorkloadProvisioner()
        .provision(version(deployments=[{"name": "qc", "spec": {"template": POD}}]), Topology(namespace="a"))
        .objects
    )
    assert "replicas" not in deployment["spec"]
    assert deployment["metadata"]["name"] == "qc"
    assert deployment["spec"]["template"]["metadata"]["labels"] == {WORKLOAD_LABEL: "qc"}
