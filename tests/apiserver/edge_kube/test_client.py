"""The client's verbs at a real API server (P4; design kube-runtime §4)."""

import asyncio
import dataclasses

import pytest

from edge_kube.client import Client
from edge_kube.config import Connection
from edge_kube.core import ConfigMap, Namespace, Secret
from edge_kube.errors import (
    AlreadyExists,
    Conflict,
    ConnectionFailed,
    DeadlineExceeded,
    Forbidden,
    NotFound,
    NotLeader,
    ServerError,
    Throttled,
)
from edge_kube.harness import LightCluster
from edge_kube.harness.proxy import GONE_BODY, Canned, FaultProxy
from edge_kube.meta import Key, ObjectMeta
from edge_kube.transport import Call


def page(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default", labels={"of": "client"}), data=data)


async def remove(client: Client, *names: str) -> None:
    for name in names:
        await client.delete(ConfigMap, name, "default")


async def test_created_objects_can_be_read_listed_and_deleted_once(client: Client) -> None:
    made = await client.create(page("verbs", a="1"), manager="test")
    assert made.metadata.uid
    assert await client.get(ConfigMap, "verbs", "default") == made
    assert [found.metadata.name for found in await client.list(ConfigMap, "default", labels="of=client")] == [
        "verbs"
    ]
    with pytest.raises(AlreadyExists):
        await client.create(page("verbs"), manager="test")
    assert await client.delete(ConfigMap, "verbs", "default")
    assert not await client.delete(ConfigMap, "verbs", "default")
    assert await client.find(ConfigMap, "verbs", "default") is None
    with pytest.raises(NotFound):
        await client.get(ConfigMap, "verbs", "default")


async def test_apply_says_created_configured_and_unchanged(client: Client) -> None:
    results = [
        (await client.apply(page("applied", a=value), manager="test")).result
        for value in ("1", "1", "2", "2")
    ]
    assert results == ["created", "unchanged", "configured", "unchanged"]
    await remove(client, "applied")


async def test_apply_gives_up_fields_that_are_left_out(client: Client) -> None:
    await client.apply(page("partial", a="1", b="2"), manager="one")
    await client.apply(page("partial", c="3"), manager="two")
    await client.apply(page("partial", a="1"), manager="one")
    assert (await client.get(ConfigMap, "partial", "default")).data == {"a": "1", "c": "3"}
    with pytest.raises(Conflict):
        await client.apply(page("partial", a="9"), manager="two", force=False)
    await remove(client, "partial")


async def test_a_dry_run_leaves_nothing(client: Client) -> None:
    await client.apply(page("dry"), manager="test", dry_run=True)
    assert await client.find(ConfigMap, "dry", "default") is None


async def test_patches_are_fenced_by_version_and_deletes_by_uid(client: Client) -> None:
    made = await client.create(page("fenced", a="1"), manager="test")
    key = Key("default", "fenced")
    changed = await client.merge(ConfigMap, key, {"data": {"a": "2"}}, rv=made.metadata.resource_version)
    assert changed.data == {"a": "2"}
    with pytest.raises(Conflict):
        await client.merge(ConfigMap, key, {"data": {"a": "3"}}, rv=made.metadata.resource_version)
    ops = [{"op": "add", "path": "/data/b", "value": "3"}]
    assert (await client.json_patch(ConfigMap, key, ops)).data == {"a": "2", "b": "3"}
    with pytest.raises(Conflict):
        await client.delete(ConfigMap, "fenced", "default", uid="00000000-0000-0000-0000-000000000000")
    assert await client.delete(ConfigMap, "fenced", "default", uid=made.metadata.uid)


async def test_long_lists_come_in_pages_and_survive_an_expired_token(light_cluster: LightCluster) -> None:
    async with FaultProxy(light_cluster.connection) as proxy, Client(proxy.connection) as client:
        names = [f"page-{number}" for number in range(12)]
        for name in names:
            await client.create(page(name), manager="test")
        kind = await client.kind_for("v1", "ConfigMap")
        proxy.answer(Canned(410, GONE_BODY), to=lambda request: "continue" in request.query)
        seen: list[str] = []
        pages = 0
        async for part in client.pages(kind, "default", labels="of=client", page_size=5):
            pages += 1
            if part is None:
                seen.clear()
                continue
            seen += [str(bytes(raw).count(b'"name":"page-')) for raw in part.items or ()]
        assert len(seen) == 12
        assert pages == 3  # five, the news of the expired token, all twelve
        await remove(client, *names)


async def test_kinds_without_a_type_are_found_by_discovery(client: Client) -> None:
    kind = await client.kind_for("rbac.authorization.k8s.io/v1", "ClusterRole")
    assert (kind.plural, kind.namespaced) == ("clusterroles", False)
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "edge-test"},
        "rules": [],
    }
    assert (await client.apply(role, manager="test")).result == "created"
    assert (await client.read(kind, "edge-test"))["metadata"]["name"] == "edge-test"
    assert await client.delete(kind, "edge-test")
    with pytest.raises(NotFound, match="serves no kind"):
        await client.kind_for("nowhere.example/v1", "Nothing")


async def test_an_impersonated_user_has_its_own_rights_and_no_others(client: Client) -> None:
    with pytest.raises(Forbidden, match="bob"):
        await client.impersonate("bob").list(Namespace)
    assert await client.impersonate("bob", ["system:masters"]).list(Namespace)
    with pytest.raises(ValueError, match="user"):
        client.impersonate("")
    with pytest.raises(ValueError, match="control"):
        client.impersonate("bob", ["a\r\nImpersonate-Group: system:masters"])


async def test_a_closed_gate_stops_writes_and_lets_reads_pass(client: Client) -> None:
    open_ = True
    gated = client.derive(gate=lambda: open_)
    await gated.apply(page("gated"), manager="test")
    open_ = False
    with pytest.raises(NotLeader):
        await gated.apply(page("gated", a="1"), manager="test", rv="")
    with pytest.raises(NotLeader):
        await gated.delete(ConfigMap, "gated", "default")
    assert (await gated.get(ConfigMap, "gated", "default")).data == {}
    await remove(client, "gated")


async def test_a_gate_that_closes_while_the_connection_is_made_holds_the_body_back(
    light_cluster: LightCluster,
) -> None:
    asked = 0

    def gate() -> bool:
        nonlocal asked
        asked += 1
        return asked == 1  # open when the request is begun, closed when its body would go out

    async with light_cluster.client() as client:
        with pytest.raises(NotLeader):
            await client.derive(gate=gate).create(page("late"), manager="test")
        assert await client.find(ConfigMap, "late", "default") is None


async def test_throttled_requests_wait_as_told_and_give_up_in_time(light_cluster: LightCluster) -> None:
    async with FaultProxy(light_cluster.connection) as proxy, Client(proxy.connection) as client:
        proxy.answer(Canned(429, b"", {"Retry-After": "0"}), times=3)
        assert await client.list(Namespace)
        proxy.answer(Canned(429, b"", {"Retry-After": "60"}))
        with pytest.raises(Throttled):
            await client.list(Namespace)


async def test_server_errors_are_retried_for_reads_and_not_for_creates(light_cluster: LightCluster) -> None:
    html = Canned(503, b"<html>no backend</html>")
    async with FaultProxy(light_cluster.connection) as proxy, Client(proxy.connection) as client:
        proxy.answer(html, times=2)
        assert await client.list(Namespace)
        proxy.answer(html)
        with pytest.raises(ServerError, match="503"):
            await client.create(page("once"), manager="test")
        assert proxy.counts["POST"] == 1
        assert await client.find(ConfigMap, "once", "default") is None


async def test_a_silent_server_costs_the_deadline_and_no_more(light_cluster: LightCluster) -> None:
    async with FaultProxy(light_cluster.connection) as proxy, Client(proxy.connection) as client:
        proxy.stall()
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(client.derive(deadline_s=0.3).get(Namespace, "default"), 60)


async def test_an_address_where_nobody_listens_is_said_so() -> None:
    async with Client(Connection(server="http://127.0.0.1:9")) as client:
        with pytest.raises(ConnectionFailed, match="cannot be reached"):
            await client.list(Namespace)


async def test_a_server_with_another_ca_is_not_trusted(light_cluster: LightCluster) -> None:
    from edge_kube.harness.pki import TestAuthority

    connection = dataclasses.replace(light_cluster.connection, ca=TestAuthority("stranger").cert)
    async with Client(connection) as client:
        with pytest.raises(ConnectionFailed, match="certificate"):
            await client.list(Namespace)


async def test_raw_answers_can_be_read_piece_by_piece(client: Client) -> None:
    params = {"watch": "1", "fieldSelector": "metadata.name=streamed"}
    async with await client.raw("GET", "/api/v1/namespaces/default/configmaps", params=params) as answer:
        assert answer.status == 200
        await client.create(page("streamed"), manager="test")
        assert b"ADDED" in await asyncio.wait_for(answer.content.readline(), 60)
    async with await client.raw("GET", "/api/v1/nonsense") as answer:
        assert answer.status == 404
    await remove(client, "streamed")


async def test_bodies_above_a_megabyte_are_sent(client: Client) -> None:
    big = "x" * 1_000_000
    made = await client.create(page("big", a=big), manager="test")
    assert made.data["a"] == big
    await remove(client, "big")


async def test_null_times_of_go_programs_are_read_as_absent(client: Client) -> None:
    body = b'{"kind":"Secret","metadata":{"name":"nulls","creationTimestamp":null},"data":null}'
    call = Call("POST", "/api/v1/namespaces/default/secrets", body=body)
    await client.transport.request(call)
    found = await client.get(Secret, "nulls", "default")
    assert (found.data, found.metadata.deletion_timestamp) == ({}, "")
    await client.delete(Secret, "nulls", "default")
