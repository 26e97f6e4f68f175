"""The public client of the command line: where it is answered, what it may, who is asked (I12; RFC 8252)."""

from typing import Any

import pytest
from tests.support.browser import Browser, Page, Pkce, answered, authorize
from tests.support.gateway import PASSWORD, Answer, RunningGateway, somebody
from tests.support.oauth import code_question, drop_client, make_client
from tests.support.sessions import ME

from edge.iam.oauthclients import CODE, CREDENTIALS, REFRESH, OAuthClient
from edge_kube.client import Client
from edge_kube.harness import LightCluster

CLI = "edge-cli"
BACK = "http://127.0.0.1:41327/callback"
ELSEWHERE = (
    "http://localhost:41327/callback", "http://localhost/callback", "https://127.0.0.1:41327/callback",
    "http://127.0.0.2:41327/callback", "http://127.1:41327/callback", "http://0.0.0.0:41327/callback",
    "http://[::]:41327/callback", "http://[::ffff:127.0.0.1]:41327/callback", "http://127.0.0.1:41327/callback/",
    "http://127.0.0.1:41327/callback?x=1", "http://127.0.0.1:41327/callback#x", "http://127.0.0.1:41327/",
    "http://127.0.0.1:41327/x/../callback", "http://127.0.0.1:0/callback", "http://127.0.0.1:99999/callback",
    "http://127.0.0.1:041327/callback", "http://127.0.0.1:/callback", "http://127.0.0.1:41327@evil.example/callback",
    "http://127.0.0.1.evil.example:41327/callback", "http://evil.example:41327/callback",
    "http://127.0.0.1:41327\\@evil.example/callback", "http://127.0.0.1:41327/callback\r\nX: y",
    "https://edge.example.com/sign-in/callback",
)  # fmt: skip


def asked(pkce: Pkce, uri: str = BACK, client: str = CLI, **more: str) -> dict[str, str]:
    return code_question(client, uri, pkce, **({"state": "s1"} | more))


async def redeem(gateway: RunningGateway, code: str, pkce: Pkce, **form: str) -> Answer:
    fields = {"grant_type": CODE, "code": code, "code_verifier": pkce.verifier, "redirect_uri": BACK}
    return await gateway.ask("POST", "/oauth/token", data=fields | {"client_id": CLI} | form)


async def tokens(gateway: RunningGateway, user: str) -> dict[str, Any]:
    pkce = Pkce()
    code = answered(await Browser(gateway).sign_in(asked(pkce), user), BACK)["code"]
    granted = await redeem(gateway, code, pkce)
    assert granted.status == 200, granted.body
    return granted.json()


@pytest.mark.parametrize(
    "uri", [BACK, "http://127.0.0.1/callback", "http://[::1]:41327/callback", "http://127.0.0.1:1/callback"]
)
async def test_the_command_line_signs_in_at_whatever_port_it_has(gateway: RunningGateway, uri: str) -> None:
    pkce = Pkce()
    back = answered(await Browser(gateway).sign_in(asked(pkce, uri)), uri)
    assert (back["state"], back["iss"]) == ("s1", "https://edge.example.com")
    granted = await redeem(gateway, back["code"], pkce, redirect_uri=uri)
    assert (await gateway.get(ME, token=granted.json()["access_token"])).json()["user"] == "ada"


async def test_the_command_lines_client_is_answered_on_the_persons_machine_and_nowhere_else(
    gateway: RunningGateway,
) -> None:
    """Signed in or not, with a code, an error, or nothing; and no form leads there either."""
    browser = Browser(gateway)
    answered(await browser.sign_in(asked(Pkce())), BACK)
    for uri in ELSEWHERE:
        for more in ({}, {"response_type": "token"}, {"prompt": "none"}):
            answer = await browser.open(authorize(asked(Pkce(), uri, **more)))
            assert (answer.status, "Location" in answer.headers) == (400, False), uri
    page = Page((await browser.open(authorize(asked(Pkce())))).body.decode())
    for uri in ("http://localhost:41327/callback", "http://127.0.0.1:41328/callback"):
        moved = await browser.send(
            "/oauth/authorize", page.fields | {"redirect_uri": uri, "answer": "continue"}
        )
        assert (moved.status, "Location" in moved.headers) == (400, False), uri


async def test_other_clients_keep_their_port_but_on_a_loopback_address(
    gateway: RunningGateway, kube: Client
) -> None:
    uris = ("http://localhost:3000/cb", "https://tool.example.com:8443/cb", "http://127.0.0.1:3000/cb")
    await make_client(kube, gateway, OAuthClient(id="tool", redirect_uris=uris))
    for uri, status in (
        ("http://localhost:3001/cb", 400),
        ("https://tool.example.com:8444/cb", 400),
        ("https://tool.example.com/cb", 400),
        ("http://[::1]:3000/cb", 400),
        ("http://127.0.0.1:3001/cb", 200),
        *((uri, 200) for uri in uris),
    ):
        answer = await gateway.get(authorize(asked(Pkce(), uri, "tool")))
        assert answer.status == status, uri
    await drop_client(kube, "tool")


async def test_a_code_is_worth_nothing_at_another_port_for_another_client_or_without_its_verifier(
    gateway: RunningGateway, kube: Client
) -> None:
    thief = OAuthClient(id="thief", public=True, redirect_uris=("http://127.0.0.1/callback",))
    await make_client(kube, gateway, thief)
    for form in (
        {"redirect_uri": "http://127.0.0.1:41328/callback"},
        {"redirect_uri": "http://127.0.0.1/callback"},
        {"client_id": "thief"},
        {"code_verifier": Pkce().verifier},
    ):
        pkce = Pkce()
        code = answered(await Browser(gateway).sign_in(asked(pkce)), BACK)["code"]
        answer = await redeem(gateway, code, pkce, **form)
        assert (answer.status, answer.json()["error"]) == (400, "invalid_grant"), form
        again = await redeem(gateway, code, pkce)
        assert again.json()["error"] == "invalid_grant", "the try has used it up"
    for left_out in ("code_challenge", "code_challenge_method"):
        query = {key: value for key, value in asked(Pkce()).items() if key != left_out}
        assert answered(await gateway.get(authorize(query)), BACK)["error"] == "invalid_request"
    await drop_client(kube, "thief")


async def test_the_command_lines_client_may_nothing_but_what_people_do_in_their_browser(
    gateway: RunningGateway, kube: Client
) -> None:
    user = await somebody(gateway, kube)
    for grant in ("password", CREDENTIALS):
        form = {"grant_type": grant, "client_id": CLI, "username": user, "password": PASSWORD}
        answer = await gateway.ask("POST", "/oauth/token", data=form)
        assert (answer.status, answer.json()["error"]) == (400, "unauthorized_client")
    granted, other = await tokens(gateway, user), await gateway.token(user)
    for token in (granted["access_token"], granted["refresh_token"], other):
        form = {"token": token, "client_id": CLI}
        answer = await gateway.ask("POST", "/oauth/introspect", data=form)
        assert (answer.status, answer.json()["error"]) == (401, "invalid_client")
    await gateway.ask("POST", "/oauth/revoke", data={"token": other, "client_id": CLI})
    assert (await gateway.get(ME, token=other)).status == 200, "the session of another client"
    refresh = {"grant_type": REFRESH, "refresh_token": granted["refresh_token"], "client_id": CLI}
    with_secret = await gateway.ask("POST", "/oauth/token", data=refresh | {"client_secret": "x"})
    assert (with_secret.status, with_secret.json()["error"]) == (401, "invalid_client")
    admin = await gateway.token()
    path = f"/oapis/iam/v1alpha1/oauthclients/{CLI}"
    assert (await gateway.get(path, token=admin)).json()["configured"]
    for method, at, body in (
        ("PATCH", path, {"grants": ["password"]}), ("DELETE", path, None), ("POST", f"{path}/secret", {}),
    ):  # fmt: skip
        answer = await gateway.ask(method, at, token=admin, json=body)
        assert (answer.status, answer.json()["edge"]["code"]) == (409, "ConfiguredClient")


async def test_its_refresh_tokens_are_swapped_and_a_copy_ends_the_session(
    gateway: RunningGateway, kube: Client
) -> None:
    granted = await tokens(gateway, await somebody(gateway, kube))

    async def refresh(token: str, client: str = CLI) -> Answer:
        form = {"grant_type": REFRESH, "refresh_token": token, "client_id": client}
        secret = {"client_secret": "edge-secret"} if client == "edge-console" else {}
        return await gateway.ask("POST", "/oauth/token", data=form | secret)

    assert (await refresh(granted["refresh_token"], "edge-console")).json()["error"] == "invalid_grant"
    fresh = (await refresh(granted["refresh_token"])).json()
    assert fresh["refresh_token"] != granted["refresh_token"]
    gateway.clock.ahead_s = 60
    assert (await refresh(granted["refresh_token"])).json()["error"] == "invalid_grant"
    await gateway.until(ME, 401, token=fresh["access_token"])
    assert (await refresh(fresh["refresh_token"])).json()["error"] == "invalid_grant"


async def test_who_is_signed_in_is_asked_before_a_program_of_their_machine_acts_for_them(
    gateway: RunningGateway, kube: Client
) -> None:
    """Any page can send a browser here, with a verifier of its own (RFC 8252 §8.6)."""
    user, pkce, browser = await somebody(gateway, kube), Pkce(), Browser(gateway)
    await browser.sign_in(asked(Pkce()), user)
    quiet = answered(await browser.open(authorize(asked(pkce, prompt="none"))), BACK)
    assert (quiet["error"], quiet["state"]) == ("consent_required", "s1")
    answer = await browser.open(authorize(asked(pkce)))
    page = Page(answer.body.decode())
    assert (answer.status, f"Go on as {user}?" in page.text, "script" in page.tags) == (200, True, False)
    policy = answer.headers["Content-Security-Policy"]
    assert "form-action 'self' http://127.0.0.1:41327;" in policy
    assert "frame-ancestors 'none'" in policy
    form = page.fields | {"answer": "continue"}
    for forged in (
        await Browser(gateway).send("/oauth/authorize", form),
        await browser.send("/oauth/authorize", form | {"csrf": "0" * 64}),
        await browser.send("/oauth/authorize", form | {"code_challenge": Pkce().challenge}),
        await browser.send("/oauth/authorize", form, headers={"Sec-Fetch-Site": "cross-site"}),
    ):
        assert (forged.status, "Location" in forged.headers) == (400, False)
    no = answered(await browser.send("/oauth/authorize", form | {"answer": "cancel"}), BACK)
    assert (no["error"], no["state"], "code" in no) == ("access_denied", "s1", False)
    yes = answered(await browser.send("/oauth/authorize", form), BACK)
    granted = await redeem(gateway, yes["code"], pkce)
    assert (await gateway.get(ME, token=granted.json()["access_token"])).json()["user"] == user


async def test_somebody_else_can_sign_in_there_instead_and_a_sign_in_that_is_over_asks_for_the_password(
    gateway: RunningGateway, kube: Client
) -> None:
    browser, other = Browser(gateway), await somebody(gateway, kube)
    await browser.sign_in(asked(Pkce()))
    page = Page((await browser.open(authorize(asked(Pkce())))).body.decode())
    (link,) = page.links
    form = Page((await browser.open(f"/oauth/{link}")).body.decode())
    assert "password" in form.fields
    filled = form.fields | {"username": other, "password": PASSWORD}
    assert answered(await browser.send("/oauth/authorize", filled), BACK)["code"]
    page = Page((await browser.open(authorize(asked(Pkce())))).body.decode())
    assert f"Go on as {other}?" in page.text
    gateway.clock.ahead_s = 9 * 3600
    late = await browser.send("/oauth/authorize", page.fields | {"answer": "continue"})
    assert (late.status, "password" in Page(late.body.decode()).fields) == (200, True)


async def test_an_installation_may_do_without_it(gateway_cluster: LightCluster) -> None:
    settings = {"authentication.oauth.commandLine": "false"}
    async with RunningGateway(gateway_cluster.connection, settings) as gateway:
        answer = await gateway.get(authorize(asked(Pkce())))
        assert (answer.status, "Location" in answer.headers) == (400, False)
        form = {"grant_type": REFRESH, "refresh_token": "x", "client_id": CLI}
        assert (await gateway.ask("POST", "/oauth/token", data=form)).status == 401
