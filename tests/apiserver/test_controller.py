"""Loops against a real API server: status once and fenced, no echo, drift, back-off told (P2, P3, P6)."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from edge_kube.client import Client
from edge_kube.conditions import condition
from edge_kube.core import ConfigMap, Event
from edge_kube.crd import resource
from edge_kube.errors import ClusterUnavailable
from edge_kube.harness import LightCluster
from edge_kube.manager import Manager, Options
from edge_kube.meta import Condition, Key, Model, ObjectMeta, Resource, key_of
from edge_kube.reconcile import DONE, Reader, Reconciler, Request, Result, Stalled, Waiting, Watch, Writer
from edge_kube.runtime import drop_finalizer, ensure_finalizer
from edge_sdk.room import Loop, Room

pytestmark = pytest.mark.asyncio


class ProbeSpec(Model):
    size: int = 0


class ProbeStatus(Model):
    phase: str = ""
    note: str = ""
    foreign: str = ""
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


@resource(group="probe.theriseunion.io", version="v1alpha1", plural="probes", scope="Namespaced")
class Probe(Resource):
    spec: ProbeSpec = ProbeSpec()
    status: ProbeStatus = ProbeStatus()


Act = Callable[["Bench", Request], Awaitable[Result]]


@dataclass
class Bench:
    """A reconciler whose act a test gives, and what it saw."""

    cache: Reader
    client: Writer
    act: Act
    runs: list[str] = field(default_factory=list[str])
    overlaps: int = 0
    running: set[Request] = field(default_factory=set[Request])

    async def reconcile(self, request: Request) -> Result:
        self.overlaps += request in self.running
        self.running.add(request)
        self.runs.append(request.name)
        try:
            return await self.act(self, request)
        finally:
            self.running.discard(request)

    def probe(self, request: Request) -> Probe | None:
        return self.cache.get(Probe, request.name, request.namespace)


@pytest.fixture(scope="module", autouse=True)
def _installed(light_cluster: LightCluster) -> None:
    asyncio.run(light_cluster.install(Probe))


@pytest.fixture
async def namespace(client: Client, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    name = "t-" + request.node.name.replace("_", "-")[5:55].strip("-")
    await client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, manager="test")
    yield name
    for probe in await client.list(Probe):  # the next test's loop must not meet them
        await client.merge(Probe, key_of(probe), {"metadata": {"finalizers": None}})
        await client.delete(Probe, probe.metadata.name, probe.metadata.namespace)


@asynccontextmanager
async def running(
    client: Client,
    act: Act,
    *,
    watches: tuple[Watch[ConfigMap], ...] = (),
    resync_s: float = 3600.0,  # or its turn may come while a test counts
    kinds: tuple[type[Resource], ...] = (Probe,),
) -> AsyncGenerator[tuple[Bench, Manager]]:
    benches: list[Bench] = []

    def make(cache: Reader, writer: Writer) -> Reconciler:
        benches.append(Bench(cache, writer, act))
        return benches[0]

    room = Room(name="probe", kinds=kinds, loops=(Loop(Probe, make, watches=watches, resync_s=resync_s),))
    manager = Manager(client, [room], Options(identity="test", elect=False, drain_s=2.0))
    stop = asyncio.Event()
    task = asyncio.create_task(manager.run(stop))
    try:
        await asyncio.wait_for(_until(lambda: manager.cache.synced or task.done()), 60)
        yield benches[0], manager
    finally:
        stop.set()
        await task


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - the tests look at many different things
        await asyncio.sleep(0.02)


async def eventually(holds: Callable[[], Awaitable[bool]], within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def make(client: Client, namespace: str, name: str = "one", **spec: int) -> Probe:
    meta = ObjectMeta(name=name, namespace=namespace)
    return await client.create(Probe(metadata=meta, spec=ProbeSpec(**spec)), manager="test")


def ready(status: str = "True", reason: str = "InPlace", message: str = "") -> Condition:
    return Condition(type="Ready", status=status, reason=reason, message=message)


async def report_size(bench: Bench, request: Request) -> Result:
    probe = bench.probe(request)
    if probe is None:
        return DONE
    return Result(status=ProbeStatus(phase=f"Size{probe.spec.size}", conditions=(ready(),)))


async def test_status_is_written_once_with_what_the_room_left_to_the_runtime(
    client: Client, namespace: str
) -> None:
    async with running(client, report_size) as (bench, _):
        made = await make(client, namespace, size=3)
        await eventually(lambda: _phase(client, made, "Size3"))
        await asyncio.sleep(1)
        after = await client.get(Probe, "one", namespace)
    assert bench.runs.count("one") == 1  # its own write did not wake it
    assert after.status.observed_generation == after.metadata.generation == 1
    told = condition(after.status.conditions, "Ready")
    assert told is not None
    assert told.last_transition_time.endswith("Z")
    assert told.observed_generation == 1


async def _phase(client: Client, probe: Probe, phase: str) -> bool:
    return (await client.get(Probe, probe.metadata.name, probe.metadata.namespace)).status.phase == phase


async def test_equal_status_is_not_written_again_however_often_it_is_computed(
    client: Client, namespace: str
) -> None:
    async with running(client, report_size, resync_s=1.0) as (bench, manager):
        made = await make(client, namespace, size=1)
        await eventually(lambda: _phase(client, made, "Size1"))
        settled = await client.get(Probe, "one", namespace)
        runs = bench.runs.count("one")
        requests = _requests(manager)
        await asyncio.wait_for(_until(lambda: bench.runs.count("one") >= runs + 3), 60)  # the resync asked
        assert _requests(manager) == requests
        assert (await client.get(Probe, "one", namespace)).metadata == settled.metadata


def _requests(manager: Manager) -> dict[str, float]:
    """Requests by method, watches and lists of the cache left out by their client."""
    families = manager.metrics.client_requests.collect()
    return {
        sample.labels["method"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["method"] not in {"WATCH"}
    }


async def test_a_changed_status_is_put_right_at_once_and_the_transition_time_stays(
    client: Client, namespace: str
) -> None:
    async with running(client, report_size):
        made = await make(client, namespace, size=1)
        await eventually(lambda: _phase(client, made, "Size1"))
        before = condition((await client.get(Probe, "one", namespace)).status.conditions, "Ready")
        await client.merge(Probe, Key(namespace, "one"), {"status": {"phase": "Broken"}}, sub="status")
        await eventually(lambda: _phase(client, made, "Size1"))
        after = condition((await client.get(Probe, "one", namespace)).status.conditions, "Ready")
    assert before == after


async def test_fields_of_other_writers_stay_and_do_not_cause_a_loop(client: Client, namespace: str) -> None:
    async with running(client, report_size, resync_s=1.0):
        made = await make(client, namespace, size=1)
        await eventually(lambda: _phase(client, made, "Size1"))
        await client.merge(Probe, Key(namespace, "one"), {"status": {"foreign": "kept"}}, sub="status")
        await asyncio.sleep(1.5)
        first = await client.get(Probe, "one", namespace)
        await asyncio.sleep(2.5)
        second = await client.get(Probe, "one", namespace)
    assert first.status.foreign == second.status.foreign == "kept"
    assert first.metadata.resource_version == second.metadata.resource_version


async def test_a_field_the_room_stops_reporting_goes_away(client: Client, namespace: str) -> None:
    async def act(bench: Bench, request: Request) -> Result:
        probe = bench.probe(request)
        if probe is None:
            return DONE
        return Result(status=ProbeStatus(phase="Ok", note="first" if probe.spec.size == 0 else ""))

    async with running(client, act):
        made = await make(client, namespace)
        await eventually(lambda: _note(client, made, "first"))
        await client.merge(Probe, Key(namespace, "one"), {"spec": {"size": 1}})
        await eventually(lambda: _note(client, made, ""))


async def _note(client: Client, probe: Probe, note: str) -> bool:
    return (await client.get(Probe, probe.metadata.name, probe.metadata.namespace)).status.note == note


async def test_a_status_computed_from_a_stale_view_is_not_written_but_computed_again(
    client: Client, namespace: str
) -> None:
    written = asyncio.Event()

    async def act(bench: Bench, request: Request) -> Result:
        probe = bench.probe(request)
        if probe is None:
            return DONE
        if probe.spec.size == 1 and not written.is_set():
            written.set()
            # Meanwhile somebody changes the object: what follows was computed from the past.
            await client.merge(Probe, request.key, {"spec": {"size": 2}})
        return Result(status=ProbeStatus(phase=f"Size{probe.spec.size}"))

    async with running(client, act) as (bench, manager):
        made = await make(client, namespace, size=1)
        await eventually(lambda: _phase(client, made, "Size2"))
        assert written.is_set()
        errors = manager.metrics.reconcile_errors.labels("probe")._value.get()  # type: ignore[attr-defined]
    assert errors == 0
    assert bench.overlaps == 0
    assert bench.runs.count("one") >= 2  # the refused one, and the one that followed


async def test_own_finalizer_write_does_not_fence_off_the_status_of_the_same_reconcile(
    client: Client, namespace: str
) -> None:
    async def act(bench: Bench, request: Request) -> Result:
        probe = bench.probe(request)
        if probe is None:
            return DONE
        if probe.metadata.deletion_timestamp:
            await drop_finalizer(bench.client, probe, "theriseunion.io/finalizer")
            return DONE
        await ensure_finalizer(bench.client, probe, "theriseunion.io/finalizer")
        return Result(status=ProbeStatus(phase="Held"))

    async with running(client, act) as (bench, manager):
        made = await make(client, namespace)
        await eventually(lambda: _phase(client, made, "Held"))
        held = await client.get(Probe, "one", namespace)
        assert held.metadata.finalizers == ("theriseunion.io/finalizer",)
        requeued = manager.metrics.reconciles.labels("probe", "requeue")._value.get()  # type: ignore[attr-defined]
        assert requeued == 0
        await client.delete(Probe, "one", namespace)

        async def gone() -> bool:
            return await client.find(Probe, "one", namespace) is None

        await eventually(gone)
    assert bench.runs.count("one") <= 4


async def test_a_stalled_object_says_so_and_is_left_alone_until_it_changes(
    client: Client, namespace: str
) -> None:
    async def act(bench: Bench, request: Request) -> Result:
        probe = bench.probe(request)
        if probe is None:
            return DONE
        if probe.spec.size < 0:
            raise Stalled("SizeNegative", f"spec.size is {probe.spec.size}; set it to 0 or more.")
        return Result(status=ProbeStatus(phase="Ok", conditions=(ready(),)))

    async with running(client, act, resync_s=0.5) as (bench, _):
        made = await make(client, namespace, size=-1)
        await eventually(lambda: _reason(client, made, "SizeNegative"))
        await asyncio.sleep(2)
        assert bench.runs.count("one") <= 2
        await eventually(lambda: _has_event(client, namespace, "SizeNegative"))
        await client.merge(Probe, Key(namespace, "one"), {"spec": {"size": 1}})
        await eventually(lambda: _reason(client, made, "InPlace"))
        assert await _phase(client, made, "Ok")


async def _reason(client: Client, probe: Probe, reason: str) -> bool:
    now = await client.get(Probe, probe.metadata.name, probe.metadata.namespace)
    told = condition(now.status.conditions, "Ready")
    return told is not None and told.reason == reason


async def _has_event(client: Client, namespace: str, reason: str) -> bool:
    return any(event.reason == reason for event in await client.list(Event, namespace))


async def test_trouble_with_an_object_of_another_room_does_not_touch_its_conditions(
    client: Client, namespace: str
) -> None:
    async def act(bench: Bench, request: Request) -> Result:
        if bench.probe(request) is None:
            return DONE
        raise Stalled("NotOurs", "this room cannot go on")

    async with running(client, act, kinds=()) as (bench, _):
        await make(client, namespace)
        await eventually(lambda: _has_event(client, namespace, "NotOurs"))
        assert (await client.get(Probe, "one", namespace)).status == ProbeStatus()
        assert bench.runs.count("one") == 1


async def test_waiting_is_no_error_and_is_looked_at_again(client: Client, namespace: str) -> None:
    waited: list[int] = []
    told = asyncio.Event()

    async def act(bench: Bench, request: Request) -> Result:
        if bench.probe(request) is None:
            return DONE
        waited.append(1)
        if len(waited) < 3 or not told.is_set():
            raise Waiting("the member has not answered yet", again_in_s=0.3)
        return Result(status=ProbeStatus(phase="Ok", conditions=(ready(),)))

    async with running(client, act) as (_, manager):
        made = await make(client, namespace)
        await eventually(lambda: _reason(client, made, "Waiting"))
        told.set()
        await eventually(lambda: _phase(client, made, "Ok"))
        assert manager.metrics.reconcile_errors.labels("probe")._value.get() == 0  # type: ignore[attr-defined]


async def test_a_failing_reconcile_backs_off_and_is_told_after_the_third_time_without_its_inside(
    client: Client, namespace: str
) -> None:
    async def act(bench: Bench, request: Request) -> Result:
        if bench.probe(request) is None:
            return DONE
        raise RuntimeError("password=hunter2")

    async with running(client, act) as (bench, _):
        made = await make(client, namespace)
        await eventually(lambda: _reason(client, made, "InternalError"))
        told = condition((await client.get(Probe, "one", namespace)).status.conditions, "Ready")
        runs = bench.runs.count("one")
    assert runs >= 3
    assert told is not None
    assert "hunter2" not in told.message


async def test_a_parked_object_sleeps_until_its_cluster_is_back(client: Client, namespace: str) -> None:
    up = asyncio.Event()

    async def act(bench: Bench, request: Request) -> Result:
        if bench.probe(request) is None:
            return DONE
        if not up.is_set():
            raise ClusterUnavailable("plant-a", "connection refused")
        return Result(status=ProbeStatus(phase="Ok", conditions=(ready(),)))

    async with running(client, act, resync_s=0.5) as (bench, manager):
        made = await make(client, namespace)
        await eventually(lambda: _reason(client, made, "ClusterUnreachable"))
        await asyncio.sleep(1.5)
        assert bench.runs.count("one") <= 2
        up.set()
        manager.controllers[0].unpark("plant-a")
        await eventually(lambda: _phase(client, made, "Ok"))


async def test_a_watched_kind_wakes_the_object_its_map_names(client: Client, namespace: str) -> None:
    def owner_of(config: ConfigMap) -> list[Request]:
        owner = config.metadata.labels.get("probe")
        return [Request(owner, config.metadata.namespace)] if owner else []

    async def act(bench: Bench, request: Request) -> Result:
        if bench.probe(request) is None:
            return DONE
        config = bench.cache.get(ConfigMap, "data", request.namespace)
        data: Mapping[str, str] = config.data if config else {}
        return Result(status=ProbeStatus(phase=data.get("phase", "Absent")))

    async with running(client, act, watches=(Watch(ConfigMap, owner_of),)):
        made = await make(client, namespace)
        await eventually(lambda: _phase(client, made, "Absent"))
        meta = ObjectMeta(name="data", namespace=namespace, labels={"probe": "one"})
        await client.create(ConfigMap(metadata=meta, data={"phase": "Seen"}), manager="test")
        await eventually(lambda: _phase(client, made, "Seen"))
        await client.delete(ConfigMap, "data", namespace)
        await eventually(lambda: _phase(client, made, "Absent"))


async def test_one_object_is_never_with_two_workers_and_no_change_is_lost(
    client: Client, namespace: str
) -> None:
    async def act(bench: Bench, request: Request) -> Result:
        probe = bench.probe(request)
        if probe is None:
            return DONE
        await asyncio.sleep(0.05)
        return Result(status=ProbeStatus(phase=f"Size{probe.spec.size}"))

    async with running(client, act) as (bench, _):
        probes = [await make(client, namespace, f"p{number}") for number in range(4)]
        for size in range(1, 8):
            for probe in probes:
                await client.merge(Probe, Key(namespace, probe.metadata.name), {"spec": {"size": size}})
        for probe in probes:
            await eventually(lambda probe=probe: _phase(client, probe, "Size7"))
        assert bench.overlaps == 0


async def test_a_repeated_apply_of_a_watched_kind_costs_no_request_and_drift_is_repaired(
    client: Client, namespace: str
) -> None:
    def owner_of(config: ConfigMap) -> list[Request]:
        return [Request("one", config.metadata.namespace)] if config.metadata.name == "child" else []

    async def act(bench: Bench, request: Request) -> Result:
        if bench.probe(request) is None:
            return DONE
        meta = ObjectMeta(name="child", namespace=request.namespace)
        await bench.client.apply(ConfigMap(metadata=meta, data={"key": "wanted"}), manager="edge-probe")
        return DONE

    async with running(client, act, watches=(Watch(ConfigMap, owner_of),), resync_s=0.5) as (bench, manager):
        await make(client, namespace)
        await eventually(lambda: _child(client, namespace, "wanted"))
        await asyncio.wait_for(_until(lambda: bench.cache.get(ConfigMap, "child", namespace) is not None), 60)
        await more_runs(bench, 2)  # the first may have been on its way before
        requests = _requests_of(manager, "PATCH")
        await more_runs(bench, 3)
        assert _requests_of(manager, "PATCH") == requests
        await client.merge(ConfigMap, Key(namespace, "child"), {"data": {"key": "changed"}})
        await eventually(lambda: _child(client, namespace, "wanted"))
        await client.delete(ConfigMap, "child", namespace)
        await eventually(lambda: _child(client, namespace, "wanted"))


async def more_runs(bench: Bench, count: int) -> None:
    runs = len(bench.runs)
    await asyncio.wait_for(_until(lambda: len(bench.runs) >= runs + count), 60)


def _requests_of(manager: Manager, method: str) -> float:
    return _requests(manager).get(method, 0)


async def _child(client: Client, namespace: str, value: str) -> bool:
    child = await client.find(ConfigMap, "child", namespace)
    return child is not None and child.data.get("key") == value
