"""Client, cache and light cluster: start-up, first list of 10,000 objects, cost of memory and of a write.

The objects are IAMRoleBinding-like (about 1.3 KB on the wire). The API server is another process; CPU time is
this process's own. Each figure is one run; `run.py --repeat N` gives medians. Source: P1; design §13.
"""

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from edge_kube.cache import Cache
from edge_kube.client import Client
from edge_kube.core import ConfigMap
from edge_kube.crd import resource
from edge_kube.harness import LightCluster
from edge_kube.meta import Model, Resource
from edge_kube.reconcile import Index
from edge_kube.transport import Call, Limits
from edge_kube.wire import ObjectDecoder

OBJECTS = 10_000
WRITERS = 16
NAMESPACE = "default"
FAST = Limits(in_flight=64, rate_per_s=1e6, burst=1e6)


class Subject(Model):
    kind: str
    name: str
    api_group: str = ""


class RoleRef(Model):
    api_group: str
    kind: str
    name: str


class BindingSpec(Model):
    role_ref: RoleRef
    subjects: tuple[Subject, ...] = ()


@resource(group="bench.edge", version="v1", plural="benchbindings", scope="Cluster")
class BenchBinding(Resource):
    spec: BindingSpec


def emit(bench: str, value: float, unit: str, target: str = "") -> None:
    line: dict[str, object] = {"bench": bench, "value": round(value, 3), "unit": unit}
    print(json.dumps(line | ({"target": target} if target else {})), flush=True)


def rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def binding(number: int) -> Mapping[str, Any]:
    name = f"binding-of-a-user-{number:06d}"
    labels = {
        "iam.theriseunion.io/scope": "namespace",
        "iam.theriseunion.io/scope-value": f"press-{number % 200}",
    }
    role = {"apiGroup": "iam.theriseunion.io", "kind": "IAMRole", "name": f"namespace-operator-{number % 7}"}
    subjects = [{"kind": "User", "name": f"user-{number + each:06d}", "apiGroup": ""} for each in range(3)]
    annotations = {
        "theriseunion.io/creator": "admin",
        "theriseunion.io/description": "made by the bench " * 10,
    }
    return {
        "apiVersion": "bench.edge/v1",
        "kind": "BenchBinding",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {"roleRef": role, "subjects": subjects},
    }


async def fill(client: Client) -> None:
    numbers = iter(range(OBJECTS))

    async def write() -> None:
        for number in numbers:
            body = msgspec.json.encode(binding(number))
            path = "/apis/bench.edge/v1/benchbindings?fieldManager=bench"
            await client.transport.request(Call("POST", path, body=body, deadline_s=60))

    started = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(WRITERS)))
    emit("create, 16 at once", OBJECTS / (time.perf_counter() - started), "objects/s")


async def sync(cluster: LightCluster) -> None:
    async with cluster.client() as client:
        gc.collect()
        memory, cpu, wall = rss_bytes(), time.process_time(), time.perf_counter()
        cache = Cache(client, pause_collector=True)
        cache.index(Index(BenchBinding, "subject", _subjects))
        informer = cache.informer(BenchBinding)
        await cache.start()
        lag = await _lag_until(cache)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        emit("sync_10k wall", wall, "s")
        emit("sync_10k CPU an object", cpu / len(informer) * 1e6, "us", "<= 20")
        emit("sync_10k longest loop lag", lag * 1000, "ms", "< 50")
        emit("memory an object", (rss_bytes() - memory) / len(informer), "bytes", "<= 4500")
        await _relist(cache)
        await cache.stop()


def _subjects(found: BenchBinding) -> Sequence[str]:
    return [subject.name for subject in found.spec.subjects]


async def _lag_until(cache: Cache) -> float:
    worst = 0.0
    while cache.unsynced:
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - before - 0.001)
    return worst


async def _relist(cache: Cache) -> None:
    informer = cache.informer(BenchBinding)
    objects = list(informer.list())
    started = time.perf_counter()
    informer.replace(objects, informer.resource_version, went_back=False)
    emit("replace of 10k after a 410", (time.perf_counter() - started) * 1000, "ms", "<= 20")


async def requests(cluster: LightCluster) -> None:
    async with Client(cluster.connection, limits=FAST) as client:
        page = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "bench", "namespace": NAMESPACE},
            "data": {"a": "1"},
        }
        applied = await client.apply(page, manager="bench")
        rv = str(applied.obj["metadata"]["resourceVersion"])
        for name, work in (
            ("get", lambda: client.get(ConfigMap, "bench", NAMESPACE)),
            ("apply without a change", lambda: client.apply(page, manager="bench", rv=rv)),
        ):
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(300):
                await work()
            emit(f"{name}: our CPU", (time.process_time() - cpu) / 300 * 1e6, "us")
            emit(f"{name}: round trip", (time.perf_counter() - wall) / 300 * 1000, "ms")


def decode() -> None:
    meta = {"uid": "0" * 36, "resourceVersion": "123456", "creationTimestamp": "2026-01-01T00:00:00Z"}
    body = dict(binding(1))
    body["metadata"] = {**body["metadata"], **meta}
    raw = msgspec.Raw(msgspec.json.encode(body))
    decoder = ObjectDecoder(BenchBinding)
    started = time.process_time()
    for _ in range(100_000):
        decoder.decode(raw)
    emit("decode one object", (time.process_time() - started) / 100_000 * 1e6, "us")


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    decode()
    started = time.perf_counter()
    with LightCluster() as cluster:
        emit("light cluster ready", time.perf_counter() - started, "s", "<= 5")
        asyncio.run(_prepare(cluster))
        asyncio.run(sync(cluster))
        asyncio.run(requests(cluster))


async def _prepare(cluster: LightCluster) -> None:
    await cluster.install(BenchBinding)
    async with Client(cluster.connection, limits=FAST) as client:
        await fill(client)


if __name__ == "__main__":
    os.environ.setdefault("EDGE_TOOLS", str(Path.home() / ".cache/edge-platform/tools/dev"))
    main()
