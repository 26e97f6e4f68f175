"""The code flow: sign-in page, code, tokens (I12); RFC 6749 §4.1, RFC 7636 and the OAuth security BCP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
import pytest_asyncio
from authlib.integrations.requests_client import OAuth2Session
from tests.support.browser import Browser, Page, Pkce, answered, authorize
from tests.support.gateway import PASSWORD, Answer, RunningGateway
from tests.support.oauth import WIKI, code_question, drop_client, make_client

from edge.iam.oauthclients import CODE, REFRESH, OAuthClient
from edge_kube.client import Client
from edge_kube.harness import LightCluster

ME = "/oapis/iam/v1alpha1/me"
PHONE = "com.example.phone:/signed-in"


@pytest_asyncio.fixture
async def wiki(gateway: RunningGateway, kube: Client) -> AsyncIterator[str]:
    """The secret of the confidential client "wiki"."""
    yield await make_client(kube, gateway, OAuthClient(id="wiki", redirect_uris=(WIKI,)))
    await drop_client(kube, "wiki")


@pytest_asyncio.fixture
async def phone(gateway: RunningGateway, kube: Client) -> AsyncIterator[str]:
    """The id of a public client."""
    client = OAuthClient(id="phone", public=True, grants=frozenset({CODE, REFRESH}), redirect_uris=(PHONE,))
    await make_client(kube, gateway, client)
    yield client.id
    await drop_client(kube, "phone")


def asked(client: str, uri: str, pkce: Pkce, **more: str) -> dict[str, str]:
    return code_question(client, uri, pkce, **({"state": "s1"} | more))


async def redeem(gateway: RunningGateway, code: str, pkce: Pkce, **form: str) -> Answer:
    fields = {"grant_type": CODE, "code": code, "code_verifier": pkce.verifier, **form}
    return await gateway.ask(
        "POST", "/oauth/token", data={key: value for key, value in fields.items() if value}
    )


async def test_a_program_with_a_real_oauth_library_signs_somebody_in(
    gateway: RunningGateway, wiki: str
) -> None:
    """authlib does the program's part: PKCE, state, exchange, and a call with the token."""
    library = OAuth2Session(
        "wiki", wiki, scope="openid profile", redirect_uri=WIKI, code_challenge_method="S256"
    )
    pkce = Pkce()
    url, state = library.create_authorization_url(
        f"{gateway.url}/oauth/authorize", code_verifier=pkce.verifier, nonce="n-0S6"
    )
    browser = Browser(gateway)
    page = await browser.open(url.removeprefix(gateway.url))
    assert page.status == 200
    form = Page(page.body.decode()).fields | {"username": "ada", "password": PASSWORD}
    back = await browser.send("/oauth/authorize", form)
    answer = answered(back, WIKI)
    assert (answer["from"], answer["state"], answer["iss"]) == ("edge", state, "https://edge.example.com")

    def exchange() -> dict[str, Any]:
        return library.fetch_token(
            f"{gateway.url}/oauth/token",
            authorization_response=back.headers["Location"],
            state=state,
            code_verifier=pkce.verifier,
        )

    token = await asyncio.to_thread(exchange)
    assert token["token_type"] == "Bearer"
    id_token = jwt.decode(token["id_token"], options={"verify_signature": False})
    assert (id_token["iss"], id_token["aud"]) == ("https://edge.example.com", "wiki")
    assert (id_token["sub"], id_token["nonce"]) == ("ada", "n-0S6")
    assert (await gateway.get(ME, token=token["id_token"])).status == 401, "an ID token opens nothing"
    assert (await gateway.get(ME, token=token["access_token"])).json()["user"] == "ada"

    def who() -> dict[str, Any]:
        return library.request("GET", f"{gateway.url}/oauth/userinfo").json()  # pyright: ignore[reportAttributeAccessIssue]

    assert await asyncio.to_thread(who) == {"sub": "ada", "preferred_username": "ada", "groups": ["ops"]}


async def test_the_sign_in_page_needs_no_script_is_labelled_and_cannot_be_framed(
    gateway: RunningGateway, wiki: str
) -> None:
    answer = await gateway.get(authorize(asked("wiki", WIKI, Pkce(), state="<script>\"'")))
    page = Page(answer.body.decode())
    assert "script" not in page.tags
    assert "<script>" not in page.text
    assert page.labelled == {"username", "password"} <= page.ids
    assert "http" not in "".join(page.links)
    assert '<html lang="en">' in page.text
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://wiki.example.com;" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "HttpOnly" in answer.headers["Set-Cookie"]


async def test_a_public_client_signs_in_without_a_secret_and_is_refused_with_one(
    gateway: RunningGateway, phone: str
) -> None:
    pkce = Pkce()
    browser = Browser(gateway)
    code = answered(await browser.sign_in(asked(phone, PHONE, pkce)), PHONE)["code"]
    with_secret = await redeem(gateway, code, pkce, client_id=phone, redirect_uri=PHONE, client_secret="x")
    assert (with_secret.status, with_secret.json()["error"]) == (401, "invalid_client")
    granted = await redeem(gateway, code, pkce, client_id=phone, redirect_uri=PHONE)
    assert granted.status == 200, granted.body
    assert (await gateway.get(ME, token=granted.json()["access_token"])).json()["user"] == "ada"


async def test_who_signed_in_in_this_browser_is_not_asked_again_unless_the_program_wants_it(
    gateway: RunningGateway, wiki: str, phone: str
) -> None:
    browser, pkce = Browser(gateway), Pkce()
    nobody = answered(await browser.open(authorize(asked("wiki", WIKI, pkce, prompt="none"))), WIKI)
    assert (nobody["error"], nobody["state"]) == ("login_required", "s1")
    await browser.sign_in(asked("wiki", WIKI, pkce))
    quiet = await browser.open(authorize(asked("wiki", WIKI, pkce, prompt="none")))
    assert answered(quiet, WIKI)["code"]
    # Anybody can say that they are a public client, and take its scheme: the person is asked (RFC 8252 §8.6).
    loud = await browser.open(authorize(asked(phone, PHONE, pkce, prompt="none")))
    assert answered(loud, PHONE)["error"] == "consent_required"
    assert (await browser.open(authorize(asked("wiki", WIKI, pkce, prompt="login")))).status == 200
    gateway.clock.ahead_s = 120
    assert (await browser.open(authorize(asked("wiki", WIKI, pkce, max_age="60")))).status == 200
    gateway.clock.ahead_s = 9 * 3600
    assert (await browser.open(authorize(asked("wiki", WIKI, pkce)))).status == 200


async def test_an_id_token_tells_when_the_password_was_given_and_not_when_the_code_was(
    gateway: RunningGateway, wiki: str
) -> None:
    """OIDC core §2, auth_time: a program that asked for max_age decides by it; §12.2: a refresh keeps it."""
    browser, pkce = Browser(gateway), Pkce()
    who = {"client_id": "wiki", "client_secret": wiki}
    before_s = gateway.clock.now_s()
    await browser.sign_in(asked("wiki", WIKI, pkce))
    gateway.clock.ahead_s = 3600
    quiet = await browser.open(authorize(asked("wiki", WIKI, pkce, prompt="none", scope="openid")))
    code = answered(quiet, WIKI)["code"]
    granted = (await redeem(gateway, code, pkce, redirect_uri=WIKI, **who)).json()
    assert auth_time(granted) - before_s < 600
    form = {"grant_type": REFRESH, "refresh_token": granted["refresh_token"], **who}
    refreshed = (await gateway.ask("POST", "/oauth/token", data=form)).json()
    assert auth_time(refreshed) == auth_time(granted)


def auth_time(granted: dict[str, Any]) -> int:
    return jwt.decode(granted["id_token"], options={"verify_signature": False})["auth_time"]


async def test_a_program_may_ask_by_post_too(gateway: RunningGateway, wiki: str) -> None:
    """OIDC core §3.1.2.1: both methods."""
    browser, pkce = Browser(gateway), Pkce()
    page = await browser.send("/oauth/authorize", asked("wiki", WIKI, pkce))
    assert page.status == 200
    form = Page(page.body.decode()).fields | {"username": "ada", "password": PASSWORD}
    assert answered(await browser.send("/oauth/authorize", form), WIKI)["code"]
    known = await browser.send("/oauth/authorize", asked("wiki", WIKI, pkce, prompt="none"))
    assert answered(known, WIKI)["code"]
    wrong = await browser.send("/oauth/authorize", asked("wiki", WIKI, pkce, response_type="token"))
    assert answered(wrong, WIKI)["error"] == "unsupported_response_type"
    nowhere = await browser.send("/oauth/authorize", asked("wiki", "https://evil.example", pkce))
    assert (nowhere.status, "Location" in nowhere.headers) == (400, False)


async def test_a_wrong_password_stays_on_the_page_and_keeps_what_was_asked(
    gateway: RunningGateway, wiki: str
) -> None:
    browser, pkce = Browser(gateway), Pkce()
    page = await browser.sign_in(asked("wiki", WIKI, pkce), password="wrong")
    assert page.status == 403
    found = Page(page.body.decode())
    assert 'role="alert"' in found.text
    assert found.fields["username"] == "ada"
    assert "wrong" not in found.fields.values()
    again = await browser.send("/oauth/authorize", found.fields | {"password": PASSWORD})
    assert answered(again, WIKI)["state"] == "s1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"code_challenge": ""}, "PKCE"),
        ({"code_challenge_method": "plain"}, "S256"),
        ({"code_challenge_method": ""}, "S256"),
        ({"code_challenge": "short"}, "SHA-256"),
    ],
)
async def test_no_code_without_pkce_s256(
    gateway: RunningGateway, wiki: str, change: dict[str, str], why: str
) -> None:
    answer = await gateway.get(authorize(asked("wiki", WIKI, Pkce()) | change))
    told = answered(answer, WIKI)
    assert (told["error"], told["state"], why in told["error_description"]) == ("invalid_request", "s1", True)


async def test_a_code_is_worth_nothing_with_another_verifier_and_is_spent_by_the_try(
    gateway: RunningGateway, wiki: str
) -> None:
    pkce, who = Pkce(), {"client_id": "wiki", "client_secret": wiki, "redirect_uri": WIKI}
    code = answered(await Browser(gateway).sign_in(asked("wiki", WIKI, pkce)), WIKI)["code"]
    for verifier in (Pkce(), pkce):
        answer = await redeem(gateway, code, verifier, **who)
        assert (answer.status, answer.json()["error"]) == (400, "invalid_grant")
    missing = await gateway.ask("POST", "/oauth/token", data={"grant_type": CODE, "code": code, **who})
    assert missing.json()["error"] == "invalid_request"


async def test_a_code_is_for_one_client_one_address_and_one_minute(
    gateway: RunningGateway, wiki: str, phone: str
) -> None:
    browser, pkce = Browser(gateway), Pkce()
    who = {"client_id": "wiki", "client_secret": wiki, "redirect_uri": WIKI}
    await browser.sign_in(asked("wiki", WIKI, pkce))

    async def code() -> str:
        return answered(await browser.open(authorize(asked("wiki", WIKI, pkce))), WIKI)["code"]

    for other in (
        {"client_id": phone, "redirect_uri": WIKI},
        {"client_id": phone, "redirect_uri": PHONE},
        who | {"redirect_uri": "https://wiki.example.com/oauth"},
    ):
        answer = await redeem(gateway, await code(), pkce, **other)
        assert (answer.status, answer.json()["error"]) == (400, "invalid_grant")
    late = await code()
    gateway.clock.ahead_s = 61
    assert (await redeem(gateway, late, pkce, **who)).json()["error"] == "invalid_grant"
    assert (await redeem(gateway, "x" * 43, pkce, **who)).json()["error"] == "invalid_grant"


async def test_a_second_use_of_a_code_ends_what_the_first_gave(
    gateway: RunningGateway, gateway_cluster: LightCluster, wiki: str, phone: str
) -> None:
    """On another replica too, and by another client that has found the code."""
    browser, pkce = Browser(gateway), Pkce()
    who = {"client_id": "wiki", "client_secret": wiki, "redirect_uri": WIKI}
    await browser.sign_in(asked("wiki", WIKI, pkce))
    async with RunningGateway(gateway_cluster.connection) as second:
        for thief in (who, {"client_id": phone, "redirect_uri": WIKI}):
            code = answered(await browser.open(authorize(asked("wiki", WIKI, pkce))), WIKI)["code"]
            granted = (await redeem(gateway, code, pkce, **who)).json()
            for one in (gateway, second):
                await one.until(ME, 200, token=granted["access_token"])
            again = await redeem(second, code, pkce, **thief)
            assert (again.status, again.json()["error"]) == (400, "invalid_grant")
            for one in (gateway, second):
                await one.until(ME, 401, token=granted["access_token"])
            refresh = {"grant_type": REFRESH, "refresh_token": granted["refresh_token"]}
            refused = await gateway.ask("POST", "/oauth/token", data=refresh | who)
            assert refused.json()["error"] == "invalid_grant"


async def test_of_two_replicas_that_get_one_code_at_once_one_gives_tokens(
    gateway: RunningGateway, gateway_cluster: LightCluster, wiki: str
) -> None:
    browser, pkce = Browser(gateway), Pkce()
    who = {"client_id": "wiki", "client_secret": wiki, "redirect_uri": WIKI}
    await browser.sign_in(asked("wiki", WIKI, pkce))
    async with RunningGateway(gateway_cluster.connection) as second:
        for _ in range(5):
            code = answered(await browser.open(authorize(asked("wiki", WIKI, pkce))), WIKI)["code"]
            tries = [redeem(one, code, pkce, **who) for one in (gateway, second, gateway, second)]
            answers = await asyncio.gather(*tries)
            # Not even the winner's tokens last: the code was seen twice, whoever was first.
            assert sorted(answer.status for answer in answers) in ([200, 400, 400, 400], [400] * 4)
            for answer in answers:
                if answer.status == 200:
                    await second.until(ME, 401, token=answer.json()["access_token"])
