"""Deployments against real API servers: host and member, each topology alone, nothing left behind.

Requirements: A1, A2, A4, A5, A10, C9; rulings R7, R33, R34.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest_asyncio
from tests.support.members import Members

from edge.apps.render import PLACEMENT_LABEL
from edge.apps.room import MEMBER_WATCHES, room
from edge.apps.settings import AppsSettings
from edge.apps.types import Application, ApplicationDeployment, ApplicationVersion, TopologyStatus
from edge.clusters.types import Cluster
from edge.nodes.types import NodeGroup
from edge_kube.core import ConfigMap, Deployment, Namespace, Pod, Service
from edge_kube.harness import Kube, LightCluster
from edge_kube.meta import Condition, ObjectMeta
from edge_kube.runtime import condition

NAMESPACE = "team-a"
POD: dict[str, Any] = {"spec": {"containers": [{"name": "main", "image": "nginx:1.25"}]}}


@pytest_asyncio.fixture
async def members() -> AsyncIterator[Members]:
    async with Members(MEMBER_WATCHES) as made:
        yield made


@pytest_asyncio.fixture
async def host(kube: Kube, member: Kube, members: Members) -> AsyncIterator[Kube]:
    """The rooms run; cluster `factory` is joined, with node group `press`; the host has group `beijing`."""
    members.connect(await kube.start(room(members.sites, AppsSettings())))
    await kube.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    await kube.create(Cluster(metadata=ObjectMeta(name="factory", labels={"tier": "edge"})))
    members.join("factory", member.cluster)
    await kube.create(group("beijing"))
    await kube.create(group("press", "factory"))
    yield kube


def group(name: str, cluster: str = "") -> NodeGroup:
    labels = {"scope.theriseunion.io/cluster": cluster} if cluster else {}
    return msgspec.convert({"metadata": {"name": name, "labels": labels}, "spec": {}}, NodeGroup)


async def publish(kube: Kube, text: str, image: str = "nginx:1.25", **status: str) -> ApplicationVersion:
    """Application qc and one more version of it: one Deployment `qc` with two pods, and a Service."""
    if await kube.find(Application, "qc") is None:
        await kube.create(Application(metadata=ObjectMeta(name="qc")))
    template = {"spec": {"containers": [{"name": "main", "image": image}]}}
    config = {
        "deployments": [{"name": "qc", "spec": {"replicas": 2, "template": template}}],
        "services": [{"name": "qc", "spec": {"ports": [{"port": 80}]}}],
    }
    spec = {"applicationRef": "qc", "version": text, "workloadConfig": config}
    made = {"metadata": {"name": f"qc-{text}"}, "spec": spec, "status": status}
    return await kube.create(msgspec.convert(made, ApplicationVersion))


async def deploy(kube: Kube, *topologies: dict[str, Any], version: str = "latest") -> ApplicationDeployment:
    spec = {"application": "qc", "version": version, "topologies": list(topologies)}
    made = {"metadata": {"name": "qc", "namespace": NAMESPACE}, "spec": spec}
    return await kube.create(msgspec.convert(made, ApplicationDeployment))


async def run_pods(kube: Kube, name: str) -> None:
    """What the cluster's own controllers would report: all pods of the newest spec are ready."""
    live = await kube.eventually(Deployment, name, namespace=NAMESPACE)
    count = live.spec.replicas
    status = {
        "observedGeneration": live.metadata.generation,
        "replicas": count,
        "updatedReplicas": count,
        "readyReplicas": count,
        "availableReplicas": count,
    }
    await kube.patch(Deployment, name, {"status": status}, NAMESPACE, "status")


def told(deployment: ApplicationDeployment, type_: str = "Ready") -> Condition:
    found = condition(deployment.status.conditions, type_)
    assert found is not None, deployment.status
    return found


def places(deployment: ApplicationDeployment) -> dict[str, TopologyStatus]:
    return {one.topology.node_group: one for one in deployment.status.topology_statuses}


async def settled(kube: Kube, phase: str, within_s: float = 60) -> ApplicationDeployment:
    return await kube.eventually(
        ApplicationDeployment,
        "qc",
        lambda it: it.status.phase == phase,
        namespace=NAMESPACE,
        within_s=within_s,
    )


PRESS = {
    "nodeGroup": "press",
    "workloadOverride": {"deployments": [{"name": "qc", "spec": {"replicas": 5, "template": {}}}]},
}


async def test_one_deployment_runs_in_the_host_and_in_a_member_and_leaves_nothing(
    host: Kube, member: Kube
) -> None:
    await publish(host, "v1.0.0")
    await deploy(host, {"nodeGroup": "beijing"}, PRESS)
    here = await host.eventually(Deployment, "qc-beijing", namespace=NAMESPACE)
    there = await member.eventually(Deployment, "qc-press", namespace=NAMESPACE)
    assert (here.spec.replicas, there.spec.replicas) == (2, 5)
    assert await member.find(Service, "qc-press", NAMESPACE) is not None
    await run_pods(host, "qc-beijing")
    halfway = await host.eventually(
        ApplicationDeployment, "qc", lambda it: it.status.ready_workload_count == 1, namespace=NAMESPACE
    )
    assert places(halfway)["beijing"].phase == "Ready"
    assert places(halfway)["press"].phase != "Ready"
    await run_pods(member, "qc-press")
    done = await settled(host, "Ready")
    assert (done.status.application_version, done.status.ready_status) == ("v1.0.0", "7/7")
    assert places(done)["press"].cluster == "factory"
    assert "qc" in host.cluster.kubectl("get", "appd", "-n", NAMESPACE)
    await host.delete(ApplicationDeployment, "qc", NAMESPACE)
    await host.gone(ApplicationDeployment, "qc", namespace=NAMESPACE)
    for kube in (host, member):
        for kind in (Deployment, Service, ConfigMap):
            assert await kube.list(kind, labels=PLACEMENT_LABEL) == []


async def test_a_topology_that_cannot_be_carried_out_does_not_hold_up_the_others(host: Kube) -> None:
    await publish(host, "v1.0.0")
    wrong = {"workloadOverride": {"deployments": [{"name": "web", "spec": {"template": {}}}]}}
    await deploy(host, {"nodeGroup": "paint"}, {"nodeName": "n1", **wrong}, {"nodeGroup": "beijing"})
    await run_pods(host, "qc-beijing")
    degraded = await host.eventually(
        ApplicationDeployment, "qc", lambda it: it.status.ready_workload_count == 1, namespace=NAMESPACE
    )
    status = degraded.status
    assert status.phase == "Degraded"
    reasons = [(one.phase, one.reason) for one in status.topology_statuses]
    unknown = [("Failed", "UnknownNodeGroup"), ("Failed", "UnknownWorkload")]
    assert reasons == [*unknown, ("Ready", "AllPodsReady")]
    assert "there is beijing, press" in status.topology_statuses[0].message
    assert 'has no Deployment "web"; it has qc' in status.topology_statuses[1].message
    await host.create(group("paint"))
    await host.eventually(Deployment, "qc-paint", namespace=NAMESPACE)


async def test_an_absent_version_is_named_and_one_that_comes_later_is_taken(host: Kube) -> None:
    await publish(host, "v1.0.0", reviewPhase="withdrawn")
    await deploy(host, {"nodeGroup": "beijing"}, version="v1.0.0")
    failed = await settled(host, "Failed")
    assert told(failed, "Resolved").reason == "VersionWithdrawn"
    await host.patch(ApplicationDeployment, "qc", {"spec": {"version": "v2.0.0"}}, NAMESPACE)
    failed = await host.eventually(
        ApplicationDeployment,
        "qc",
        lambda it: told(it, "Resolved").reason == "VersionNotFound",
        namespace=NAMESPACE,
    )
    assert "v1.0.0 (withdrawn)" in told(failed, "Resolved").message
    assert await host.find(Deployment, "qc-beijing", NAMESPACE) is None
    await publish(host, "v2.0.0")
    await host.eventually(Deployment, "qc-beijing", namespace=NAMESPACE)


async def test_a_newer_version_shows_and_is_taken_when_asked_for(host: Kube) -> None:
    await publish(host, "v1.0.0")
    await deploy(host, {"nodeGroup": "beijing"})
    await run_pods(host, "qc-beijing")
    await settled(host, "Ready")
    await publish(host, "v1.1.0", image="nginx:1.27")
    host.cluster.kubectl("label", "appd", "qc", "touched=yes", "-n", NAMESPACE)
    offered = await host.eventually(
        ApplicationDeployment,
        "qc",
        lambda it: told(it, "UpdateAvailable").status == "True",
        namespace=NAMESPACE,
    )
    assert offered.status.application_version == "v1.0.0"
    await host.patch(ApplicationDeployment, "qc", {"spec": {"upgradeRequest": "now"}}, NAMESPACE)
    upgraded = await host.eventually(
        ApplicationDeployment, "qc", lambda it: it.status.application_version == "v1.1.0", namespace=NAMESPACE
    )
    assert [entry.to_version for entry in upgraded.status.history] == ["v1.1.0", "v1.0.0"]
    live = await host.eventually(
        Deployment,
        "qc-beijing",
        lambda it: it.spec.template.spec.containers[0].image == "nginx:1.27",
        namespace=NAMESPACE,
    )
    assert live.metadata.labels["app.theriseunion.io/application"] == "qc"


async def test_what_is_deleted_or_changed_in_a_cluster_comes_back(host: Kube, member: Kube) -> None:
    await publish(host, "v1.0.0")
    await deploy(host, PRESS)
    await member.eventually(Deployment, "qc-press", namespace=NAMESPACE)
    await member.delete(Deployment, "qc-press", NAMESPACE)
    await member.eventually(Deployment, "qc-press", namespace=NAMESPACE)
    member.cluster.kubectl("scale", "deployment", "qc-press", "--replicas=1", "-n", NAMESPACE)
    await member.eventually(Deployment, "qc-press", lambda it: it.spec.replicas == 5, namespace=NAMESPACE)


async def test_a_strangers_object_is_never_taken_over(host: Kube) -> None:
    host.cluster.kubectl("create", "deployment", "qc-beijing", "--image=theirs", "-n", NAMESPACE)
    await publish(host, "v1.0.0")
    await deploy(host, {"nodeGroup": "beijing"})
    failed = await settled(host, "Failed")
    assert places(failed)["beijing"].reason == "NameTaken"
    assert "team-a/qc-beijing" in places(failed)["beijing"].message
    await host.delete(ApplicationDeployment, "qc", NAMESPACE)
    await host.gone(ApplicationDeployment, "qc", namespace=NAMESPACE)
    theirs = await host.get(Deployment, "qc-beijing", NAMESPACE)
    assert theirs.spec.template.spec.containers[0].image == "theirs"


async def test_a_topology_taken_out_is_cleared_and_others_stay(host: Kube, member: Kube) -> None:
    await publish(host, "v1.0.0")
    await deploy(host, {"nodeGroup": "beijing"}, PRESS)
    await member.eventually(Deployment, "qc-press", namespace=NAMESPACE)
    before = await host.eventually(Deployment, "qc-beijing", namespace=NAMESPACE)
    topologies = {"spec": {"topologies": [{"nodeGroup": "beijing"}]}}
    await host.patch(ApplicationDeployment, "qc", topologies, NAMESPACE)
    await member.gone(Deployment, "qc-press", namespace=NAMESPACE)
    after = await host.get(Deployment, "qc-beijing", NAMESPACE)
    assert after.metadata.uid == before.metadata.uid


async def test_an_image_that_cannot_be_pulled_shows_in_the_status_of_its_topology(host: Kube) -> None:
    await publish(host, "v1.0.0", image="no.such/image:1")
    await deploy(host, {"nodeGroup": "beijing"}, {"nodeName": "n1"})
    made = await host.eventually(Deployment, "qc-beijing", namespace=NAMESPACE)
    labels = {**made.spec.template.metadata.labels}
    waiting = {"reason": "ErrImagePull", "message": "not found after 3.2 s"}
    container = {"name": "main", "image": "no.such/image:1", "ready": False, "restartCount": 0, "imageID": ""}
    status = {"phase": "Pending", "containerStatuses": [{**container, "state": {"waiting": waiting}}]}
    pod = {"metadata": {"name": "qc-1", "namespace": NAMESPACE, "labels": labels}, **POD, "status": status}
    await host.create(msgspec.convert(pod, Pod))
    failed = await settled(host, "Degraded")
    state = places(failed)["beijing"]
    assert (state.phase, state.reason) == ("Failed", "ImagePullBackOff")
    assert "no.such/image:1" in state.message
    assert "cannot be pulled" in told(failed).message


async def test_a_dead_member_holds_up_nothing_and_is_cleared_on_its_return(
    host: Kube, member: Kube, members: Members, member_cluster: LightCluster
) -> None:
    await publish(host, "v1.0.0")
    await deploy(host, {"nodeGroup": "beijing"}, PRESS)
    await member.eventually(Deployment, "qc-press", namespace=NAMESPACE)
    await run_pods(host, "qc-beijing")
    members.join_dead("factory", member_cluster)
    away = await host.eventually(
        ApplicationDeployment,
        "qc",
        lambda it: places(it)["press"].phase == "Deferred" and places(it)["beijing"].phase == "Ready",
        namespace=NAMESPACE,
        within_s=120,
    )
    assert "cluster factory does not answer" in places(away)["press"].message
    await host.delete(ApplicationDeployment, "qc", NAMESPACE)
    await host.gone(ApplicationDeployment, "qc", namespace=NAMESPACE)
    assert await host.find(Deployment, "qc-beijing", NAMESPACE) is None
    assert await member.find(Deployment, "qc-press", NAMESPACE) is not None
    members.join("factory", member_cluster)
    await host.patch(Cluster, "factory", {"metadata": {"labels": {"answers": "again"}}})
    await member.gone(Deployment, "qc-press", namespace=NAMESPACE, within_s=120)


async def test_every_cluster_with_the_labels_gets_the_application(host: Kube, member: Kube) -> None:
    await publish(host, "v1.0.0")
    await deploy(host, {"clusterSelector": {"matchLabels": {"tier": "edge"}}})
    await member.eventually(Deployment, "qc", namespace=NAMESPACE)
    await host.patch(Cluster, "factory", {"metadata": {"labels": {"tier": "other"}}})
    host.cluster.kubectl("label", "appd", "qc", "touched=yes", "-n", NAMESPACE)
    failed = await settled(host, "Failed")
    assert failed.status.topology_statuses[0].reason == "NoClusterSelected"


async def test_nothing_changes_when_nothing_changed(host: Kube, member: Kube) -> None:
    await publish(host, "v1.0.0")
    await deploy(host, {"nodeGroup": "beijing"}, PRESS)
    await run_pods(host, "qc-beijing")
    await run_pods(member, "qc-press")
    done = await settled(host, "Ready")
    live = await member.get(Deployment, "qc-press", NAMESPACE)
    host.cluster.kubectl("label", "appd", "qc", "touched=yes", "-n", NAMESPACE)
    touched = await host.eventually(
        ApplicationDeployment, "qc", lambda it: "touched" in it.metadata.labels, namespace=NAMESPACE
    )
    assert touched.status == done.status
    same = await member.get(Deployment, "qc-press", NAMESPACE)
    assert same.metadata.resource_version == live.metadata.resource_version


async def test_a_plugin_from_another_package_deploys_a_function(host: Kube) -> None:
    labels = {"app.theriseunion.io/provisioner": "function"}
    await host.create(Application(metadata=ObjectMeta(name="qc", labels=labels)))
    config = {"source": "def handle(event):\n    return 'hello'\n", "replicas": 1}
    spec = {"applicationRef": "qc", "version": "v1.0.0", "config": config}
    await host.create(msgspec.convert({"metadata": {"name": "qc-1"}, "spec": spec}, ApplicationVersion))
    judged = await host.eventually(ApplicationVersion, "qc-1", lambda it: it.status.phase == "Ready")
    assert judged.status.conditions[0].reason == "Accepted"
    await deploy(host, {"nodeGroup": "beijing"})
    source = await host.eventually(ConfigMap, "qc-beijing", namespace=NAMESPACE)
    assert "return 'hello'" in source.data["function.py"]
    await run_pods(host, "qc-beijing")
    assert (await settled(host, "Ready")).status.ready_status == "1/1"


async def test_an_application_without_a_loaded_plugin_says_which_there_are(host: Kube) -> None:
    labels = {"app.theriseunion.io/provisioner": "cobol"}
    await host.create(Application(metadata=ObjectMeta(name="qc", labels=labels)))
    spec = {"applicationRef": "qc", "version": "v1.0.0", "config": {"a": 1}}
    await host.create(msgspec.convert({"metadata": {"name": "qc-1"}, "spec": spec}, ApplicationVersion))
    await deploy(host, {"nodeGroup": "beijing"})
    failed = await settled(host, "Failed")
    assert places(failed)["beijing"].reason == "NoProvisioner"
    assert "loaded are function, workload" in places(failed)["beijing"].message


async def test_a_deployment_removed_by_force_is_cleared_from_the_host_all_the_same(host: Kube) -> None:
    await publish(host, "v1.0.0")
    await deploy(host, {"nodeGroup": "beijing"})
    await host.eventually(Deployment, "qc-beijing", namespace=NAMESPACE)
    await host.stop()
    await host.patch(ApplicationDeployment, "qc", {"metadata": {"finalizers": None}}, NAMESPACE)
    await host.delete(ApplicationDeployment, "qc", NAMESPACE)
    await host.start(room(Members(MEMBER_WATCHES).sites, AppsSettings()))
    host.cluster.kubectl("label", "deployment", "qc-beijing", "touched=yes", "-n", NAMESPACE)
    await host.gone(Deployment, "qc-beijing", namespace=NAMESPACE)
    await host.gone(Service, "qc-beijing", namespace=NAMESPACE)
