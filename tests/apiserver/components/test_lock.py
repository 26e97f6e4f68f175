"""The lock of a release: one holder at a time, broken when its pod is gone (R32)."""

import asyncio
from typing import Any

import pytest
from tests.support.engine import NAMESPACE

from edge.adapters.helm_lock import LockHeld, LockHolder, ReleaseLock
from edge_kube.client import Client
from edge_kube.core import Lease
from edge_kube.harness.light import LightCluster


def _lock(client: Client, pod: str) -> ReleaseLock:
    return ReleaseLock(client, LockHolder(pod=pod, namespace=NAMESPACE, boot=f"boot-of-{pod}"))


async def _pod(client: Client, name: str) -> None:
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"containers": [{"name": "main", "image": "x"}]},
    }
    await client.create(pod, manager="test")


async def test_one_holder_at_a_time_and_nothing_left_after(client: Client) -> None:
    await _pod(client, "holder-one")
    one, two = _lock(client, "holder-one"), _lock(client, "holder-two")
    async with one.held(client, NAMESPACE, "rel"):
        assert await two.holder(client, NAMESPACE, "rel") == "holder-one"
        assert await one.holder(client, NAMESPACE, "rel") == ""
        with pytest.raises(LockHeld, match="holder-one is working on release default/rel"):
            async with two.held(client, NAMESPACE, "rel"):
                pytest.fail("two holders")
    assert await client.find(Lease, "helm-rel", NAMESPACE) is None


async def test_the_lock_of_a_pod_that_is_gone_is_broken_at_once(client: Client) -> None:
    await _pod(client, "doomed")
    dead, heir = _lock(client, "doomed"), _lock(client, "heir")
    taken = asyncio.Event()

    async def die() -> None:
        async with dead.held(client, NAMESPACE, "left"):
            taken.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(die())
    await taken.wait()
    lease = await client.get(Lease, "helm-left", NAMESPACE)
    assert await heir.holder(client, NAMESPACE, "left") == "doomed"
    await client.raw(
        "DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/doomed", data=b'{"gracePeriodSeconds":0}'
    )
    assert await heir.holder(client, NAMESPACE, "left") == ""
    async with heir.held(client, NAMESPACE, "left"):
        held = await client.get(Lease, "helm-left", NAMESPACE)
        assert held.spec.holder_identity == "heir"
        assert held.metadata.uid != lease.metadata.uid
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The dead one's clean-up must not take the lock of the living one.
        assert await client.find(Lease, "helm-left", NAMESPACE) is not None


async def test_a_lock_that_is_not_renewed_is_broken(client: Client) -> None:
    await _pod(client, "asleep")
    old = "2020-01-01T00:00:00.000000Z"
    lease: dict[str, Any] = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "helm-stale", "namespace": NAMESPACE},
        "spec": {"holderIdentity": "asleep", "renewTime": old, "leaseDurationSeconds": 60},
    }
    await client.create(lease, manager="test")
    async with _lock(client, "awake").held(client, NAMESPACE, "stale"):
        assert (await client.get(Lease, "helm-stale", NAMESPACE)).spec.holder_identity == "awake"


async def test_what_is_in_a_dying_namespace_can_still_be_removed(
    client: Client, light_cluster: LightCluster
) -> None:
    light_cluster.kubectl("create", "namespace", "lock-dying")
    light_cluster.kubectl("create", "configmap", "held", "-n", "lock-dying")
    light_cluster.kubectl("delete", "namespace", "lock-dying", "--wait=false")
    lock, entered = _lock(client, "anyone"), False
    async with lock.held(client, "lock-dying", "rel", removing=True):
        entered = True
    assert entered
