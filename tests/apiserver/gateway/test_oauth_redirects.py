"""Nobody is sent where their program does not live, and no page signs in whom it did not ask (I12).

Open redirect, CSRF on authorize and response splitting of issue 5 §5.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.browser import Browser, Page, Pkce, answered, authorize
from tests.support.gateway import CLIENT, PASSWORD, RunningGateway
from tests.support.oauth import CONSOLE, code_question, drop_client, make_client

from edge.iam.oauthclients import OAuthClient
from edge_kube.client import Client
from edge_kube.core import Secret

APP = "https://app.example.com/cb"

TRICKS = (
    "",
    "//evil.example", "/\\evil.example", "https:evil.example", "https:///evil.example", "javascript:alert(1)",
    "data:text/html,hi", "http://app.example.com/cb", "HTTPS://app.example.com/cb", "https://APP.example.com/cb",
    "https://app.example.com/CB", "https://app.example.com/cb/", "https://app.example.com/cb/../evil",
    "https://app.example.com/cb2", "https://app.example.com/c", "https://app.example.com/cb?x=1",
    "https://app.example.com/cb#", "https://app.example.com/cb#https://app.example.com/cb",
    "https://app.example.com:443/cb", "https://app.example.com:444/cb", "https://app.example.com./cb",
    "https://app.example.com.evil.example/cb", "https://evil.example/https://app.example.com/cb",
    "https://evil.example?https://app.example.com/cb", "https://evil.example#https://app.example.com/cb",
    "https://app.example.com@evil.example/cb", "https://user:pw@app.example.com/cb",
    "https://evil.example\\@app.example.com/cb",
    "https://app.example.com%2eevil.example/cb",
    "https://app.example.com%2fcb", "https%3A%2F%2Fapp.example.com%2Fcb", "https://app.example.com/%63b",
    "https://app.example.com/cb\r\nSet-Cookie: a=b", "https://app.example.com/cb%0d%0aX: y",
    "\thttps://app.example.com/cb",
    " https://app.example.com/cb", "https://app.example.com/cb ", "https://app.example.com/cb\x00",
    "https://аpp.example.com/cb", "https://app.example.com/cb;evil", "https://app.example.com//cb",
)  # fmt: skip


@pytest_asyncio.fixture
async def app(gateway: RunningGateway, kube: Client) -> AsyncIterator[str]:
    yield await make_client(kube, gateway, OAuthClient(id="app", redirect_uris=(APP,)))
    await drop_client(kube, "app")


def asked(uri: str = APP, **more: str) -> dict[str, str]:
    return code_question("app", uri, Pkce(), **more)


async def test_no_trick_with_the_address_sends_anybody_anywhere(gateway: RunningGateway, app: str) -> None:
    """Neither with a code nor with an error, neither signed in nor not; a page says what is wrong."""
    browser = Browser(gateway)
    answered(await browser.sign_in(asked()), APP)
    for trick in TRICKS:
        for more in ({}, {"response_type": "token"}, {"prompt": "none"}):
            answer = await browser.open(authorize(asked(trick, **more)))
            assert answer.status == 400, trick
            assert "Location" not in answer.headers
            assert "Refresh" not in answer.headers
            assert Page(answer.body.decode()).links == []
    page = Page((await browser.open(authorize(asked(prompt="login")))).body.decode())
    form = page.fields | {"username": "ada", "password": PASSWORD, "redirect_uri": "https://evil.example/"}
    forged = await browser.send("/oauth/authorize", form)
    assert (forged.status, "Location" in forged.headers) == (400, False)


@pytest.mark.parametrize(
    "pairs",
    [
        [("redirect_uri", APP), ("client_id", "nobody")],
        [("redirect_uri", APP)],
        [("client_id", "app")],
        [("client_id", "app"), ("redirect_uri", APP), ("redirect_uri", "https://evil.example")],
        [("client_id", "app"), ("client_id", "edge-console"), ("redirect_uri", APP)],
    ],
)
async def test_without_one_known_client_and_one_address_nobody_is_redirected(
    gateway: RunningGateway, app: str, pairs: list[tuple[str, str]]
) -> None:
    answer = await gateway.get(authorize([("response_type", "code"), *pairs]))
    assert (answer.status, "Location" in answer.headers) == (400, False)
    assert answer.headers["X-Frame-Options"] == "DENY"


async def test_a_state_cannot_end_a_header_or_leave_the_query(gateway: RunningGateway, app: str) -> None:
    browser = Browser(gateway)
    await browser.sign_in(asked())
    for state in (
        "x\r\nSet-Cookie: stolen=1",
        "x\nLocation: https://evil.example",
        "&code=mine#",
        "\x00",
        "é",
    ):
        answer = await browser.open(authorize(asked(state=state)))
        told = answered(answer, APP)
        assert told["state"] == state
        assert set(told) == {"code", "state", "iss"}
        assert "stolen" not in answer.headers.get("Set-Cookie", "")
        assert not {"\r", "\n", "#"} & set(answer.headers["Location"])
    long = answered(await browser.open(authorize(asked(state="s" * 3000))), APP)
    assert long["error"] == "invalid_request"


async def test_the_consoles_own_sign_in_is_tied_to_the_browser_that_began_it(gateway: RunningGateway) -> None:
    """Design §9: its client needs state, and a nonce for an ID token; others are told by their own rules."""
    question = code_question(CLIENT["client_id"], CONSOLE, Pkce())
    for more, missing in (
        ({}, "state"),
        ({"state": ""}, "state"),
        ({"state": "s", "scope": "openid"}, "nonce"),
    ):
        told = answered(await gateway.get(authorize(question | more)), CONSOLE)
        assert told["error"] == "invalid_request"
        assert told["error_description"].startswith(f"{missing} is missing")
    for more in ({"state": "s"}, {"state": "s", "scope": "openid", "nonce": "n"}):
        assert (await gateway.get(authorize(question | more))).status == 200


async def test_what_is_wrong_later_is_told_to_the_program(gateway: RunningGateway, app: str) -> None:
    for change, error in (
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": ""}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"request": "e30."}, "request_not_supported"),
        ({"request_uri": "https://evil.example"}, "request_uri_not_supported"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
    ):
        assert answered(await gateway.get(authorize(asked() | change)), APP)["error"] == error
    twice = [*asked().items(), ("scope", "a"), ("scope", "b")]
    assert answered(await gateway.get(authorize(twice)), APP)["error"] == "invalid_request"


async def test_a_parameter_without_a_value_is_none(gateway: RunningGateway, app: str) -> None:
    """RFC 6749 §3.1: some libraries send all that they know, empty or not."""
    empty = dict.fromkeys(
        ("max_age", "response_mode", "prompt", "nonce", "request", "request_uri", "state"), ""
    )
    assert (await gateway.get(authorize(asked() | empty))).status == 200
    told = answered(await gateway.get(authorize(asked() | {"response_type": ""})), APP)
    assert told["error"] == "invalid_request"
    assert (await gateway.get(authorize(asked() | {"client_id": ""}))).status == 400


async def test_a_form_counts_only_from_the_browser_and_for_the_question_it_was_made_for(
    gateway: RunningGateway, kube: Client, app: str
) -> None:
    """Login CSRF: an attacker's password never signs in somebody else's browser."""
    victim, attacker = Browser(gateway), Browser(gateway)
    own = Page((await attacker.open(authorize(asked(state="his")))).body.decode()).fields
    filled = own | {"username": "ada", "password": PASSWORD}
    before = len(await kube.list(Secret, "edge-system", fields="type=iam.theriseunion.io/oauth-login"))
    refused = [await victim.send("/oauth/authorize", filled)]  # without any cookie
    await victim.open(authorize(asked()))
    refused += [
        await victim.send("/oauth/authorize", filled),  # with a cookie of its own
        await attacker.send("/oauth/authorize", filled | {"csrf": ""}),
        await attacker.send("/oauth/authorize", filled | {"csrf": "0" * 64}),
        await attacker.send("/oauth/authorize", {k: v for k, v in filled.items() if k != "csrf"}),
        await attacker.send("/oauth/authorize", filled | {"state": "hers"}),
        await attacker.send("/oauth/authorize", filled | {"csrf": "é"}),
        await attacker.send("/oauth/authorize", filled, headers={"Sec-Fetch-Site": "cross-site"}),
        await attacker.send("/oauth/authorize", filled, headers={"Sec-Fetch-Site": "same-site"}),
    ]
    assert [answer.status for answer in refused] == [400] * len(refused)
    assert not any("Location" in answer.headers for answer in refused)
    assert not any("edge-oauth-login" in str(answer.headers) for answer in refused)
    after = len(await kube.list(Secret, "edge-system", fields="type=iam.theriseunion.io/oauth-login"))
    assert after == before
    sent = await attacker.send("/oauth/authorize", filled, headers={"Sec-Fetch-Site": "same-origin"})
    assert answered(sent, APP)["state"] == "his"


async def test_a_cookie_of_these_pages_opens_no_api(gateway: RunningGateway, app: str) -> None:
    browser = Browser(gateway)
    await browser.sign_in(asked())
    assert (await browser.open("/oapis/iam/v1alpha1/me")).status == 401
    login = browser.cookies["edge-oauth-login"]
    assert (await gateway.get("/oapis/iam/v1alpha1/me", token=login)).status == 401


async def test_the_way_back_is_no_place_for_a_password_and_leaks_no_code(
    gateway: RunningGateway, app: str
) -> None:
    back = await Browser(gateway).sign_in(asked())
    assert back.status == 303
    assert (back.headers["Referrer-Policy"], back.headers["Cache-Control"]) == ("no-referrer", "no-store")
    assert back.body == b""
