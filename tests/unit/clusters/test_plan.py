"""Plans of virtual clusters: what follows from what is there; a carried-out plan leaves nothing to do.

C3, C7; rulings R21, R23, R24, R28.
"""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edge.clusters import manifests, plan
from edge.clusters.engines import Wish
from edge.clusters.plan import Obstacle, Seen
from edge.clusters.ports import MemberView, NodeView
from edge.clusters.settings import ClusterSettings, NetworkSettings
from edge.clusters.types import (
    CLUSTER_UID_ANNOTATION,
    FORCE_DELETE_ANNOTATION,
    Cluster,
    ClusterSpec,
    EdgeRuntime,
    Network,
    NetworkStatus,
    Worker,
)
from edge.components.types import Component
from edge_kube.core import (
    Namespace,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    Service,
    ServicePort,
    ServiceSpec,
)
from edge_kube.meta import ObjectMeta, Resource

UID = "0c1d"
NETWORK = NetworkStatus(service_cidr="10.128.0.0/20", pod_cidr="10.160.0.0/20", dns_domain="cluster.local")
SETTINGS = ClusterSettings(shared_etcd=True)
OK = MemberView(ok=True, asked_at=1.0, ok_at=1.0)


def cluster(**spec: Any) -> Cluster:
    return Cluster(metadata=ObjectMeta(name="a", uid=UID), spec=ClusterSpec(type="virtual", **spec))


def wish(one: Cluster, settings: ClusterSettings = SETTINGS) -> Wish:
    made, _, obstacle = plan.wish_of(one, NETWORK, settings)
    assert obstacle is None
    assert made is not None
    return made


def namespace(uid: str = UID, *, going: bool = False) -> Namespace:
    return Namespace(
        metadata=ObjectMeta(
            name="vcluster-a",
            annotations={CLUSTER_UID_ANNOTATION: uid} if uid else {},
            deletion_timestamp="2026-01-01T00:00:00Z" if going else "",
        )
    )


SERVICE = Service(
    metadata=ObjectMeta(name="plane", namespace="vcluster-a"),
    spec=ServiceSpec(cluster_ip="10.96.0.7", ports=(ServicePort(port=6443, node_port=30001),)),
)


def kinds(made: plan.Plan) -> list[str]:
    return [
        f"{step.manifest['kind']} {step.manifest['metadata']['name']}"
        if isinstance(step, plan.Apply)
        else type(step).__name__
        for step in made.steps
    ]


def test_the_steps_follow_from_what_is_there() -> None:
    one = cluster()
    first = ["Namespace vcluster-a", "Service plane"]
    assert kinds(plan.plan(wish(one), one, Seen())) == first
    seen = Seen(namespace=namespace(), service=SERVICE, host_address="192.0.2.1")
    keys = ["AdmitToStore", "EnsureKeys", "Component vcluster-a"]
    assert kinds(plan.plan(wish(one), one, seen)) == first + keys
    alive = replace(seen, member=OK)
    assert kinds(plan.plan(wish(one), one, alive)) == first + keys + ["Furnish", "Connect"]


def test_without_a_shared_etcd_nobody_is_admitted() -> None:
    one = cluster()
    seen = Seen(service=SERVICE, host_address="192.0.2.1")
    assert "AdmitToStore" not in kinds(plan.plan(wish(one, ClusterSettings()), one, seen))


def test_without_an_address_of_the_host_the_release_waits() -> None:
    one = cluster()
    made = plan.plan(wish(one), one, Seen(service=SERVICE))
    assert made.obstacle is not None
    assert made.obstacle.reason == "NoHostAddress"
    assert "Component vcluster-a" not in kinds(made)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (namespace(uid=""), "NamespaceTaken"),
        (namespace(uid="another"), "NamespaceTaken"),
        (namespace(going=True), "NamespaceTerminating"),
    ],
)
def test_a_namespace_that_is_not_ours_stops_everything(found: Namespace, reason: str) -> None:
    one = cluster()
    made = plan.plan(wish(one), one, Seen(namespace=found, service=SERVICE, host_address="192.0.2.1"))
    assert made.steps == ()
    assert made.obstacle is not None
    assert made.obstacle.reason == reason


def test_a_carried_out_plan_asks_for_nothing_new() -> None:
    """The same steps with the same content again: applying them a second time changes nothing."""
    one = cluster(edge_runtime=EdgeRuntime(type="openyurt"), components=("prometheus", "loki"))
    seen = Seen(namespace=namespace(), service=SERVICE, host_address="192.0.2.1", member=OK)
    first = plan.plan(wish(one), one, seen)
    children = {
        step.manifest["metadata"]["name"]: msgspec.convert(step.manifest, Component)
        for step in first.steps
        if isinstance(step, plan.Apply) and step.manifest["kind"] == "Component"
    }
    after = replace(seen, component=children["vcluster-a"], children=children)
    assert plan.plan(wish(one), one, after) == first


def test_runtime_and_components_come_in_order_into_the_cluster() -> None:
    one = cluster(
        edge_runtime=EdgeRuntime(type="openyurt", version="1.6.0"), components=("prometheus", "loki")
    )
    seen = Seen(namespace=namespace(), service=SERVICE, host_address="192.0.2.1", member=OK)
    made = plan.plan(wish(one), one, seen)
    inside = [
        step.manifest["spec"]
        for step in made.steps
        if isinstance(step, plan.Apply) and step.manifest.get("spec", {}).get("targetCluster") == "a"
    ]
    names = [spec["chart"]["name"] for spec in inside]
    assert names == ["yurt-manager", "yurthub", "openyurt-addition", "prometheus", "loki"]
    needs = [[need["name"] for need in spec.get("dependencies", ())] for spec in inside]
    assert needs == [[], ["a-yurt-manager"], ["a-yurthub"], ["a-openyurt-addition"], ["a-prometheus"]]


def test_nodes_of_workers_that_are_not_wanted_are_removed_and_others_kept() -> None:
    one = cluster(worker=Worker(enabled=True, count=1))
    nodes = (
        NodeView("a-worker-0", ready=True, nested=True),
        NodeView("a-worker-1", ready=False, nested=True),
        NodeView("edge-box-7", ready=False, nested=False),
    )
    seen = Seen(service=SERVICE, host_address="192.0.2.1", member=replace(OK, nodes=nodes))
    removed = [
        step.name for step in plan.plan(wish(one), one, seen).steps if isinstance(step, plan.RemoveNode)
    ]
    assert removed == ["a-worker-1"]


def test_the_component_is_never_called_like_a_part_of_the_platform() -> None:
    one = Cluster(metadata=ObjectMeta(name="etcd", uid=UID), spec=ClusterSpec(type="virtual"))
    made = manifests.component(wish(one), "10.96.0.7")
    assert made["metadata"]["name"] == "vcluster-etcd"
    assert made["spec"]["chart"]["releaseName"] == "etcd"
    assert made["spec"]["enabled"] is True


def test_ranges_keep_clear_of_nodes_and_other_clusters() -> None:
    node = Node(
        metadata=ObjectMeta(name="n"),
        spec=NodeSpec(pod_cidr="10.160.0.0/24"),
        status=NodeStatus(addresses=(NodeAddress(type="InternalIP", address="10.128.0.9"),)),
    )
    other = NetworkStatus(service_cidr="10.128.16.0/20", pod_cidr="10.160.16.0/20")
    found = plan.allocate(cluster(), [other], [node], SETTINGS)
    assert isinstance(found, NetworkStatus)
    assert (found.service_cidr, found.pod_cidr) == ("10.128.32.0/20", "10.160.32.0/20")


def test_a_range_that_is_in_use_or_a_pool_that_is_used_up_is_told() -> None:
    other = NetworkStatus(service_cidr="10.200.0.0/20", pod_cidr="10.160.0.0/12")
    clash = plan.allocate(cluster(network=Network(service_cidr="10.200.8.0/22")), [other], [], SETTINGS)
    assert isinstance(clash, Obstacle)
    assert clash.reason == "RangeTaken"
    assert "10.200.0.0/20" in clash.message
    full = plan.allocate(cluster(), [other], [], SETTINGS)
    assert isinstance(full, Obstacle)
    assert full.reason == "PoolExhausted"
    own_pool = ClusterSettings(network=NetworkSettings(pod_pool="10.64.0.0/12"))
    assert isinstance(plan.allocate(cluster(), [other], [], own_pool), NetworkStatus)


def ours(cls: type[Resource], name: str, uid: str = UID) -> Any:
    return cls(metadata=ObjectMeta(name=name, annotations={CLUSTER_UID_ANNOTATION: uid}))


def test_the_farewell_goes_from_the_inside_out_and_touches_nothing_of_others() -> None:
    one = cluster()
    child, main, place = ours(Component, "a-kubeedge"), ours(Component, "vcluster-a"), namespace()
    full = Seen(namespace=place, component=main, children={"a-kubeedge": child})
    assert plan.plan_farewell(one, full, 0) == (plan.DeleteComponent(child, abandon=True),)
    assert plan.plan_farewell(one, replace(full, children={}), 0) == (
        plan.DeleteComponent(main, abandon=False),
    )
    assert plan.plan_farewell(one, Seen(namespace=place), 0) == (plan.DeleteNamespace(place),)
    assert plan.plan_farewell(one, Seen(), 0) == (plan.Finish(),)
    foreign = Seen(
        namespace=namespace(uid="another"),
        component=ours(Component, "vcluster-a", "another"),
        children={"x": ours(Component, "x", "another")},
    )
    assert plan.plan_farewell(one, foreign, 0) == (plan.Finish(),)


def test_force_works_after_a_minute_and_only_with_the_uid() -> None:
    main = ours(Component, "vcluster-a")
    for value, waited_s, abandon in ((UID, 61, True), (UID, 5, False), ("true", 61, False)):
        one = Cluster(
            metadata=ObjectMeta(name="a", uid=UID, annotations={FORCE_DELETE_ANNOTATION: value}),
            spec=ClusterSpec(type="virtual"),
        )
        found = plan.plan_farewell(one, Seen(component=main), waited_s)
        assert found == (plan.DeleteComponent(main, abandon=abandon),)
    stuck = plan.plan_farewell(
        Cluster(metadata=ObjectMeta(name="a", uid=UID, annotations={FORCE_DELETE_ANNOTATION: UID})),
        Seen(namespace=namespace(going=True)),
        61,
    )
    assert [type(step) for step in stuck] == [plan.DeleteNamespace, plan.Finish]
