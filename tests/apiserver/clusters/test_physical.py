"""Joined clusters: asked in the background, status within a minute, honest words when it fails (C2, C9)."""

import base64
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest_asyncio
import yaml
from tests.support.tenants import PlayedStores

from edge import pki
from edge.adapters.members import MemberProbes
from edge.clusters.room import room
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import ACCEPT_UID_ANNOTATION, Cluster, ClusterSpec, Connection
from edge_kube.conditions import condition, is_true
from edge_kube.core import Namespace, Node
from edge_kube.harness import Kube, LightCluster
from edge_kube.meta import Condition, ObjectMeta

SETTINGS = ClusterSettings(allow_loopback=True, probe_period_s=0.5)


@pytest_asyncio.fixture
async def hub(kube: Kube, stores: PlayedStores) -> AsyncIterator[Kube]:
    probes = MemberProbes()
    await kube.start(room(probes, stores, SETTINGS))
    yield kube
    await kube.stop()
    await probes.close()


def joined(name: str, kubeconfig: bytes) -> Cluster:
    connection = Connection(kubeconfig=base64.b64encode(kubeconfig).decode())
    return Cluster(metadata=ObjectMeta(name=name), spec=ClusterSpec(type="physical", connection=connection))


def told(found: Cluster) -> Condition:
    made = condition(found.status.conditions, "Ready")
    assert made is not None
    return made


def has_reason(reason: str) -> Callable[[Cluster], bool]:
    def check(found: Cluster) -> bool:
        return bool(found.status.conditions) and told(found).reason == reason

    return check


async def test_a_joined_cluster_is_ready_with_version_uid_and_nodes(
    hub: Kube, member: Kube, member_cluster: LightCluster
) -> None:
    await member.client.create(
        Node(metadata=ObjectMeta(name="n1", labels={"topology.kubernetes.io/zone": "north"})), manager="test"
    )
    await hub.create(joined("plant", member_cluster.kubeconfig.read_bytes()))
    found = await hub.eventually(Cluster, "plant", lambda one: is_true(one.status.conditions, "Ready"))
    assert found.status.kubernetes_version.startswith("v1.")
    assert found.status.uid == (await member.client.get(Namespace, "kube-system")).metadata.uid
    assert found.status.node_count == 1
    assert found.status.zones == ("north",)
    await member.client.delete(Node, "n1")
    await hub.eventually(Cluster, "plant", lambda one: one.status.node_count == 0)
    await hub.delete(Cluster, "plant")
    await hub.gone(Cluster, "plant")


async def test_an_address_where_nobody_answers_is_told_and_its_deletion_is_quick(
    hub: Kube, member_cluster: LightCluster
) -> None:
    text = member_cluster.kubeconfig.read_text().replace(member_cluster.server, "https://127.0.0.1:1")
    await hub.create(joined("nowhere", text.encode()))
    found = await hub.eventually(Cluster, "nowhere", has_reason("Offline"))
    assert "127.0.0.1:1" in told(found).message
    assert found.status.phase == "Pending"
    began = time.monotonic()
    await hub.delete(Cluster, "nowhere")
    await hub.gone(Cluster, "nowhere")
    assert time.monotonic() - began < 30


async def test_an_expired_certificate_is_told_with_its_date(hub: Kube, member_cluster: LightCluster) -> None:
    past = datetime.now(UTC) - timedelta(days=30)
    ca = pki.make_ca("old", now=past)
    client = pki.issue(ca, "admin", now=past, valid=timedelta(days=7))
    config = yaml.safe_load(member_cluster.kubeconfig.read_bytes())
    authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])
    text = pki.kubeconfig(member_cluster.server, authority, client=client)
    await hub.create(joined("expired", text))
    found = await hub.eventually(Cluster, "expired", has_reason("CredentialsExpired"))
    assert f"{past + timedelta(days=7):%Y-%m-%d}" in told(found).message


async def test_credentials_that_the_cluster_does_not_know_are_told(
    hub: Kube, member_cluster: LightCluster
) -> None:
    config = yaml.safe_load(member_cluster.kubeconfig.read_bytes())
    authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])
    text = pki.kubeconfig(member_cluster.server, authority, token="forged-token")
    await hub.create(joined("unknown", text))
    found = await hub.eventually(Cluster, "unknown", has_reason("Unauthorized"))
    assert "forged-token" not in told(found).message


async def test_a_kubeconfig_that_is_none_is_told_when_no_webhook_looked(hub: Kube) -> None:
    await hub.create(joined("garbled", b"\x00not yaml: ["))
    await hub.eventually(Cluster, "garbled", has_reason("KubeconfigInvalid"))
    await hub.create(Cluster(metadata=ObjectMeta(name="empty"), spec=ClusterSpec(type="physical")))
    await hub.eventually(Cluster, "empty", has_reason("AwaitingKubeconfig"))
    await hub.patch(Cluster, "empty", {"spec": {"enable": False}})
    await hub.eventually(Cluster, "empty", has_reason("Disabled"))


async def test_another_cluster_behind_the_same_address_needs_a_person(
    hub: Kube, light_cluster: LightCluster, member_cluster: LightCluster
) -> None:
    await hub.create(joined("swapped", member_cluster.kubeconfig.read_bytes()))
    before = await hub.eventually(Cluster, "swapped", lambda one: is_true(one.status.conditions, "Ready"))
    other = base64.b64encode(light_cluster.kubeconfig.read_bytes()).decode()
    await hub.patch(Cluster, "swapped", {"spec": {"connection": {"kubeconfig": other}}})
    changed = await hub.eventually(Cluster, "swapped", has_reason("IdentityChanged"))
    assert changed.status.uid == before.status.uid
    uid = (await hub.client.get(Namespace, "kube-system")).metadata.uid
    await hub.patch(Cluster, "swapped", {"metadata": {"annotations": {ACCEPT_UID_ANNOTATION: uid}}})
    agreed = await hub.eventually(Cluster, "swapped", lambda one: is_true(one.status.conditions, "Ready"))
    assert agreed.status.uid == uid
