"""What one round over the chains of dead writers asks of the sinks (O6; design §4.1)."""

import ssl
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from tests.support.sinks import NearSink
from tests.support.trails import KEY, ROOMY, change

from edge.apiserver.sinks.access import Doorkeeper
from edge.apiserver.sinks.client import SinkClient, TokenFile
from edge.apiserver.sinks.kept import SinkOrphans
from edge.apiserver.sinks.peers import catch_up
from edge.apiserver.sinks.server import SinkServer
from edge.audit.received import Received
from edge.audit.retention import Limits
from edge.audit.shipping import Shipper
from edge.audit.trail import Trail
from edge.audit.verifier import Verifier
from edge.audit.verify import verify

CHAINS = ("gateway-1", "gateway-2", "gateway-3")


async def lines_of(path: Path, chain: str, changes: int = 1) -> list[bytes]:
    """Of changes, as their writer linked them: intents and outcomes."""
    source = NearSink(path)
    trail = Trail(Shipper([source], chain, KEY, enough=1), within_s=60)
    trail.start()
    for _ in range(changes):
        await change(trail)
    await trail.close()
    return source.received.records(chain, 0).splitlines(keepends=True)


class OpenDoor:
    async def check(self, _: web.BaseRequest, *, peers_may: bool) -> None:
        """Who asks is no matter here."""


class Served:
    """A sink over HTTP that counts what it is asked, by method and the last word of the path."""

    def __init__(self, received: Received) -> None:
        self.received = received
        self.asked = Counter[str]()

    @asynccontextmanager
    async def listening(self, token: Path) -> AsyncGenerator[SinkClient]:
        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.asked[f"{request.method} {request.path.removeprefix('/v1/').rpartition('/')[2]}"] += 1
            return await handler(request)

        door, verifier = cast("Doorkeeper", OpenDoor()), Verifier(self.received.folder.path, "sink")
        application = SinkServer(self.received, door, verifier, silent_s=0).application()
        application.middlewares.append(count)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        client = SinkClient(
            f"http://127.0.0.1:{runner.addresses[0][1]}", TokenFile(token), ssl.create_default_context()
        )
        try:
            yield client
        finally:
            await client.close()
            await runner.cleanup()


async def test_a_round_asks_each_sink_once_and_takes_each_chain_where_it_is_longest(tmp_path: Path) -> None:
    """Of the first chain the first sink has less; of the second no outcome was written."""
    token = tmp_path / "token"
    token.write_text("t")
    one, two = (Served(NearSink(tmp_path / name).received) for name in ("one", "two"))
    for chain in CHAINS:
        lines = await lines_of(tmp_path / "source", chain)
        for sink in (one, two):
            is_short = chain == "gateway-2" or (chain == "gateway-1" and sink is one)
            sink.received.append(chain, lines[0] if is_short else b"".join(lines))
    async with one.listening(token) as first, two.listening(token) as second:
        shipper = Shipper([], "gateway-4", KEY, enough=1)
        orphans = SinkOrphans([first, second], shipper, KEY, enough=1, keep_s=0)
        left = await orphans.left()
        assert {found.chain: (found.seq, len(found.open)) for found in left} == {
            "gateway-1": (2, 0),
            "gateway-2": (1, 1),
            "gateway-3": (2, 0),
        }
        assert (one.asked["GET chains"], two.asked["GET chains"]) == (1, 1)
        for found in left:
            await orphans.let_go(found, 1)
        assert (one.asked["GET chains"], two.asked["GET chains"]) == (4, 4), "and one for each that is closed"
    assert [two.received.state("gateway-1").closed, one.received.state("gateway-1").closed] == [True, False]
    assert all(one.received.state(chain).closed for chain in CHAINS[1:])


async def test_to_ask_about_a_chain_is_no_sign_of_life_of_its_writer(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    clock = [1000.0]
    served = Served(Received(NearSink(tmp_path / "one").folder, ROOMY, now_s=lambda: clock[0]))
    served.received.append("gateway-1", b"".join(await lines_of(tmp_path / "source", "gateway-1")))
    async with served.listening(token) as sink:
        await sink.state("gateway-1")
        clock[0] += 90
        assert (await sink.states("gateway-1"))["gateway-1"].silent_s == 90
        assert (await sink.states())["gateway-1"].silent_s == 90
        assert await sink.states("gateway-2") == {}
        await sink.state("gateway-1")
        assert (await sink.states("gateway-1"))["gateway-1"].silent_s == 0


AGED = Limits(refuse_ratio=1.1, keep_s=0.0, segment_bytes=1)


async def test_what_has_aged_goes_as_enough_sinks_say_and_each_stays_whole_whatever_files_it_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their files end at other records. One whose clock is a year ahead is alone with what it says."""
    token = tmp_path / "token"
    token.write_text("t")
    monkeypatch.setattr("edge.apiserver.sinks.peers.WRITERS_FIRST_S", -1.0)
    folders = [NearSink(tmp_path / name).folder for name in ("one", "two", "ahead")]
    limits = [AGED, Limits(refuse_ratio=1.1, keep_s=0.0), AGED]
    sinks = [Served(Received(folder, limit)) for folder, limit in zip(folders, limits, strict=True)]
    for chain, pieces in (("gateway-1", ((2, 2), (3, 1), (1, 3))), ("gateway-2", ((), (), (2, 2)))):
        lines = await lines_of(tmp_path / chain, chain, changes=2)
        for sink, sizes in zip(sinks, pieces, strict=True):
            at = 0
            for size in sizes:  # a restart ends a file
                sink.received.append(chain, b"".join(lines[at : at + size]))
                at += size
                sink.received.close()
                sink.received = Received(sink.received.folder, AGED)
    async with (
        sinks[0].listening(token) as first,
        sinks[1].listening(token) as second,
        sinks[2].listening(token) as ahead,
    ):
        shipper = Shipper([], "gateway-3", KEY, enough=2)
        orphans = SinkOrphans([first, second, ahead], shipper, KEY, enough=2, keep_s=0)
        for left in await orphans.left():
            await orphans.let_go(left, 1)
        for _ in range(3):
            for sink in sinks:
                for peer in (first, second, ahead):
                    await catch_up(sink.received, peer)
    assert len(folders[2].segments("gateway-2")) == 2, "one alone says that its time is over"
    for folder in folders[:2]:
        report = verify(folder, [KEY.public_key()])
        assert (report.broken, folder.segments("gateway-1")) == (None, []), folder.path
