"""People who leave a directory, or a group of it, against a real slapd (I12, I13; decision 024)."""

import asyncio
import base64
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from tests.support import slapd as support
from tests.support.browser import Browser, Pkce, answered, authorize
from tests.support.gateway import CLIENT, RunningGateway, somebody
from tests.support.kubeconfigs import issue, token_of
from tests.support.oauth import CONSOLE, code_question
from tests.support.relay import Relay
from tests.support.sessions import ME, refresh, sessions_of, status, tokens, watching
from tests.support.slapd import BASE, Slapd, group, person, slapd

from edge.apiserver.configuration.federation import LdapSettings
from edge.apiserver.federation import directory as directory_module
from edge.apiserver.federation.directory import Directory
from edge.apiserver.federation.wire import DirectoryDown
from edge.iam.federated import IDENTITY_ANNOTATION
from edge.iam.firstadmin import admin_binding
from edge.iam.types import IAMRoleBinding, LoginRecord, User
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import free_port
from edge_kube.meta import Key
from edge_sdk.secret import Secret

HOUR_S = 3600
NOT_LOCKED = "(&(objectClass=person)(!(employeeType=locked)))"
API = "/api"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine slapd is not down because it is slow: that would be no answer, and nobody gone."""
    monkeypatch.setattr(directory_module, "TIMEOUT_S", 90.0)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with slapd(tmp_path_factory.mktemp("slapd")) as up:
        yield up


@pytest_asyncio.fixture
async def with_ldap(gateway_cluster: LightCluster, directory: Slapd) -> AsyncIterator[RunningGateway]:
    flags = directory.settings(userFilter=NOT_LOCKED)
    async with RunningGateway(gateway_cluster.connection, flags) as running:
        yield running


@pytest.fixture
def who(directory: Slapd) -> str:
    """Somebody of the directory whom no other test knows."""
    name = f"leaver-{secrets.token_hex(3)}"
    directory.add(person(name))
    return name


def settings(directory: Slapd, **more: object) -> LdapSettings:
    fields: dict[str, object] = {
        "enabled": True,
        "host": "127.0.0.1",
        "port": directory.port,
        "base_dn": BASE,
        "bind_dn": support.SEARCHER,
        "bind_password": Secret(support.SEARCHER_PASSWORD),
        "certificate_authority": directory.ca,
    }
    return LdapSettings(**{**fields, **more})  # pyright: ignore[reportArgumentType]


async def signed_in(gateway: RunningGateway, name: str) -> dict[str, Any]:
    return await tokens(gateway, name, password=support.PASSWORD)


async def record_of(kube: Client, user: str, reason: str) -> LoginRecord:
    """The LoginRecord of a user with that reason, once it is written."""
    async with asyncio.timeout(30):
        while True:
            records = await kube.list(LoginRecord, labels=f"iam.theriseunion.io/user={user}")
            found = [one for one in records if one.spec.reason == reason]
            if found:
                return found[0]
            await asyncio.sleep(0.05)


async def test_groups_follow_at_a_refresh_as_at_a_sign_in(
    with_ldap: RunningGateway, directory: Slapd, kube: Client, who: str
) -> None:
    directory.add(group(f"old-{who}", who, "kay"), group(f"new-{who}", who, "kay"))
    granted, key = await signed_in(with_ldap, who), Key("", f"ldap-{who}")
    given = (await kube.get(User, key.name)).spec.groups
    await kube.merge(User, key, {"spec": {"groups": ["ops", *given]}})
    directory.change(
        f"dn: cn=old-{who},ou=groups,{BASE}\nchangetype: modify\ndelete: member\n"
        f"member: uid={who},ou=people,{BASE}\n\n"
    )
    assert (await refresh(with_ldap, granted["refresh_token"])).status == 200
    assert (await kube.get(User, key.name)).spec.groups == ("ops", f"ldap:new-{who}")


@pytest_asyncio.fixture
async def everything(
    with_ldap: RunningGateway, kube: Client, who: str
) -> AsyncIterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Two sessions of somebody who may see the platform: an administrator for as long as the test runs."""
    granted = await signed_in(with_ldap, who), await signed_in(with_ldap, who)
    binding = await kube.create(admin_binding(f"ldap-{who}"), manager="test")
    await with_ldap.knows(f"ldap-{who}", admin=True)
    yield granted
    await kube.delete(IAMRoleBinding, binding.metadata.name)


async def test_who_is_gone_is_refused_at_a_refresh_and_loses_everything(
    with_ldap: RunningGateway,
    directory: Slapd,
    kube: Client,
    who: str,
    everything: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """All sessions, open watches, browsers' sign-ins and kubeconfigs; and a record says why."""
    granted, other = everything
    browser, asked = Browser(with_ldap), code_question(CLIENT["client_id"], CONSOLE, Pkce(), state="s1")
    assert answered(await browser.sign_in(asked, who, support.PASSWORD), CONSOLE)["code"]
    kubeconfig = token_of(await issue(with_ldap, granted["access_token"]))
    assert (await with_ldap.get(API, token=kubeconfig)).status == 200
    async with watching([with_ldap], other["access_token"]) as (watch,):
        directory.remove(who)
        answer = await refresh(with_ldap, granted["refresh_token"])
        assert (answer.status, answer.json()["error"]) == (400, "invalid_grant")
        assert "directory does not let you in" in answer.json()["error_description"]
        await asyncio.wait_for(watch, 30)
    for token in (granted["access_token"], other["access_token"]):
        assert await status(with_ldap, token) == 401
    assert (await with_ldap.get(API, token=kubeconfig)).status == 401
    again = await browser.open(authorize({**asked, "prompt": "none"}))
    assert answered(again, CONSOLE)["error"] == "login_required"
    assert await sessions_of(with_ldap, f"ldap-{who}") == []
    noted = (await record_of(kube, f"ldap-{who}", "GoneFromDirectory")).spec
    assert (noted.provider, noted.success, noted.type, noted.source_ip) == (
        "ldap", False, "Token", "127.0.0.1",
    )  # fmt: skip
    assert (await with_ldap.sign_in(who, support.PASSWORD)).status == 401


async def test_who_is_locked_in_a_way_that_the_filter_tells_loses_a_browsers_cookies(
    with_ldap: RunningGateway, directory: Slapd, who: str
) -> None:
    """And comes back when the lock is taken off."""
    cookies, mode = Browser(with_ldap), {"X-Edge-Session": "cookie", "X-Edge-CSRF": "1"}
    form = {"grant_type": "password", "username": who, "password": support.PASSWORD, **CLIENT}
    again = {"grant_type": "refresh_token", **CLIENT}
    assert (await cookies.send("/oauth/token", form, headers=mode)).status == 200
    assert (await cookies.send("/oauth/token", again, headers=mode)).status == 200
    entry = f"dn: uid={who},ou=people,{BASE}\nchangetype: modify\n"
    directory.change(f"{entry}add: employeeType\nemployeeType: locked\n\n")
    refused = await cookies.send("/oauth/token", again, headers=mode)
    assert (refused.status, refused.json()["error"]) == (400, "invalid_grant")
    assert (await cookies.open(ME)).status == 401
    directory.change(f"{entry}delete: employeeType\n\n")
    assert await signed_in(with_ldap, who)


async def test_a_directory_that_is_down_is_believed_for_a_while_and_ends_nothing(
    gateway_cluster: LightCluster, directory: Slapd, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I13: allowed within `grace` of its last word, then refused for the time being; kubeconfigs go on."""
    monkeypatch.setattr(directory_module, "REST_S", 0.0)
    async with Relay(directory.port) as relay:
        flags = directory.settings(port=str(relay.port), grace="48h")
        async with RunningGateway(gateway_cluster.connection, flags) as gateway:
            granted = await signed_in(gateway, who)
            kubeconfig = token_of(await issue(gateway, granted["access_token"], ttl="200h"))
            gateway.clock.ahead_s = 40 * HOUR_S
            asked = (await refresh(gateway, granted["refresh_token"])).json()
            relay.target = free_port()
            gateway.clock.ahead_s = 87 * HOUR_S
            within = await refresh(gateway, asked["refresh_token"])
            assert within.status == 200, "the word of 47 hours ago counts"
            gateway.clock.ahead_s = 89 * HOUR_S
            late = await refresh(gateway, within.json()["refresh_token"])
            assert (late.status, late.json()["error"]) == (503, "temporarily_unavailable")
            assert "directory does not answer" in late.json()["error_description"]
            assert (await gateway.get(API, token=kubeconfig)).status == 200
            relay.target = directory.port
            back = await refresh(gateway, within.json()["refresh_token"])
            assert back.status == 200, "the same token, once the directory is back"
            assert await status(gateway, back.json()["access_token"]) == 200


async def test_a_directory_that_hangs_holds_up_nobody_else_and_a_refresh_for_a_bounded_time(
    gateway_cluster: LightCluster, directory: Slapd, kube: Client, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "REST_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with Relay(directory.port) as relay:
            flags = directory.settings(port=str(relay.port))
            async with RunningGateway(gateway_cluster.connection, flags) as gateway:
                granted, name = await signed_in(gateway, who), await somebody(gateway, kube)
                local = await tokens(gateway, name)
                relay.target, before = silent.getsockname()[1], relay.opened
                asked = asyncio.create_task(refresh(gateway, granted["refresh_token"]))
                async with asyncio.timeout(30):
                    while relay.opened == before:  # noqa: ASYNC110 - the gateway asks
                        await asyncio.sleep(0.02)
                assert (await refresh(gateway, local["refresh_token"])).status == 200
                assert not asked.done(), "others go on while it waits"
                relay.cut()
                answer = await asked
                assert answer.status == 200, "no answer is not a no"
                monkeypatch.setattr(directory_module, "TIMEOUT_S", 0.2)
                async with asyncio.timeout(60):
                    assert (await refresh(gateway, answer.json()["refresh_token"])).status == 200


async def test_who_has_nothing_but_a_kubeconfig_is_asked_about_now_and_then(
    gateway_cluster: LightCluster, directory: Slapd, kube: Client, who: str
) -> None:
    """Of one who left it ends, and another's stays."""
    stays = f"stayer-{secrets.token_hex(3)}"
    directory.add(person(stays))
    flags = directory.settings(checkEvery="1s")
    async with RunningGateway(gateway_cluster.connection, flags) as gateway:
        tokens_of = dict[str, str]()
        for name in (who, stays):
            granted = await signed_in(gateway, name)
            tokens_of[name] = token_of(await issue(gateway, granted["access_token"]))
            await gateway.ask("POST", "/oauth/logout", token=granted["access_token"])
        directory.remove(who)
        await gateway.until(API, 401, token=tokens_of[who], within_s=60)
        noted = (await record_of(kube, f"ldap-{who}", "GoneFromDirectory")).spec
        assert (noted.provider, noted.success, noted.source_ip) == ("ldap", False, "")
        assert (await gateway.get(API, token=tokens_of[stays])).status == 200


async def test_a_user_whose_link_was_taken_away_is_not_whom_the_directory_vouched_for(
    with_ldap: RunningGateway, kube: Client, who: str
) -> None:
    granted, key = await signed_in(with_ldap, who), Key("", f"ldap-{who}")
    await kube.merge(User, key, {"metadata": {"annotations": {IDENTITY_ANNOTATION: None}}})
    async with asyncio.timeout(30):
        while (answer := await refresh(with_ldap, granted["refresh_token"])).status == 200:
            granted = answer.json()
    assert (answer.status, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    "blind", [{"user_filter": "(objectClass=device)"}, {"bind_dn": "", "bind_password": Secret("")}]
)
async def test_of_a_directory_that_shows_no_people_nobody_is_said_to_be_gone(
    directory: Slapd, blind: dict[str, object]
) -> None:
    """An account that lost its rights would end everybody's sessions at once."""
    found = await Directory(settings(directory)).identify("noether", support.PASSWORD)
    assert found is not None
    with pytest.raises(DirectoryDown):
        await Directory(settings(directory, **blind)).find_again(found.subject)


@pytest.mark.parametrize("attribute", ["entryUUID", "binaryID", "dn"])
async def test_people_are_found_again_by_any_kind_of_id(directory: Slapd, who: str, attribute: str) -> None:
    """binaryID: as objectGUID of Active Directory; dn: for directories that have nothing better."""
    directory.change(
        f"dn: uid={who},ou=people,{BASE}\nchangetype: modify\nadd: objectClass\nobjectClass: hasBinaryID\n-\n"
        f"add: binaryID\nbinaryID:: {base64.b64encode(bytes.fromhex('ff00') + who.encode()).decode()}\n\n"
    )
    there = Directory(settings(directory, id_attribute=attribute))
    found = await there.identify(who, support.PASSWORD)
    assert found is not None
    assert await there.find_again(found.subject) == found
    directory.remove(who)
    assert await there.find_again(found.subject) is None
