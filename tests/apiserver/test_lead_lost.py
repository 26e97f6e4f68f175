"""Losing the lead: work ends in time, also when it was being drained, and is taken up again (L1, L2)."""

import asyncio
import dataclasses
from collections.abc import Callable

import pytest

from edge_kube.client import Client
from edge_kube.core import ConfigMap, Lease
from edge_kube.errors import NotLeader
from edge_kube.manager import Manager, Options
from edge_kube.meta import Key, ObjectMeta
from edge_kube.reconcile import DONE, Reader, Request, Result, Writer
from edge_sdk.room import Loop, Room

OPTIONS = Options(
    identity="pod-a",
    namespace="default",
    lease_s=60,
    renew_deadline_s=20,
    retry_s=0.4,
    grace_s=30,
    drain_s=120,
)


class Stubborn:
    """Works on for as long as nobody cancels it, and writes all the time."""

    running = 0
    refused = 0

    def __init__(self, cache: Reader, client: Writer) -> None:
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        if request.name != "stubborn":
            return DONE
        Stubborn.running += 1
        try:
            while True:
                try:
                    await self._client.merge(ConfigMap, Key("default", "stubborn"), {"data": {"by": "a"}})
                except NotLeader:
                    Stubborn.refused += 1
                await asyncio.sleep(0.05)
        finally:
            Stubborn.running -= 1


async def eventually(holds: Callable[[], bool], within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def steal(client: Client, lease: str) -> None:
    """Another holder writes its name over ours, as no candidate of ours ever does."""
    spec = {"holderIdentity": "thief", "leaseDurationSeconds": 4, "leaseTransitions": 99}
    await client.merge(Lease, Key("default", lease), {"spec": spec})


@pytest.mark.parametrize("draining", [False, True])
async def test_work_ends_when_the_lead_is_lost(client: Client, draining: bool) -> None:
    lease = f"lost-{draining}".lower()
    options = dataclasses.replace(OPTIONS, lease=lease)
    await client.apply(ConfigMap(metadata=ObjectMeta(name="stubborn", namespace="default")), manager="test")
    manager = Manager(client, [Room(name="stubborn", loops=(Loop(ConfigMap, Stubborn),))], options)
    stop = asyncio.Event()
    task = asyncio.create_task(manager.run(stop))
    try:
        await eventually(lambda: Stubborn.running == 1)
        if draining:
            stop.set()
            await asyncio.sleep(0.3)
            assert Stubborn.running == 1  # it is given time
        await steal(client, lease)
        await eventually(lambda: Stubborn.running == 0)
        assert not manager.is_leader()
        if not draining:
            await eventually(lambda: Stubborn.running == 1)  # the thief has four seconds, and does not renew
    finally:
        stop.set()
        for controller in manager.controllers:
            await controller.stop(grace_s=0)
        await task
        await client.delete(ConfigMap, "stubborn", "default")
