"""Who sees what on the watch socket, and what happens when that changes (I6, I15; console §5.4)."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable

import aiohttp
from tests.apiserver.gateway.test_watch_socket import label
from tests.support.gateway import PATIENCE_S, RunningGateway, make_user
from tests.support.watching import OPERATIONS, Model, rows, watching
from tests.support.workspaces import Tenant

from edge.apps.types import ApplicationDeployment, ApplicationDeploymentSpec
from edge.iam.accounts import DISABLED
from edge.iam.types import User
from edge_kube.client import Client
from edge_kube.core import Namespace
from edge_kube.meta import Key, ObjectMeta
from edge_sdk.scopes import WORKSPACE_LABEL


async def eventually(read: Callable[[], Awaitable[object]], wanted: object) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await read() != wanted:  # noqa: ASYNC110 - it changes elsewhere
            await asyncio.sleep(0.05)


async def test_tenants_see_their_own_and_count_nothing_else(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    other = Tenant(kube)
    await other.make()
    await gateway.until(
        f"/oapis/scope.theriseunion.io/v1alpha1/workspaces/{other.workspace}",
        200,
        token=await gateway.token(),
    )
    async with watching(gateway, await gateway.token(tenant.user)) as watcher:
        workspaces = await watcher.sub(rows("workspaces"))
        spaces = await watcher.sub(rows("namespaces", group="", version="v1"))
        users = await watcher.sub(rows("users", group="iam"))
        mine = {"group": "scope", "version": "v1alpha1", "resource": "workspaces", "name": tenant.workspace}
        own = await watcher.sub({"object": mine})
        theirs = await watcher.sub({"object": {**mine, "name": other.workspace}})
        nobodys = await watcher.sub({"object": {**mine, "name": "there-is-none"}})
        await watcher.until(lambda: workspaces.hash and spaces.hash and own.object)
        await watcher.until(lambda: users.ended and theirs.ended and nobodys.ended)
        assert (workspaces.names, workspaces.total) == ([tenant.workspace], 1)
        assert (spaces.names, spaces.total) == (sorted(tenant.namespaces), 2)
        # Whether it exists is not told: both are answered alike.
        assert users.ended == theirs.ended == nobodys.ended == "Forbidden"
        await label(kube, other.workspace, colour="red")
        await label(kube, tenant.workspace, colour="blue")
        await watcher.until(lambda: own.object["metadata"].get("labels", {}).get("colour") == "blue")
        await asyncio.sleep(0.5)
        assert not [frame for frame in watcher.frames if other.workspace in str(frame.get("set"))]


async def test_a_revoked_role_is_told_and_ends_what_it_showed(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    async with watching(gateway, await gateway.token(tenant.user)) as watcher:
        await watcher.sub({"access": {"scope": f"workspace/{tenant.workspace}"}})
        model = await watcher.sub(rows("namespaces", group="", version="v1"))
        await watcher.until(lambda: model.names)
        await watcher.until(lambda: watcher.seen("access"))
        before = len(watcher.frames)
        await tenant.unbind()
        await watcher.until(lambda: model.ended)
        after = [frame["t"] for frame in watcher.frames[before:]]
        assert model.ended == "Forbidden"
        assert "delta" not in after
        await watcher.until(lambda: len(watcher.seen("access")) == 2)
        had, has = watcher.seen("access")
        assert had["scope"] == has["scope"] == f"workspace/{tenant.workspace}"
        assert had["etag"] != has["etag"]
        await tenant.bind()
        await watcher.until(lambda: len(watcher.seen("access")) == 3)
        assert watcher.seen("access")[2]["etag"] == had["etag"], "equal rights have equal names"
        again = await watcher.sub(rows("namespaces", group="", version="v1"))
        await watcher.until(lambda: again.names)


async def test_rows_that_may_be_seen_no_more_are_gone_from_a_new_window(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    """A namespace that leaves the workspace leaves the tenant's sight."""
    kept, lost = sorted(tenant.namespaces)
    async with watching(gateway, await gateway.token(tenant.user)) as watcher:
        model = await watcher.sub(rows("namespaces", group="", version="v1"))
        await watcher.until(lambda: model.names == [kept, lost])
        await kube.merge(Namespace, Key("", lost), {"metadata": {"labels": {WORKSPACE_LABEL: None}}})
        await watcher.until(lambda: model.names == [kept])
        await kube.merge(
            Namespace, Key("", lost), {"metadata": {"labels": {WORKSPACE_LABEL: tenant.workspace}}}
        )
        await watcher.until(lambda: model.total == 2)
        await watcher.send("mod", id=1, apply=True)
        await watcher.until(lambda: model.names == [kept, lost])


async def test_a_disabled_user_is_cut_off_with_4401(gateway: RunningGateway, kube: Client) -> None:
    name = f"cut-{secrets.token_hex(3)}"
    await make_user(kube, name)
    await gateway.knows(name)
    async with watching(gateway, await gateway.token(name)) as watcher:
        await watcher.until(lambda: watcher.frames)
        await kube.merge(User, Key("", name), {"status": {"state": DISABLED}}, sub="status")
        assert await watcher.code() == 4401


async def test_the_reason_reaches_a_client_that_sends_meanwhile(
    gateway: RunningGateway, kube: Client
) -> None:
    """What comes of it is read until it has answered: a reset would take the reason away."""
    name = f"cut-{secrets.token_hex(3)}"
    await make_user(kube, name)
    await gateway.knows(name)
    async with watching(gateway, await gateway.token(name), autoclose=False) as watcher:
        await watcher.until(lambda: watcher.frames)
        await kube.merge(User, Key("", name), {"status": {"state": DISABLED}}, sub="status")
        ended = await watcher.socket.receive(timeout=PATIENCE_S)
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 4401)
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):  # it is not waited for for ever
            for _ in range(5):
                await asyncio.sleep(0.1)
                await watcher.send("pong", ts=0)


async def test_an_expired_token_ends_with_4401(gateway: RunningGateway) -> None:
    token = await gateway.token()
    gateway.clock.ahead_s = 24 * 3600 - 3
    try:
        async with watching(gateway, token) as watcher:
            assert await watcher.code() == 4401
    finally:
        gateway.clock.ahead_s = 0


async def test_long_work_is_fed_to_those_who_may_see_its_objects(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    name, spaces = f"work-{secrets.token_hex(3)}", (tenant.namespaces[0], "edge-system")
    for namespace in spaces:
        meta = ObjectMeta(name=name, namespace=namespace)
        spec = ApplicationDeploymentSpec(application="shop", version="latest")
        await kube.create(ApplicationDeployment(metadata=meta, spec=spec), manager="test")
        status = {"phase": "Progressing", "message": "1 of 3", "workloadCount": 3, "readyWorkloadCount": 1}
        await kube.merge(ApplicationDeployment, Key(namespace, name), {"status": status}, sub="status")
    admin, user = await gateway.token(), await gateway.token(tenant.user)

    async def places(token: str) -> list[str]:
        items = (await gateway.get(OPERATIONS, token=token)).json()["items"]
        return sorted(one["ref"]["namespace"] for one in items if one["ref"]["name"] == name)

    async with watching(gateway, admin) as all_of_it, watching(gateway, user) as part:
        await eventually(lambda: places(admin), sorted(spaces))
        assert await places(user) == [tenant.namespaces[0]]
        models = [await all_of_it.sub({"ops": {}}), await part.sub({"ops": {}})]
        await all_of_it.until(lambda: models[0].names.count(name) == 2)
        await part.until(lambda: models[1].names == [name])
        row = models[1].row(name)
        assert (row["what"], row["state"], row["progress"]) == ("RollOut", "Running", [1, 3])
        for namespace in spaces:
            done = {"status": {"readyWorkloadCount": 2}}
            await kube.merge(ApplicationDeployment, Key(namespace, name), done, sub="status")
        await part.until(lambda: models[1].row(name)["progress"] == [2, 3])
        for namespace in spaces:
            done = {"status": {"phase": "Ready"}}
            await kube.merge(ApplicationDeployment, Key(namespace, name), done, sub="status")
        await part.until(lambda: models[1].names == [])
        await all_of_it.until(lambda: name not in models[0].names)
        await eventually(lambda: places(admin), [])


async def test_nobody_gets_a_socket_without_a_token(gateway: RunningGateway) -> None:
    answer = await gateway.get("/oapis/console.theriseunion.io/v1alpha1/watch")
    assert answer.status == 401


async def test_rows_offer_the_same_actions_as_a_list_and_others_when_rights_change(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    token = await gateway.token(tenant.user)
    path = "/oapis/console.theriseunion.io/v1alpha1/rows"

    async def listed(what: str, token: str) -> dict[str, str]:
        found = (await gateway.get(f"{path}/{what}", token=token)).json()["rows"]
        return {row["n"][0]: row["a"] for row in found if row["n"][0] in tenant.namespaces}

    def watched(model: Model) -> dict[str, str]:
        return {row["n"][0]: row["a"] for row in model.rows.values() if row["n"][0] in tenant.namespaces}

    what = rows("namespaces", group="", version="v1", limit=500)
    async with watching(gateway, token) as part, watching(gateway, await gateway.token()) as all_of_it:
        mine, every = await part.sub(what), await all_of_it.sub(what)
        await part.until(lambda: mine.names)
        await all_of_it.until(lambda: every.names)
        before = watched(mine)
        assert before == await listed("core/v1/namespaces", token)
        assert set(watched(every).values()) == {"gud"}
        extra = Tenant(kube)
        extra.workspace, extra.user, extra.binding = tenant.workspace, tenant.user, f"more-{tenant.binding}"
        await extra.bind("workspace-viewer")
        await tenant.unbind()
        await part.until(lambda: watched(mine) != before)
        await eventually(lambda: listed("core/v1/namespaces", token), watched(mine))
        assert set(watched(mine).values()) == {"g"}
        assert set(watched(every).values()) == {"gud"}
        await extra.unbind()
