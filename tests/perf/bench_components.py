"""The component engine and the museum (K2, K6, K7). Prints JSON lines; see run.py.

    python tests/perf/bench_components.py

No-op: a settled Component is looked at again, as each resync does. Install: from creating the object to
Ready, chart already in the museum, by real Helm on a light cluster. Museum: its own process with 500 charts.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.charts import chart
from tests.support.engine import NAMESPACE, Engine
from tests.support.museum import Museum, museum

from edge.components.types import Component
from edge_kube.harness.kube import Kube
from edge_kube.harness.light import LightCluster
from edge_kube.meta import Key
from edge_kube.reconcile import Request

CHARTS = 500
COMPONENTS = 20


def figure(bench: str, value: float, unit: str, target: str = "") -> None:
    print(json.dumps({"bench": bench, "value": round(value, 3), "unit": unit, "target": target}), flush=True)


def timed_ms(do: Callable[[], object], times: int) -> list[float]:
    found: list[float] = []
    for _ in range(times):
        before = time.perf_counter()
        do()
        found.append((time.perf_counter() - before) * 1000)
    return sorted(found)


def post(running: Museum, archive: bytes) -> None:
    with urllib.request.urlopen(f"{running.url}/api/charts", data=archive) as answer:
        answer.read()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def bench_museum(folder: Path) -> None:
    root = folder / "charts"
    root.mkdir()
    for number in range(CHARTS):
        (root / f"app-{number}-1.0.0.tgz").write_bytes(chart(f"app-{number}"))
    before = time.perf_counter()
    with museum(root) as running:
        figure(f"museum, start with {CHARTS} charts", time.perf_counter() - before, "s")
        memory_kib = next(
            int(line.split()[1])
            for line in Path(f"/proc/{running.process.pid}/smaps_rollup").read_text().splitlines()
            if line.startswith("Pss:")
        )
        figure(f"museum, memory with {CHARTS} charts (PSS)", memory_kib / 1024, "MiB")
        index = timed_ms(lambda: get(f"{running.url}/index.yaml"), 200)
        figure(f"museum, index of {CHARTS} charts, median", statistics.median(index), "ms")
        figure(f"museum, index of {CHARTS} charts, P99", index[int(len(index) * 0.99)], "ms")
        archive = timed_ms(lambda: get(f"{running.url}/charts/app-7-1.0.0.tgz"), 200)
        figure("museum, a chart, median", statistics.median(archive), "ms")
        saved = timed_ms(lambda: post(running, chart(f"new-{time.monotonic_ns()}")), 20)
        figure(f"museum, upload beside {CHARTS} charts, median", statistics.median(saved), "ms")


async def bench_engine(folder: Path) -> None:
    with LightCluster() as cluster, museum(folder / "engine-charts") as running:
        async with cluster.client() as client, Kube(cluster, client.derive(limited=False)) as kube:
            engine = Engine(kube, running, folder)
            engine.upload(chart("web"))
            await engine.start()
            for number in range(5):
                before = time.perf_counter()
                await engine.create(f"one-{number}")
                await engine.ready(f"one-{number}")
                figure("install of one small chart, to Ready", time.perf_counter() - before, "s", "< 30")
            before = time.perf_counter()
            names = [f"many-{number}" for number in range(COMPONENTS)]
            await asyncio.gather(*(engine.create(name) for name in names))
            for name in names:
                await engine.ready(name, within_s=300)
            figure(f"install of {COMPONENTS} small charts, 3 at once", time.perf_counter() - before, "s")
            await bench_no_op(engine, names)
            await engine.stop()


async def bench_no_op(engine: Engine, names: list[str]) -> None:
    """Through the reconciler itself, so that only its own work is counted."""
    assert engine.kube.manager is not None
    await asyncio.sleep(1)
    calls = len(engine.helm_calls)
    loop = next(c for c in engine.kube.manager.controllers if c.name == "component")
    reconciler = loop._attempts._reconciler
    assert engine.kube.manager.cache.get(Component, *reversed(Key(NAMESPACE, names[0]))) is not None
    wall, cpu = time.perf_counter(), time.process_time()
    rounds = 20
    for _ in range(rounds):
        for name in names:
            await reconciler.reconcile(Request(name, NAMESPACE))
    each = rounds * len(names)
    figure("no-op reconcile, wall", (time.perf_counter() - wall) / each * 1000, "ms")
    figure("no-op reconcile, CPU", (time.process_time() - cpu) / each * 1000, "ms")
    figure(f"Helm calls in {each} no-op reconciles", len(engine.helm_calls) - calls, "", "0")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as folder:
        bench_museum(Path(folder))
        asyncio.run(bench_engine(Path(folder)))


if __name__ == "__main__":
    main()
