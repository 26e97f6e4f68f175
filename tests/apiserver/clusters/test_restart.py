"""A controller that is killed anywhere goes on where it was: nothing twice, nothing lost. C3; P3."""

import asyncio
import random

from tests.support.tenants import PlayedMembers, PlayedStores

from edge.clusters.room import room
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import Cluster, ClusterSpec, ClusterStatus
from edge.components.types import Component, ComponentSpec
from edge_kube.conditions import is_true
from edge_kube.core import Namespace, Secret, Service
from edge_kube.harness import Kube
from edge_kube.harness.cleaning import empty_namespace
from edge_kube.meta import ObjectMeta

KILLS = 8
SETTINGS = ClusterSettings(external_address="192.0.2.10", shared_etcd=True, probe_period_s=1.0)


def ready(found: Cluster) -> bool:
    return is_true(found.status.conditions, "Ready")


async def run_for(kube: Kube, members: PlayedMembers, stores: PlayedStores, seconds: float) -> None:
    await kube.start(room(members, stores, SETTINGS))
    await asyncio.sleep(seconds)
    await kube.kill()


async def test_killed_at_random_moments_it_makes_one_cluster_and_takes_it_away_whole(
    system: Kube, members: PlayedMembers, stores: PlayedStores
) -> None:
    chance = random.Random(7)
    await system.install(Cluster, Component)
    etcd = Component(metadata=ObjectMeta(name="etcd", namespace="edge-system"), spec=ComponentSpec())
    await system.apply(etcd)
    members.up["phoenix"] = ()
    made = await system.create(
        Cluster(metadata=ObjectMeta(name="phoenix"), spec=ClusterSpec(type="virtual")), status=False
    )
    networks: set[str] = set()
    authorities: set[str] = set()
    ports: set[int] = set()
    for _ in range(KILLS):
        await run_for(system, members, stores, chance.uniform(0.0, 0.4))
        found = await system.get(Cluster, "phoenix")
        if found.status != ClusterStatus() and found.status.network.service_cidr:
            networks.add(found.status.network.service_cidr)
        if (pki := await system.find(Secret, "plane-pki", "vcluster-phoenix")) is not None:
            authorities.add(pki.data["ca.crt"])
        if (service := await system.find(Service, "plane", "vcluster-phoenix")) is not None:
            ports.add(service.spec.ports[0].node_port)
    await system.start(room(members, stores, SETTINGS))
    done = await system.eventually(Cluster, "phoenix", ready)
    networks.add(done.status.network.service_cidr)
    authorities.add((await system.get(Secret, "plane-pki", "vcluster-phoenix")).data["ca.crt"])
    assert len(networks) == len(authorities) == 1
    assert len(ports) <= 1
    assert list(stores.tenants) == [f"tenant-{made.metadata.uid}"]
    await system.kill()

    await system.client.delete(Cluster, "phoenix")
    for _ in range(3):
        await run_for(system, members, stores, chance.uniform(0.0, 0.3))
        namespace = await system.find(Namespace, "vcluster-phoenix")
        if namespace is not None and namespace.metadata.deletion_timestamp:
            await empty_namespace(system.client, "vcluster-phoenix")
    await system.start(room(members, stores, SETTINGS))
    if await system.find(Namespace, "vcluster-phoenix") is not None:
        await system.eventually(
            Namespace, "vcluster-phoenix", lambda one: bool(one.metadata.deletion_timestamp)
        )
        await empty_namespace(system.client, "vcluster-phoenix")
    await system.gone(Cluster, "phoenix")
    assert stores.tenants == {}
    assert await system.find(Secret, "cluster-phoenix", "edge-system") is None
    assert await system.find(Component, "vcluster-phoenix", "edge-system") is None
