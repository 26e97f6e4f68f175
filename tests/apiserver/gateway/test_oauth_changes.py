"""OAuth clients are changed while they are in use: at once, whole or not at all, on every replica (I12)."""

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from tests.support.acting import grant
from tests.support.browser import Browser, Pkce, answered, authorize
from tests.support.gateway import IAM, PATIENCE_S, Answer, RunningGateway, somebody
from tests.support.oauth import code_question, credentials, drop_client, knows_client, make_client
from tests.support.person import Person
from tests.support.sessions import ME

from edge.iam.oauthclients import CODE, CREDENTIALS, REFRESH, SECRET_PREFIX, OAuthClient
from edge.iam.types import GROUP, IAMRole, IAMRoleBinding, PolicyRule
from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.harness import LightCluster
from edge_kube.meta import Key

CLIENTS = f"{IAM}/oauthclients"
OLD, NEW = "https://old.example.com/cb", "https://new.example.com/cb"


def unique() -> str:
    return f"app-{secrets.token_hex(3)}"


async def change(gateway: RunningGateway, id_: str, token: str, **body: Any) -> Answer:
    return await gateway.ask("PATCH", f"{CLIENTS}/{id_}", token=token, json=body)


async def page(gateway: RunningGateway, id_: str, uri: str) -> int:
    return (await gateway.get(authorize(code_question(id_, uri, Pkce())))).status


async def signed_in(gateway: RunningGateway, id_: str, secret: str, user: str) -> dict[str, Any]:
    pkce = Pkce()
    back = await Browser(gateway).sign_in(code_question(id_, OLD, pkce), user)
    form = {
        "grant_type": CODE,
        "code": answered(back, OLD)["code"],
        "code_verifier": pkce.verifier,
        "redirect_uri": OLD,
        "client_id": id_,
        "client_secret": secret,
    }
    return (await gateway.ask("POST", "/oauth/token", data=form)).json()


async def test_a_new_address_counts_on_every_replica_without_a_restart_and_the_old_one_no_more(
    gateway: RunningGateway, gateway_cluster: LightCluster, kube: Client, tmp_path: Path
) -> None:
    id_, person = unique(), Person(gateway, tmp_path, await gateway.token())
    secret = await make_client(
        kube, gateway, OAuthClient(id=id_, redirect_uris=(OLD,), post_logout_uris=(OLD,))
    )
    async with RunningGateway(gateway_cluster.connection) as second:
        await knows_client(second, id_)
        shown = await person.gets("oauth-client", "set", id_, "--redirect-uri", NEW)
        assert [line.split()[0] for line in shown.splitlines()] == ["NAME", id_]
        assert NEW in shown
        assert OLD not in shown.splitlines()[1]
        for one in (gateway, second):
            async with asyncio.timeout(PATIENCE_S):
                while await page(one, id_, NEW) != 200:  # noqa: ASYNC110 - the watch brings it
                    await asyncio.sleep(0.02)
            assert await page(one, id_, OLD) == 400
    form = {"grant_type": REFRESH, "refresh_token": "x", "client_id": id_, "client_secret": secret}
    assert (await gateway.ask("POST", "/oauth/token", data=form)).json()["error"] == "invalid_grant", (
        "its secret"
    )
    more = (
        "--redirect-uri",
        OLD,
        "--redirect-uri",
        NEW,
        "--post-logout-uri",
        "",
        "--token-life",
        "30d",
        "-o",
        "json",
    )
    found = json.loads(await person.gets("oauth-client", "set", id_, *more))
    assert (found["redirectURIs"], found["postLogoutRedirectURIs"]) == ([OLD, NEW], [])
    assert (found["accessTokenLife"], "secret" in found) == ("2592000s", False)
    back = json.loads(await person.gets("oauth-client", "set", id_, "--token-life", "", "-o", "json"))
    assert (back["accessTokenLife"], back["redirectURIs"]) == ("", [OLD, NEW])
    await drop_client(kube, id_)


async def test_the_same_change_again_writes_nothing(gateway: RunningGateway, kube: Client) -> None:
    id_, token = unique(), await gateway.token()
    await make_client(kube, gateway, OAuthClient(id=id_, redirect_uris=(OLD,)))
    versions: list[str] = []
    for _ in range(3):
        assert (await change(gateway, id_, token, redirectURIs=[NEW], grants=[CODE])).status == 200
        versions.append(
            (await kube.get(Secret, SECRET_PREFIX + id_, "edge-system")).metadata.resource_version
        )
    assert len(set(versions)) == 1
    assert (await change(gateway, id_, token)).json()["redirectURIs"] == [NEW]
    await drop_client(kube, id_)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"redirectURIs": ["http://app.example.com/cb"]}, "redirectURIs"),
        ({"redirectURIs": ["https://app.example.com/#x"]}, "redirectURIs"),
        ({"redirectURIs": []}, "redirectURIs"),
        ({"postLogoutRedirectURIs": ["javascript:alert(1)"]}, "postLogoutRedirectURIs"),
        ({"grants": []}, "grants"),
        ({"grants": ["magic"]}, "grants"),
        ({"grants": [CREDENTIALS]}, "user"),
        ({"grants": [CREDENTIALS], "user": "nobody-at-all"}, "user"),
        ({"user": "ada"}, "user"),
        ({"accessTokenLife": "1s"}, "accessTokenLife"),
        ({"accessTokenLife": "soon"}, "accessTokenLife"),
    ],
)
async def test_a_bad_change_is_refused_with_the_field_and_changes_nothing(
    gateway: RunningGateway, kube: Client, body: dict[str, Any], field: str
) -> None:
    id_, token = unique(), await gateway.token()
    await make_client(kube, gateway, OAuthClient(id=id_, redirect_uris=(OLD,)))
    before = (await kube.get(Secret, SECRET_PREFIX + id_, "edge-system")).metadata.resource_version
    answer = await change(gateway, id_, token, **body)
    assert answer.status == 422, answer.body
    assert field in {cause["field"] for cause in answer.json()["details"]["causes"]}
    assert "OAuth client was not changed" in answer.json()["message"]
    after = (await kube.get(Secret, SECRET_PREFIX + id_, "edge-system")).metadata.resource_version
    assert (before, await page(gateway, id_, OLD)) == (after, 200)
    await drop_client(kube, id_)


async def test_what_cannot_be_changed_says_why_and_what_to_do(
    gateway: RunningGateway, kube: Client, tmp_path: Path
) -> None:
    person, token = Person(gateway, tmp_path, await gateway.token()), await gateway.token()
    for words, code, said in (
        (("nobody-at-all", "--redirect-uri", NEW), 1, "edge oauth-client list"),
        (("edge-cli", "--redirect-uri", NEW), 1, "authentication.oauth"),
        (("edge-console", "--grant", CODE), 1, "authentication.oauth"),
        (("anything",), 2, "Say what to change"),
        (("../users/ada", "--user", ""), 2, "path of the request was not understood"),
    ):
        ended, out, err = await person.types("oauth-client", "set", *words)
        assert (ended, out, said in err) == (code, "", True), err
    id_ = unique()
    await make_client(kube, gateway, OAuthClient(id=id_, public=True, redirect_uris=(OLD,)))
    for body in ({"public": False}, {"secretHash": "x"}, {"id": "other"}, {"redirectURIs": "x"}):
        answer = await change(gateway, id_, token, **body)
        assert (answer.status, answer.json()["edge"]["code"]) == (400, "BadBody")
    ended, _, err = await person.types("oauth-client", "set", id_, "--grant", "password")
    assert (ended, "anybody can say that they are a public client" in err) == (2, True)
    await drop_client(kube, id_)


async def test_clients_are_changed_by_who_may_and_act_only_as_whom_their_changer_may_act_as(
    gateway: RunningGateway, kube: Client
) -> None:
    id_, acting, user = unique(), unique(), await somebody(gateway, kube)
    token = await gateway.token(user)
    await make_client(kube, gateway, OAuthClient(id=id_, redirect_uris=(OLD,)))
    client = OAuthClient(id=acting, grants=frozenset({CREDENTIALS}), user="ada")
    secret = await make_client(kube, gateway, client)
    assert (await change(gateway, id_, token, redirectURIs=[NEW])).status == 403
    fresh = await change(gateway, id_, await gateway.token("fresh"), redirectURIs=[NEW])
    assert fresh.json()["edge"]["code"] == "PasswordChangeRequired"
    rule = PolicyRule(verbs=("patch", "get"), api_groups=(GROUP,), resources=("oauthclients",))
    granted_by = await grant(gateway, kube, user, rule)
    await gateway.until(f"{CLIENTS}/{id_}", 200, token=token)
    assert (await change(gateway, id_, token, redirectURIs=[NEW])).status == 200
    for name, body in (
        (id_, {"grants": [CODE, CREDENTIALS], "user": "admin"}),
        (acting, {"user": "admin"}),
        (acting, {"accessTokenLife": "1h"}),
    ):
        refused = await change(gateway, name, token, **body)
        assert (refused.status, "impersonate" in refused.json()["message"]) == (403, True)
    granted = await credentials(gateway, acting, secret)
    assert (await gateway.get(ME, token=granted.json()["access_token"])).json()["user"] == "ada"
    for name in (id_, acting):
        await drop_client(kube, name)
    for made in (IAMRoleBinding, IAMRole):
        await kube.delete(made, granted_by)


async def test_sessions_that_a_client_could_not_get_any_more_end_and_others_go_on(
    gateway: RunningGateway, gateway_cluster: LightCluster, kube: Client
) -> None:
    id_, token, user = unique(), await gateway.token(), await somebody(gateway, kube)
    grants = frozenset({CODE, REFRESH, CREDENTIALS})
    client = OAuthClient(id=id_, grants=grants, redirect_uris=(OLD,), user="ada")
    secret = await make_client(kube, gateway, client)
    async with RunningGateway(gateway_cluster.connection) as second:
        person = (await signed_in(gateway, id_, secret, user))["access_token"]
        acting = (await credentials(gateway, id_, secret)).json()["access_token"]
        for one in (gateway, second):
            for kept in (person, acting):
                await one.until(ME, 200, token=kept)
        assert (await change(gateway, id_, token, user=user)).status == 200
        for one in (gateway, second):
            await one.until(ME, 401, token=acting)
            assert (await one.get(ME, token=person)).status == 200
        acting = (await credentials(gateway, id_, secret)).json()["access_token"]
        assert (await gateway.get(ME, token=acting)).json()["user"] == user
        only = await change(gateway, id_, token, grants=[CREDENTIALS])
        assert only.status == 200, only.body
        for one in (gateway, second):
            await one.until(ME, 401, token=person)
            assert (await one.get(ME, token=acting)).status == 200
    await drop_client(kube, id_)


async def test_a_slip_of_who_writes_by_hand_signs_nobody_out(gateway: RunningGateway, kube: Client) -> None:
    id_, user = unique(), await somebody(gateway, kube)
    secret = await make_client(kube, gateway, OAuthClient(id=id_, redirect_uris=(OLD,)))
    granted = await signed_in(gateway, id_, secret, user)
    key = Key("edge-system", SECRET_PREFIX + id_)
    right = (await kube.get(Secret, key.name, key.namespace)).data
    await kube.merge(Secret, key, {"data": {"grants": "bWFnaWM="}}, manager="test")
    await knows_client(gateway, id_, gone=True)
    assert (await change(gateway, id_, await gateway.token(), redirectURIs=[NEW])).status == 404
    await kube.merge(Secret, key, {"data": dict(right)}, manager="test")
    await knows_client(gateway, id_)
    assert (await gateway.get(ME, token=granted["access_token"])).status == 200
    await drop_client(kube, id_)


async def test_of_changes_at_once_none_undoes_another(
    gateway: RunningGateway, gateway_cluster: LightCluster, kube: Client
) -> None:
    """A new secret and a new address, on two replicas: each knows the other's change too late."""
    id_, token, user = unique(), await gateway.token(), await somebody(gateway, kube)
    client = OAuthClient(id=id_, grants=frozenset({CODE, CREDENTIALS}), redirect_uris=(OLD,), user=user)
    await make_client(kube, gateway, client)
    async with RunningGateway(gateway_cluster.connection) as second:
        await knows_client(second, id_)
        for number in range(5):
            address = f"https://app-{number}.example.com/cb"
            renewed, changed, other = await asyncio.gather(
                gateway.ask("POST", f"{CLIENTS}/{id_}/secret", token=token, json={}),
                change(second, id_, token, redirectURIs=[address]),
                change(gateway, id_, token, accessTokenLife=f"{number + 1}h"),
            )
            assert {renewed.status, changed.status, other.status} == {200}
            shown = (await gateway.get(f"{CLIENTS}/{id_}", token=token)).json()
            assert (await kube.get(Secret, SECRET_PREFIX + id_, "edge-system")).data
            async with asyncio.timeout(PATIENCE_S):
                while shown["redirectURIs"] != [address]:
                    shown = (await gateway.get(f"{CLIENTS}/{id_}", token=token)).json()
            assert shown["accessTokenLife"] == f"{(number + 1) * 3600}s"
            assert (await credentials(gateway, id_, renewed.json()["secret"])).status == 200
    await drop_client(kube, id_)
