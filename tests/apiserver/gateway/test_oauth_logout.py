"""Signing out through a program, and what programs read to find their way (I12; OIDC RP-initiated logout)."""

from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
import pytest_asyncio
from tests.support.browser import Browser, Page, Pkce, answered, authorize
from tests.support.gateway import PASSWORD, USERS, RunningGateway, somebody
from tests.support.oauth import code_question, drop_client, make_client
from tests.support.sessions import MINE

from edge.iam.oauthclients import OAuthClient
from edge_kube.client import Client

APP, BYE = "https://app.example.com/cb", "https://app.example.com/bye"
ME = "/oapis/iam/v1alpha1/me"


@pytest_asyncio.fixture
async def secret(gateway: RunningGateway, kube: Client) -> AsyncIterator[str]:
    client = OAuthClient(id="leaving", redirect_uris=(APP,), post_logout_uris=(BYE,))
    yield await make_client(kube, gateway, client)
    await drop_client(kube, "leaving")


def asked(pkce: Pkce, **more: str) -> dict[str, str]:
    return code_question("leaving", APP, pkce, **({"scope": "openid"} | more))


async def signed_in(browser: Browser, secret: str, name: str = "ada") -> dict[str, Any]:
    pkce = Pkce()
    code = answered(await browser.sign_in(asked(pkce), name), APP)["code"]
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": pkce.verifier}
    who = {"client_id": "leaving", "client_secret": secret, "redirect_uri": APP}
    return (await browser.gateway.ask("POST", "/oauth/token", data=form | who)).json()


def logout(**query: str) -> str:
    return authorize(query).replace("authorize", "logout")


async def test_a_program_signs_its_user_out_here_and_there(gateway: RunningGateway, secret: str) -> None:
    browser = Browser(gateway)
    granted = await signed_in(browser, secret)
    gateway.clock.ahead_s = 48 * 3600  # a hint may have expired
    leave = logout(id_token_hint=granted["id_token"], post_logout_redirect_uri=BYE, state="s\r\nX: 1")
    answer = await browser.open(leave)
    gateway.clock.ahead_s = 0
    assert answered(answer, BYE) == {"state": "s\r\nX: 1"}
    await gateway.until(ME, 401, token=granted["access_token"])
    again = await browser.open(authorize(asked(Pkce(), prompt="none")))
    assert answered(again, APP)["error"] == "login_required"


async def test_a_program_may_send_its_user_by_post_too(gateway: RunningGateway, secret: str) -> None:
    """RP-initiated logout 1.0 §2: both methods. The browser sends no cookie with such a POST."""
    browser = Browser(gateway)
    granted = await signed_in(browser, secret)
    form = {"id_token_hint": granted["id_token"], "post_logout_redirect_uri": BYE, "state": "s&t"}
    begun = await Browser(gateway).send("/oauth/logout", form)
    assert (begun.status, begun.headers["Location"].partition("?")[0]) == (303, "logout")
    assert (await gateway.get(ME, token=granted["access_token"])).status == 200, "nothing has ended yet"
    assert answered(await browser.open(f"/oauth/{begun.headers['Location']}"), BYE) == {"state": "s&t"}
    assert (await gateway.get(ME, token=granted["access_token"])).status == 401


async def test_nobody_is_sent_on_to_an_address_that_is_not_registered_for_it(
    gateway: RunningGateway, secret: str
) -> None:
    browser = Browser(gateway)
    granted = await signed_in(browser, secret)
    hint = granted["id_token"]
    forged = jwt.encode({"sub": "ada", "aud": "leaving", "sid": "x", "exp": 1, "iat": 1}, "k" * 32)
    for query in (
        *({"id_token_hint": hint, "post_logout_redirect_uri": uri} for uri in (
            APP, f"{BYE}/", f"{BYE}?x", f"{BYE}#", "https://evil.example", "//evil.example", "javascript:a()",
        )),
        {"post_logout_redirect_uri": BYE},
        {"post_logout_redirect_uri": BYE, "client_id": "nobody"},
        {"id_token_hint": hint, "client_id": "edge-console", "post_logout_redirect_uri": BYE},
        {"id_token_hint": forged, "post_logout_redirect_uri": BYE},
        {"id_token_hint": granted["access_token"], "post_logout_redirect_uri": BYE},
    ):  # fmt: skip
        answer = await browser.open(logout(**query))
        assert (answer.status, "Location" in answer.headers) == (400, False), query
    assert (await gateway.get(ME, token=granted["access_token"])).status == 200
    still = await browser.open(authorize(asked(Pkce(), prompt="none")))
    assert answered(still, APP)["code"]


async def test_no_page_signs_somebody_out_who_is_not_asked(gateway: RunningGateway, secret: str) -> None:
    """Neither without a hint nor with the hint of an attacker's own."""
    victim, attacker = Browser(gateway), Browser(gateway)
    await signed_in(victim, secret)
    own = (await signed_in(attacker, secret, "admin"))["id_token"]
    for query in ({}, {"client_id": "leaving", "post_logout_redirect_uri": BYE}, {"id_token_hint": own}):
        page = await victim.open(logout(**query))
        assert page.status == 200
        form = Page(page.body.decode())
        assert form.action == "logout/confirm"
        forged = await victim.send("/oauth/logout/confirm", form.fields | {"csrf": "0" * 64})
        assert forged.status == 400
        still = await victim.open(authorize(asked(Pkce(), prompt="none")))
        assert answered(still, APP)["code"]
    page = Page((await victim.open(logout(client_id="leaving", post_logout_redirect_uri=BYE))).body.decode())
    gone = await victim.send("/oauth/logout/confirm", page.fields)
    assert (gone.status, gone.headers["Location"]) == (303, BYE)
    assert "edge-oauth-login" not in victim.cookies
    assert (await victim.open(logout())).status == 200


@pytest.mark.parametrize("how", ["all", "all others", "this one", "its own logout", "the password"])
async def test_who_ends_sessions_ends_the_browsers_sign_in_that_would_give_the_next_one(
    gateway: RunningGateway, kube: Client, secret: str, how: str
) -> None:
    """Whoever sits at that browser gets no session, and no code that is under way, without the password."""
    name = await somebody(gateway, kube)
    browser, pkce = Browser(gateway), Pkce()
    token = (await signed_in(browser, secret, name))["access_token"]
    code = answered(await browser.open(authorize(asked(pkce, prompt="none"))), APP)["code"]
    (one,) = (await gateway.get(MINE, token=token)).json()["items"]
    new = {"currentPassword": PASSWORD, "newPassword": "quite another one"}
    calls: dict[str, tuple[str, str, Any]] = {
        "all": ("DELETE", MINE, None),
        "all others": ("DELETE", f"{MINE}?others=true", None),
        "this one": ("DELETE", f"{MINE}/{one['id']}", None),
        "its own logout": ("POST", "/oauth/logout", None),
        "the password": ("PUT", f"{USERS}/{name}/password", new),
    }
    method, path, body = calls[how]
    assert (await gateway.ask(method, path, token=token, json=body)).status == 200
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": pkce.verifier}
    who = {"client_id": "leaving", "client_secret": secret, "redirect_uri": APP}
    late = await gateway.ask("POST", "/oauth/token", data=form | who)
    assert (late.status, late.json().get("error")) == (400, "invalid_grant")
    again = await browser.open(authorize(asked(Pkce(), prompt="none")))
    assert answered(again, APP).get("error") == "login_required"


async def test_a_program_that_revokes_its_token_signs_nobody_out_elsewhere(
    gateway: RunningGateway, kube: Client, secret: str
) -> None:
    browser = Browser(gateway)
    token = (await signed_in(browser, secret, await somebody(gateway, kube)))["access_token"]
    who = {"client_id": "leaving", "client_secret": secret, "token": token}
    assert (await gateway.ask("POST", "/oauth/revoke", data=who)).status == 200
    assert (await gateway.get(ME, token=token)).status == 401
    assert answered(await browser.open(authorize(asked(Pkce(), prompt="none"))), APP)["code"]


async def test_discovery_names_what_this_server_does(gateway: RunningGateway) -> None:
    first = await gateway.get("/.well-known/openid-configuration")
    assert (await gateway.get("/.well-known/oauth-authorization-server")).body == first.body
    found = first.json()
    assert found["issuer"] == "https://edge.example.com"
    assert found["authorization_endpoint"] == "https://edge.example.com/oauth/authorize"
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["response_types_supported"] == ["code"]
    assert {"authorization_code", "client_credentials", "refresh_token", "password"} == set(
        found["grant_types_supported"]
    )
    header = jwt.get_unverified_header(await gateway.token())
    assert found["id_token_signing_alg_values_supported"] == [header["alg"]]


async def test_userinfo_needs_a_token_of_a_person(gateway: RunningGateway) -> None:
    assert (await gateway.get("/oauth/userinfo")).status == 401
    assert (await gateway.get("/oauth/userinfo", token="nonsense")).status == 401
    token = await gateway.token("ada")
    assert (await gateway.get("/oauth/userinfo", token=token)).json()["sub"] == "ada"
    assert (await gateway.ask("POST", "/kapis/oauth/userinfo", token=token)).json()["groups"] == ["ops"]
