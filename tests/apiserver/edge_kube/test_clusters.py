"""Member clusters: a dead one costs nobody anything, and comes back by itself (C9; M1–M4)."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from edge_kube.backoff import Backoff
from edge_kube.cache import Delta
from edge_kube.client import Client
from edge_kube.clusters import ClusterPool, ClusterState
from edge_kube.config import ConfigError
from edge_kube.core import ConfigMap, Namespace
from edge_kube.errors import ClusterUnavailable, KubeError
from edge_kube.harness import LightCluster
from edge_kube.harness.proxy import FaultProxy
from edge_kube.meta import ObjectMeta


def kubeconfig(server: str) -> dict[str, Any]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k"}}],
        "clusters": [{"name": "k", "cluster": {"server": server}}],
    }


@contextlib.asynccontextmanager
async def members(cluster: LightCluster, **settings: Any) -> AsyncGenerator[tuple[ClusterPool, FaultProxy]]:
    async with FaultProxy(cluster.connection) as proxy:
        pool = ClusterPool(**settings)
        try:
            yield pool, proxy
        finally:
            await pool.close()


async def until(holds: Callable[[], bool], within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@contextlib.contextmanager
def silent_server() -> Any:
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_work_in_a_member_takes_a_seat_and_gives_it_back(light_cluster: LightCluster) -> None:
    async with members(light_cluster) as (pool, proxy):
        pool.update("plant-a", "uid", kubeconfig(proxy.connection.server))
        for _ in range(20):
            async with pool.get("plant-a") as client:
                assert await client.find(Namespace, "default") is not None
        await until(lambda: pool.state("plant-a") is ClusterState.UP)


async def test_an_unknown_or_removed_member_is_refused_at_once(light_cluster: LightCluster) -> None:
    async with members(light_cluster) as (pool, proxy):
        with pytest.raises(ClusterUnavailable, match="not joined"):
            pool.get("plant-a")
        assert pool.state("plant-a") is ClusterState.GONE
        pool.update("plant-a", "uid", kubeconfig(proxy.connection.server))
        pool.remove("plant-a")
        with pytest.raises(ClusterUnavailable):
            pool.get("plant-a")


async def test_a_dead_member_costs_microseconds_and_holds_up_no_other(light_cluster: LightCluster) -> None:
    async with members(light_cluster) as (pool, proxy):
        with silent_server() as dead:
            pool.update("alive", "1", kubeconfig(proxy.connection.server))
            pool.update("dead", "2", kubeconfig(dead))
            handle = pool.get("dead")
            attempts = [handle.client.derive(deadline_s=0.2).find(Namespace, "default") for _ in range(6)]
            await asyncio.gather(*attempts, return_exceptions=True)
            await until(lambda: pool.state("dead") is ClusterState.DOWN)
            started = time.process_time()  # of our own: a busy machine takes the time of others
            for _ in range(1000):
                with pytest.raises(ClusterUnavailable):
                    async with pool.get("dead"):
                        pass
            assert time.process_time() - started < 1.0
            async with pool.get("alive") as client:
                assert await client.find(Namespace, "default") is not None
            assert handle.why_down


async def test_a_member_that_returns_is_noticed_and_its_parked_work_woken(
    light_cluster: LightCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_kube.clusters._RETRY", Backoff(base_s=0.1, cap_s=0.2))
    woken: list[str] = []
    async with members(light_cluster, on_up=woken.append) as (pool, proxy):
        handle = pool.update("plant-a", "uid", kubeconfig(proxy.connection.server))
        await until(lambda: bool(woken))
        before = len(woken)
        proxy.stall()
        calls = [handle.client.derive(deadline_s=0.1).find(Namespace, "default") for _ in range(6)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, KubeError) for answer in answers)
        assert pool.state("plant-a") is ClusterState.DOWN
        proxy.resume()
        await until(lambda: len(woken) > before)
        async with handle as client:
            assert await client.find(Namespace, "default") is not None


async def test_an_answer_below_500_is_a_sign_of_life(light_cluster: LightCluster) -> None:
    async with members(light_cluster) as (pool, _):
        stranger = light_cluster.kubeconfig_for("stranger")
        pool.update("plant-a", "uid", stranger)
        for _ in range(10):
            with pytest.raises(KubeError, match="forbidden"):
                async with pool.get("plant-a") as client:
                    await client.list(Namespace)
        await until(lambda: pool.state("plant-a") is ClusterState.UP)


async def test_a_new_kubeconfig_makes_a_new_handle_and_the_same_one_does_not(
    light_cluster: LightCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with members(light_cluster) as (pool, proxy):
        first = pool.update("plant-a", "uid", kubeconfig(proxy.connection.server))
        assert pool.update("plant-a", "uid", kubeconfig(proxy.connection.server)) is first
        second = pool.update("plant-a", "uid", kubeconfig(proxy.connection.server + "/"))
        assert second is not first
        async with first as client:  # work that holds the old one goes on while it drains
            assert await client.find(Namespace, "default") is not None
        monkeypatch.setattr("edge_kube.clusters.DRAIN_S", 0.1)
        assert pool.update("plant-a", "uid", kubeconfig(proxy.connection.server)) is not first
        async with asyncio.timeout(60):
            while (said := await _said(second.client)) == "":  # noqa: ASYNC110 - it drains
                await asyncio.sleep(0.05)
        assert "closed" in said


async def _said(client: Client) -> str:
    """Why it lists no namespaces; empty when it does."""
    try:
        await client.list(Namespace)
    except KubeError as error:
        return str(error)
    return ""


async def test_a_kubeconfig_that_runs_programs_is_refused(light_cluster: LightCluster) -> None:
    async with members(light_cluster) as (pool, _):
        evil = kubeconfig("http://127.0.0.1:1")
        evil["users"] = [{"name": "u", "user": {"exec": {"command": "/bin/sh"}}}]
        evil["contexts"][0]["context"]["user"] = "u"
        with pytest.raises(ConfigError, match="runs a program"):
            pool.update("plant-a", "uid", evil)
        assert pool.state("plant-a") is ClusterState.GONE


async def test_changes_in_all_members_are_told_with_the_members_name(
    light_cluster: LightCluster,
) -> None:
    told: list[tuple[str, str, str]] = []

    def note(delta: Delta[Any], cluster: str) -> None:
        obj = delta.new or delta.old
        if obj is not None:
            told.append((delta.op, obj.metadata.name, cluster))

    async with members(light_cluster) as (pool, proxy), light_cluster.client() as client:
        pool.watch(ConfigMap, note, labels="member-test=yes")
        pool.update("plant-a", "uid", kubeconfig(proxy.connection.server))
        meta = ObjectMeta(name="told", namespace="default", labels={"member-test": "yes"})
        await client.create(ConfigMap(metadata=meta), manager="test")
        await until(lambda: told == [("added", "told", "plant-a")])
        await client.delete(ConfigMap, "told", "default")
        await until(lambda: told[-1] == ("deleted", "told", "plant-a"))


async def test_a_member_with_too_many_objects_is_not_copied(
    light_cluster: LightCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_kube.clusters.OBJECTS_MAX", 2)
    async with members(light_cluster) as (pool, proxy):
        handle = pool.update("plant-a", "uid", kubeconfig(proxy.connection.server))
        informer = await handle.informer(Namespace)
        await until(lambda: pool.state("plant-a") is ClusterState.UP)
        await asyncio.sleep(0.5)
        assert not informer.synced
        assert len(informer) == 0
