"""Signing in (I12, I14, I16): the printed curl, wrong passwords, tokens that die, forced changes."""

import asyncio
import json
import secrets
from typing import Any

import jwt
import pytest
from aiohttp import web
from tests.support.acting import grant
from tests.support.gateway import (
    PASSWORD,
    PATIENCE_S,
    QUICK_HASH,
    USERS,
    RunningGateway,
    make_user,
    somebody,
)

from edge.apiserver.signin import routes as signin
from edge.iam.federated import Identity, new_user
from edge.iam.passwords import DUMMY_HASH, hash_password, password_matches
from edge.iam.types import GROUP, LoginRecord, PolicyRule, User
from edge_kube.client import Client
from edge_kube.errors import ConnectionFailed, NotFound
from edge_kube.errors import Invalid as Refused
from edge_kube.harness import LightCluster
from edge_kube.harness.proxy import FaultProxy
from edge_kube.meta import Key

ME = "/oapis/iam/v1alpha1/me"
USER_LABEL = "iam.theriseunion.io/user"


async def curl(url: str, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "curl", "-s", *arguments, url, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out.decode()


async def test_the_printed_curl_gives_a_token_that_lists_users(gateway: RunningGateway) -> None:
    client = "client_id=edge-console&client_secret=edge-secret"
    form = f"grant_type=password&username=admin&password=P@88w0rd&{client}"
    answer = json.loads(await curl(f"{gateway.url}/oauth/token", "-X", "POST", "-d", form))
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 86400)
    header = f"Authorization: Bearer {answer['access_token']}"
    found = json.loads(await curl(f"{gateway.url}{USERS}", "-H", header))
    assert found["kind"] == "UserList"
    assert {"admin", "ada"} <= {item["metadata"]["name"] for item in found["items"]}


async def test_oauth_answers_below_kapis_too_and_takes_basic_client_authentication(
    gateway: RunningGateway,
) -> None:
    fields = {"grant_type": "password", "username": "admin", "password": PASSWORD}
    basic = {"Authorization": "Basic ZWRnZS1jb25zb2xlOmVkZ2Utc2VjcmV0"}
    assert (await gateway.ask("POST", "/kapis/oauth/token", data=fields, headers=basic)).status == 200


async def test_wrong_password_unknown_and_disabled_user_get_one_answer(
    gateway: RunningGateway, kube: Client
) -> None:
    await make_user(kube, "gone")
    await kube.merge(User, Key("", "gone"), {"status": {"state": "Disabled"}}, sub="status")
    await gateway.knows("gone", state="Disabled")
    answers = [
        await gateway.sign_in("admin", "wrong"),
        await gateway.sign_in("nobody", PASSWORD),
        await gateway.sign_in("gone", PASSWORD),
        await gateway.sign_in("admin", "x" * 73),
    ]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].json()["error"] == "invalid_grant"


async def test_an_unknown_user_costs_as_much_hashing_as_a_known_one(
    gateway: RunningGateway, kube: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, int]] = []

    def noted(plain: str, stored: str, cost: int) -> bool:
        compared.append((stored, cost))
        return password_matches(plain, stored, cost)

    monkeypatch.setattr(signin, "password_matches", noted)
    name = f"costly-{secrets.token_hex(3)}"
    await make_user(kube, name, password_hash=hash_password(PASSWORD, cost=11))
    await gateway.knows(name)
    compared.clear()
    for one in ("admin", name, "nobody-at-all"):
        assert (await gateway.sign_in(one, "wrong")).status == 401
    (quick, costly, nobody) = compared
    assert (quick[0], nobody[0]) == (QUICK_HASH, DUMMY_HASH)
    assert quick[1] == costly[1] == nobody[1] >= 11, "what a mismatch costs, whoever it is about"
    await kube.delete(User, name)  # or every wrong password of later tests costs as much


async def test_bad_forms_are_told_apart(gateway: RunningGateway) -> None:
    assert (await gateway.sign_in(client_secret="wrong")).json()["error"] == "invalid_client"
    assert (await gateway.sign_in(grant_type="magic")).json()["error"] == "unsupported_grant_type"
    assert (await gateway.sign_in(password="")).json()["error"] == "invalid_request"
    broken = await gateway.sign_in(client_id="edge-\nconsole")
    assert (broken.status, "line break" in broken.json()["error_description"]) == (400, True)


async def test_only_a_client_is_asked_for_its_own_secret(gateway: RunningGateway) -> None:
    """RFC 6749 §5.2. A browser that is asked for Basic opens a window over the console's own page."""
    wrong = await gateway.sign_in(password="wrong")
    assert (wrong.status, wrong.headers["WWW-Authenticate"].split()[0]) == (401, "Bearer")
    client = await gateway.sign_in(client_secret="wrong")
    assert (client.status, client.headers["WWW-Authenticate"].split()[0]) == (401, "Basic")


async def test_every_attempt_leaves_a_record(gateway: RunningGateway, kube: Client) -> None:
    before = {record.metadata.name for record in await kube.list(LoginRecord)}
    await gateway.sign_in("admin")
    await gateway.sign_in("admin", "wrong")
    await gateway.sign_in("a password typed into the wrong box", "x")
    by_reason: dict[str, LoginRecord] = {}
    async with asyncio.timeout(PATIENCE_S):
        # Records are written behind the answers: one of an earlier test may still come in between.
        while not {"Succeeded", "WrongPassword", "UnknownUser"} <= by_reason.keys():
            await asyncio.sleep(0.05)
            found = [one for one in await kube.list(LoginRecord) if one.metadata.name not in before]
            of_admin = [one for one in found if one.metadata.labels.get(USER_LABEL, "admin") == "admin"]
            by_reason = {record.spec.reason: record for record in of_admin}
    assert by_reason["Succeeded"].metadata.labels[USER_LABEL] == "admin"
    assert by_reason["WrongPassword"].spec.success is False
    assert by_reason["WrongPassword"].spec.source_ip == "127.0.0.1"
    assert "typed" not in str(by_reason["UnknownUser"])


async def test_expired_and_forged_tokens_are_401(gateway: RunningGateway) -> None:
    token = await gateway.token()
    assert (await gateway.get(USERS, token=token)).status == 200
    head, claims, signature = token.split(".")
    other = jwt.encode({"sub": "admin"}, "k" * 32, algorithm="HS256")
    for forged in (f"{head}.{claims}.{signature[:-4]}AAAA", other, "nonsense", f"{head}.{claims}."):
        answer = await gateway.get(USERS, token=forged)
        assert answer.status == 401
        assert answer.json()["reason"] == "Unauthorized"
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="edge-platform", error="invalid_token"'
    assert (await gateway.get(USERS)).headers["WWW-Authenticate"] == 'Bearer realm="edge-platform"'
    gateway.clock.ahead_s = 25 * 3600
    expired = await gateway.get(USERS, token=token)
    assert (expired.status, expired.json()["edge"]["code"]) == (401, "TokenExpired")


async def test_a_token_dies_with_its_user_its_state_and_its_password(
    gateway: RunningGateway, kube: Client
) -> None:
    for name, kill in {
        "leaver": lambda: kube.delete(User, "leaver"),
        "locked": lambda: kube.merge(
            User, Key("", "locked"), {"status": {"state": "Disabled"}}, sub="status"
        ),
        "changer": lambda: kube.merge(
            User, Key("", "changer"), {"spec": {"encryptedPassword": hash_password("another", cost=4)}}
        ),
    }.items():
        await make_user(kube, name)
        await gateway.knows(name)
        token = await gateway.token(name)
        assert (await gateway.get(ME, token=token)).status == 200
        await kill()
        await gateway.until(ME, 401, token=token)


async def test_a_password_that_must_change_lets_read_and_change_it_and_nothing_else(
    gateway: RunningGateway, kube: Client
) -> None:
    name = await somebody(gateway, kube, admin=True, must_change=True)
    signed_in = await gateway.sign_in(name)
    assert signed_in.json()["scope"] == "password-change"
    token = signed_in.json()["access_token"]
    assert (await gateway.get(USERS, token=token)).status == 200
    assert (await gateway.get(ME, token=token)).json()["mustChangePassword"] is True
    refused = await gateway.ask("POST", "/api/v1/namespaces", token=token, json={"metadata": {"name": "x"}})
    assert (refused.status, refused.json()["edge"]["code"]) == (403, "PasswordChangeRequired")

    path = f"{USERS}/{name}/password"
    wrong = await gateway.ask("PUT", path, token=token, json={"currentPassword": "no", "newPassword": "n"})
    assert wrong.status == 401
    same = await gateway.ask(
        "PUT", path, token=token, json={"currentPassword": PASSWORD, "newPassword": PASSWORD}
    )
    assert same.status == 422
    elsewhere = await gateway.token(name)
    body = {"currentPassword": PASSWORD, "newPassword": "better than that"}
    assert (await gateway.ask("PUT", path, token=token, json=body)).status == 200
    await gateway.until(USERS, 401, token=elsewhere)  # other sessions died with the password
    made = await gateway.ask("POST", f"{USERS}", token=token, json={"metadata": {"name": "x"}})
    assert made.status != 403, "the session that changed it goes on, without the restriction"
    fresh = await gateway.sign_in(name, "better than that")
    assert "scope" not in fresh.json()


async def test_a_new_password_counts_once_the_change_is_answered(
    gateway_cluster: LightCluster, kube: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late the watch brings it: a sign-in with it would count as a wrong guess."""

    def watches_users(request: web.BaseRequest) -> bool:
        return request.path.endswith("/users") and "watch" in request.query

    async with FaultProxy(gateway_cluster.connection) as proxy, RunningGateway(proxy.connection) as gateway:
        name, merge = await somebody(gateway, kube), Client.merge

        async def told_late(self: Client, cls: Any, key: Key, patch: Any, **options: Any) -> Any:
            if "encryptedPassword" in patch.get("spec", {}):
                proxy.stall(watches_users)
                asyncio.get_running_loop().call_later(1.0, proxy.resume)
            return await merge(self, cls, key, patch, **options)

        monkeypatch.setattr(Client, "merge", told_late)
        body = {"currentPassword": PASSWORD, "newPassword": "better than that"}
        token, path = await gateway.token(name), f"{USERS}/{name}/password"
        assert (await gateway.ask("PUT", path, token=token, json=body)).status == 200
        assert (await gateway.sign_in(name, "better than that")).status == 200


async def test_nobody_sets_a_password_of_somebody_else_without_the_right(gateway: RunningGateway) -> None:
    token = await gateway.token("ada")
    answer = await gateway.ask("PUT", f"{USERS}/admin/password", token=token, json={"newPassword": "mine"})
    assert answer.status == 403


async def test_who_manages_users_sets_no_password_of_somebody_who_holds_more(
    gateway: RunningGateway, kube: Client
) -> None:
    """I2: whoever knows the password of an administrator is one."""
    manager, boss, plain = [await somebody(gateway, kube, admin=one) for one in (False, True, False)]
    rule = PolicyRule(verbs=("*",), api_groups=(GROUP,), resources=("users", "users/password"))
    await grant(gateway, kube, manager, rule)
    token, new = await gateway.token(manager), {"newPassword": "better than that"}
    refused = await gateway.ask("PUT", f"{USERS}/{boss}/password", token=token, json=new)
    assert (refused.status, "whoever knows it is that user" in refused.json()["message"]) == (403, True)
    assert (await gateway.sign_in(boss)).status == 200
    assert (await gateway.ask("PUT", f"{USERS}/{plain}/password", token=token, json=new)).status == 200


async def test_who_signs_in_at_a_directory_gets_no_password_here(
    gateway: RunningGateway, kube: Client
) -> None:
    """It would outlive their account there. Admission refuses it too; here the way out is told."""
    name = f"directory-{secrets.token_hex(3)}"
    identity = Identity(provider="ldap", issuer="dc=example", subject=name, name=name)
    await kube.create(new_user(identity, name, ()), manager="test")
    await gateway.knows(name)
    body = {"newPassword": "set by an administrator"}
    answer = await gateway.ask("PUT", f"{USERS}/{name}/password", token=await gateway.token(), json=body)
    assert (answer.status, answer.json()["edge"]["code"]) == (409, "UserOfADirectory")
    assert "ldap" in answer.json()["message"]
    assert (await kube.get(User, name)).spec.encrypted_password == ""


async def test_a_password_that_the_api_server_does_not_take_is_no_mistake_of_the_gateway(
    gateway: RunningGateway, kube: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, merge = await somebody(gateway, kube), Client.merge

    async def refusing(self: Client, cls: Any, key: Key, patch: Any, **options: Any) -> Any:
        if "encryptedPassword" in patch.get("spec", {}):
            raise said[0]
        return await merge(self, cls, key, patch, **options)

    monkeypatch.setattr(Client, "merge", refusing)
    for error, expected in (
        (ConnectionFailed("the connection broke"), (503, "PasswordNotStored")),
        (Refused(422, "Invalid", "it is among the leaked ones"), (422, "InvalidPassword")),
        (NotFound(404, "NotFound", "no such user"), (404, "NotFound")),
    ):
        said = [error]
        token = await gateway.token(name)
        body = {"currentPassword": PASSWORD, "newPassword": "another one"}
        answer = await gateway.ask("PUT", f"{USERS}/{name}/password", token=token, json=body)
        assert (answer.status, answer.json()["edge"]["code"]) == expected, answer.body
    assert (await gateway.sign_in(name)).status == 200


async def test_a_long_password_is_refused_with_its_length(gateway: RunningGateway) -> None:
    token = await gateway.token("ada")
    body = {"currentPassword": PASSWORD, "newPassword": "x" * 80}
    answer = await gateway.ask("PUT", f"{USERS}/ada/password", token=token, json=body)
    assert answer.status == 422
    assert "yours: 80" in answer.json()["message"]
