"""Node groups granted to workspaces: applications of others do not get onto their nodes (I18)."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from tests.support.members import Members, clear_nodes

from edge.apps.room import MEMBER_WATCHES, room
from edge.apps.settings import AppsSettings
from edge.apps.types import Application, ApplicationDeployment, ApplicationVersion
from edge.clusters.types import Cluster
from edge.nodes import room as nodes
from edge.nodes.types import NodeGroup
from edge.tenancy.types import Workspace
from edge_kube.core import Deployment, Namespace, Node
from edge_kube.errors import ApiError, Forbidden
from edge_kube.harness import Kube
from edge_kube.meta import ObjectMeta
from edge_kube.runtime import Reader, condition

GRANTED = "theriseunion.io/granted-workspaces"
LABEL = "theriseunion.io/workspace"


@pytest_asyncio.fixture
async def host(kube: Kube, member: Kube) -> AsyncIterator[Kube]:
    """Workspaces `dev` (namespace dev-a) and `qa`; group `vip` of the host and `press` of member factory."""

    def known() -> Reader | None:
        return kube.manager.cache if kube.manager is not None else None

    async with Members([*MEMBER_WATCHES, *nodes.MEMBER_WATCHES]) as members:
        rooms = (room(members.sites, AppsSettings(), known=known), nodes.room(members.sites))
        members.connect(await kube.start(*rooms, webhooks=True))
        members.join("factory", member.cluster)
        await kube.create(Cluster(metadata=ObjectMeta(name="factory")))
        for name in ("dev", "qa"):
            await kube.create(Workspace(metadata=ObjectMeta(name=name)))
        await kube.create(Namespace(metadata=ObjectMeta(name="dev-a", labels={LABEL: "dev"})))
        await publish(kube)
        await kube.caught_up()
        try:
            yield kube
        finally:
            await clear_nodes(kube)


def group(name: str, granted: str, cluster: str = "", **spec: Any) -> NodeGroup:
    labels = {"scope.theriseunion.io/cluster": cluster} if cluster else {}
    metadata = {"name": name, "labels": labels, "annotations": {GRANTED: granted}}
    return msgspec.convert({"metadata": metadata, "spec": spec}, NodeGroup)


async def publish(kube: Kube) -> None:
    await kube.create(Application(metadata=ObjectMeta(name="qc")))
    template = {"spec": {"containers": [{"name": "main", "image": "nginx:1.25"}]}}
    config = {"deployments": [{"name": "qc", "spec": {"replicas": 1, "template": template}}]}
    spec = {"applicationRef": "qc", "version": "v1.0.0", "workloadConfig": config}
    await kube.create(msgspec.convert({"metadata": {"name": "qc-v1"}, "spec": spec}, ApplicationVersion))


def wanted(name: str, *topologies: dict[str, Any]) -> ApplicationDeployment:
    spec = {"application": "qc", "version": "latest", "topologies": list(topologies)}
    metadata = {"name": name, "namespace": "dev-a"}
    return msgspec.convert({"metadata": metadata, "spec": spec}, ApplicationDeployment)


async def grant(kube: Kube, name: str, granted: str) -> None:
    await kube.patch(NodeGroup, name, {"metadata": {"annotations": {GRANTED: granted}}})


def reasons(deployment: ApplicationDeployment) -> list[str]:
    return [one.reason for one in deployment.status.topology_statuses]


async def test_a_deployment_on_a_group_of_others_is_refused_until_it_is_granted(host: Kube) -> None:
    await host.create(group("vip", "qa"))
    await host.create(group("press", "qa", "factory"))
    await host.eventually(NodeGroup, "press", lambda one: one.status.phase == "Active")
    for name in ("vip", "press"):
        with pytest.raises(Forbidden) as refusal:
            await host.create(wanted("app", {"nodeGroup": name}))
        assert f'node group "{name}" is not granted to workspace "dev"' in str(refusal.value)
    await grant(host, "vip", "qa,dev")
    await host.eventually(
        NodeGroup, "vip", lambda one: any(it.message == "qa, dev" for it in one.status.conditions)
    )
    await host.create(wanted("app", {"nodeGroup": "vip"}))
    await host.eventually(Deployment, "qc-vip", namespace="dev-a")


async def test_a_grant_that_is_taken_back_blocks_the_topology_and_leaves_what_runs(host: Kube) -> None:
    await host.create(group("vip", "dev"))
    await host.create(wanted("app", {"nodeGroup": "vip"}))
    await host.eventually(Deployment, "qc-vip", namespace="dev-a")
    await grant(host, "vip", "qa")
    await host.patch(ApplicationDeployment, "app", {"metadata": {"labels": {"again": "1"}}}, "dev-a")
    blocked = await host.eventually(
        ApplicationDeployment,
        "app",
        lambda one: reasons(one) == ["NodeGroupNotGranted"],
        namespace="dev-a",
    )
    ready = condition(blocked.status.conditions, "Ready")
    assert ready is not None
    assert ready.status == "False"
    assert await host.find(Deployment, "qc-vip", "dev-a") is not None
    await grant(host, "vip", "*")
    await host.eventually(
        ApplicationDeployment,
        "app",
        lambda one: "NodeGroupNotGranted" not in reasons(one),
        namespace="dev-a",
    )


async def test_neither_a_nodes_name_nor_a_whole_cluster_is_a_way_round_the_grant(host: Kube) -> None:
    await host.create(Node(metadata=ObjectMeta(name="n1", labels={"tier": "vip"})))
    await host.create(group("vip", "qa", selector={"matchLabels": {"tier": "vip"}}))
    await host.eventually(Node, "n1", lambda one: "nodegroup.theriseunion.io/vip" in one.metadata.labels)
    await host.create(wanted("app", {"nodeName": "n1"}, {"cluster": "host"}))
    told = await host.eventually(
        ApplicationDeployment,
        "app",
        lambda one: "NodeGroupNotGranted" in reasons(one),
        namespace="dev-a",
    )
    assert reasons(told)[0] == "NodeGroupNotGranted"
    assert "node n1 is in a group that is kept for others" in told.status.topology_statuses[0].message
    assert await host.find(Deployment, "qc-n1", "dev-a") is None
    rule = host.cluster.kubectl(
        "get", "deployment", "qc", "-n", "dev-a", "-o", "jsonpath={..nodeSelectorTerms}"
    )
    assert '"key":"nodegroup.theriseunion.io/vip","operator":"DoesNotExist"' in rule


async def test_a_group_granted_to_a_workspace_that_is_not_there_says_so_and_bad_names_are_refused(
    host: Kube,
) -> None:
    await host.create(group("vip", "dev,gone"))
    live = await host.eventually(
        NodeGroup,
        "vip",
        lambda one: any(it.reason == "UnknownWorkspace" for it in one.status.conditions),
    )
    assert any(
        "gone" in it.message and "dev" not in it.message.split(";")[0] for it in live.status.conditions
    )
    with pytest.raises(ApiError, match="granted-workspaces"):
        await host.create(group("bad", "Not A Name"))
