"""What the watch socket refuses, and how it ends (G4, G12; console §5.4)."""

import asyncio
import json
from contextlib import AsyncExitStack

import aiohttp
import pytest
from tests.apiserver.gateway.test_watch_socket import Watched, label
from tests.support.gateway import PATIENCE_S, RunningGateway
from tests.support.watching import WATCH, rows, watching

from edge.apiserver.watching import flow, protocol, routes
from edge_kube.client import Client
from edge_kube.harness import LightCluster


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        '{"t":"what"}',
        '{"t":"ack","seq":7}',
        '{"t":"sub","id":1,"what":{}}',
        '{"t":"sub","id":"1","what":{"ops":{}}}',
        "[" * 10_000,
    ],
)
async def test_what_is_no_message_is_answered_with_4400(
    gateway: RunningGateway, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(gateway, await gateway.token()) as watcher:
        await watcher.socket.send_str(text)
        assert await watcher.code() == 4400
    assert "Traceback" not in caplog.text


async def test_a_client_that_leaves_at_once_after_a_refusal_holds_no_restart_up(
    gateway_cluster: LightCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "LEAVES_WITHIN_S", 3600.0)
    async with (
        asyncio.timeout(60),
        RunningGateway(gateway_cluster.connection) as gateway,
        watching(gateway, await gateway.token()) as watcher,
    ):
        await watcher.socket.send_str("{")
        assert await watcher.code() == 4400


async def test_bytes_and_a_broken_utf8_are_answered_with_4400(gateway: RunningGateway) -> None:
    async with watching(gateway, await gateway.token()) as watcher:
        await watcher.socket.send_bytes(b'{"t":"ops"}')
        assert await watcher.code() == 4400
    async with watching(gateway, await gateway.token(), compress=0) as watcher:
        await watcher.socket.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT)
        assert await watcher.code() == 4400


@pytest.mark.parametrize("compress", [0, 15])
async def test_a_message_beyond_a_mebibyte_is_answered_with_4413(
    gateway: RunningGateway, compress: int
) -> None:
    async with watching(gateway, await gateway.token(), compress=compress) as watcher:
        await watcher.socket.send_str(json.dumps({"t": "hello", "lang": "x" * protocol.MESSAGE_MAX_BYTES}))
        assert await watcher.code() == 4413


async def test_the_65th_subscription_is_refused_and_the_others_go_on(gateway: RunningGateway) -> None:
    async with watching(gateway, await gateway.token()) as watcher:
        for _ in range(protocol.SUBS_MAX):
            await watcher.sub({"access": {"scope": "platform"}})
        over = await watcher.sub(rows("workspaces"))
        await watcher.until(lambda: over.ended)
        assert over.ended == "TooManySubscriptions"
        await watcher.send("unsub", id=1)
        within = await watcher.sub(rows("workspaces"))
        await watcher.until(lambda: within.hash)


async def test_the_ninth_socket_of_a_user_is_closed_with_4429_until_another_leaves(
    gateway: RunningGateway,
) -> None:
    token = await gateway.token("ada")
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(watching(gateway, token)) for _ in range(routes.SOCKETS_PER_USER)
        ]
        for watcher in sockets:
            await watcher.until(lambda watcher=watcher: watcher.frames)
        async with watching(gateway, token) as ninth:
            assert await ninth.code() == 4429
        async with watching(gateway, await gateway.token()) as others:
            await others.until(lambda: others.frames)
        await sockets[0].socket.close()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with watching(gateway, token) as again:
                    if await again.read() is not None:
                        break


async def test_a_client_that_does_not_read_gets_the_newest_later_and_then_4408(
    gateway: RunningGateway, kube: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "SLOW_AFTER_S", 600.0)
    monkeypatch.setattr(flow, "HEARTBEAT_S", 1.0)  # so often it looks at the time
    monkeypatch.setitem(flow.FLUSH_S, "visible", 0.01)
    monkeypatch.setattr(flow, "UNACKED_MAX", 4)
    mine = Watched(kube, gateway)
    await mine.create("a")
    async with watching(gateway, await gateway.token()) as watcher:
        watcher.acks = False
        model = await watcher.sub(rows("workspaces", "name,labels", labelSelector=mine.selector))
        await watcher.until(lambda: model.names)

        async def fill(seq: int, prefix: str) -> None:
            """One frame for each change: a busy server merges those that nobody waits for."""
            number = 0
            while max(frame.get("seq", 0) for frame in watcher.frames) < seq:
                number += 1
                step = f"{prefix}{number}"
                await label(kube, mine.name("a"), step=step)
                await watcher.until(lambda step=step: model.row(mine.name("a"))["labels"].get("step") == step)

        await fill(4, "first")
        for number in range(20):
            await label(kube, mine.name("a"), step=str(number))
        await watcher.send("ack", seq=4)
        await watcher.until(lambda: model.row(mine.name("a"))["labels"]["step"] == "19")
        assert len(watcher.seen("delta")) < 20
        await fill(8, "second")
        monkeypatch.setattr(flow, "SLOW_AFTER_S", 1.0)
        assert await watcher.code() == 4408
    page = (await gateway.get("/metrics")).body.decode()
    assert "edge_watch_slow_closed_total 1.0" in page
    assert 'edge_watch_frames_total{t="delta"}' in page


async def test_a_client_that_does_not_pong_is_closed_with_4408(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "DEAD_AFTER_S", 6.0)
    monkeypatch.setattr(flow, "HEARTBEAT_S", 1.0)
    async with watching(gateway, await gateway.token()) as watcher:
        await watcher.until(lambda: len(watcher.seen("ping")) == 8)
        watcher.pongs = False
        assert await watcher.code() == 4408


@pytest.mark.parametrize(
    ("origin", "is_welcome"),
    [("http://evil.example", False), ("null", False), ("http://{host}", True), ("https://{host}", True)],
)
async def test_a_page_of_another_host_is_closed_with_4403(
    gateway: RunningGateway, origin: str, is_welcome: bool
) -> None:
    own = gateway.url.removeprefix("http://")
    headers = {"Origin": origin.format(host=own)}
    async with watching(gateway, await gateway.token(), headers) as watcher:
        if is_welcome:
            await watcher.until(lambda: watcher.frames)
            assert watcher.frames[0]["t"] == "welcome"
        else:
            assert await watcher.code() == 4403
            assert watcher.frames == []


@pytest.mark.parametrize("headers", [{}, {"Upgrade": "websocket", "Connection": "Upgrade"}])
async def test_what_is_no_upgrade_to_this_protocol_is_told_how_to_do_it(
    gateway: RunningGateway, headers: dict[str, str]
) -> None:
    answer = await gateway.get(WATCH, token=await gateway.token(), headers=headers)
    assert answer.status == 400
    assert "edge.watch.v1" in answer.json()["message"]


async def test_a_gateway_that_stops_says_bye_and_closes_with_1012(gateway_cluster: LightCluster) -> None:
    async with RunningGateway(gateway_cluster.connection) as gateway:
        token = await gateway.token()
        async with watching(gateway, token) as one, watching(gateway, token) as two:
            model = await one.sub(rows("workspaces"))
            await one.until(lambda: model.hash)
            await two.until(lambda: two.frames)
            stops = asyncio.create_task(gateway.server.stop())
            assert await one.code() == await two.code() == 1012
            byes = [watcher.seen("bye")[0] for watcher in (one, two)]
            assert all(bye["code"] == 1012 and 0 <= bye["retryAfterMs"] <= 5000 for bye in byes)
            await stops
