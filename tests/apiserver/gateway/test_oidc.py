"""Sign-in through an OpenID provider, against a real one (I13, S13)."""

import asyncio
import time
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from tests.support.browser import Browser, Page, Pkce, answered, authorize
from tests.support.gateway import CLIENT, IAM, PATIENCE_S, Answer, RunningGateway
from tests.support.provider import (
    START,
    ProviderProcess,
    back_from_provider,
    gateway_settings,
    provider,
    signed_in_there,
)

from edge.apiserver.configuration.federation import OidcSettings
from edge.apiserver.federation.fetch import Fetch, FetchFailed
from edge.apiserver.federation.provider import Attempt, NotVouched, Provider
from edge.iam.federated import IDENTITY_ANNOTATION
from edge.iam.types import LoginRecord, User
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import free_port
from edge_kube.meta import Key
from edge_sdk.secret import Secret

CONSOLE = "https://edge.example.com/sign-in/callback"


async def test_the_way_from_a_program_through_the_provider_to_a_token(
    with_oidc: RunningGateway, kube: Client
) -> None:
    """I13: the sign-in page offers the provider; the program gets a code as for anybody else."""
    browser, pkce = Browser(with_oidc), Pkce()
    asked = {
        "response_type": "code", "client_id": CLIENT["client_id"], "redirect_uri": CONSOLE, "state": "st-4te",
        "scope": "openid profile", "nonce": "n-0nce", "code_challenge": pkce.challenge,
        "code_challenge_method": "S256", "prompt": "login",
    }  # fmt: skip
    page = Page((await browser.open(authorize(asked))).body.decode())
    (link,) = [one for one in page.links if one.startswith("providers/oidc/")]
    back = await browser.open(await back_from_provider(browser, "curie", f"/oauth/{link}"))
    assert back.status == 303, back.body
    code = answered(await browser.open(back.headers["Location"]), CONSOLE)
    assert code["state"] == "st-4te"
    form = {
        "grant_type": "authorization_code", "code": code["code"], "redirect_uri": CONSOLE,
        "code_verifier": pkce.verifier, **CLIENT,
    }  # fmt: skip
    token = (await with_oidc.ask("POST", "/oauth/token", data=form)).json()["access_token"]
    me = (await with_oidc.get(f"{IAM}/me", token=token)).json()
    assert (me["user"], me["groups"]) == ("oidc-curie", ["oidc:radium"])
    user = await kube.get(User, "oidc-curie")
    assert user.spec.encrypted_password == ""
    assert "id-of-curie" in user.metadata.annotations[IDENTITY_ANNOTATION]
    async with asyncio.timeout(PATIENCE_S):
        found: set[tuple[str, str, bool]] = set()
        while ("oidc", "OAuth", True) not in found:
            await asyncio.sleep(0.05)
            records = await kube.list(LoginRecord)
            found = {(one.spec.provider, one.spec.type, one.spec.success) for one in records}


async def test_the_second_sign_in_finds_the_same_user(with_oidc: RunningGateway, kube: Client) -> None:
    for _ in range(2):
        browser = Browser(with_oidc)
        assert (await browser.open(await back_from_provider(browser, "meitner"))).status == 303
    found = [user.metadata.name for user in await kube.list(User) if "meitner" in user.metadata.name]
    assert found == ["oidc-meitner"]


async def test_S13_the_name_and_mail_address_of_our_admin_open_nothing_here(
    with_oidc: RunningGateway, kube: Client
) -> None:
    browser = Browser(with_oidc)
    assert (await browser.open(await back_from_provider(browser, "admin"))).status == 303
    made = await kube.get(User, "oidc-admin")
    assert made.spec.email == "", "an address that nobody checked is not kept"
    assert IDENTITY_ANNOTATION not in (await kube.get(User, "admin")).metadata.annotations


async def test_S13_an_answer_counts_once_and_only_in_the_browser_that_asked(
    with_oidc: RunningGateway,
) -> None:
    browser, stranger = Browser(with_oidc), Browser(with_oidc)
    back = await back_from_provider(browser, "curie")
    assert (await stranger.open(back)).status == 400, "no cookie"
    await stranger.open(START)
    assert (await stranger.open(back)).status == 400, "another attempt's state"
    assert (await browser.open(back)).status == 303
    assert (await browser.open(back)).status == 400, "the attempt is over"


async def test_S13_a_mixed_up_issuer_a_forged_code_and_another_nonce_are_refused(
    with_oidc: RunningGateway, idp: ProviderProcess
) -> None:
    mixed = Browser(with_oidc)
    back = await back_from_provider(mixed, "curie")
    answer = await mixed.open(f"{back}&iss={quote('https://evil.example.com', safe='')}")
    assert answer.status == 403
    forged = Browser(with_oidc)
    begun = await forged.open(START)
    state = dict(parse_qsl(urlsplit(begun.headers["Location"]).query))["state"]
    query = urlencode({"state": state, "code": "made-up"})
    assert (await forged.open(f"/oauth/callback?{query}")).status == 403
    denied = Browser(with_oidc)
    begun = await denied.open(START)
    state = dict(parse_qsl(urlsplit(begun.headers["Location"]).query))["state"]
    assert (await denied.open(f"/oauth/callback?state={state}&error=access_denied")).status == 403

    redirect = f"{with_oidc.url}/oauth/callback"
    client = Provider(settings(idp, redirect))
    asked = Attempt("state", "nonce of this one", "v" * 50)
    for wrong, why in (
        (Attempt("state", "nonce of another", asked.verifier), "nonce"),
        (Attempt("state", asked.nonce, "w" * 50), "code was refused"),
    ):
        came = await signed_in_there(await client.address(asked), "curie")
        code = dict(parse_qsl(urlsplit(came).query))["code"]
        with pytest.raises(NotVouched, match=why):
            await client.identity(code, wrong, "", with_oidc.clock.now_s())
    await client.close()


def settings(idp: ProviderProcess, redirect: str) -> OidcSettings:
    return OidcSettings(
        enabled=True,
        issuer_url=idp.issuer,
        client_id="edge-platform",
        client_secret=Secret("known to the provider"),
        redirect_url=redirect,
    )


@pytest.mark.parametrize(
    "evil",
    [
        "https://evil.example.com/",
        "//evil.example.com",
        "/\\evil.example.com",
        "/%0d%0aX: y\r\n",
        "javascript:x",
    ],
)
async def test_nobody_is_sent_to_another_address_after_the_sign_in(
    with_oidc: RunningGateway, evil: str
) -> None:
    """Open redirect."""
    browser = Browser(with_oidc)
    back = await back_from_provider(browser, "curie", f"{START}?return={quote(evil, safe='')}")
    assert (await browser.open(back)).headers["Location"] == "/"


async def test_keys_that_the_provider_changed_are_read_again(tmp_path: Path) -> None:
    """I13: a token signed with a key that was not there before."""
    port, there = free_port(), free_port()
    with provider(tmp_path / "one", port, there) as first:
        redirect = f"http://127.0.0.1:{port}/oauth/callback"
        now_s = [100.0]  # keys are not read more often than once in ten seconds
        client = Provider(settings(first, redirect), lambda: now_s[0])
        await client.address(Attempt("s", "n", "v" * 50))
    with provider(tmp_path / "two", port, there):
        now_s[0] += 11
        attempt = Attempt("s", "n", "v" * 50)
        came = await signed_in_there(await client.address(attempt), "curie")
        code = dict(parse_qsl(urlsplit(came).query))["code"]
        identity = await client.identity(code, attempt, "", time.time())
    assert identity.name == "curie"
    await client.close()


async def test_people_who_come_at_once_after_a_start_are_all_sent_there(idp: ProviderProcess) -> None:
    client = Provider(settings(idp, "http://127.0.0.1:1/oauth/callback"))
    attempt = Attempt("s", "n", "v" * 50)
    addresses = await asyncio.gather(*(client.address(attempt) for _ in range(5)))
    assert len(set(addresses)) == 1
    assert addresses[0].startswith(idp.issuer)
    await client.close()


async def test_a_provider_that_went_away_is_asked_now_and_then_and_not_by_everybody(
    idp: ProviderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was known of it is used meanwhile: the browser may reach it where the gateway does not."""
    now_s, asked = [100.0], list[str]()
    client, attempt = (
        Provider(settings(idp, "http://127.0.0.1:1/cb"), lambda: now_s[0]),
        Attempt("s", "n", "v" * 50),
    )
    first = await client.address(attempt)

    async def gone(_: Fetch, __: str, url: str, **___: object) -> None:
        asked.append(url)
        raise FetchFailed("no answer")

    monkeypatch.setattr(Fetch, "json", gone)
    now_s[0] += 3601
    assert [await client.address(attempt) for _ in range(3)] == [first] * 3
    assert len(asked) == 1
    now_s[0] += 11
    assert await client.address(attempt) == first
    assert len(asked) == 2
    await client.close()


@pytest.mark.parametrize("more", [{"prompt": "login"}, {"max_age": "0"}])
async def test_who_must_give_the_password_again_is_asked_at_the_provider_too(
    with_oidc: RunningGateway, more: dict[str, str]
) -> None:
    """Else an open browser at the provider would answer for whoever sits there (OIDC core §3.1.2.1)."""
    browser = Browser(with_oidc)
    asked = {
        "response_type": "code", "client_id": CLIENT["client_id"], "redirect_uri": CONSOLE, "state": "st-4te",
        "code_challenge": Pkce().challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    for wanted, prompt in ((asked | more, "login"), (asked, None)):
        (link,) = [one for one in page_links(await browser.open(authorize(wanted))) if "oidc" in one]
        begun = await browser.open(f"/oauth/{link}")
        assert dict(parse_qsl(urlsplit(begun.headers["Location"]).query)).get("prompt") == prompt
    (link,) = [one for one in page_links(await browser.open(authorize(asked | more))) if "oidc" in one]
    back = await browser.open(await back_from_provider(browser, "curie", f"/oauth/{link}"))
    assert answered(await browser.open(back.headers["Location"]), CONSOLE)["code"], "and then is let through"


def page_links(answer: Answer) -> list[str]:
    return Page(answer.body.decode()).links


async def test_a_provider_that_is_down_says_so_on_a_page(
    gateway_cluster: LightCluster,
) -> None:
    gone = gateway_settings(f"http://127.0.0.1:{free_port()}", free_port())
    async with RunningGateway(gateway_cluster.connection, gone) as gateway:
        answer = await Browser(gateway).open(START)
        assert answer.status == 503
        assert b"does not answer" in answer.body
        assert (await gateway.sign_in("admin")).status == 200


async def test_a_disabled_user_is_not_let_in(with_oidc: RunningGateway, kube: Client) -> None:
    first = Browser(with_oidc)
    assert (await first.open(await back_from_provider(first, "curie"))).status == 303
    key = Key("", "oidc-curie")
    await kube.merge(User, key, {"status": {"state": "Disabled"}}, sub="status")
    await with_oidc.knows("oidc-curie", state="Disabled")
    again = Browser(with_oidc)
    assert (await again.open(await back_from_provider(again, "curie"))).status == 403
    await kube.merge(User, key, {"status": {"state": "Active"}}, sub="status")
    await with_oidc.knows("oidc-curie", state="Active")
