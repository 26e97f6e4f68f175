"""What the room makes for a virtual cluster in the host cluster, and that it all goes again.

Helm, kubelet and the tenant's API server are played here; they run for real in tests/e2e.
Requirements: C1, C3, C6, C7, C11, C13, P4; rulings R21–R28.
"""

import asyncio
import base64

import pytest
from tests.support.tenants import PlayedMembers, PlayedStores

from edge.clusters import intake, rules
from edge.clusters.ports import NodeView
from edge.clusters.room import room
from edge.clusters.settings import ClusterSettings, ImageSettings, WorkerSettings
from edge.clusters.types import (
    FORCE_DELETE_ANNOTATION,
    Cluster,
    ClusterSpec,
    Worker,
)
from edge.components.types import Component, ComponentSpec
from edge_kube.conditions import condition, is_true
from edge_kube.core import Namespace, Secret, Service
from edge_kube.harness import Kube
from edge_kube.harness.cleaning import empty_namespace
from edge_kube.meta import ObjectMeta

SYSTEM = "edge-system"
SETTINGS = ClusterSettings(
    external_address="192.0.2.10", worker=WorkerSettings(enabled=True), probe_period_s=1.0
)
NODE = NodeView("a-worker-0", ready=True, nested=True)


def cluster(name: str, **spec: object) -> Cluster:
    return Cluster(metadata=ObjectMeta(name=name), spec=ClusterSpec(type="virtual", **spec))  # pyright: ignore[reportArgumentType]


def ready(found: Cluster) -> bool:
    return is_true(found.status.conditions, "Ready")


async def vanish(kube: Kube, name: str) -> None:
    """What the namespace controller does in a whole cluster."""
    namespace = rules.namespace_of(name)
    await kube.eventually(Namespace, namespace, lambda one: bool(one.metadata.deletion_timestamp))
    await empty_namespace(kube.client, namespace)


async def test_a_virtual_cluster_becomes_ready_and_leaves_nothing(
    system: Kube, members: PlayedMembers, stores: PlayedStores
) -> None:
    await system.start(room(members, stores, SETTINGS))
    made = await system.create(cluster("a", distribution="k3s", version="v1.26.0"))
    component = await system.eventually(Component, "vcluster-a", namespace=SYSTEM)
    values = component.spec.values
    assert component.spec.chart.name == "vcluster-hosted"
    assert component.spec.chart.release_name == "a"
    assert component.spec.chart.namespace == "vcluster-a"
    service = await system.get(Service, "plane", "vcluster-a")
    assert values["plane"] == {"address": service.spec.cluster_ip}
    assert values["worker"] == {"count": 1}
    assert values["store"]["mode"] == "own"
    pki = await system.get(Secret, "plane-pki", "vcluster-a")
    assert {"ca.crt", "ca.key", "sa.key", "apiserver.crt", "scheduler.key"} <= set(pki.data)
    waiting = await system.eventually(Cluster, "a", lambda one: bool(one.status.network.service_cidr))
    assert not ready(waiting)

    members.up["a"] = (NODE,)
    done = await system.eventually(Cluster, "a", ready)
    assert done.status.kubernetes_version == "v1.36.3"
    assert done.status.uid == "uid-of-a"
    assert done.status.node_count == 1
    assert done.status.phase == "Ready"
    assert done.status.distribution.requested == "k3s"
    assert done.status.distribution.served == "k8s"
    exact = condition(done.status.conditions, "VersionExact")
    assert exact is not None
    assert (exact.status, exact.reason) == ("False", "VersionSubstituted")
    assert not is_true(done.status.conditions, "DistributionExact")
    connection = intake.take_in(base64.b64decode(done.spec.connection.kubeconfig))
    port = service.spec.ports[0].node_port
    assert connection.server == f"https://192.0.2.10:{port}"
    kinds = {one["kind"] for one in members.applied["a"]}
    assert {"ClusterRoleBinding", "Secret", "Deployment"} <= kinds

    await system.delete(Cluster, "a")
    await system.gone(Component, "vcluster-a", namespace=SYSTEM)
    asked = len(members.asked)  # the room knows of the deletion now
    await vanish(system, "a")
    await system.gone(Cluster, "a")
    assert await system.find(Secret, "cluster-a", SYSTEM) is None
    assert made.metadata.uid
    assert len(members.asked) == asked, "a cluster that is being deleted is not asked any more"


async def kubectl(kube: Kube, *args: str, stdin: str = "") -> str:
    """In a thread, since the webhooks that it waits for are served by this loop."""
    return await asyncio.to_thread(kube.cluster.kubectl, *args, stdin=stdin)


async def test_apply_twice_says_unchanged_also_after_the_controller_wrote(
    system: Kube, members: PlayedMembers, stores: PlayedStores
) -> None:
    await system.start(room(members, stores, SETTINGS), webhooks=True)
    members.up["twice"] = (NODE,)
    text = (
        '{"apiVersion":"scope.theriseunion.io/v1alpha1","kind":"Cluster","metadata":{"name":"twice"},'
        '"spec":{"type":"virtual","distribution":"k3s","version":"v1.26.0"}}'
    )
    assert "created" in await kubectl(system, "apply", "-f", "-", stdin=text)
    await system.eventually(Cluster, "twice", ready)
    assert "unchanged" in await kubectl(system, "apply", "-f", "-", stdin=text)
    minimal = text.replace('"type":"virtual","distribution":"k3s","version":"v1.26.0"', "").replace(
        "twice", "bare"
    )
    assert "created" in await kubectl(system, "apply", "-f", "-", stdin=minimal)
    assert "unchanged" in await kubectl(system, "apply", "-f", "-", stdin=minimal)
    assert (await system.get(Cluster, "bare")).spec.type == "virtual"


async def test_clusters_get_ranges_of_their_own_even_at_once(
    system: Kube, members: PlayedMembers, stores: PlayedStores
) -> None:
    await system.start(room(members, stores, SETTINGS))
    names = [f"many-{index}" for index in range(12)]
    for name in names:
        await system.create(cluster(name))
    ranges: list[str] = []
    for name in names:
        found = await system.eventually(Cluster, name, lambda one: bool(one.status.network.service_cidr))
        ranges += [found.status.network.service_cidr, found.status.network.pod_cidr]
    assert len(set(ranges)) == len(ranges)
    assert not any(rules.overlap(a, b) for a in ranges for b in ranges if a != b)


async def test_the_shared_store_admits_a_tenant_and_forgets_it(
    system: Kube, members: PlayedMembers, stores: PlayedStores
) -> None:
    settings = ClusterSettings(external_address="192.0.2.10", shared_etcd=True, probe_period_s=1.0)
    await system.start(room(members, stores, settings))
    etcd = Component(metadata=ObjectMeta(name="etcd", namespace=SYSTEM), spec=ComponentSpec())
    await system.apply(etcd)
    for name in ("etcd-ca", "etcd-certs", "etcd-client-certs"):
        await system.eventually(Secret, name, namespace=SYSTEM)
    members.up["shared"] = ()
    await system.create(cluster("shared"))
    done = await system.eventually(Cluster, "shared", ready)
    uid = done.metadata.uid
    assert stores.tenants == {f"tenant-{uid}": f"/tenants/{uid}"}
    component = await system.get(Component, "vcluster-shared", SYSTEM)
    assert component.spec.values["store"]["prefix"] == f"/tenants/{uid}"
    assert [need.name for need in component.spec.dependencies] == ["etcd"]
    assert "etcd.key" in (await system.get(Secret, "plane-pki", "vcluster-shared")).data

    stores.down = True
    await system.delete(Cluster, "shared")
    await vanish(system, "shared")
    stuck = await system.eventually(
        Cluster, "shared", lambda one: "etcd" in str(condition(one.status.conditions, "Ready"))
    )
    assert FORCE_DELETE_ANNOTATION in str(condition(stuck.status.conditions, "Ready"))
    stores.down = False
    await system.gone(Cluster, "shared")
    assert stores.tenants == {}


async def test_force_lets_a_cluster_go_whose_store_is_gone(
    system: Kube, members: PlayedMembers, stores: PlayedStores
) -> None:
    settings = ClusterSettings(external_address="192.0.2.10", shared_etcd=True, probe_period_s=1.0)
    await system.start(room(members, stores, settings))
    await system.apply(Component(metadata=ObjectMeta(name="etcd", namespace=SYSTEM), spec=ComponentSpec()))
    await system.create(cluster("forced"))
    await system.eventually(Component, "vcluster-forced", namespace=SYSTEM)
    stores.down = True
    await system.delete(Cluster, "forced")
    await vanish(system, "forced")
    uid = (await system.get(Cluster, "forced")).metadata.uid
    await system.patch(Cluster, "forced", {"metadata": {"annotations": {FORCE_DELETE_ANNOTATION: uid}}})
    await system.gone(Cluster, "forced")


async def test_a_namespace_of_somebody_else_is_left_alone(
    system: Kube, members: PlayedMembers, stores: PlayedStores
) -> None:
    await system.create(Namespace(metadata=ObjectMeta(name="vcluster-taken")))
    await system.start(room(members, stores, SETTINGS))
    await system.create(cluster("taken"))
    told = await system.eventually(
        Cluster, "taken", lambda one: "NamespaceTaken" in str(condition(one.status.conditions, "Ready"))
    )
    assert await system.find(Service, "plane", "vcluster-taken") is None
    await system.delete(Cluster, "taken")
    await system.gone(Cluster, "taken")
    kept = await system.get(Namespace, "vcluster-taken")
    assert not kept.metadata.deletion_timestamp
    assert not ready(told)


async def test_what_was_taken_away_comes_back(
    system: Kube, members: PlayedMembers, stores: PlayedStores
) -> None:
    await system.start(room(members, stores, SETTINGS))
    members.up["healed"] = (NODE,)
    await system.create(cluster("healed"))
    done = await system.eventually(Cluster, "healed", ready)
    await system.client.delete(Component, "vcluster-healed", SYSTEM)
    await system.client.delete(Service, "plane", "vcluster-healed")
    await system.patch(Cluster, "healed", {"spec": {"connection": {"kubeconfig": "bm9uc2Vuc2U="}}})
    await system.eventually(Component, "vcluster-healed", namespace=SYSTEM)
    service = await system.eventually(Service, "plane", namespace="vcluster-healed")
    port = service.spec.ports[0].node_port

    def connected(one: Cluster) -> bool:
        text = one.spec.connection.kubeconfig
        return text != "bm9uc2Vuc2U=" and f":{port}" in base64.b64decode(text).decode()

    await system.eventually(Cluster, "healed", connected)
    assert done.status.phase == "Ready"


async def test_a_cluster_waits_for_its_workers_and_loses_those_it_does_not_want(
    system: Kube, members: PlayedMembers, stores: PlayedStores
) -> None:
    await system.start(room(members, stores, SETTINGS))
    members.up["crew"] = (NodeView("crew-worker-0", ready=True, nested=True),)
    await system.create(cluster("crew", worker=Worker(enabled=True, count=2)))
    await system.eventually(
        Cluster, "crew", lambda one: "WaitingForWorkers" in str(condition(one.status.conditions, "Ready"))
    )
    both = (
        NodeView("crew-worker-0", ready=True, nested=True),
        NodeView("crew-worker-1", ready=True, nested=True),
    )
    members.up["crew"] = both
    await system.eventually(Cluster, "crew", ready)
    await system.patch(Cluster, "crew", {"spec": {"worker": {"count": 1}}})
    component = await system.eventually(
        Component, "vcluster-crew", lambda one: one.spec.values["worker"]["count"] == 1, namespace=SYSTEM
    )
    assert component.spec.values["worker"] == {"count": 1}
    await system.eventually(Cluster, "crew", lambda _: "crew-worker-1" in members.removed)


async def test_silence_is_told_after_four_periods(
    system: Kube, members: PlayedMembers, stores: PlayedStores
) -> None:
    settings = ClusterSettings(external_address="192.0.2.10", probe_period_s=0.3)
    await system.start(room(members, stores, settings))
    members.up["quiet"] = ()
    await system.create(cluster("quiet"))
    await system.eventually(Cluster, "quiet", ready)
    del members.up["quiet"]
    offline = await system.eventually(Cluster, "quiet", lambda one: one.status.phase == "Offline")
    assert not is_true(offline.status.conditions, "Reachable")
    assert offline.status.kubernetes_version == "v1.36.3", "the last facts stay"
    members.up["quiet"] = ()
    await system.eventually(Cluster, "quiet", ready)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"version": "v1.99"}, "VersionUnavailable"),
        ({"version": "v1.26.0", "version_policy": "Exact"}, "VersionUnavailable"),
    ],
)
async def test_a_version_that_nothing_serves_is_told(
    system: Kube, members: PlayedMembers, stores: PlayedStores, spec: dict[str, str], reason: str
) -> None:
    settings = ClusterSettings(external_address="192.0.2.10", images=ImageSettings(kube={"1.36.3": "kube"}))
    await system.start(room(members, stores, settings))
    await system.create(cluster("never", **spec))
    await system.eventually(
        Cluster, "never", lambda one: reason in str(condition(one.status.conditions, "Ready"))
    )
    assert await system.find(Component, "vcluster-never", SYSTEM) is None


async def test_the_engine_of_upstream_is_wired_through_the_same_steps(
    system: Kube, members: PlayedMembers, stores: PlayedStores
) -> None:
    """Its chart is played: what it would make is a Secret with a kubeconfig."""
    await system.start(room(members, stores, SETTINGS))
    await system.create(cluster("up", engine="vcluster", distribution="k3s"))
    component = await system.eventually(Component, "vcluster-up", namespace=SYSTEM)
    assert (component.spec.chart.name, component.spec.version) == ("vcluster", "0.32.3")
    assert component.spec.chart.repository == ""
    config = base64.b64encode(b'{"made by": "the chart"}').decode()
    made = Secret(metadata=ObjectMeta(name="vc-up", namespace="vcluster-up"), data={"config": config})
    await system.create(made)
    members.up["up"] = ()
    done = await system.eventually(Cluster, "up", ready)
    assert done.spec.connection.kubeconfig == config
    assert done.status.distribution.served == "k3s"
    assert is_true(done.status.conditions, "DistributionExact")
    assert (await system.get(Secret, "cluster-up", SYSTEM)).data["kubeconfig"] == config
    assert await system.find(Service, "plane", "vcluster-up") is None
    await system.delete(Cluster, "up")
    await vanish(system, "up")
    await system.gone(Cluster, "up")
