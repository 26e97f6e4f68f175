"""Objects of member clusters and Events on the watch socket; a cluster that is cut off (C9; console §5.4)."""

import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.gateway import RunningGateway
from tests.support.lines import Line, joined
from tests.support.watching import Model, rows, watching
from tests.support.workspaces import Tenant

from edge.apiserver.watching import upstreams
from edge_kube.client import Client
from edge_kube.core import Namespace
from edge_kube.harness import LightCluster
from edge_kube.meta import ObjectMeta


@pytest_asyncio.fixture
async def line(
    gateway: RunningGateway, kube: Client, member_cluster: LightCluster
) -> AsyncIterator[tuple[str, Line]]:
    """A member cluster behind a line, and its name."""
    name = f"far-{secrets.token_hex(3)}"
    async with joined(gateway, kube, member_cluster, name) as found:
        yield name, found


async def test_a_member_that_is_cut_off_is_told_once_and_comes_back_with_all_that_was_missed(
    gateway: RunningGateway,
    line: tuple[str, Line],
    member_cluster: LightCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstreams, "STALE_AFTER_S", 0.5)
    cluster, wire = line
    first, second = f"a-{secrets.token_hex(3)}", f"b-{secrets.token_hex(3)}"
    async with member_cluster.client() as member, watching(gateway, await gateway.token()) as watcher:
        await member.create(Namespace(metadata=ObjectMeta(name=first)), manager="test")
        model = await watcher.sub(rows("namespaces", group="", version="v1", cluster=cluster))
        await watcher.until(lambda: first in model.names)
        assert model.row(first)["n"] == [first, "", cluster]
        await wire.cut()
        await watcher.until(lambda: model.stale == cluster, within_s=120)
        await member.create(Namespace(metadata=ObjectMeta(name=second)), manager="test")
        assert first in model.names
        await wire.mend()
        await watcher.until(lambda: not model.stale and second in model.names, within_s=120)
        assert [len(watcher.seen(t)) for t in ("stale", "fresh")] == [1, 1]


async def test_who_has_no_right_in_a_member_is_not_told_whether_it_answers(
    gateway: RunningGateway, line: tuple[str, Line], tenant: Tenant
) -> None:
    cluster, wire = line
    await wire.cut()
    async with watching(gateway, await gateway.token(tenant.user)) as watcher:
        here = await watcher.sub(rows("pods", group="", version="v1", cluster=cluster))
        nowhere = await watcher.sub(rows("pods", group="", version="v1", cluster="there-is-none"))
        await watcher.until(lambda: here.ended and nowhere.ended)
        assert here.ended == nowhere.ended == "Forbidden"
    async with watching(gateway, await gateway.token()) as watcher:
        here = await watcher.sub(rows("pods", group="", version="v1", cluster=cluster))
        nowhere = await watcher.sub(rows("pods", group="", version="v1", cluster="there-is-none"))
        await watcher.until(lambda: here.stale and nowhere.ended)
        assert (here.ended, nowhere.ended) == ("", "NotFound")


async def test_a_member_that_is_down_at_first_is_stale_and_its_rows_come_when_it_is_back(
    gateway: RunningGateway, line: tuple[str, Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "ASK_AGAIN_S", 0.2)
    cluster, wire = line
    await wire.cut()
    what = rows("namespaces", group="", version="v1", cluster=cluster)
    one = {"group": "", "version": "v1", "resource": "namespaces", "name": "default", "cluster": cluster}
    async with watching(gateway, await gateway.token()) as watcher:
        model, whole = await watcher.sub(what), await watcher.sub({"object": one})
        kept = Model(rv="1-old", hash="old", rows={"k": {"n": ["kept", "", cluster]}})
        resumed = await watcher.sub(what, have=kept)
        unknown = await watcher.sub(rows("ghosts", group="", version="v1", cluster=cluster))
        models = (model, whole, resumed, unknown)
        await watcher.until(lambda: all(one.stale == cluster for one in models))
        assert [frame["t"] for frame in watcher.frames if frame.get("id") == 1] == ["snap", "stale"]
        assert (model.names, model.total, whole.object) == ([], 0, None)
        assert resumed.names == ["kept"], "what a client has, it keeps"
        await wire.mend()
        await watcher.until(lambda: "default" in model.names and whole.object, within_s=120)
        await watcher.until(lambda: "default" in resumed.names and unknown.ended, within_s=120)
        assert not model.stale
        assert (whole.object["metadata"]["name"], unknown.ended) == ("default", "NotFound")
        assert whole.object["kind"] == "Namespace"


async def test_a_member_that_leaves_the_platform_ends_what_was_watched_in_it(
    gateway: RunningGateway, kube: Client, member_cluster: LightCluster
) -> None:
    name = f"leaves-{secrets.token_hex(3)}"
    async with watching(gateway, await gateway.token()) as watcher:
        async with joined(gateway, kube, member_cluster, name):
            model = await watcher.sub(rows("namespaces", group="", version="v1", cluster=name))
            await watcher.until(lambda: "default" in model.names)
        await watcher.until(lambda: model.ended)
        assert model.ended == "NotFound"
        again = await watcher.sub(rows("namespaces", group="", version="v1", cluster=name))
        await watcher.until(lambda: again.ended)
        assert again.ended == "NotFound"


@pytest.mark.parametrize(
    ("asked", "ended"),
    [
        ({"version": "v1/namespaces/default/../.."}, "NotFound"),
        ({"version": "../../api/v1"}, "NotFound"),
        ({"group": "apps/v1/../../.."}, "NotFound"),
        ({"resource": "configmaps?watch=1"}, "NotFound"),
        ({"namespace": "default/secrets?x="}, "BadRequest"),
        ({"resource": "clusterroles", "group": "rbac.authorization.k8s.io", "namespace": "x"}, "BadRequest"),
    ],
)
async def test_what_is_no_name_becomes_no_part_of_a_path_that_the_gateway_asks(
    gateway: RunningGateway, asked: dict[str, str], ended: str
) -> None:
    """It asks in its own name, so nobody else may choose the path."""
    what = {"group": "", "version": "v1", "resource": "configmaps", **asked}
    resource = what.pop("resource")
    async with watching(gateway, await gateway.token()) as watcher:
        model = await watcher.sub(rows(resource, **what))
        await watcher.until(lambda: model.ended)
        assert model.ended == ended


async def test_events_about_an_object_come_newest_first(gateway: RunningGateway, kube: Client) -> None:
    tail = secrets.token_hex(3)

    def event(number: int, about: str) -> dict[str, object]:
        of = {"kind": "Pod", "apiVersion": "v1", "name": about, "namespace": "default"}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about}-{number}", "namespace": "default"},
            "involvedObject": of,
            "reason": f"Reason{number}",
            "type": "Normal",
            "lastTimestamp": f"2026-01-02T03:04:0{number}Z",
        }

    mine, other = f"mine-{tail}", f"other-{tail}"
    for number, about in ((1, mine), (2, other), (3, mine)):
        await kube.create(event(number, about), manager="test")
    of = {"resource": "pods", "name": mine, "namespace": "default"}
    async with watching(gateway, await gateway.token()) as watcher:
        model = await watcher.sub({"events": {"of": of}})
        await watcher.until(lambda: model.hash)
        assert [row["reason"] for row in model.rows.values()] == ["Reason3", "Reason1"]
        await kube.create(event(4, mine), manager="test")
        await watcher.until(lambda: model.pending.get("added") == 1)


async def test_a_tenant_sees_pods_of_their_namespaces_alone(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    async with watching(gateway, await gateway.token(tenant.user)) as watcher:
        meta = {"name": "mine", "namespace": tenant.namespaces[0]}
        await kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}, manager="test")
        what = rows("configmaps", group="", version="v1")
        all_of_it = await watcher.sub(what)
        theirs = await watcher.sub(rows("configmaps", group="", version="v1", namespace="kube-system"))
        await watcher.until(lambda: all_of_it.names == ["mine"] and theirs.hash)
        assert theirs.names == []
