"""The watch socket of a console that signs in with cookies (I12, S7; console §5.1, §5.4)."""

import aiohttp
import pytest
from tests.apiserver.gateway.test_cookies import COOKIE_MODE, CSRF, cookies_of, sent, set_by
from tests.apiserver.gateway.test_watch_socket import Watched, label
from tests.support.gateway import CLIENT, RunningGateway
from tests.support.sessions import MINE
from tests.support.watching import rows, watching

from edge_kube.client import Client
from edge_kube.harness import LightCluster

DAY_S = 24 * 3600


async def test_a_console_opens_its_socket_with_its_cookie_and_another_page_does_not(
    gateway: RunningGateway,
) -> None:
    cookie = sent(await cookies_of(gateway), "edge_session")
    async with watching(gateway, "", {**cookie, "Origin": gateway.url}) as watcher:
        model = await watcher.sub(rows("workspaces"))
        await watcher.until(lambda: model.hash)
    for origin in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with watching(gateway, "", {**cookie, **origin}):
                pass
        assert refused.value.status == 403


async def test_a_console_elsewhere_opens_one_when_it_is_named(gateway_cluster: LightCluster) -> None:
    settings = {"authentication.session.origins": "https://console.example"}
    async with RunningGateway(gateway_cluster.connection, settings) as gateway:
        headers = {**sent(await cookies_of(gateway), "edge_session"), "Origin": "https://console.example"}
        async with watching(gateway, "", headers) as watcher:
            await watcher.until(lambda: watcher.seen("welcome"))


async def test_a_refresh_leaves_the_socket_open_until_its_own_token_is_over(
    gateway: RunningGateway, kube: Client
) -> None:
    """Then the console comes back with the cookie of the refresh, and with what it has."""
    mine = Watched(kube, gateway)
    await mine.create("a")
    what = rows("workspaces", "name,labels", labelSelector=mine.selector)
    gateway.clock.ahead_s = 0
    before = await cookies_of(gateway)
    try:
        gateway.clock.ahead_s = DAY_S - 20
        page = {"Origin": gateway.url}
        async with watching(gateway, "", {**sent(before, "edge_session"), **page}) as watcher:
            model = await watcher.sub(what)
            await watcher.until(lambda: model.names)
            form = {"grant_type": "refresh_token", **CLIENT}
            headers = {**COOKIE_MODE, **sent(before), **CSRF}
            after = set_by(await gateway.ask("POST", "/oauth/token", data=form, headers=headers))
            await label(kube, mine.name("a"), colour="red")
            await watcher.until(lambda: model.row(mine.name("a"))["labels"].get("colour") == "red")
            gateway.clock.ahead_s = DAY_S + 30
            assert await watcher.code(within_s=60) == 4401
        async with watching(gateway, "", {**sent(after, "edge_session"), **page}) as watcher:
            again = await watcher.sub(what, have=model)
            await watcher.until(lambda: watcher.seen("same"))
            assert again.names == [mine.name("a")]
    finally:
        gateway.clock.ahead_s = 0


async def test_the_end_of_the_session_ends_its_socket_and_no_other(gateway: RunningGateway) -> None:
    page = {"Origin": gateway.url}
    first, second = await cookies_of(gateway), await cookies_of(gateway)
    async with (
        watching(gateway, "", {**sent(first, "edge_session"), **page}) as ended,
        watching(gateway, "", {**sent(second, "edge_session"), **page}) as other,
    ):
        await ended.until(lambda: ended.seen("welcome"))
        await other.until(lambda: other.seen("welcome"))
        answer = await gateway.ask("POST", "/oauth/logout", headers={**sent(first), **CSRF})
        assert answer.status == 200
        assert await ended.code() == 4401
        model = await other.sub(rows("workspaces"))
        await other.until(lambda: model.hash)
        mine = (await gateway.get(MINE, headers=sent(second, "edge_session"))).json()["items"]
        assert any(one["current"] for one in mine)
