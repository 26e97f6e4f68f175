"""The cache at a real API server, one fault at a time (P1, P3; R1–R7, Q0)."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncGenerator, Callable

import msgspec
import pytest

from edge_kube.backoff import Backoff
from edge_kube.cache import Cache, Delta, Informer
from edge_kube.client import Client
from edge_kube.core import ConfigMap, Namespace
from edge_kube.harness import LightCluster
from edge_kube.harness.proxy import Canned, Cut, FaultProxy
from edge_kube.meta import Key, ObjectMeta
from edge_kube.metrics import Metrics
from edge_kube.reconcile import Index
from edge_kube.reflector import Timing

FAST = Timing(backoff=Backoff(base_s=0.02, cap_s=0.2))
IMPATIENT = Timing(backoff=Backoff(base_s=0.02, cap_s=0.2), idle_s=1.0)
"""A second without a word ends a watch: for tests of just that, since a busy machine may need one."""
NAMESPACE = "cache-tests"


def page(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=NAMESPACE), data=data)


class Bench:
    """A cache behind a proxy, a client that goes straight to the server, and what the handler was told."""

    def __init__(self, client: Client, proxy: FaultProxy, cache: Cache, metrics: Metrics) -> None:
        self.client = client
        self.proxy = proxy
        self.cache = cache
        self.metrics = metrics
        self.pages: Informer[ConfigMap] = cache.informer(ConfigMap, ns=NAMESPACE)
        self.told: list[tuple[str, str]] = []
        self.pages.on(self._note)

    def _note(self, delta: Delta[ConfigMap]) -> None:
        obj = delta.new or delta.old
        if obj is not None and delta.op != "resync":
            self.told.append((delta.op, obj.metadata.name))

    async def until(self, holds: Callable[[], bool], within_s: float = 60) -> None:
        async with asyncio.timeout(within_s):
            while not holds():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def create(self, name: str, **data: str) -> ConfigMap:
        return await self.client.create(page(name, **data), manager="test")

    async def seen(self, name: str) -> None:
        await self.until(lambda: self.pages.get(Key(NAMESPACE, name)) is not None)

    def relists(self, reason: str) -> float:
        labels = {"kind": "configmaps", "cluster": "host", "reason": reason}
        return self.metrics.registry.get_sample_value("edge_kube_relists_total", labels) or 0.0


@contextlib.asynccontextmanager
async def bench(cluster: LightCluster, timing: Timing = FAST) -> AsyncGenerator[Bench]:
    metrics = Metrics()
    async with (
        cluster.client() as client,
        FaultProxy(cluster.connection) as proxy,
        Client(proxy.connection) as proxied,
    ):
        if await client.find(Namespace, NAMESPACE) is None:
            await client.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)), manager="test")
        cache = Cache(proxied, metrics=metrics, timing=timing)
        made = Bench(client, proxy, cache, metrics)
        await cache.start()
        await cache.wait_synced(60)
        try:
            yield made
        finally:
            await cache.stop()
            for found in await client.list(ConfigMap, NAMESPACE):
                await client.delete(ConfigMap, found.metadata.name, NAMESPACE)


async def test_the_first_list_and_later_changes_are_told_in_order(light_cluster: LightCluster) -> None:
    async with bench(light_cluster) as at:
        await at.create("a")
        await at.client.merge(ConfigMap, Key(NAMESPACE, "a"), {"data": {"x": "1"}})
        await at.client.delete(ConfigMap, "a", NAMESPACE)
        await at.until(lambda: len(at.told) == 3)
        assert at.told == [("added", "a"), ("modified", "a"), ("deleted", "a")]
        assert at.proxy.counts == {"watch": 1}


async def test_what_was_deleted_while_history_was_lost_is_told_as_deleted(
    light_cluster: LightCluster,
) -> None:
    async with bench(light_cluster) as at:
        await at.create("kept")
        await at.create("ghost")
        await at.seen("ghost")
        at.proxy.stall()
        await at.client.delete(ConfigMap, "ghost", NAMESPACE)
        at.proxy.expire()
        at.proxy.resume()
        await at.until(lambda: at.relists("gone") >= 1 and ("deleted", "ghost") in at.told)
        assert [found.metadata.name for found in at.pages.list()] == ["kept"]


async def test_a_compaction_in_etcd_is_answered_with_one_new_list() -> None:
    with LightCluster() as own:
        async with bench(own) as at:
            await at.create("kept")
            await at.create("ghost")
            await at.seen("ghost")
            at.proxy.stall()
            at.proxy.cut()
            await at.client.delete(ConfigMap, "ghost", NAMESPACE)
            # Other kinds move the version on, so that the server's own buffer does not reach back to ours.
            for number in range(150):
                await at.client.create(Namespace(metadata=ObjectMeta(name=f"n-{number}")), manager="test")
            newest = await at.client.get(Namespace, "n-149")
            own.compact(newest.metadata.resource_version)
            own.restart_apiserver()
            at.proxy.resume()
            await at.until(lambda: ("deleted", "ghost") in at.told)
            await at.create("after")
            await at.seen("after")
            assert at.relists("gone") <= 3


async def test_a_server_set_back_to_a_backup_is_followed_there() -> None:
    with LightCluster() as own:
        assert own.etcd is not None
        data, saved = own.folder / "data", own.folder / "saved"
        async with bench(own, IMPATIENT) as at:  # such a server is silent about what is newer than itself
            await at.create("old")
            await at.seen("old")
            own.etcd.kill()
            shutil.copytree(data, saved)
            own.restart_etcd()
            await at.create("lost")
            for number in range(50):
                await at.client.create(Namespace(metadata=ObjectMeta(name=f"n-{number}")), manager="test")
            await at.create("lost-too")
            await at.seen("lost-too")
            own.kill_apiserver()
            own.etcd.kill()
            shutil.rmtree(data)
            shutil.copytree(saved, data)
            own.start_etcd()
            own.start_apiserver()
            await asyncio.sleep(0.1)  # the loop stood still: now it hears which connections have ended
            await at.create("new")
            await at.until(lambda: at.pages.get(Key(NAMESPACE, "new")) is not None, within_s=60)
            assert sorted(found.metadata.name for found in at.pages.list()) == ["new", "old"]
            assert {("deleted", "lost"), ("deleted", "lost-too")} <= set(at.told)


async def test_an_object_made_anew_is_told_as_deleted_and_added(light_cluster: LightCluster) -> None:
    async with bench(light_cluster) as at:
        await at.create("twice")
        await at.seen("twice")
        at.proxy.stall()
        await at.client.delete(ConfigMap, "twice", NAMESPACE)
        await at.create("twice")
        at.proxy.expire()
        at.proxy.resume()
        await at.until(lambda: len(at.told) == 3)
        assert at.told == [("added", "twice"), ("deleted", "twice"), ("added", "twice")]


@pytest.mark.parametrize("how", ["reset", "end", "middle of a line"])
async def test_a_cut_watch_resumes_without_a_list_or_a_lost_event(
    light_cluster: LightCluster, how: Cut
) -> None:
    async with bench(light_cluster) as at:
        for number in range(5):
            await at.create(f"before-{number}")
            at.proxy.cut(how)
            await at.create(f"after-{number}")
        await at.until(lambda: len(at.told) == 10)
        assert sorted(at.told) == sorted(
            {("added", f"{when}-{n}") for when in ("before", "after") for n in range(5)}
        )
        assert at.relists("gone") + at.relists("out_of_order") == 0


async def test_readers_are_served_while_the_server_is_away(light_cluster: LightCluster) -> None:
    async with bench(light_cluster) as at:
        await at.create("kept")
        await at.seen("kept")
        at.proxy.stall()
        at.proxy.cut()
        await asyncio.sleep(0.3)
        assert at.pages.get(Key(NAMESPACE, "kept")) is not None
        assert at.cache.stale_s(ConfigMap) > 0.2
        at.proxy.resume()


async def test_a_watch_that_fell_silent_is_opened_again(light_cluster: LightCluster) -> None:
    async with bench(light_cluster, IMPATIENT) as at:
        at.proxy.stall()
        await at.create("unheard")
        await at.until(lambda: at.proxy.counts["watch"] >= 2)
        at.proxy.resume()
        await at.seen("unheard")


async def test_duplicates_are_told_once_and_swapped_events_lead_to_a_list(
    light_cluster: LightCluster,
) -> None:
    async with bench(light_cluster) as at:
        at.proxy.duplicate = 1.0
        await at.create("a")
        await at.create("b")
        await at.until(lambda: len(at.told) == 2)
        at.proxy.duplicate = 0.0
        at.proxy.reorder = 1.0
        await at.client.merge(ConfigMap, Key(NAMESPACE, "a"), {"data": {"x": "1"}})
        await at.client.delete(ConfigMap, "a", NAMESPACE)
        await at.until(lambda: at.relists("out_of_order") >= 1)
        at.proxy.reorder = 0.0
        await at.create("c")
        await at.seen("c")
        assert at.pages.get(Key(NAMESPACE, "a")) is None
        assert at.told.count(("added", "a")) == 1


async def test_a_server_without_watch_lists_is_listed(light_cluster: LightCluster) -> None:
    async with (
        light_cluster.client() as client,
        FaultProxy(light_cluster.connection) as proxy,
        Client(proxy.connection) as proxied,
    ):
        proxy.watch_list = False
        cache = Cache(proxied, timing=FAST)
        cache.informer(Namespace)
        await cache.start()
        await cache.wait_synced(60)
        assert {each.metadata.name for each in cache.list(Namespace)} == {
            each.metadata.name for each in await client.list(Namespace)
        }
        assert proxy.counts["list"] == 1
        await cache.stop()


async def test_one_undecodable_object_spoils_nothing_else(light_cluster: LightCluster) -> None:
    async with bench(light_cluster) as at:
        await at.create("good")
        await at.create("bad")
        await at.seen("bad")
        meta = {"name": "bad", "namespace": NAMESPACE, "uid": "u", "resourceVersion": str(2**40)}
        line = msgspec.json.encode({"type": "MODIFIED", "object": {"metadata": meta, "data": {"x": 1}}})
        at.proxy.inject(line)
        await at.until(lambda: Key(NAMESPACE, "bad") in at.pages.broken)
        assert "$.data" in at.pages.broken[Key(NAMESPACE, "bad")]
        assert at.pages.get(Key(NAMESPACE, "good")) is not None
        assert at.pages.get(Key(NAMESPACE, "bad")) is None
        at.proxy.expire()  # the version that the line made up is beyond the server's
        await at.seen("bad")
        assert not at.pages.broken


async def test_our_own_write_is_shown_before_its_echo_and_not_told_twice(light_cluster: LightCluster) -> None:
    async with bench(light_cluster) as at:
        await at.create("own", a="1")
        await at.seen("own")
        at.proxy.stall()
        written = await at.client.merge(ConfigMap, Key(NAMESPACE, "own"), {"data": {"a": "2"}})
        at.cache.write_through(written)
        shown = at.pages.get(Key(NAMESPACE, "own"))
        assert shown is not None
        assert shown.data == {"a": "2"}
        at.proxy.resume()
        await at.create("next")
        await at.seen("next")
        assert at.told == [("added", "own"), ("modified", "own"), ("added", "next")]


async def test_a_write_never_brings_a_deleted_object_back(light_cluster: LightCluster) -> None:
    async with bench(light_cluster) as at:
        made = await at.create("gone")
        await at.seen("gone")
        await at.client.delete(ConfigMap, "gone", NAMESPACE)
        await at.until(lambda: at.pages.get(Key(NAMESPACE, "gone")) is None)
        at.cache.write_through(made)
        assert at.pages.get(Key(NAMESPACE, "gone")) is None


async def test_a_refusing_server_is_not_asked_in_a_hot_loop(light_cluster: LightCluster) -> None:
    timing = Timing(backoff=Backoff(base_s=0.2, cap_s=0.4, jitter=0.0))
    async with bench(light_cluster, timing) as at:
        at.proxy.answer(Canned(503, b"<html></html>"), times=1000)
        at.proxy.cut()
        before = at.proxy.counts.total()
        await asyncio.sleep(1.5)
        assert at.proxy.counts.total() - before <= 6


async def test_a_quiet_cache_asks_nothing_and_resyncs_from_memory(light_cluster: LightCluster) -> None:
    async with bench(light_cluster, Timing()) as at:
        for name in ("a", "b", "c"):
            await at.create(name)
        await at.seen("c")
        resynced: list[str] = []

        def note(delta: Delta[ConfigMap]) -> None:
            if delta.op == "resync" and delta.new is not None:
                resynced.append(delta.new.metadata.name)

        at.pages.on(note, resync=1.0)
        before = at.proxy.counts.copy()
        await at.until(lambda: len(resynced) >= 9)
        assert {resynced.count(name) for name in ("a", "b", "c")} <= {3, 4}
        assert at.proxy.counts == before


async def test_handlers_that_raise_stop_neither_others_nor_the_watch(light_cluster: LightCluster) -> None:
    async with bench(light_cluster) as at:

        def broken(_: Delta[ConfigMap]) -> None:
            raise ValueError("a bug in a handler")

        at.pages.on(broken)
        late: list[str] = []
        at.pages.on(lambda delta: late.append(delta.op))
        await at.create("a")
        await at.create("b")
        await at.until(lambda: len(late) == 2)
        assert at.relists("crash") == 0


async def test_a_late_subscriber_is_told_what_is_there(light_cluster: LightCluster) -> None:
    async with bench(light_cluster) as at:
        await at.create("early")
        await at.seen("early")
        told: list[tuple[str, bool]] = []
        at.pages.on(lambda delta: told.append((delta.op, delta.initial)))
        assert told == [("added", True)]


async def test_a_kind_that_nobody_named_is_refused_with_the_way_out(light_cluster: LightCluster) -> None:
    async with bench(light_cluster) as at:
        with pytest.raises(LookupError, match="name it in the room"):
            at.cache.get(Namespace, "default")
        with pytest.raises(LookupError, match="declare it"):
            at.cache.by(ConfigMap, "nothing", "x")


async def test_an_index_that_raises_leaves_the_object_stored(light_cluster: LightCluster) -> None:
    async with light_cluster.client() as client:
        cache = Cache(client, timing=FAST)
        cache.index(Index(Namespace, "first", lambda namespace: [namespace.metadata.finalizers[0]]))
        cache.informer(Namespace)
        await cache.start()
        await cache.wait_synced(60)
        assert cache.get(Namespace, "default") is not None
        assert cache.by(Namespace, "first", "nothing") == []
        await cache.stop()
