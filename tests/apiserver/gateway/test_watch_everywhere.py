"""One window over the host and all members on the watch socket: `cluster=*` (G3, C9; console §5.3, §5.4)."""

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support.gateway import RunningGateway
from tests.support.lines import Line, cluster_behind_line, joined
from tests.support.watching import Model, Watcher, rows, watching
from tests.support.workspaces import Tenant

from edge.apiserver.watching import fleet, upstreams
from edge.clusters.types import Cluster
from edge_kube.client import Client
from edge_kube.core import ConfigMap, Namespace
from edge_kube.harness import LightCluster
from edge_kube.meta import Key, ObjectMeta


@pytest.fixture(scope="module")
def other_cluster() -> Iterator[LightCluster]:
    """A second member."""
    with LightCluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that is cut off is asked again soon; and one that only is slow has time to answer first."""
    monkeypatch.setattr(fleet, "CLUSTER_BUDGET_S", 5.0)
    monkeypatch.setattr(fleet, "ALL_CLUSTERS_S", 15.0)
    monkeypatch.setattr(upstreams, "STALE_AFTER_S", 0.5)
    monkeypatch.setattr(upstreams, "ASK_AGAIN_S", 0.2)
    monkeypatch.setattr(fleet, "JOIN_AGAIN_S", 0.2)


class Everywhere:
    """The host and two members, each with a ConfigMap of the same name; what one test makes has its tail."""

    def __init__(self, kube: Client, members: dict[str, Client], lines: dict[str, Line]) -> None:
        self.tail = secrets.token_hex(3)
        self.name = f"fan-{self.tail}"
        self.clients = {"": kube, **members}
        self.lines = lines
        self.near, self.far = lines

    async def make(self, cluster: str, name: str = "", namespace: str = "default") -> None:
        meta = {"name": name or self.name, "namespace": namespace, "labels": {"tail": self.tail}}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
        await self.clients[cluster].create(manifest, manager="test")

    async def label(self, cluster: str, namespace: str = "default", **labels: str) -> None:
        key = Key(namespace, self.name)
        await self.clients[cluster].merge(ConfigMap, key, {"metadata": {"labels": labels}})

    def what(self, columns: str = "namespace,labels", **more: Any) -> dict[str, Any]:
        asked = {"group": "", "version": "v1", "cluster": "*", "labelSelector": f"tail={self.tail}", **more}
        return rows("configmaps", columns, **asked)


def places(model: Model) -> list[str]:
    """The clusters of the rows that are there, in order."""
    return [row["n"][2] for k, row in model.rows.items() if k not in model.gone]


def colours(model: Model) -> dict[str, str | None]:
    """Of the ConfigMaps that are in each cluster from the start."""
    found = [row for row in model.rows.values() if row["n"][0].startswith("fan-")]
    return {row["n"][2]: row["labels"].get("colour") for row in found}


@pytest_asyncio.fixture
async def everywhere(
    gateway: RunningGateway, kube: Client, member_cluster: LightCluster, other_cluster: LightCluster
) -> AsyncIterator[Everywhere]:
    tail = secrets.token_hex(3)
    near, far = f"near-{tail}", f"yonder-{tail}"
    async with (
        joined(gateway, kube, member_cluster, near) as one,
        joined(gateway, kube, other_cluster, far) as two,
        member_cluster.client() as first,
        other_cluster.client() as second,
    ):
        found = Everywhere(kube, {near: first, far: second}, {near: one, far: two})
        for cluster in found.clients:
            await found.make(cluster)
        yield found


async def opened(watcher: Watcher, what: dict[str, Any], count: int, have: Model | None = None) -> Model:
    """A subscription, once its window is here and has so many rows."""
    model = await watcher.sub(what, have=have)
    await watcher.until(lambda: model.hash and len(model.names) == count)
    return model


async def test_one_window_has_the_rows_of_all_clusters_sorted_and_counted_together(
    gateway: RunningGateway, everywhere: Everywhere
) -> None:
    near, far = everywhere.near, everywhere.far
    async with watching(gateway, await gateway.token()) as watcher:
        model = await opened(watcher, everywhere.what(sort="-cluster", facets="cluster"), 3)
        assert places(model) == [far, near, ""], "what has no cluster comes last in either direction"
        assert model.total == 3
        assert watcher.seen("snap")[-1]["facets"] == {"cluster": {"": 1, near: 1, far: 1}}
        part = await watcher.sub(everywhere.what(sort="cluster", limit=1, offset=1))
        await watcher.until(lambda: part.hash)
        assert (places(part), part.total) == ([far], 3)
        for cluster in everywhere.clients:
            await everywhere.label(cluster, colour=f"of-{cluster or 'host'}")
        wanted = {"": "of-host", near: f"of-{near}", far: f"of-{far}"}
        await watcher.until(lambda: colours(model) == wanted)
        await everywhere.make(far, f"more-{everywhere.tail}")
        await watcher.until(lambda: model.pending.get("added") == 1 and model.total == 4)
        assert len(model.names) == 3, "rows stay where they are until the client applies"
        await watcher.send("mod", id=watcher.id_of(model), apply=True)
        await watcher.until(lambda: len(model.names) == 4)
        assert not watcher.seen("stale")


async def test_a_member_that_goes_and_comes_back_is_told_and_holds_up_no_other(
    gateway: RunningGateway, everywhere: Everywhere
) -> None:
    near, far = everywhere.near, everywhere.far
    async with watching(gateway, await gateway.token()) as watcher:
        model = await opened(watcher, everywhere.what(), 3)
        await everywhere.lines[far].cut()
        await watcher.until(lambda: model.stale == far, within_s=120)
        assert len(model.names) == 3, "what a client has, it keeps"
        await everywhere.label(near, colour="green")
        await watcher.until(lambda: colours(model)[near] == "green", within_s=30)
        await everywhere.make(far, f"missed-{everywhere.tail}")
        await everywhere.label(far, colour="red")
        await everywhere.lines[far].mend()
        await watcher.until(lambda: not model.stale, within_s=120)
        await watcher.until(lambda: len(model.names) == 4 and colours(model)[far] == "red")
        assert [len(watcher.seen(t)) for t in ("stale", "fresh")] == [1, 1]
        after = watcher.frames[watcher.frames.index(watcher.seen("fresh")[0]) + 1]
        assert (after["t"], len(after["rows"])) == ("snap", 4), "all that was missed comes at once"


@pytest.mark.parametrize(("trouble", "code"), [("cut", "ClusterUnreachable"), ("mute", "UpstreamTimeout")])
async def test_a_member_that_is_down_at_first_costs_its_time_at_most_and_its_rows_come_later(
    gateway: RunningGateway,
    everywhere: Everywhere,
    trouble: str,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet, "CLUSTER_BUDGET_S", 2.5)  # less than it takes to give up a connection
    near, far = everywhere.near, everywhere.far
    line = everywhere.lines[far]
    await (line.cut() if trouble == "cut" else line.mute())
    async with watching(gateway, await gateway.token()) as watcher:
        started = time.monotonic()
        model = await opened(watcher, everywhere.what(), 2)
        assert time.monotonic() - started < 30, "it answers never"
        await watcher.until(lambda: model.stale)
        assert (model.cut_off, sorted(places(model))) == ({far: code}, ["", near])
        assert [frame["t"] for frame in watcher.frames if "id" in frame] == ["snap", "stale"]
        await everywhere.label(near, colour="green")
        await watcher.until(lambda: colours(model)[near] == "green", within_s=30)
        await (line.mend() if trouble == "cut" else mend_mute(line))
        await watcher.until(lambda: not model.stale and len(model.names) == 3, within_s=120)
        assert [len(watcher.seen(t)) for t in ("stale", "fresh")] == [1, 1]


async def mend_mute(line: Line) -> None:
    await line.cut()
    await line.mend()


async def test_clusters_that_join_and_leave_come_to_the_window_and_go(
    gateway: RunningGateway, kube: Client, everywhere: Everywhere, other_cluster: LightCluster
) -> None:
    late = f"a-late-{everywhere.tail}"
    async with watching(gateway, await gateway.token()) as watcher:
        model = await opened(watcher, everywhere.what(sort="cluster"), 3)
        async with joined(gateway, kube, other_cluster, late) as line:
            await watcher.until(lambda: model.pending.get("added") == 1 and model.total == 4)
            assert len(places(model)) == 3
            await watcher.send("mod", id=watcher.id_of(model), apply=True)
            await watcher.until(lambda: places(model)[:1] == [late])
            await line.cut()
            await watcher.until(lambda: model.stale == late, within_s=120)
        await watcher.until(lambda: late not in places(model) and model.total == 3)
        await watcher.until(lambda: not model.stale)
        async with joined(gateway, kube, other_cluster, late):
            await watcher.until(lambda: model.total == 4)
        await watcher.until(lambda: model.total == 3)


async def test_two_clusters_that_were_copied_from_one_do_not_share_a_row(
    gateway: RunningGateway, kube: Client, everywhere: Everywhere, other_cluster: LightCluster
) -> None:
    """Sites that are installed from one image have the same uids."""
    twin = f"twin-{everywhere.tail}"
    async with (
        joined(gateway, kube, other_cluster, twin),
        watching(gateway, await gateway.token()) as watcher,
    ):
        model = await opened(watcher, everywhere.what(sort="cluster"), 4)
        assert sorted(places(model)) == sorted(["", everywhere.near, everywhere.far, twin])
        await everywhere.label(everywhere.far, colour="blue")
        await watcher.until(lambda: colours(model)[everywhere.far] == colours(model)[twin] == "blue")
        assert (model.total, len(model.rows)) == (4, 4)


async def test_a_name_that_stands_for_another_cluster_now_shows_that_one(
    gateway: RunningGateway, kube: Client, everywhere: Everywhere, other_cluster: LightCluster
) -> None:
    near, far = everywhere.near, everywhere.far
    await everywhere.make(far, f"only-{everywhere.tail}")
    async with watching(gateway, await gateway.token()) as watcher:
        one = await opened(watcher, everywhere.what(cluster=near), 1)
        model = await opened(watcher, everywhere.what(), 4)
        moved = cluster_behind_line(near, other_cluster, everywhere.lines[far])
        await kube.merge(Cluster, Key("", near), {"spec": moved["spec"]})
        await watcher.until(lambda: one.total == 2 and model.total == 5)
        for each in (one, model):
            await watcher.send("mod", id=watcher.id_of(each), apply=True)
        await watcher.until(lambda: len(one.names) == 2 and len(model.names) == 5)
        await everywhere.label(far, colour="blue")
        await watcher.until(lambda: colours(model)[near] == colours(one)[near] == "blue")


async def test_a_cluster_with_more_than_is_kept_here_is_refused_and_the_others_are_shown(
    gateway: RunningGateway, everywhere: Everywhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member is not ours: what it sends must not fill the gateway."""
    near, far = everywhere.near, everywhere.far
    monkeypatch.setattr(upstreams, "HELD_MAX_BYTES", 300_000)
    own = everywhere.name  # a namespace: the clusters hold what other tests have made
    for cluster, client in everywhere.clients.items():
        await client.create(Namespace(metadata=ObjectMeta(name=own)), manager="test")
        await everywhere.make(cluster, namespace=own)
    big = {"data": {"text": "x" * 400_000}}
    await everywhere.clients[far].merge(ConfigMap, Key(own, everywhere.name), big)
    async with watching(gateway, await gateway.token()) as watcher:
        alone = await watcher.sub(everywhere.what(cluster=far, namespace=own))
        model = await opened(watcher, everywhere.what(namespace=own), 2)
        await watcher.until(lambda: alone.ended and model.stale, within_s=120)
        assert (alone.ended, model.stale) == ("Unavailable", far)
        assert sorted(places(model)) == ["", near]
        await everywhere.label(near, own, colour="green")
        await watcher.until(lambda: colours(model)[near] == "green")


async def test_resuming_says_same_or_brings_what_was_missed(
    gateway: RunningGateway, everywhere: Everywhere
) -> None:
    async with watching(gateway, await gateway.token()) as watcher:
        model = await opened(watcher, everywhere.what(), 3)
    async with watching(gateway, await gateway.token()) as watcher:
        again = await watcher.sub(everywhere.what(), have=model)
        await watcher.until(lambda: watcher.seen("same"))
        assert not watcher.seen("snap")
        await everywhere.label(everywhere.far, colour="red")
        await watcher.until(lambda: colours(again)[everywhere.far] == "red")
    async with watching(gateway, await gateway.token()) as watcher:
        older = await watcher.sub(everywhere.what(), have=model)
        await watcher.until(lambda: watcher.seen("snap"))
        assert colours(older)[everywhere.far] == "red"


async def test_a_tenant_sees_their_part_of_each_cluster_and_is_not_told_of_others(
    gateway: RunningGateway, everywhere: Everywhere, tenant: Tenant
) -> None:
    """Not even whether they answer; and the filter follows the rights (I6, I15)."""
    near, far = everywhere.near, everywhere.far
    await everywhere.lines[far].cut()
    binding = f"{tenant.user}-near"
    async with watching(gateway, await gateway.token(tenant.user)) as watcher:
        spaces = await watcher.sub(rows("namespaces", group="", version="v1", cluster="*"))
        model = await watcher.sub(everywhere.what())
        await watcher.until(lambda: spaces.hash and model.hash)
        assert spaces.names == sorted(tenant.namespaces)
        assert (model.names, model.total) == ([], 0)
        await tenant.bind_at("cluster", near, "cluster-admin", binding)
        await watcher.until(lambda: places(model) == [near])
        await watcher.until(lambda: "default" in spaces.names)
        assert set(places(spaces)) == {"", near}
        await tenant.bind_at("cluster", far, "cluster-admin", f"{binding}-too")
        await watcher.until(lambda: model.stale == far)
        for name in (binding, f"{binding}-too"):
            await tenant.unbind(name)
        await watcher.until(lambda: places(model) == [] and not model.stale)
        assert near not in str(watcher.frames[-1]) or watcher.frames[-1]["t"] == "fresh"


async def test_the_platforms_own_kinds_are_the_hosts_and_other_questions_are_refused(
    gateway: RunningGateway, everywhere: Everywhere, tenant: Tenant
) -> None:
    one = {"group": "", "version": "v1", "resource": "configmaps", "name": "x", "namespace": "default"}
    inside = rows("nodes", group="", version="v1", cluster="*", namespace="default")
    async with watching(gateway, await gateway.token()) as watcher:
        own = await watcher.sub(rows("workspaces", cluster="*"))
        single = await watcher.sub({"object": {**one, "cluster": "*"}})
        ghosts = await watcher.sub(rows("ghosts", group="", version="v1", cluster="*"))
        nowhere = await watcher.sub(inside)
        unknown = await watcher.sub(everywhere.what(sort="colour"))
        ended = (single, ghosts, nowhere, unknown)
        await watcher.until(lambda: own.hash and all(model.ended for model in ended))
        assert tenant.workspace in own.names
        assert [model.ended for model in ended] == ["BadRequest", "NotFound", "BadRequest", "UnknownColumn"]
