"""The OpenID provider ends the sign-ins of who left there, with tokens of a real one (I12, I13)."""

import asyncio
import time

from tests.support.browser import Browser, Pkce, answered, authorize
from tests.support.gateway import CLIENT, Answer, RunningGateway
from tests.support.kubeconfigs import issue, token_of
from tests.support.oauth import CONSOLE, code_question
from tests.support.provider import (
    ProviderProcess,
    back_from_provider,
    logout_token,
)
from tests.support.sessions import refresh, status

from edge.iam.types import LoginRecord
from edge_kube.client import Client

LOGOUT = "/oauth/backchannel-logout/oidc"


async def signed_in(gateway: RunningGateway, browser: Browser, name: str) -> dict[str, str]:
    """The tokens of a program that somebody signed in to at the provider."""
    assert (await browser.open(await back_from_provider(browser, name))).status == 303
    pkce = Pkce()
    asked = code_question(CLIENT["client_id"], CONSOLE, pkce, state="s1")
    code = answered(await browser.open(authorize(asked)), CONSOLE)["code"]
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": pkce.verifier}
    answer = await gateway.ask("POST", "/oauth/token", data=form | CLIENT | {"redirect_uri": CONSOLE})
    assert answer.status == 200, answer.body
    return answer.json()


async def tell(gateway: RunningGateway, token: str) -> Answer:
    return await gateway.ask("POST", LOGOUT, data={"logout_token": token})


async def test_who_left_at_the_provider_is_signed_out_here_in_browsers_too(
    with_oidc: RunningGateway, idp: ProviderProcess, kube: Client
) -> None:
    """And a record says why. What the person took away as a kubeconfig stays: leaving is no dismissal."""
    browser = Browser(with_oidc)
    granted = await signed_in(with_oidc, browser, "goeppert")
    stays = await signed_in(with_oidc, Browser(with_oidc), "noddack")
    kubeconfig = token_of(await issue(with_oidc, granted["access_token"]))
    token = await logout_token(idp.issuer, sub="id-of-goeppert")
    answer = await tell(with_oidc, token)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert await status(with_oidc, granted["access_token"]) == 401
    assert (await refresh(with_oidc, granted["refresh_token"])).status == 400
    asked = code_question(CLIENT["client_id"], CONSOLE, Pkce(), state="s1", prompt="none")
    assert answered(await browser.open(authorize(asked)), CONSOLE)["error"] == "login_required"
    assert (await with_oidc.get("/api", token=kubeconfig)).status == 200
    assert await status(with_oidc, stays["access_token"]) == 200, "of somebody else nothing ended"
    async with asyncio.timeout(30):
        noted: set[tuple[str, str, bool]] = set()
        while ("SignedOutAtProvider", "oidc", False) not in noted:
            await asyncio.sleep(0.05)
            records = await kube.list(LoginRecord, labels="iam.theriseunion.io/user=oidc-goeppert")
            noted = {(one.spec.reason, one.spec.provider, one.spec.success) for one in records}
    again = await signed_in(with_oidc, browser, "goeppert")
    assert (await tell(with_oidc, token)).status == 400, "a token counts once"
    assert await status(with_oidc, again["access_token"]) == 200


async def test_a_token_about_one_session_at_the_provider_ends_that_and_no_other(
    with_oidc: RunningGateway, idp: ProviderProcess
) -> None:
    granted = await signed_in(with_oidc, Browser(with_oidc), "noddack")
    other = await logout_token(idp.issuer, sub="id-of-noddack", sid="another-session")
    assert (await tell(with_oidc, other)).status == 200
    assert await status(with_oidc, granted["access_token"]) == 200
    same = await logout_token(idp.issuer, sid="session-of-id-of-noddack")
    assert (await tell(with_oidc, same)).status == 200
    assert await status(with_oidc, granted["access_token"]) == 401


async def test_what_began_after_the_token_was_made_goes_on(
    with_oidc: RunningGateway, idp: ProviderProcess
) -> None:
    """Else one that was kept, or sent to another replica, would sign people out again."""
    old = await logout_token(idp.issuer, sub="id-of-noddack", iat=int(time.time()) - 300)
    granted = await signed_in(with_oidc, Browser(with_oidc), "noddack")
    assert (await tell(with_oidc, old)).status == 200
    assert await status(with_oidc, granted["access_token"]) == 200


async def test_S13_what_the_provider_did_not_sign_for_us_ends_nothing(
    with_oidc: RunningGateway, idp: ProviderProcess
) -> None:
    granted = await signed_in(with_oidc, Browser(with_oidc), "noddack")
    sub = "id-of-noddack"
    good = await logout_token(idp.issuer, sub=sub)
    head, _, signature = good.rpartition(".")
    for token in (
        "",
        f"{head}.{signature[::-1]}",
        await logout_token(idp.issuer, sub=sub, aud="another"),
        await logout_token(idp.issuer, sub=sub, nonce="n"),
        await logout_token(idp.issuer, sub=sub, events=None),
    ):
        refused = await tell(with_oidc, token)
        assert (refused.status, refused.json()["error"]) == (400, "invalid_request"), token
    assert await status(with_oidc, granted["access_token"]) == 200
    stranger = await logout_token(idp.issuer, sub="id-of-nobody")
    assert (await tell(with_oidc, stranger)).status == 200, "who never came has nothing to end"
