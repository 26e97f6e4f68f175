"""The controller runtime: taking over the lead, reconciles a second, and what idling costs.

The API server and etcd run beside it on the same machine and take their share of it.
"""

import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.race import REAL, Race, until

from edge_kube.client import Client
from edge_kube.crd import resource
from edge_kube.harness import LightCluster
from edge_kube.manager import Manager, Options
from edge_kube.meta import Model, ObjectMeta, Resource
from edge_kube.reconcile import DONE, Reader, Request, Result, Writer
from edge_kube.transport import Limits
from edge_sdk.room import Loop, Room

OBJECTS = 2000
ROUNDS = 5
WORKERS = 5
IDLE_S = 30.0
RUNS = 3


class LoadStatus(Model):
    round: int = 0
    observed_generation: int = 0


@resource(group="probe.theriseunion.io", version="v1alpha1", plural="loads", scope="Cluster")
class Load(Resource):
    status: LoadStatus = LoadStatus()


class Counting:
    """Counts its reconciles; writes a status when the bench has set a round."""

    round = 0
    count = 0

    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache

    async def reconcile(self, request: Request) -> Result:
        Counting.count += 1
        if self._cache.get(Load, request.name) is None or not Counting.round:
            return DONE
        return Result(status=LoadStatus(round=Counting.round))


def show(bench: str, value: float, unit: str, target: str = "") -> None:
    print(json.dumps({"bench": bench, "value": round(value, 3), "unit": unit, "target": target}), flush=True)


def take_over(cluster: LightCluster, number: int, how: signal.Signals) -> float:
    """Seconds from the signal to the standby leading, with the times of a real installation."""
    with tempfile.TemporaryDirectory() as folder:
        race = Race(cluster, Path(folder), f"bench-{how.name.lower()}-{number}", REAL)
        try:
            first = race.enter("first")
            race.leads(first)
            second = race.enter("second")
            until(lambda: bool(second.events("start")), 20, "the standby has started")
            time.sleep(2.5)
            at = first.signal(how)
            return race.leads(second, within_s=30) - at
        finally:
            race.close()


async def fill(client: Client) -> None:
    async def make(number: int) -> None:
        await client.create(Load(metadata=ObjectMeta(name=f"load-{number}")), manager="bench")

    for start in range(0, OBJECTS, 20):
        await asyncio.gather(*(make(number) for number in range(start, start + 20)))


async def rounds(manager: Manager, names: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds until every object was looked at once more."""
    controller = manager.controllers[0]
    Counting.count = 0
    wall, cpu = time.perf_counter(), time.process_time()
    for name in names:
        controller.enqueue(Request(name))
    await _until(lambda: Counting.count >= len(names))
    return time.perf_counter() - wall, time.process_time() - cpu


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def throughput(cluster: LightCluster) -> None:
    await cluster.install(Load)
    async with cluster.client(limits=Limits(rate_per_s=1e5, burst=1e5)) as client:
        await fill(client)
        room = Room(name="bench", kinds=(Load,), loops=(Loop(Load, Counting, workers=WORKERS),))
        manager = Manager(client, [room], Options(identity="bench", elect=False, drain_s=2))
        stop = asyncio.Event()
        running = asyncio.create_task(manager.run(stop))
        await _until(lambda: manager.cache.synced and Counting.count >= OBJECTS)
        names = [f"load-{number}" for number in range(OBJECTS)]
        for _ in range(ROUNDS):
            wall_s, cpu_s = await rounds(manager, names)
            show("reconcile without a change", OBJECTS / wall_s, "1/s", ">= 10,000")
            show("reconcile without a change, CPU", cpu_s / OBJECTS * 1e6, "µs")
        for number in range(1, ROUNDS + 1):
            Counting.round = number
            wall_s, cpu_s = await rounds(manager, names)
            await _until(
                lambda: all(load.status.round == Counting.round for load in manager.cache.list(Load))
            )
            show(f"reconcile with a status write, {WORKERS} workers", OBJECTS / wall_s, "1/s")
            show("reconcile with a status write, CPU", cpu_s / OBJECTS * 1e6, "µs", "<= 300")
        Counting.round = 0
        await asyncio.sleep(2)
        cpu = time.process_time()
        await asyncio.sleep(IDLE_S)
        share = (time.process_time() - cpu) / IDLE_S * 100
        show(f"idle with {OBJECTS} objects, resync 30 s", share, "% of a core", "< 3 at 10,000")
        stop.set()
        with suppress(asyncio.CancelledError):
            await running


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with LightCluster() as cluster:
        cluster.kubectl("create", "configmap", "writes")
        for number in range(RUNS):
            show("take-over after a kill", take_over(cluster, number, signal.SIGKILL), "s", "<= 16")
            show("take-over after a clean stop", take_over(cluster, number, signal.SIGTERM), "s", "<= 2")
        asyncio.run(throughput(cluster))


if __name__ == "__main__":
    main()
