"""The console's cookie session: no token for scripts, nothing for other sites (I12, console §5.1)."""

from http.cookies import Morsel, SimpleCookie

import aiohttp
import pytest
from multidict import CIMultiDict
from tests.support.gateway import CLIENT, IAM, PASSWORD, USERS, Answer, RunningGateway
from tests.support.sessions import ME, MINE, NAMESPACES

from edge_kube.harness import LightCluster

COOKIE_MODE = {"X-Edge-Session": "cookie"}
CSRF = {"X-Edge-CSRF": "1"}
FORM = {"grant_type": "password", "username": "admin", "password": PASSWORD, **CLIENT}


async def cookies_of(gateway: RunningGateway, **headers: str) -> "dict[str, Morsel[str]]":
    answer = await gateway.ask("POST", "/oauth/token", data=FORM, headers={**COOKIE_MODE, **headers})
    assert answer.status == 200, answer.body
    return set_by(answer)


def set_by(answer: Answer) -> "dict[str, Morsel[str]]":
    assert isinstance(answer.headers, CIMultiDict) or hasattr(answer.headers, "getall")
    found: SimpleCookie = SimpleCookie()
    for line in answer.headers.getall("Set-Cookie", []):  # type: ignore[attr-defined]
        found.load(line)
    return dict(found)


def sent(cookies: "dict[str, Morsel[str]]", *names: str) -> dict[str, str]:
    wanted = names or tuple(cookies)
    return {"Cookie": "; ".join(f"{name}={cookies[name].value}" for name in wanted)}


async def opened(gateway: RunningGateway, headers: dict[str, str], *, opens: bool) -> None:
    """A WebSocket with these headers opens, or is refused with 403."""
    url = f"{gateway.url}{NAMESPACES}?watch=1"
    if opens:
        async with gateway.session.ws_connect(url, headers=headers):
            return
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await gateway.session.ws_connect(url, headers=headers)
    assert refused.value.status == 403


async def test_the_cookies_are_out_of_reach_of_scripts_and_other_sites(gateway: RunningGateway) -> None:
    answer = await gateway.ask("POST", "/oauth/token", data=FORM, headers=COOKIE_MODE)
    body, cookies = answer.json(), set_by(answer)
    assert set(body) == {"expires_in"}, "no token in the body"
    session, renewal = cookies["edge_session"], cookies["edge_refresh"]
    for cookie in (session, renewal):
        assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Strict", "")
        assert not cookie["domain"]
    assert (session["path"], renewal["path"]) == ("/", "/oauth")
    assert (int(session["max-age"]), int(renewal["max-age"])) == (86_400, 30 * 86_400)
    plain = await gateway.sign_in()
    assert "Set-Cookie" not in plain.headers


async def test_over_tls_they_are_secure(gateway: RunningGateway) -> None:
    host, port = gateway.server.addresses[-1]
    async with gateway.session.post(
        f"https://{host}:{port}/oauth/token", data=FORM, headers=COOKIE_MODE, ssl=False
    ) as response:
        assert response.status == 200
        assert all(cookie["secure"] for cookie in response.cookies.values())
    behind = await cookies_of(gateway, **{"X-Forwarded-Proto": "https"})
    assert all(cookie["secure"] for cookie in behind.values())


async def test_a_cookie_reads_and_with_its_header_writes(gateway: RunningGateway) -> None:
    cookie = sent(await cookies_of(gateway), "edge_session")
    assert (await gateway.get(ME, headers=cookie)).json()["user"] == "admin"
    assert (await gateway.get(NAMESPACES, headers=cookie)).status == 200
    path, body = f"{NAMESPACES}/default/configmaps?dryRun=All", {"metadata": {"name": "x"}}
    for header in ({}, {"X-Edge-CSRF": "0"}, {"X-Edge-CSRF": ""}):
        refused = await gateway.ask("POST", path, json=body, headers={**cookie, **header})
        assert (refused.status, refused.json()["edge"]["code"]) == (403, "CsrfHeaderMissing")
    assert (await gateway.ask("POST", path, json=body, headers={**cookie, **CSRF})).status == 201


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_no_method_that_changes_anything_goes_without_the_header(
    gateway: RunningGateway, method: str
) -> None:
    cookie = sent(await cookies_of(gateway))
    paths = [
        USERS,
        f"{USERS}/ada",
        MINE,
        f"{IAM}/me/kubeconfigs",
        f"{NAMESPACES}/x",
        "/clusters/east/api/v1/pods",
    ]
    for path in paths:
        answer = await gateway.ask(method, path, headers=cookie)
        assert (answer.status, answer.json()["edge"]["code"]) == (403, "CsrfHeaderMissing"), path
    assert (await gateway.get(ME, headers=cookie)).status == 200, "the session is untouched"


async def test_a_bad_bearer_token_does_not_fall_back_to_the_cookie(gateway: RunningGateway) -> None:
    cookie = sent(await cookies_of(gateway))
    for header in ("Bearer nonsense", "Bearer ", "Basic YTpi", ""):
        answer = await gateway.get(ME, headers={**cookie, "Authorization": header})
        assert answer.status == 401, header


@pytest.mark.parametrize(
    ("origin", "opens"),
    [
        ("http://{own}", True),
        (None, False),
        ("", False),
        ("null", False),
        ("https://evil.example.com", False),
        ("http://{own}.evil.example.com", False),
        ("http://127.0.0.1", False),
        ("http://{own}@evil.example.com", False),
        ("file://", False),
        ("https://console.example.com", True),
    ],
)
async def test_a_websocket_with_a_cookie_opens_from_our_own_pages_only(
    gateway_cluster: LightCluster, origin: str | None, opens: bool
) -> None:
    settings = {"authentication.session.origins": "https://console.example.com"}
    async with RunningGateway(gateway_cluster.connection, settings) as gateway:
        headers = sent(await cookies_of(gateway), "edge_session")
        if origin is not None:
            headers["Origin"] = origin.format(own=f"127.0.0.1:{gateway.port}")
        await opened(gateway, headers, opens=opens)


@pytest.mark.parametrize(("scheme", "opens"), [("https", True), ("http", False)])
async def test_behind_tls_a_page_that_came_without_it_is_none_of_ours(
    gateway: RunningGateway, scheme: str, opens: bool
) -> None:
    """Whoever is on the way writes pages of http://HOST; browsers send cookies to wss://HOST from there."""
    headers = {
        **sent(await cookies_of(gateway), "edge_session"),
        "X-Forwarded-Proto": "https",
        "Origin": f"{scheme}://127.0.0.1:{gateway.port}",
    }
    await opened(gateway, headers, opens=opens)


async def test_the_cookies_are_refreshed_without_a_token_in_sight(gateway: RunningGateway) -> None:
    before = await cookies_of(gateway)
    form = {"grant_type": "refresh_token", **CLIENT}
    headers = {**COOKIE_MODE, **sent(before)}
    refused = await gateway.ask("POST", "/oauth/token", data=form, headers=headers)
    assert (refused.status, refused.json()["edge"]["code"]) == (403, "CsrfHeaderMissing")
    answer = await gateway.ask("POST", "/oauth/token", data=form, headers={**headers, **CSRF})
    after = set_by(answer)
    assert (answer.status, set(answer.json())) == (200, {"expires_in"})
    for name, cookie in after.items():
        assert cookie.value
        assert cookie.value != before[name].value
    assert (await gateway.get(ME, headers=sent(after, "edge_session"))).status == 200
    again = await gateway.ask("POST", "/oauth/token", data=form, headers={**headers, **CSRF})
    assert again.json()["error"] == "invalid_grant"
    assert set_by(again) == {}, "a second tab that comes late must not sign out the first"
    # Without cookie mode the cookie is not looked at: a token never comes back in a body for it.
    plain = await gateway.ask("POST", "/oauth/token", data=form, headers={**sent(after), **CSRF})
    assert plain.json()["error"] == "invalid_grant"


@pytest.mark.parametrize("names", [("edge_session",), ("edge_refresh",), ("edge_session", "edge_refresh")])
async def test_logging_out_ends_the_session_and_clears_the_cookies(
    gateway: RunningGateway, names: tuple[str, ...]
) -> None:
    cookies = await cookies_of(gateway)
    refused = await gateway.ask("POST", "/oauth/logout", headers=sent(cookies, *names))
    assert (refused.status, refused.json()["edge"]["code"]) == (403, "CsrfHeaderMissing")
    assert (await gateway.get(ME, headers=sent(cookies, "edge_session"))).status == 200
    for _ in range(2):
        answer = await gateway.ask("POST", "/oauth/logout", headers={**sent(cookies, *names), **CSRF})
        assert answer.status == 200
        cleared = set_by(answer)
        assert set(cleared) == set(names)
        assert all((one.value, one["max-age"]) == ("", "0") for one in cleared.values())
        assert (await gateway.get(ME, headers=sent(cookies, "edge_session"))).status == 401
    assert (await gateway.ask("POST", "/oauth/logout")).status == 200, "nobody there is nobody to log out"


async def test_the_cookie_goes_no_further_than_the_gateway(gateway: RunningGateway) -> None:
    """What is behind it never sees a credential of the platform; `passed_on` has the unit tests."""
    cookie = sent(await cookies_of(gateway))
    answer = await gateway.get("/api/v1/namespaces/default", headers=cookie)
    assert answer.status == 200
    assert "Set-Cookie" not in answer.headers
