"""A controller process as others see it: probes, metrics, the leader's gauges, stop (P5, O1; L5, L6)."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from edge_kube.client import Client
from edge_kube.core import ConfigMap, Lease
from edge_kube.errors import NotLeader
from edge_kube.manager import Manager, Options
from edge_kube.meta import ObjectMeta
from edge_kube.metrics import Measure
from edge_kube.reconcile import DONE, Reader, Request, Result, Writer
from edge_sdk.room import Loop, Room

OPTIONS = Options(
    identity="pod-a",
    namespace="default",
    lease="manager",
    listen=(("127.0.0.1", 0), ("127.0.0.1", 0)),
    lease_s=60,  # nobody's lead is lost here, however long a busy machine gives us no turn
    renew_deadline_s=20,
    retry_s=0.4,
    grace_s=30,
)


class Slow:
    """Takes its time over each object, so that a stop meets work in hand."""

    def __init__(self, cache: Reader, client: Writer) -> None:
        self._client = client
        self.started: list[str] = []
        self.finished: list[str] = []
        self.cancelled: list[str] = []

    async def reconcile(self, request: Request) -> Result:
        if not request.name.startswith("slow"):
            return DONE
        self.started.append(request.name)
        try:
            await asyncio.sleep(0.6)
            self.finished.append(request.name)
        except asyncio.CancelledError:
            self.cancelled.append(request.name)
            raise
        return DONE


def count_config_maps(cache: Reader) -> Iterable[Measure]:
    samples = [({"namespace": "default"}, float(len(cache.list(ConfigMap, "default"))))]
    yield Measure("probe_config_maps", "ConfigMaps seen.", samples)


@asynccontextmanager
async def process(
    client: Client, identity: str, lease: str, made: list[Slow] | None = None
) -> AsyncGenerator[tuple[Manager, asyncio.Event, asyncio.Task[None]]]:
    def make(cache: Reader, writer: Writer) -> Slow:
        slow = Slow(cache, writer)
        if made is not None:
            made.append(slow)
        return slow

    room = Room(name="slow", loops=(Loop(ConfigMap, make),), measures=(count_config_maps,))
    manager = Manager(client, [room], dataclasses.replace(OPTIONS, identity=identity, lease=lease))
    stop = asyncio.Event()
    task = asyncio.create_task(manager.run(stop))
    try:
        await eventually(lambda: bool(manager.probes.ports) and manager.cache.synced)
        yield manager, stop, task
    finally:
        stop.set()
        await task


async def eventually(holds: Callable[[], object], within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def shows(port: int, *lines: str) -> str:
    """The metrics once they have all of these lines."""
    text = ""
    async with asyncio.timeout(60):
        while not all(line in text for line in lines):
            _, text = await fetch(port, "/metrics")
    return text


async def fetch(port: int, path: str, accept: str = "") -> tuple[int, str]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        headers = {"Accept": accept} if accept else {}
        async with session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as answer:
            return answer.status, await answer.text()


async def test_both_ports_answer_probes_and_metrics_under_the_documented_names(client: Client) -> None:
    async with process(client, "pod-a", "manager-1") as (manager, _, _):
        await eventually(manager.is_leader)
        for port in manager.probes.ports:
            assert await fetch(port, "/healthz") == (
                200,
                "[+] elector ok\n[+] loops ok\n[+] loop-lag ok\nok\n",
            )
            assert (await fetch(port, "/readyz"))[0] == 200
        await shows(
            manager.probes.ports[0],
            'leader_election_master_status{name="manager-1"} 1.0',
            'controller_reconcile_total{controller="configmap",result="success"}',
            'controller_runtime_reconcile_total{controller="configmap",result="success"}',
            'workqueue_depth{controller="configmap",name="configmap",priority="high"} 0.0',
            'rest_client_requests_total{code="200"',
            'probe_config_maps{namespace="default"}',
            "controller_reconcile_duration_seconds_bucket",
        )
        status, text = await fetch(manager.probes.ports[0], "/metrics", "application/openmetrics-text")
        assert status == 200
        assert text.endswith("# EOF\n")


async def test_both_names_of_the_reconcile_count_show_the_same_samples(client: Client) -> None:
    async with process(client, "pod-a", "manager-2") as (manager, _, _):
        await eventually(manager.is_leader)
        prefixes = ("controller_reconcile_total{", "controller_runtime_reconcile_total{")
        text = await shows(manager.probes.ports[0], prefixes[0])
        both = [
            sorted(line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix))
            for prefix in prefixes
        ]
        assert both[0] == both[1] != []


async def test_a_standby_is_ready_watches_and_shows_no_gauge_of_the_platform(client: Client) -> None:
    async with process(client, "pod-a", "manager-3") as (leader, _, _):
        await eventually(leader.is_leader)
        async with process(client, "pod-b", "manager-3") as (standby, _, _):
            assert not standby.is_leader()
            assert (await fetch(standby.probes.ports[0], "/readyz"))[0] == 200
            _, text = await fetch(standby.probes.ports[0], "/metrics")
            assert 'leader_election_master_status{name="manager-3"} 0.0' in text
            assert "probe_config_maps" not in text
            obj = ConfigMap(metadata=ObjectMeta(name="never", namespace="default"))
            with pytest.raises(NotLeader):
                await standby.writer.create(obj, manager="test")
            held = await client.get(Lease, "manager-3", "default")
            assert held.spec.holder_identity == "pod-a"


async def test_stopping_lets_work_in_hand_finish_then_releases_the_lease(client: Client) -> None:
    made: list[Slow] = []
    async with process(client, "pod-a", "manager-4", made) as (manager, stop, task):
        await eventually(manager.is_leader)
        slow = ConfigMap(metadata=ObjectMeta(name="slow-1", namespace="default"))
        await client.create(slow, manager="test")
        await eventually(lambda: made[0].started == ["slow-1"])
        stop.set()
        await task
        await client.delete(ConfigMap, "slow-1", "default")
    assert made[0].finished == ["slow-1"]
    assert made[0].cancelled == []
    assert (await client.get(Lease, "manager-4", "default")).spec.holder_identity == ""


async def test_a_cancelled_run_leaves_no_task_behind(client: Client) -> None:
    before = asyncio.all_tasks()
    manager = Manager(client, [Room(name="slow", loops=(Loop(ConfigMap, Slow),))], OPTIONS)
    task = asyncio.create_task(manager.run(asyncio.Event()))
    await eventually(manager.is_leader)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: asyncio.all_tasks() - before == set())
