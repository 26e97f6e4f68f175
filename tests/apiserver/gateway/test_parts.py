"""Who may see a part of a kind lists and watches that part through every door (G3, I15; design §8.3)."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from tests.support.gateway import PATIENCE_S, KubectlFailed, RunningGateway
from tests.support.workspaces import WORKSPACES, Tenant

from edge_kube.client import Client
from edge_kube.core import Namespace
from edge_kube.meta import Key, ObjectMeta
from edge_sdk.scopes import WORKSPACE_LABEL

NAMESPACES = "/api/v1/namespaces"
Event = tuple[str, str]


class Watched:
    """Lines of an open watch, one event at a time."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self.response.content.readline())

    async def event(self) -> Event:
        found = await self.next()
        return found["type"], found["object"]["metadata"]["name"]

    async def ended(self) -> bool:
        async with asyncio.timeout(PATIENCE_S):
            return await self.response.content.read(1) == b""


@asynccontextmanager
async def watching(gateway: RunningGateway, path: str, token: str) -> AsyncGenerator[Watched]:
    headers = {"Authorization": f"Bearer {token}"}
    async with gateway.session.get(f"{gateway.url}{path}", headers=headers) as response:
        assert response.status == 200, await response.read()
        yield Watched(response)


async def make_namespace(kube: Client, name: str, workspace: str) -> None:
    meta = ObjectMeta(name=name, labels={WORKSPACE_LABEL: workspace})
    await kube.create(Namespace(metadata=meta), manager="test")


async def test_a_watch_brings_what_comes_into_sight_and_what_leaves_it_and_nothing_else(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    other = Tenant(kube)
    await other.make()
    token = await gateway.token(tenant.user)
    listed = (await gateway.get(NAMESPACES, token=token)).json()
    assert [one["metadata"]["name"] for one in listed["items"]] == sorted(tenant.namespaces)
    version = listed["metadata"]["resourceVersion"]
    async with watching(gateway, f"{NAMESPACES}?watch=1&resourceVersion={version}", token) as watch:
        first, second = tenant.namespaces
        new = f"c-{tenant.workspace}"
        await make_namespace(kube, new, tenant.workspace)
        assert await watch.event() == ("ADDED", new)
        await kube.merge(Namespace, Key("", other.namespaces[0]), {"metadata": {"labels": {"seen": "no"}}})
        await kube.merge(Namespace, Key("", first), {"metadata": {"labels": {"seen": "yes"}}})
        assert await watch.event() == ("MODIFIED", first)
        moved = {"metadata": {"labels": {WORKSPACE_LABEL: other.workspace, "secret": "theirs"}}}
        await kube.merge(Namespace, Key("", second), moved)
        gone = await watch.next()
        assert (gone["type"], gone["object"]["metadata"]["name"]) == ("DELETED", second)
        assert "theirs" not in json.dumps(gone)


async def test_a_watch_from_nothing_begins_with_what_there_is(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    token = await gateway.token(tenant.user)
    async with watching(gateway, f"{NAMESPACES}?watch=1", token) as watch:
        assert [await watch.event() for _ in tenant.namespaces] == [
            ("ADDED", name) for name in sorted(tenant.namespaces)
        ]
    path = f"{NAMESPACES}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&labelSelector=none"
    async with watching(gateway, path, token) as watch:
        bookmark = await watch.next()
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_from_before_what_is_remembered_is_told_to_list_again(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    answer = await gateway.get(
        f"{NAMESPACES}?watch=1&resourceVersion=1", token=await gateway.token(tenant.user)
    )
    assert (answer.status, answer.json()["reason"]) == (410, "Expired")


@pytest.mark.parametrize(
    "query",
    ["resourceVersion=x", "resourceVersion=-1", f"resourceVersion={'9' * 4500}", "timeoutSeconds=soon"],
)
async def test_a_watch_from_a_version_that_is_none_is_refused_with_what_would_be(
    gateway: RunningGateway, tenant: Tenant, query: str
) -> None:
    answer = await gateway.get(f"{NAMESPACES}?watch=1&{query}", token=await gateway.token(tenant.user))
    assert answer.status == 400
    assert f"The parameter {query.split('=')[0]} is" in answer.json()["message"]
    assert "accepted: " in answer.json()["message"]


async def test_a_binding_that_is_taken_ends_the_watch_with_a_sentence_and_the_next_one_is_refused(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    token = await gateway.token(tenant.user)
    async with watching(gateway, f"{WORKSPACES}?watch=1", token) as watch:
        assert await watch.event() == ("ADDED", tenant.workspace)
        await tenant.unbind()
        last = await watch.next()
        assert (last["type"], last["object"]["code"]) == ("ERROR", 403)
        assert "the right behind it is gone" in last["object"]["message"]
        assert await watch.ended()
    refused = await gateway.get(f"{WORKSPACES}?watch=1", token=token)
    assert refused.status == 403
    assert f'User "{tenant.user}" cannot watch resource "workspaces"' in refused.json()["message"]


async def test_kubectl_as_a_tenant_lists_their_namespaces_and_no_others(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    token = await gateway.token(tenant.user)
    shown = await gateway.kubectl(token, "get", "namespaces")
    assert [line.split()[0] for line in shown.splitlines()[1:]] == sorted(tenant.namespaces)
    named = await gateway.kubectl(token, "get", "workspaces", "-o", "name")
    assert named.split() == [f"workspace.scope.theriseunion.io/{tenant.workspace}"]
    with pytest.raises(KubectlFailed, match="cannot list resource"):
        await gateway.kubectl(token, "get", "pods", "--all-namespaces")
