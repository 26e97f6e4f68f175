"""Node groups against real API servers: host and member, ownership of fields, a dead member (N1)."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest_asyncio
from tests.support.members import Members, clear_nodes

from edge.clusters.types import Cluster
from edge.nodes.room import MEMBER_WATCHES, room
from edge.nodes.types import NodeGroup
from edge_kube.core import Node, Taint
from edge_kube.harness import Kube, LightCluster
from edge_kube.meta import ObjectMeta
from edge_kube.runtime import is_true
from edge_sdk.scopes import NODE_COUNT_ANNOTATION, NODE_GROUP_LABEL, READY_NODE_COUNT_ANNOTATION


@pytest_asyncio.fixture
async def members() -> AsyncIterator[Members]:
    async with Members(MEMBER_WATCHES) as made:
        yield made


@pytest_asyncio.fixture
async def host(kube: Kube, member: Kube, members: Members) -> AsyncIterator[Kube]:
    members.connect(await kube.start(room(members.sites)))
    try:
        yield kube
    finally:
        await clear_nodes(kube)
        await clear_nodes(member)


def node(name: str, *, ready: bool = True, **labels: str) -> Node:
    condition = {"type": "Ready", "status": "True" if ready else "False", "reason": "Test"}
    status = {"conditions": [{**condition, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    return msgspec.convert({"metadata": {"name": name, "labels": labels}, "status": status}, Node)


def group(name: str, cluster: str = "", /, **spec: Any) -> NodeGroup:
    labels = {"scope.theriseunion.io/cluster": cluster} if cluster else {}
    return msgspec.convert({"metadata": {"name": name, "labels": labels}, "spec": spec}, NodeGroup)


def is_tainted(it: Node) -> bool:
    return Taint(key="edge", value="true", effect="NoSchedule") in it.spec.taints


def has_template(it: Node) -> bool:
    return is_tainted(it) and it.metadata.labels.get("tier") == "edge" and "note" in it.metadata.annotations


EDGE: dict[str, Any] = {"selector": {"matchLabels": {"region": "beijing"}}}
TEMPLATE: dict[str, Any] = {
    "labels": {"tier": "edge"},
    "annotations": {"note": "x"},
    "taints": ["edge=true:NoSchedule"],
}


async def test_a_group_keeps_its_template_on_the_nodes_it_selects(host: Kube) -> None:
    await host.create(node("n1", region="beijing"))
    await host.create(node("n2", region="beijing", ready=False))
    await host.create(group("beijing", **EDGE, template=TEMPLATE))
    n1 = await host.eventually(Node, "n1", has_template)
    assert n1.metadata.labels["nodegroup.theriseunion.io/beijing"] == ""
    assert n1.metadata.labels[NODE_GROUP_LABEL] == "beijing"
    assert n1.metadata.annotations["note"] == "x"
    counted = await host.eventually(
        NodeGroup, "beijing", lambda it: it.metadata.annotations.get(NODE_COUNT_ANNOTATION) == "2"
    )
    assert counted.metadata.annotations[READY_NODE_COUNT_ANNOTATION] == "1"
    assert "beijing" in host.cluster.kubectl("get", "nodegroups.scope.theriseunion.io")
    ready = await host.eventually(NodeGroup, "beijing", lambda it: it.status.phase == "Active")
    assert is_true(ready.status.conditions, "Ready")


async def test_what_a_person_takes_away_comes_back_and_a_node_that_joins_later_is_taken_in(
    host: Kube,
) -> None:
    await host.create(group("beijing", **EDGE, template=TEMPLATE))
    await host.eventually(NodeGroup, "beijing", lambda it: it.status.phase == "Active")
    await host.create(node("n1", region="beijing"))
    await host.eventually(Node, "n1", lambda it: it.metadata.labels.get("tier") == "edge")
    host.cluster.kubectl("label", "node", "n1", "tier=other", "--overwrite")
    await host.eventually(Node, "n1", lambda it: it.metadata.labels.get("tier") == "edge")
    await host.eventually(Node, "n1", is_tainted)
    host.cluster.kubectl("taint", "node", "n1", "edge:NoSchedule-")
    await host.eventually(Node, "n1", is_tainted)


async def test_a_deleted_group_takes_back_what_it_set_and_nothing_else(host: Kube) -> None:
    await host.create(node("n1", region="beijing", tier="edge"))
    host.cluster.kubectl("taint", "node", "n1", "theirs=1:NoExecute")
    before = await host.get(Node, "n1")
    await host.create(group("beijing", **EDGE, template=TEMPLATE))
    await host.eventually(Node, "n1", has_template)
    await host.delete(NodeGroup, "beijing")
    await host.gone(NodeGroup, "beijing")
    after = await host.get(Node, "n1")
    assert after.metadata.labels == before.metadata.labels
    assert after.metadata.annotations == before.metadata.annotations
    assert after.spec.taints == before.spec.taints


async def test_a_group_of_a_member_works_on_the_members_nodes_only(
    host: Kube, member: Kube, members: Members
) -> None:
    await host.create(Cluster(metadata=ObjectMeta(name="factory")))
    await host.create(node("n1", region="beijing"))
    await member.create(node("n1", region="beijing"))
    await host.create(group("press", "factory", **EDGE, template=TEMPLATE))
    offline = await host.eventually(NodeGroup, "press", lambda it: it.status.phase == "Offline")
    assert "cluster factory" in offline.status.conditions[0].message
    members.join("factory", member.cluster)
    await member.eventually(Node, "n1", lambda it: it.metadata.labels.get("tier") == "edge")
    await host.eventually(NodeGroup, "press", lambda it: it.status.phase == "Active")
    await host.eventually(
        NodeGroup, "press", lambda it: it.metadata.annotations.get(NODE_COUNT_ANNOTATION) == "1"
    )
    await member.create(node("n2", region="beijing"))
    await member.eventually(Node, "n2", lambda it: it.metadata.labels.get("tier") == "edge")
    assert "tier" not in (await host.get(Node, "n1")).metadata.labels


async def test_a_group_whose_cluster_does_not_exist_says_so(host: Kube) -> None:
    await host.create(group("lost", "moon", **EDGE))
    told = await host.eventually(NodeGroup, "lost", lambda it: bool(it.status.conditions))
    assert told.status.conditions[0].reason == "UnknownCluster"
    assert "moon" in told.status.conditions[0].message


async def test_a_dead_member_holds_up_no_deletion_and_is_cleaned_when_it_returns(
    host: Kube, member: Kube, members: Members, member_cluster: LightCluster
) -> None:
    await host.create(Cluster(metadata=ObjectMeta(name="factory")))
    before = await member.create(node("n1", region="beijing"))
    members.join("factory", member_cluster)
    await host.create(group("press", "factory", **EDGE, template=TEMPLATE))
    await member.eventually(Node, "n1", has_template)
    members.join_dead("factory", member_cluster)
    await host.delete(NodeGroup, "press")
    await host.gone(NodeGroup, "press")
    members.join("factory", member_cluster)
    await host.patch(Cluster, "factory", {"metadata": {"labels": {"answers": "again"}}})
    await member.eventually(Node, "n1", lambda it: it.metadata.labels == before.metadata.labels)
    assert not is_tainted(await member.get(Node, "n1"))
