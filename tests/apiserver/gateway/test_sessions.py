"""Sessions: listed, ended, and cut off everywhere at once, streams included (I12, I13, S7)."""

import asyncio
import json
from typing import Any

import pytest
from tests.support.gateway import IAM, PASSWORD, PATIENCE_S, USERS, Answer, RunningGateway, make_user
from tests.support.sessions import ME, MINE, refresh, replicas, status, tokens, watching

from edge.apiserver.sessions.records import SessionRecords
from edge.iam.accounts import USER_LABEL
from edge.iam.passwords import hash_password
from edge.iam.sessions import SECRET_PREFIX, SECRET_TYPE, SessionRecord, session_id
from edge.iam.types import User
from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.harness import LightCluster
from edge_kube.meta import Key


async def person(gateway: RunningGateway, kube: Client, name: str, *, admin: bool = False) -> str:
    await make_user(kube, name, admin=admin)
    await gateway.knows(name, admin=admin)
    return name


async def ids(gateway: RunningGateway, token: str, path: str = MINE) -> set[str]:
    return {one["id"] for one in (await gateway.get(path, token=token)).json()["items"]}


async def test_each_sign_in_is_a_session_that_says_where_and_when(
    gateway: RunningGateway, kube: Client
) -> None:
    name = await person(gateway, kube, "s-lists")
    first = await gateway.sign_in(name)
    second = (await tokens(gateway, name))["access_token"]
    items = (await gateway.get(MINE, token=second)).json()["items"]
    assert len(items) == 2
    assert [one["current"] for one in items] in ([True, False], [False, True])
    current = next(one for one in items if one["current"])
    assert (current["client"], current["provider"], current["address"]) == (
        "edge-console",
        "local",
        "127.0.0.1",
    )
    assert "Python" in current["userAgent"]
    assert current["opened"] <= current["lastSeen"] < current["expires"]
    one = await gateway.get(f"{MINE}/{current['id']}", token=second)
    assert one.json()["id"] == current["id"]
    assert (await gateway.get(f"{MINE}/{'0' * 32}", token=second)).status == 404
    secrets = await kube.list(Secret, "edge-system", labels=f"{USER_LABEL}={name}")
    assert {secret.type for secret in secrets} == {SECRET_TYPE}
    held = str([dict(secret.data) for secret in secrets])
    for text in (second, first.json()["refresh_token"]):
        assert text not in held


async def test_one_session_is_ended_and_the_others_go_on(gateway: RunningGateway, kube: Client) -> None:
    name = await person(gateway, kube, "s-one")
    stays, goes = await tokens(gateway, name), await tokens(gateway, name)
    items = (await gateway.get(MINE, token=goes["access_token"])).json()["items"]
    id_ = next(one["id"] for one in items if one["current"])
    answer = await gateway.ask("DELETE", f"{MINE}/{id_}", token=stays["access_token"])
    assert (answer.status, [one["id"] for one in answer.json()["items"]]) == (200, [id_])
    refused = await gateway.get(ME, token=goes["access_token"])
    assert (refused.status, refused.json()["edge"]["code"]) == (401, "TokenRevoked")
    assert (await refresh(gateway, goes["refresh_token"])).json()["error"] == "invalid_grant"
    assert await status(gateway, stays["access_token"]) == 200
    assert (await gateway.ask("DELETE", f"{MINE}/{id_}", token=stays["access_token"])).status == 404


async def test_all_others_or_all_are_ended(gateway: RunningGateway, kube: Client) -> None:
    name = await person(gateway, kube, "s-all")
    others = [(await tokens(gateway, name))["access_token"] for _ in range(3)]
    mine = (await tokens(gateway, name))["access_token"]
    answer = await gateway.ask("DELETE", f"{MINE}?others=true", token=mine)
    assert (answer.status, len(answer.json()["items"])) == (200, 3)
    assert [await status(gateway, token) for token in (*others, mine)] == [401, 401, 401, 200]
    assert (await gateway.ask("DELETE", MINE, token=mine)).status == 200
    assert await status(gateway, mine) == 401


async def test_sessions_of_others_need_the_right_to_them(gateway: RunningGateway, kube: Client) -> None:
    name = await person(gateway, kube, "s-other")
    theirs = (await tokens(gateway, name))["access_token"]
    path = f"{USERS}/{name}/sessions"
    plain, admin = await gateway.token("ada"), await gateway.token()
    for method in ("GET", "DELETE"):
        refused = await gateway.ask(method, path, token=plain)
        assert (refused.status, "users/sessions" in refused.json()["message"]) == (403, True)
    assert await status(gateway, theirs) == 200
    (id_,) = await ids(gateway, admin, path)
    # One's own path does not reach those of somebody else.
    assert (await gateway.ask("DELETE", f"{MINE}/{id_}", token=plain)).status == 404
    assert (await gateway.ask("POST", path, token=admin, json={})).status == 405
    assert (await gateway.ask("DELETE", f"{path}/{id_}", token=admin)).status == 200
    assert await status(gateway, theirs) == 401


ENDINGS = ("session ended", "record removed by kubectl", "disabled", "deleted", "new password", "logout")


async def end(how: str, gateway: RunningGateway, kube: Client, name: str, granted: dict[str, str]) -> None:
    if how == "session ended":
        admin = await gateway.token()
        assert (await gateway.ask("DELETE", f"{USERS}/{name}/sessions", token=admin)).status == 200
    elif how == "record removed by kubectl":
        (secret,) = await kube.list(Secret, "edge-system", labels=f"{USER_LABEL}={name}")
        await kube.delete(Secret, secret.metadata.name, "edge-system")
    elif how == "disabled":
        await kube.merge(User, Key("", name), {"status": {"state": "Disabled"}}, sub="status")
    elif how == "deleted":
        await kube.delete(User, name)
    elif how == "new password":
        hashed = hash_password("another", cost=4)
        await kube.merge(User, Key("", name), {"spec": {"encryptedPassword": hashed}})
    else:
        await gateway.ask("POST", "/oauth/logout", token=granted["access_token"])


@pytest.mark.parametrize("how", ENDINGS)
async def test_whoever_is_cut_off_is_so_on_three_replicas_an_open_watch_included(
    gateway_cluster: LightCluster, kube: Client, how: str
) -> None:
    name = f"s-cut-{ENDINGS.index(how)}"
    async with replicas(gateway_cluster.connection, 3) as gateways:
        await person(gateways[0], kube, name, admin=True)
        for other in gateways[1:]:
            await other.knows(name, admin=True)
        granted = await tokens(gateways[0], name)
        for gateway in gateways:
            assert await status(gateway, granted["access_token"]) == 200
        async with watching(gateways, granted["access_token"]) as watches:
            await end(how, gateways[0], kube, name, granted)
            for gateway in gateways:
                await gateway.until(ME, 401, token=granted["access_token"], within_s=PATIENCE_S)
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*watches)
        for gateway in gateways:
            assert (await refresh(gateway, granted["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_session_is_known_on_every_replica_from_its_first_moment(
    gateway_cluster: LightCluster,
) -> None:
    async with replicas(gateway_cluster.connection, 2) as (one, other):
        for _ in range(10):
            token = await one.token()
            assert await status(other, token) == 200, "asked at once, before a watch may have told"


async def test_who_changes_the_password_stays_signed_in_and_all_other_sessions_end(
    gateway_cluster: LightCluster, kube: Client
) -> None:
    async with replicas(gateway_cluster.connection, 2) as (one, other):
        name = await person(one, kube, "s-password")
        await other.knows(name)
        mine, elsewhere = await tokens(one, name), await tokens(other, name)
        body = {"currentPassword": PASSWORD, "newPassword": "a new one for all"}
        changed = await one.ask("PUT", f"{USERS}/{name}/password", token=mine["access_token"], json=body)
        assert changed.status == 200, changed.body
        for gateway in (one, other):
            await gateway.until(ME, 401, token=elsewhere["access_token"], within_s=PATIENCE_S)
            await gateway.until(ME, 200, token=mine["access_token"], within_s=PATIENCE_S)
        assert (await refresh(other, elsewhere["refresh_token"])).status == 400
        assert (await refresh(one, mine["refresh_token"])).status == 200
        assert len((await one.get(MINE, token=mine["access_token"])).json()["items"]) == 1


async def test_a_change_of_the_password_that_fails_in_between_signs_nobody_out(
    gateway: RunningGateway, kube: Client
) -> None:
    """The session was told of a password that never was stored; then of another one."""
    name = await person(gateway, kube, "s-halfway")
    token = (await tokens(gateway, name))["access_token"]
    (record,) = gateway.server.sessions.of(name)
    stored = (await kube.get(User, name)).spec.encrypted_password
    for never in ("never stored", "never stored either"):
        await gateway.server.sessions.outlive(record.sid, stored, hash_password(never, cost=4))
        assert await status(gateway, token) == 200
    body = {"currentPassword": PASSWORD, "newPassword": "stored at last"}
    changed = await gateway.ask("PUT", f"{USERS}/{name}/password", token=token, json=body)
    assert (changed.status, await status(gateway, token)) == (200, 200)


async def test_a_session_with_a_password_that_must_change_says_so_until_it_is_changed(
    gateway: RunningGateway, kube: Client
) -> None:
    name = "s-restricted"
    await make_user(kube, name, must_change=True)
    await gateway.knows(name)
    granted = await tokens(gateway, name, scope="openid")
    assert (granted["scope"], "id_token" in granted) == ("password-change", False)
    granted = (await refresh(gateway, granted["refresh_token"])).json()
    assert granted["scope"] == "password-change"
    token, body = granted["access_token"], {"currentPassword": PASSWORD, "newPassword": "better than that"}
    assert (await gateway.ask("PUT", f"{USERS}/{name}/password", token=token, json=body)).status == 200
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.get(ME, token=token)).json().get("mustChangePassword") is not False:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    granted = (await refresh(gateway, granted["refresh_token"])).json()
    assert (granted["scope"], "id_token" in granted) == ("openid", True)


async def test_the_last_use_is_noted_now_and_then_and_not_at_each_request(
    gateway: RunningGateway, kube: Client
) -> None:
    name = await person(gateway, kube, "s-seen")
    token, keeper = (await tokens(gateway, name))["access_token"], gateway.server.sessions.keeper
    assert await status(gateway, token) == 200
    assert await keeper.note_used() == 0, "it was seen less than a minute ago"
    gateway.clock.ahead_s = 90
    assert await status(gateway, token) == 200
    assert await keeper.note_used() >= 1
    (record,) = gateway.server.sessions.of(name)
    assert record.seen_s - record.opened_s >= 89
    assert await keeper.note_used() == 0


async def test_noting_the_last_use_undoes_no_refresh_that_came_in_between(
    gateway: RunningGateway, kube: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old refresh token would count again, and the new one would pass for a copy and end the session."""
    name = await person(gateway, kube, "s-noted")
    granted = {session_of(one): one for one in [await tokens(gateway, name) for _ in range(2)]}
    gateway.clock.ahead_s = 90
    for one in granted.values():
        assert await status(gateway, one["access_token"]) == 200
    write, begun, answers = SessionRecords.write, list[str](), list[Answer]()

    async def slowly(self: SessionRecords, record: SessionRecord, version: str) -> None:
        if not begun:  # the other one is refreshed while this one is being written
            begun.append(record.id)
            (other,) = granted.keys() - {record.id}
            answers.append(await refresh(gateway, granted[other]["refresh_token"]))
        await write(self, record, version)

    monkeypatch.setattr(SessionRecords, "write", slowly)
    await gateway.server.sessions.keeper.note_used()
    (answer,) = answers
    assert answer.status == 200
    new = answer.json()["refresh_token"]
    assert (await refresh(gateway, new)).status == 200, "the new token is the one that counts"
    assert len(gateway.server.sessions.of(name)) == 2


def session_of(granted: dict[str, Any]) -> str:
    return str(granted["refresh_token"]).partition(".")[0]


async def test_sessions_that_are_over_are_swept_and_others_stay(
    gateway: RunningGateway, kube: Client
) -> None:
    name = await person(gateway, kube, "s-sweep")
    over = (await tokens(gateway, name))["access_token"]
    (id_,) = await ids(gateway, over)
    gateway.clock.ahead_s = 29 * 86_400
    fresh = (await tokens(gateway, name))["access_token"]
    gateway.clock.ahead_s = 30 * 86_400 + 31
    assert await gateway.server.sessions.keeper.sweep() >= 1
    assert await kube.find(Secret, SECRET_PREFIX + id_, "edge-system") is None
    gateway.clock.ahead_s = 29 * 86_400
    assert await status(gateway, fresh) == 200


async def test_a_user_with_too_many_sessions_loses_the_one_unused_for_longest(
    gateway_cluster: LightCluster, kube: Client
) -> None:
    settings = {"authentication.session.perUser": "3"}
    async with RunningGateway(gateway_cluster.connection, settings) as gateway:
        name = await person(gateway, kube, "s-many")
        first, second, third = [(await tokens(gateway, name))["access_token"] for _ in range(3)]
        gateway.clock.ahead_s = 5
        assert await status(gateway, first) == 200
        fourth = (await tokens(gateway, name))["access_token"]
        assert [await status(gateway, one) for one in (first, second, third, fourth)].count(401) == 1
        assert (await status(gateway, first), await status(gateway, fourth)) == (200, 200)


async def test_a_session_that_nobody_can_read_lets_nobody_in(gateway: RunningGateway, kube: Client) -> None:
    name = await person(gateway, kube, "s-broken")
    token = (await tokens(gateway, name))["access_token"]
    (id_,) = await ids(gateway, token)
    await kube.merge(Secret, Key("edge-system", SECRET_PREFIX + id_), {"data": {"session": "e30="}})
    await gateway.until(ME, 401, token=token)


async def test_a_session_survives_a_restart_of_the_gateway(gateway_cluster: LightCluster) -> None:
    async with RunningGateway(gateway_cluster.connection) as before:
        granted = await tokens(before)
    async with RunningGateway(gateway_cluster.connection) as after:
        assert await status(after, granted["access_token"]) == 200
        assert (await refresh(after, granted["refresh_token"])).status == 200


async def test_a_kubeconfig_is_no_session_and_makes_none(gateway: RunningGateway) -> None:
    token = await gateway.token()
    made = await gateway.ask(
        "POST", f"{IAM}/me/kubeconfigs", token=token, json={}, headers={"Accept": "application/json"}
    )
    held = json.loads(made.body)["users"][0]["user"]["token"]
    assert (await gateway.get("/api", token=held)).status == 200
    assert (await gateway.get(MINE, token=held)).status == 403
    assert await status(gateway, token) == 200


def test_an_id_is_no_sid() -> None:
    assert session_id("a") != session_id(session_id("a"))
