"""Refresh tokens: swapped at each use, one winner, and a copy ends the session (I12, S12)."""

import asyncio
from pathlib import Path

import pytest
from tests.support.gateway import CLIENT, PATIENCE_S, RunningGateway, make_user, somebody
from tests.support.sessions import ME, refresh, replicas, status, tokens

from edge.apiserver.sessions.records import SessionRecords
from edge.audit.folder import Folder
from edge.iam.sessions import SessionRecord, first_refresh_token, session_id
from edge.iam.types import LoginRecord, User
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.meta import Key

DAY_S = 86_400
TWO_CLIENTS = {"authentication.oauth.clients": "edge-console:edge-secret,other:other-secret"}


async def test_a_refresh_gives_new_tokens_and_the_old_one_is_of_no_more_use(gateway: RunningGateway) -> None:
    first = await tokens(gateway)
    answer = await refresh(gateway, first["refresh_token"])
    second = answer.json()
    assert answer.status == 200
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert await status(gateway, second["access_token"]) == 200
    assert await status(gateway, first["access_token"]) == 200, "the session is the same"
    at_once = await refresh(gateway, first["refresh_token"])
    assert (at_once.status, at_once.json()["error"]) == (400, "invalid_grant")
    assert await status(gateway, second["access_token"]) == 200, "an honest client may send it twice"
    assert (await refresh(gateway, second["refresh_token"])).status == 200


async def test_a_token_used_again_later_ends_the_whole_session_and_is_recorded(
    gateway_cluster: LightCluster, kube: Client, tmp_path: Path
) -> None:
    settings = {"audit.folder": str(tmp_path), "audit.refuseAtPercent": "100", "audit.enoughFree": "0",
                "audit.acknowledgeWithin": "10s"}  # fmt: skip
    async with RunningGateway(gateway_cluster.connection, settings) as gateway:
        await make_user(kube, "r-stolen")
        await gateway.knows("r-stolen")
        first = await tokens(gateway, "r-stolen")
        second = (await refresh(gateway, first["refresh_token"])).json()
        gateway.clock.ahead_s = 11
        replay = await refresh(gateway, first["refresh_token"])
        assert (replay.status, replay.json()["error"]) == (400, "invalid_grant")
        for granted in (first, second):
            refused = await gateway.get(ME, token=granted["access_token"])
            assert (refused.status, refused.json()["edge"]["code"]) == (401, "TokenRevoked")
        assert (await refresh(gateway, second["refresh_token"])).status == 400
        third = await tokens(gateway, "r-stolen")
        await gateway.ask("POST", "/oauth/logout", token=third["access_token"])
        async with asyncio.timeout(PATIENCE_S):
            while not (found := await login_records(kube, "r-stolen", "RefreshTokenReused")):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert (found[0].spec.type, found[0].spec.success) == ("Token", False)
    noted = b"".join(path.read_bytes() for path in Folder(tmp_path).path.rglob("*") if path.is_file())
    assert b"RefreshTokenReused" in noted
    assert b"sign-out" in noted


async def login_records(kube: Client, user: str, reason: str) -> list[LoginRecord]:
    found = await kube.list(LoginRecord, labels=f"iam.theriseunion.io/user={user}")
    return [record for record in found if record.spec.reason == reason]


async def test_of_two_replicas_that_get_one_token_at_once_one_wins(gateway_cluster: LightCluster) -> None:
    async with replicas(gateway_cluster.connection, 2) as gateways:
        granted = await tokens(gateways[0])
        for _ in range(5):
            asked = [refresh(gateways[n % 2], granted["refresh_token"]) for n in range(8)]
            answers = await asyncio.gather(*asked)
            won = [answer.json() for answer in answers if answer.status == 200]
            lost = [answer.json()["error"] for answer in answers if answer.status != 200]
            assert (len(won), set(lost)) == (1, {"invalid_grant"})
            granted = won[0]
            for gateway in gateways:
                assert await status(gateway, granted["access_token"]) == 200, "the race ended no session"


async def test_a_refresh_whose_answer_from_the_api_server_was_lost_signs_nobody_out(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write is repeated then, and finds that somebody has changed the record: this very request."""
    granted, write, lost = await tokens(gateway), SessionRecords.write, list[str]()

    async def answered_late(self: SessionRecords, record: SessionRecord, version: str) -> None:
        await write(self, record, version)
        if not lost:
            lost.append(record.id)
            await write(self, record, version)

    monkeypatch.setattr(SessionRecords, "write", answered_late)
    answer = await refresh(gateway, granted["refresh_token"])
    assert (answer.status, len(lost)) == (200, 1), answer.body
    assert await status(gateway, answer.json()["access_token"]) == 200
    assert (await refresh(gateway, answer.json()["refresh_token"])).status == 200


async def test_a_refresh_token_is_of_use_to_its_client_alone(gateway_cluster: LightCluster) -> None:
    async with RunningGateway(gateway_cluster.connection, TWO_CLIENTS) as gateway:
        granted = await tokens(gateway)
        other = {"client_id": "other", "client_secret": "other-secret"}
        answer = await refresh(gateway, granted["refresh_token"], **other)
        assert (answer.status, answer.json()["error"]) == (400, "invalid_grant")
        assert await status(gateway, granted["access_token"]) == 200
        assert (await refresh(gateway, granted["refresh_token"])).status == 200
        unknown = await refresh(gateway, granted["refresh_token"], client_secret="wrong")
        assert (unknown.status, unknown.json()["error"]) == (401, "invalid_client")


async def test_a_session_slides_for_thirty_days_and_lasts_ninety_at_most(gateway: RunningGateway) -> None:
    granted, days = await tokens(gateway), 0
    while days < 89:
        days = min(days + 29, 89)
        gateway.clock.ahead_s = days * DAY_S
        answer = await refresh(gateway, granted["refresh_token"])
        assert answer.status == 200, days
        granted = answer.json()
    assert granted["expires_in"] <= DAY_S
    gateway.clock.ahead_s = 90 * DAY_S + 1
    assert (await refresh(gateway, granted["refresh_token"])).status == 400
    idle = await tokens(gateway)
    gateway.clock.ahead_s += 30 * DAY_S + 1
    assert (await refresh(gateway, idle["refresh_token"])).status == 400


@pytest.mark.parametrize("how", ["disabled", "made again"])
async def test_no_refresh_for_a_user_who_may_not_sign_in(
    gateway: RunningGateway, kube: Client, how: str
) -> None:
    name = f"r-{how.replace(' ', '-')}"
    await make_user(kube, name)
    await gateway.knows(name)
    granted = await tokens(gateway, name)
    if how == "disabled":
        await kube.merge(User, Key("", name), {"status": {"state": "Disabled"}}, sub="status")
    else:
        await kube.delete(User, name)
        await make_user(kube, name)
    await gateway.until(ME, 401, token=granted["access_token"])
    assert (await refresh(gateway, granted["refresh_token"])).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "." * 100, "0" * 32 + "..", "é" * 50, "x" * 5000])
async def test_what_is_no_refresh_token_is_refused_in_the_same_words(
    gateway: RunningGateway, text: str
) -> None:
    answer = await refresh(gateway, text)
    assert (answer.status, answer.json()["error"]) == (400, "invalid_grant")
    access = (await tokens(gateway))["access_token"]
    assert (await refresh(gateway, access)).body == answer.body


async def test_made_up_refresh_tokens_are_slowed_down_and_real_ones_are_not(gateway: RunningGateway) -> None:
    granted = await tokens(gateway)
    tries = [refresh(gateway, str(first_refresh_token(session_id(str(n))))) for n in range(60)]
    answers = await asyncio.gather(*tries)
    assert {answer.status for answer in answers} == {400, 429}
    assert (await refresh(gateway, granted["refresh_token"])).status == 200


async def test_a_refresh_token_lets_nobody_in(gateway: RunningGateway) -> None:
    granted = await tokens(gateway)
    assert await status(gateway, granted["refresh_token"]) == 401


async def introspect(gateway: RunningGateway, token: str, **client: str) -> dict[str, object]:
    answer = await gateway.ask("POST", "/oauth/introspect", data={"token": token, **CLIENT, **client})
    assert answer.status == 200, answer.body
    return answer.json()


async def test_introspection_tells_a_client_whether_a_token_counts(gateway_cluster: LightCluster) -> None:
    async with RunningGateway(gateway_cluster.connection, TWO_CLIENTS) as gateway:
        granted = await tokens(gateway, scope="openid profile")
        found = await introspect(gateway, granted["access_token"])
        assert (found["active"], found["sub"], found["client_id"]) == (True, "admin", "edge-console")
        assert found["scope"] == "openid profile"
        assert (await introspect(gateway, granted["refresh_token"]))["active"] is True
        other = {"client_id": "other", "client_secret": "other-secret"}
        assert await introspect(gateway, granted["refresh_token"], **other) == {"active": False}
        for text in (granted["id_token"], "nonsense", granted["access_token"][:-4] + "AAAA"):
            assert await introspect(gateway, text) == {"active": False}
        unknown = await gateway.ask("POST", "/oauth/introspect", data={"token": granted["access_token"]})
        assert (unknown.status, unknown.json()["error"]) == (401, "invalid_client")
        await gateway.ask("POST", "/oauth/logout", token=granted["access_token"])
        assert await introspect(gateway, granted["access_token"]) == {"active": False}
        assert await introspect(gateway, granted["refresh_token"]) == {"active": False}


async def test_a_token_is_revoked_and_asked_about_on_every_replica_from_its_first_moment(
    gateway_cluster: LightCluster,
) -> None:
    async with replicas(gateway_cluster.connection, 2) as (one, other):
        for number in range(20):
            granted = await tokens(one)
            form = {"token": granted["refresh_token"], **CLIENT}
            if number % 2:
                assert (await introspect(other, granted["refresh_token"]))["active"] is True
            assert (await other.ask("POST", "/oauth/revoke", data=form)).status == 200
            assert (await refresh(one, granted["refresh_token"])).status == 400, "said to be revoked"


async def test_only_scopes_that_mean_something_are_told_as_given(gateway: RunningGateway) -> None:
    """A service that goes by the scope of an introspection must not be led by what was asked for."""
    granted = await tokens(gateway, scope="cluster-admin openid password-change *")
    assert granted["scope"] == "openid"
    assert (await introspect(gateway, granted["access_token"]))["scope"] == "openid"


async def test_introspection_tells_that_a_password_must_be_changed_first(
    gateway: RunningGateway, kube: Client
) -> None:
    """I16."""
    name = await somebody(gateway, kube, must_change=True)
    granted = await tokens(gateway, name, scope="openid profile")
    assert (await introspect(gateway, granted["access_token"]))["scope"] == "password-change"


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_a_client_revokes_its_own_tokens_and_no_others(
    gateway_cluster: LightCluster, which: str
) -> None:
    async with RunningGateway(gateway_cluster.connection, TWO_CLIENTS) as gateway:
        granted = await tokens(gateway)
        form = {"token": granted[which], "token_type_hint": "whatever"}
        other = {"client_id": "other", "client_secret": "other-secret"}
        assert (await gateway.ask("POST", "/oauth/revoke", data={**form, **other})).status == 200
        assert await status(gateway, granted["access_token"]) == 200
        assert (await gateway.ask("POST", "/oauth/revoke", data={**form, **CLIENT})).status == 200
        assert await status(gateway, granted["access_token"]) == 401
        assert (await refresh(gateway, granted["refresh_token"])).status == 400
        assert (await gateway.ask("POST", "/oauth/revoke", data={**form, **CLIENT})).status == 200
        assert (await gateway.ask("POST", "/oauth/revoke", data=CLIENT)).json()["error"] == "invalid_request"
