"""Nothing of an ended stream, handle or cache is left behind (R7)."""

import asyncio
import gc
import threading
import time
import weakref
from pathlib import Path

from edge_kube.backoff import Backoff
from edge_kube.cache import Cache
from edge_kube.client import Client
from edge_kube.clusters import ClusterPool
from edge_kube.core import ConfigMap
from edge_kube.harness import LightCluster
from edge_kube.harness.proxy import FaultProxy
from edge_kube.meta import Key, ObjectMeta
from edge_kube.reflector import Timing

FAST = Timing(backoff=Backoff(base_s=0.001, cap_s=0.002))
CUTS = 150
HANDLES = 50


def held() -> tuple[int, int, int]:
    """Tasks, open files and threads of this process."""
    gc.collect()
    return len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


async def settle() -> None:
    await asyncio.sleep(0.2)


async def settles_at(before: tuple[int, int, int]) -> None:
    """What was cut a moment ago may still be on its way out. files: an idle connection more or less."""
    tasks, files, threads = before
    ends_at = time.monotonic() + 60
    while not ((now := held())[0] <= tasks and now[1] <= files + 2 and now[2] <= threads):
        assert time.monotonic() < ends_at, f"tasks, files and threads: {now}, and {before} before"
        await asyncio.sleep(0.2)


async def test_cut_watches_leave_no_task_file_or_thread(light_cluster: LightCluster) -> None:
    async with FaultProxy(light_cluster.connection) as proxy, Client(proxy.connection) as client:
        cache = Cache(client, timing=FAST)
        cache.informer(ConfigMap)
        await cache.start()
        await cache.wait_synced(60)

        async def cut(times: int) -> None:
            for _ in range(times):
                before = proxy.counts["watch"]
                proxy.cut()
                async with asyncio.timeout(60):
                    while proxy.counts["watch"] == before or not proxy.watches:  # noqa: ASYNC110
                        await asyncio.sleep(0.002)

        await cut(20)
        await settle()
        before = held()
        await cut(CUTS)
        await settles_at(before)
        await cache.stop()


async def test_members_that_come_and_go_leave_nothing(light_cluster: LightCluster) -> None:
    config = light_cluster.kubeconfig_for("admin", ("system:masters",))

    async def come_and_go(times: int) -> None:
        for _ in range(times):
            pool = ClusterPool()
            pool.watch(ConfigMap, lambda delta, cluster: None, labels="nothing=here")
            handle = pool.update("plant-a", "uid", config)
            async with handle as client:
                await client.find(ConfigMap, "absent", "default")
            await pool.close()

    await come_and_go(5)
    await settle()
    before = held()
    await come_and_go(HANDLES)
    await settles_at(before)


async def test_replaced_objects_are_freed(light_cluster: LightCluster, client: Client) -> None:
    cache = Cache(client, timing=FAST)
    informer = cache.informer(ConfigMap, ns="default")
    await cache.start()
    await cache.wait_synced(60)
    meta = ObjectMeta(name="replaced", namespace="default")
    made = await client.create(ConfigMap(metadata=meta, data={"a": "0"}), manager="test")
    assert await informer.at_least(made.metadata.resource_version, 60)
    stored = informer.get(Key("default", "replaced"))
    assert stored is not None
    first = weakref.ref(stored)
    del stored
    changed = await client.merge(ConfigMap, Key("default", "replaced"), {"data": {"a": "1"}})
    assert await informer.at_least(changed.metadata.resource_version, 60)
    gc.collect()
    assert first() is None
    await client.delete(ConfigMap, "replaced", "default")
    await cache.stop()
