"""Records on several volumes: acknowledged by enough of them, and whole on each (O6; design §4.1)."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.sinks import NearSink
from tests.support.trails import KEY, change, intent, outcome

from edge.apiserver.sinks.peers import catch_up
from edge.audit.query import Query, search
from edge.audit.received import NotTakenError
from edge.audit.recovery import Left
from edge.audit.retention import Limits
from edge.audit.shipping import Shipper
from edge.audit.statements import CLOSED, RETIRED, Signer
from edge.audit.trail import Trail
from edge.audit.verify import verify
from edge.audit.writer import NotWrittenError


@asynccontextmanager
async def shipped(
    *sinks: NearSink, enough: int = 2, within_s: float = 60, chain: str = "gateway-1"
) -> AsyncGenerator[Trail]:
    trail = Trail(Shipper(sinks, chain, KEY, enough=enough), within_s=within_s)
    trail.start()
    try:
        yield trail
    finally:
        await trail.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - other tasks change it
            await asyncio.sleep(0.01)


def three(path: Path) -> list[NearSink]:
    return [NearSink(path / f"sink-{number}") for number in range(3)]


def held(sink: NearSink, chain: str = "gateway-1") -> int:
    return sink.received.state(chain).seq


async def test_a_change_is_acknowledged_when_enough_sinks_have_it_and_one_may_be_away(tmp_path: Path) -> None:
    first, second, third = three(tmp_path)
    third.away = True
    async with shipped(first, second, third) as trail:
        await change(trail)
        assert held(first) >= 1
        assert held(second) >= 1
        third.away = False
        await until(lambda: held(third) == 2)
    for sink in (first, second, third):
        report = verify(sink.folder)
        assert (report.broken, report.records, report.unsigned) == (None, 2, 0)


async def test_a_change_is_refused_when_too_few_sinks_answer_and_its_outcome_says_so(tmp_path: Path) -> None:
    first, second, third = three(tmp_path)
    second.away = third.away = True
    async with shipped(first, second, third, within_s=0.3) as trail:
        with pytest.raises(NotWrittenError, match="not written within"):
            await trail.begin(intent("refused"))
        second.away = False
        await until(lambda: held(second) == 2)
    (entry,) = search(second.folder, Query(), lambda _user, _scope: True).items
    assert (entry.result, entry.code) == ("failure", 503)


async def test_outcomes_of_what_was_let_through_are_kept_while_no_sink_answers(tmp_path: Path) -> None:
    sinks = three(tmp_path)
    async with shipped(*sinks) as trail:
        asked = intent()
        await trail.begin(asked)
        for sink in sinks:
            sink.away = True
        trail.finish(outcome(asked))
        await asyncio.sleep(0)
        for sink in sinks:
            sink.away = False
        await until(lambda: trail.counts.written == 2)
    assert all(held(sink) == 2 for sink in sinks[:2])


async def test_a_sink_that_missed_more_than_the_ring_has_it_from_its_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.audit.shipping.RING_MAX", 4)
    monkeypatch.setattr("edge.audit.shipping.CHECKPOINT_RECORDS", 10)
    monkeypatch.setattr("edge.apiserver.sinks.peers.WRITERS_FIRST_S", -1.0)
    first, second, third = three(tmp_path)
    third.away = True
    async with shipped(first, second, third) as trail:
        for number in range(20):
            await change(trail, f"web-{number}")
        third.away = False
        await until(lambda: trail.counts.written == 40)
        assert held(third) == 0
        await until(lambda: first.received.state("gateway-1").statements == 5)
        await catch_up(third.received, first)  # pyright: ignore[reportArgumentType] - the same words
        await change(trail)
        await until(lambda: held(third) == 42)
    report = verify(third.folder)
    assert (report.broken, report.records) == (None, 42)


async def test_a_sink_refuses_another_past(tmp_path: Path) -> None:
    sink, other = NearSink(tmp_path / "a"), NearSink(tmp_path / "b")
    for one in (sink, other):
        async with shipped(one, enough=1) as trail:
            await change(trail)
    forged = other.received.records("gateway-1", 0)
    with pytest.raises(NotTakenError, match="another one"):
        sink.received.append("gateway-1", forged)
    with pytest.raises(NotTakenError, match="missing"):
        NearSink(tmp_path / "c").received.append("gateway-1", forged.split(b"\n")[1] + b"\n")
    altered = forged.replace(b'"name":"web"', b'"name":"bew"')
    with pytest.raises(NotTakenError, match="altered"):
        NearSink(tmp_path / "d").received.append("gateway-1", altered)
    with pytest.raises(NotTakenError, match="no name"):
        sink.received.append("../../etc/passwd", forged)


async def test_a_writer_taken_for_dead_goes_on_in_a_new_chain_and_loses_nothing(tmp_path: Path) -> None:
    sink = NearSink(tmp_path / "a")
    async with shipped(sink, enough=1) as trail:
        asked = await change(trail)
        await until(lambda: trail.counts.written == 2)
        state = sink.received.state("gateway-1")
        digest = bytes.fromhex(state.digest)
        line = Signer(KEY, "gateway-1", state.last).sign(CLOSED, seq=2, digest=digest, time_ms=1)
        sink.received.sign("gateway-1", state.statements, line)
        after = await change(trail, "after")
        await until(lambda: trail.counts.written == 4)
    report = verify(sink.folder)
    assert (report.broken, report.chains, report.records) == (None, 2, 4)
    found = search(sink.folder, Query(result="success"), lambda _user, _scope: True).items
    assert {entry.id for entry in found} == {asked.id, after.id}


async def test_a_sink_that_holds_what_was_never_written_counts_for_nothing(tmp_path: Path) -> None:
    forged, other = NearSink(tmp_path / "forged"), NearSink(tmp_path / "other")
    written = NearSink(tmp_path / "written")
    async with shipped(written, enough=1) as trail:
        for number in range(10):
            await change(trail, f"forged-{number}")
    forged.received.append("gateway-1", written.received.records("gateway-1", 0))
    async with shipped(forged, other, within_s=0.3) as trail:
        with pytest.raises(NotWrittenError):
            await trail.begin(intent("real"))
        assert "another one there" in trail.counts.failing
    empty = NearSink(tmp_path / "empty")
    async with shipped(forged, empty, enough=1) as trail:
        await change(trail, "real")
    assert held(empty) == 2
    assert held(forged) == 20


async def test_a_statement_without_its_signature_is_not_taken(tmp_path: Path) -> None:
    sink = NearSink(tmp_path / "a")
    async with shipped(sink, enough=1) as trail:
        await change(trail)
        await until(lambda: sink.received.state("gateway-1").statements == 1)
        state = sink.received.state("gateway-1")
        digest = bytes.fromhex(state.digest)
        line = Signer(Ed25519PrivateKey.generate(), "gateway-1", state.last).sign(
            CLOSED, seq=2, digest=digest, time_ms=1
        )
        with pytest.raises(NotTakenError, match="is not known"):
            sink.received.sign("gateway-1", state.statements, line)
        await change(trail, "after")
    assert verify(sink.folder).broken is None
    assert held(sink) == 4


async def test_a_peer_with_one_chain_that_conflicts_is_followed_in_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.apiserver.sinks.peers.WRITERS_FIRST_S", -1.0)
    ours, peer = NearSink(tmp_path / "ours"), NearSink(tmp_path / "peer")
    for sink, changes in ((ours, 1), (peer, 2)):
        async with shipped(sink, enough=1, chain="a-conflict") as trail:
            for _ in range(changes):
                await change(trail)
    async with shipped(peer, enough=1, chain="b-missing") as trail:
        await change(trail)
    await catch_up(ours.received, peer)  # pyright: ignore[reportArgumentType] - the same words
    assert held(ours, "a-conflict") == 2
    assert held(ours, "b-missing") == 2


async def test_a_peer_has_nobody_keep_a_record_that_no_gateway_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink that was taken over has what it was sent, and no key: it makes up neither a chain nor an end."""
    monkeypatch.setattr("edge.apiserver.sinks.peers.WRITERS_FIRST_S", -1.0)
    ours, peer = NearSink(tmp_path / "ours"), NearSink(tmp_path / "peer")
    forger = Ed25519PrivateKey.generate()
    peer.folder.add_key(forger.public_key())
    for chain, key in (("made-up", forger), ("unsigned", KEY)):
        source = NearSink(tmp_path / chain)
        source.folder.add_key(forger.public_key())
        trail = Trail(Shipper([source], chain, key, enough=1), within_s=60)
        trail.start()
        await change(trail)
        await until(lambda trail=trail: trail.counts.written == 2)
        if key is forger:
            await trail.close()
            peer.received.append(chain, source.received.records(chain, 0))
            peer.received.sign(chain, 0, source.received.statements(chain, 0))
        else:
            peer.received.append(chain, source.received.records(chain, 0))
            await trail.close()
    await catch_up(ours.received, peer)  # pyright: ignore[reportArgumentType] - the same words
    assert (held(peer, "made-up"), held(peer, "unsigned")) == (2, 2)
    assert (held(ours, "made-up"), held(ours, "unsigned")) == (0, 0)
    assert list(ours.folder.chains()) == []
    peer.received.sign("unsigned", 0, NearSink(tmp_path / "unsigned").received.statements("unsigned", 0))
    await catch_up(ours.received, peer)  # pyright: ignore[reportArgumentType] - the same words
    assert held(ours, "unsigned") == 2, "what is signed is taken"
    assert verify(ours.folder, [KEY.public_key()]).records == 2


async def test_a_new_volume_begins_behind_what_was_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.apiserver.sinks.peers.WRITERS_FIRST_S", -1.0)
    old = NearSink(tmp_path / "old", Limits(refuse_ratio=1.1, keep_s=0.0, segment_bytes=1))
    for chain, kept in (("part", 2), ("whole", 0)):
        async with shipped(old, enough=1, chain=chain) as trail:
            await change(trail)
            await until(lambda trail=trail: trail.counts.written == 2)
            await change(trail)
        state = old.received.state(chain)
        lines = old.received.records(chain, 0).splitlines()
        gone = 4 - kept
        digest = bytes.fromhex(lines[gone - 1][:64].decode())
        line = Signer(KEY, chain, state.last).sign(RETIRED, seq=gone, digest=digest, time_ms=2)
        old.received.sign(chain, state.statements, line)
    new = NearSink(tmp_path / "new")
    await catch_up(new.received, old)  # pyright: ignore[reportArgumentType] - the same words
    for sink in (old, new):
        report = verify(sink.folder, [KEY.public_key()])
        assert (report.broken, report.records, report.retired) == (None, 2, 6)
    new.restart()
    assert new.received.records("part", 2) == old.received.records("part", 2)
    assert held(new, "whole") == 4


class Orphaned:
    """Chains that were left, the first of which cannot be closed."""

    def __init__(self, *, fails: Exception) -> None:
        self.fails = fails
        self.closed: list[str] = []

    async def left(self) -> list[Left]:
        return [Left(name, -1, 0, b"") for name in ("first", "second") if name not in self.closed]

    async def let_go(self, left: Left, now_ms: int) -> None:
        if left.chain == "first":
            raise self.fails
        self.closed.append(left.chain)


@pytest.mark.parametrize("fails", [OSError("away"), NotTakenError("conflict", "another was faster")])
async def test_a_chain_that_cannot_be_closed_keeps_no_other_open(tmp_path: Path, fails: Exception) -> None:
    orphans = Orphaned(fails=fails)
    sink = NearSink(tmp_path / "a")
    trail = Trail(Shipper([sink], "gateway-1", KEY, enough=1), orphans=orphans)
    looking = asyncio.create_task(trail.look_after_orphans(lambda: 7))
    await until(lambda: orphans.closed == ["second"])
    assert not looking.done()
    looking.cancel()


async def test_what_has_aged_goes_when_that_is_signed_and_what_has_not_stays(tmp_path: Path) -> None:
    old = NearSink(tmp_path / "old", Limits(refuse_ratio=1.1, keep_s=0.0, segment_bytes=1))
    young = NearSink(tmp_path / "young")
    for sink in (old, young):
        async with shipped(sink, enough=1) as trail:
            await change(trail)
        state = sink.received.state("gateway-1")
        digest = bytes.fromhex(state.digest)
        line = Signer(KEY, "gateway-1", state.last).sign(RETIRED, seq=2, digest=digest, time_ms=2)
        sink.received.sign("gateway-1", state.statements, line)
    assert old.received.records("gateway-1", 0) == b""
    assert young.received.records("gateway-1", 0).count(b"\n") == 2
    assert verify(old.folder).broken is None


@settings(max_examples=30)
@given(
    steps=st.lists(
        st.sampled_from(("change", "cut 0", "cut 1", "cut 2", "join", "kill 0", "kill 1", "kill 2")),
        max_size=25,
    )
)
def test_whatever_is_cut_and_killed_no_acknowledged_record_is_on_fewer_than_enough_volumes(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def run() -> None:
        sinks = three(tmp_path_factory.mktemp("sinks"))
        acknowledged: set[str] = set()
        async with shipped(*sinks, within_s=0.2) as trail:
            for step in steps:
                what, _, which = step.partition(" ")
                if what == "change":
                    asked = intent()
                    try:
                        await trail.begin(asked)
                    except NotWrittenError:
                        continue
                    acknowledged.add(asked.id)
                elif what == "cut":
                    sinks[int(which)].away = True
                elif what == "kill":
                    sinks[int(which)].restart()
                else:
                    for sink in sinks:
                        sink.away = False
            for sink in sinks:
                sink.away = False
        for asked_id in acknowledged:
            on = [
                sink
                for sink in sinks
                if search(sink.folder, Query(id=asked_id), lambda _user, _scope: True).items
            ]
            assert len(on) >= 2
        for sink in sinks:
            assert verify(sink.folder).broken is None

    asyncio.run(run())
