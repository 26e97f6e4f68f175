"""`kubectl --as`: `impersonate` is needed, then the other's rights decide (I6, R13; design §8.1 step 8)."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from tests.support.acting import as_user, ask_as, let_act
from tests.support.gateway import (
    IAM,
    PASSWORD,
    PATIENCE_S,
    USERS,
    Answer,
    KubectlFailed,
    RunningGateway,
    somebody,
)
from tests.support.kubeconfigs import issue, token_of
from tests.support.workspaces import WORKSPACES, Tenant

from edge.iam.heartbeat import HEARTBEAT
from edge.iam.types import IAMRole, IAMRoleBinding, User
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.meta import Key, ObjectMeta

NATIVE = "/apis/scope.theriseunion.io/v1alpha1/workspaces"
NAMESPACES = "/oapis/tenant/v1alpha1/namespaces"


async def test_kubectl_as_somebody_sees_and_may_what_that_user_does(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    helper = await somebody(gateway, kube)
    await let_act(gateway, kube, helper, tenant.user)
    token = await gateway.token(helper)
    with pytest.raises(KubectlFailed, match="cannot list"):
        await gateway.kubectl(token, "get", "workspaces.scope.theriseunion.io")
    listed = await gateway.kubectl(
        token, "get", "workspaces.scope.theriseunion.io", "-o", "name", "--as", tenant.user
    )
    assert listed.split() == [f"workspace.scope.theriseunion.io/{tenant.workspace}"]
    who = json.loads(await gateway.kubectl(token, "auth", "whoami", "-o", "json", "--as", tenant.user))
    assert who["status"]["userInfo"]["username"] == tenant.user
    with pytest.raises(KubectlFailed, match=f'User "{tenant.user}" cannot list resource "pods"'):
        await gateway.kubectl(token, "get", "pods", "-n", "kube-system", "--as", tenant.user)


async def test_an_administrator_gives_up_their_own_rights_with_as(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    admin = await gateway.token()
    assert "yes" in await gateway.kubectl(admin, "auth", "can-i", "get", "nodes")
    said = await gateway.kubectl(admin, "auth", "can-i", "get", "nodes", "--as", tenant.user, check=False)
    assert said.startswith("no") or "\nno" in said
    with pytest.raises(KubectlFailed, match=f'User "{tenant.user}" cannot'):
        await gateway.kubectl(admin, "create", "namespace", "not-made", "--as", tenant.user)
    found = (await ask_as(gateway, tenant.user, NAMESPACES, admin)).json()
    assert sorted(one["metadata"]["name"] for one in found["items"]) == sorted(tenant.namespaces)


async def test_groups_and_administration_are_those_of_the_user_who_is_named(
    gateway: RunningGateway, kube: Client
) -> None:
    helper, boss = await somebody(gateway, kube), await somebody(gateway, kube, admin=True)
    await let_act(gateway, kube, helper, boss, "ada")
    token = await gateway.token(helper)
    for name, groups in (
        (boss, ["edge:platform-admins", "system:authenticated"]),
        ("ada", ["edge:group:ops", "system:authenticated"]),
    ):
        said = json.loads(await gateway.kubectl(token, "auth", "whoami", "-o", "json", "--as", name))
        info = said["status"]["userInfo"]
        assert (info["username"], sorted(info["groups"])) == (name, groups)
    assert "yes" in await gateway.kubectl(token, "auth", "can-i", "get", "nodes", "--as", boss)


async def test_leave_to_act_as_anybody_gives_nobody_more_than_they_hold(
    gateway: RunningGateway, kube: Client
) -> None:
    helper, boss, plain = [await somebody(gateway, kube, admin=one) for one in (False, True, False)]
    await let_act(gateway, kube, helper)
    token = await gateway.token(helper)
    refused = await ask_as(gateway, boss, USERS, token)
    assert (refused.status, refused.json()["edge"]["code"]) == (403, "CannotActAs")
    assert "resourceNames" in refused.json()["message"]
    assert (await ask_as(gateway, plain, f"{IAM}/me", token)).json()["user"] == plain
    await let_act(gateway, kube, boss)
    assert (await ask_as(gateway, plain, f"{IAM}/me", await gateway.token(boss))).status == 200


async def test_a_member_is_told_the_user_who_is_named(
    gateway: RunningGateway, east: LightCluster, tenant: Tenant
) -> None:
    asked = ("auth", "whoami", "-o", "json", "--as", tenant.user)
    said = json.loads(await gateway.kubectl(await gateway.token(), *asked, path="/clusters/east"))
    assert said["status"]["userInfo"]["username"] == tenant.user


async def test_who_acts_gets_exactly_what_the_other_gets(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    """The answers of a granted `--as` are those that the user gets; without the grant there are none."""
    helper, stranger = await somebody(gateway, kube), await somebody(gateway, kube)
    await let_act(gateway, kube, helper, tenant.user)
    own, granted, other = [await gateway.token(name) for name in (tenant.user, helper, stranger)]
    mine = tenant.namespaces[0]
    for path in (
        *(WORKSPACES, f"{WORKSPACES}/{tenant.workspace}", NATIVE, NAMESPACES, USERS, "/api/v1/nodes"),
        *(f"/api/v1/namespaces/{mine}/secrets", "/api/v1/namespaces/kube-system/pods", "/nowhere"),
        *(f"{IAM}/me/scopes", f"{IAM}/me/access?scope=workspace/{tenant.workspace}", "/apis", "/version"),
    ):
        expected = await gateway.get(path, token=own)
        answer = await ask_as(gateway, tenant.user, path, granted)
        assert answer.status == expected.status, path
        if expected.status == 200:
            assert _said(answer) == _said(expected), path
        refused = await ask_as(gateway, tenant.user, path, other)
        assert (refused.status, "cannot impersonate" in refused.json()["message"]) == (403, True), path


def _said(answer: Answer) -> Any:
    """Without the version of the whole collection, which moves with everybody's objects."""
    said = answer.json()
    if "items" in said and "metadata" in said:
        said["metadata"].pop("resourceVersion", None)
    return said


async def test_nobody_acts_as_anybody_without_the_right_and_learns_nothing_of_who_exists(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    await tenant.bind_at("namespace", tenant.namespaces[0], "namespace-admin", f"more-{tenant.binding}")
    token = await gateway.token(tenant.user)
    said = set[str]()
    for name in ("admin", "ada", tenant.user, "nobody-of-that-name"):
        refused = await ask_as(gateway, name, "/api", token)
        assert refused.status == 403
        said.add(refused.json()["message"].replace(f'"{name}"', "X"))
    with pytest.raises(KubectlFailed) as failed:
        await gateway.kubectl(token, "get", "--raw", "/api/v1/nodes", "--as", "admin")
    sentence = f'User "{tenant.user}" cannot impersonate resource "users" "admin" in API group "" at platform'
    assert sentence in str(failed.value)
    assert len({text.replace(f'"{tenant.user}"', "X") for text in said}) == 1, said


async def test_a_right_at_another_scope_or_to_another_user_is_none(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    helper = await somebody(gateway, kube)
    token = await gateway.token(helper)
    place = {"iam.theriseunion.io/scope": "workspace", "iam.theriseunion.io/scope-value": tenant.workspace}
    await let_act(gateway, kube, helper, tenant.user, at=place)
    await let_act(gateway, kube, helper, "ada")
    assert (await ask_as(gateway, tenant.user, "/api", token)).status == 403
    assert (await ask_as(gateway, "ada", "/api", token)).status == 200


async def test_names_of_the_system_service_accounts_and_who_is_no_enabled_user_are_nobody(
    gateway: RunningGateway, kube: Client
) -> None:
    token, name = await gateway.token(), await somebody(gateway, kube)
    off = {"status": {"state": "Disabled", "reason": "left"}}
    await kube.merge(User, Key("", name), off, sub="status")
    await gateway.knows(name, state="Disabled")
    for other, why in (
        ("system:admin", "name of the system"), ("system:serviceaccount:default:default", "service account"),
        ("no-such-user", "no such user"), (name, "Disabled"), (HEARTBEAT, "no such user"),
    ):  # fmt: skip
        refused = await ask_as(gateway, other, "/api", token)
        assert (refused.status, why in refused.body.decode()) == (403, True), refused.body


@pytest.mark.parametrize(
    "headers",
    [
        ["--as-group=system:masters"], ["--as-group=ops"], ["--as-uid=1"],
        ["--as-user-extra=scopes=all"],
    ],
)  # fmt: skip
async def test_groups_uids_and_extras_are_refused_and_not_left_out(
    gateway: RunningGateway, headers: list[str]
) -> None:
    with pytest.raises(KubectlFailed, match="follow from the User object"):
        await gateway.kubectl(await gateway.token(), "get", "--raw", "/api/v1/nodes", "--as=ada", *headers)


async def test_what_signs_in_is_everybodys_own(gateway: RunningGateway, kube: Client) -> None:
    """No password, session, kubeconfig or client is shown, made, changed or ended in another's name."""
    helper, boss = await somebody(gateway, kube), await somebody(gateway, kube, admin=True)
    await let_act(gateway, kube, helper, boss)
    token = await gateway.token(helper)
    change = {"currentPassword": PASSWORD, "newPassword": "An0ther-P@88w0rd"}
    for method, path, body in (
        ("PUT", f"{USERS}/{boss}/password", change), ("PUT", f"{USERS}/ada/password", change),
        ("POST", f"{USERS}/{boss}/password", change), ("POST", f"{IAM}/me/kubeconfigs", {}),
        ("GET", f"{IAM}/me/kubeconfigs", None), ("DELETE", f"{USERS}/{boss}/kubeconfigs", None),
        ("GET", f"{IAM}/me/sessions", None), ("DELETE", f"{IAM}/me/sessions", None),
        ("DELETE", f"{USERS}/{boss}/sessions", None), ("POST", "/kapis/iam/v1alpha1/oauthclients", {}),
        ("POST", "/oauth/logout", None), ("POST", "/oauth/token", None), ("GET", "/oauth/userinfo", None),
    ):  # fmt: skip
        answer = await ask_as(gateway, boss, path, token, method, json=body)
        assert answer.status == 403, (path, answer.body)
        assert answer.json()["edge"]["code"] == "NotAsSomebodyElse", path
    assert (await gateway.get(f"{IAM}/me", token=token)).status == 200
    assert (await gateway.sign_in(boss)).status == 200
    me = (await ask_as(gateway, boss, f"{IAM}/me", token)).json()
    assert me["user"] == boss


async def test_a_kubeconfig_acts_in_its_own_cluster_alone(gateway: RunningGateway, tenant: Tenant) -> None:
    token = token_of(await issue(gateway, await gateway.token()))
    who = json.loads(await gateway.kubectl(token, "auth", "whoami", "-o", "json", "--as", tenant.user))
    assert who["status"]["userInfo"]["username"] == tenant.user
    elsewhere = await ask_as(gateway, tenant.user, WORKSPACES, token)
    assert (elsewhere.status, elsewhere.json()["edge"]["code"]) == (403, "KubeconfigElsewhere")


async def test_a_console_session_acts_like_a_token(gateway: RunningGateway, tenant: Tenant) -> None:
    form = {"grant_type": "password", "username": "admin", "password": PASSWORD, "client_id": "edge-console"}
    form["client_secret"] = "edge-secret"
    answer = await gateway.ask("POST", "/oauth/token", data=form, headers={"X-Edge-Session": "cookie"})
    assert answer.status == 200
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    me = await gateway.get(f"{IAM}/me", headers={"Cookie": cookie, **as_user(tenant.user)})
    assert (me.status, me.json()["user"]) == (200, tenant.user)


async def test_a_password_that_must_be_changed_stops_the_one_and_limits_the_other(
    gateway: RunningGateway, kube: Client
) -> None:
    late = await somebody(gateway, kube, admin=True, must_change=True)
    stopped = await ask_as(gateway, "ada", "/api", await gateway.token(late))
    assert (stopped.status, stopped.json()["edge"]["code"]) == (403, "PasswordChangeRequired")
    admin = await gateway.token()
    assert (await ask_as(gateway, late, USERS, admin)).status == 200
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "late-"}}
    path = "/api/v1/namespaces/default/configmaps"
    refused = await ask_as(gateway, late, path, admin, "POST", json=body)
    assert (refused.status, refused.json()["edge"]["code"]) == (403, "PasswordChangeRequired")


@pytest.mark.parametrize("gone", ["right to act", "session", "user", "right of the user"])
async def test_a_watch_ends_when_the_right_to_act_the_session_or_the_users_own_right_goes(
    gateway: RunningGateway, kube: Client, tenant: Tenant, gone: str
) -> None:
    helper = await somebody(gateway, kube)
    grant = await let_act(gateway, kube, helper, tenant.user)
    token = await gateway.token(helper)
    headers = {"Authorization": f"Bearer {token}", **as_user(tenant.user)}
    async with gateway.session.get(f"{gateway.url}{NATIVE}?watch=1", headers=headers) as response:
        assert response.status == 200
        if gone == "right to act":
            await kube.delete(IAMRoleBinding, grant)
        elif gone == "session":
            assert (await gateway.ask("POST", "/oauth/logout", token=token)).status == 200
        elif gone == "user":
            await kube.merge(User, Key("", tenant.user), {"status": {"state": "Disabled"}}, sub="status")
        else:
            await tenant.unbind()
        await asyncio.wait_for(_end_of(response), PATIENCE_S)
    answer = await ask_as(gateway, tenant.user, NATIVE, token)
    assert answer.status == (401 if gone == "session" else 403)


async def _end_of(response: aiohttp.ClientResponse) -> None:
    with suppress(aiohttp.ClientError):
        while await response.content.readany():
            pass


async def test_even_a_read_waits_for_proof_that_rights_are_new(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    token, headers = await gateway.token(), as_user(tenant.user)
    role = await kube.get(IAMRole, HEARTBEAT)
    await kube.delete(IAMRole, HEARTBEAT)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (answer := await gateway.get("/api", token=token, headers=headers)).status == 200:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert (answer.status, answer.json()["edge"]["code"]) == (503, "AuthorizationStale")
        assert (await gateway.get("/api", token=token)).status == 200, "others read on"
    finally:
        meta = ObjectMeta(name=HEARTBEAT, labels=role.metadata.labels)
        await kube.create(IAMRole(metadata=meta), manager="test")
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.get("/api", token=token, headers=headers)).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_limits_count_who_acts_and_not_the_user_who_is_named(
    gateway_cluster: LightCluster, kube: Client
) -> None:
    limits = {"rateLimit.userQps": "1", "rateLimit.userBurst": "5", "rateLimit.maxDelay": "1ms"}
    async with RunningGateway(gateway_cluster.connection) as patient:
        helper, other = await somebody(patient, kube), await somebody(patient, kube)
        await let_act(patient, kube, helper, other)
    async with RunningGateway(gateway_cluster.connection, limits) as gateway:
        token, own = await gateway.token(helper), await gateway.token(other)
        asked = [ask_as(gateway, other, "/api", token) for _ in range(30)]
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200, 429}
        asked = [gateway.get("/api", token=own) for _ in range(5)]
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}, "none of these was taken"
