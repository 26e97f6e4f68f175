"""Verification beside the work: a process of its own, a schedule, a result that is kept (O6; design §4.3)."""

import asyncio
import fcntl
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.trails import KEY, lines_of, write_chain

from edge.audit.folder import Folder
from edge.audit.statements import RETIRED, Signer, last_hash, public_text
from edge.audit.verdict import FILE, Verdict, due_ms, kept
from edge.audit.verifier import Verifier
from edge.audit.verify import verify

HOUR_MS = 3_600_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NIGHT = ms("2026-03-02T02:00:00")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.02)


def damage(path: Path) -> None:
    (segment,) = path.glob("*.log")
    segment.write_bytes(segment.read_bytes().replace(b'"name":"web-0"', b'"name":"bew-0"', 1))


@pytest.mark.parametrize(
    ("began", "now", "due"),
    [
        ("", "2026-03-02T12:00:00", "2026-03-02T12:00:00"),
        ("2026-03-01T02:00:10", "2026-03-02T01:59:00", "2026-03-02T02:00:00"),
        ("2026-03-01T02:00:10", "2026-03-02T02:00:00", "2026-03-02T02:00:00"),
        ("2026-03-02T02:00:00", "2026-03-02T02:00:30", "2026-03-03T02:00:00"),
        ("2026-02-20T02:00:00", "2026-03-02T12:00:00", "2026-03-02T12:00:00"),
        ("2026-03-02T14:00:00", "2026-03-02T15:00:00", "2026-03-03T02:00:00"),
    ],
    ids=["never yet", "before it", "at it", "done", "missed", "somebody asked"],
)
def test_it_is_due_once_a_day_and_one_that_was_missed_is_made_up_for(began: str, now: str, due: str) -> None:
    last = Verdict(store="s", began=ms(began) if began else 0)
    assert due_ms("02:00", last, ms(now)) == ms(due)
    assert due_ms("", last, ms(now)) == 0


def test_a_clock_that_was_set_back_puts_nothing_off() -> None:
    assert due_ms("02:00", Verdict(store="s", began=NIGHT + 1), NIGHT - 24 * HOUR_MS) == NIGHT - 24 * HOUR_MS
    ahead = Verdict(store="s", tried=NIGHT + 1, trouble="x")
    assert due_ms("02:00", ahead, NIGHT - 24 * HOUR_MS) == NIGHT - 24 * HOUR_MS


def test_one_that_did_not_come_to_an_end_is_tried_again_in_an_hour() -> None:
    tried = Verdict(store="s", began=NIGHT - 24 * HOUR_MS, tried=NIGHT, trouble="no memory")
    assert due_ms("02:00", tried, NIGHT + 1) == NIGHT + HOUR_MS
    assert due_ms("02:00", tried, NIGHT + HOUR_MS) == NIGHT + HOUR_MS


async def test_it_is_done_on_the_schedule_and_a_restart_knows_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.audit.verifier.START_S", 0)
    monkeypatch.setattr("edge.audit.verifier.LOOK_S", 0.02)
    await asyncio.to_thread(write_chain, tmp_path, 6)
    now_s = [NIGHT / 1000]
    told: list[Verdict] = []

    async def tell(verdict: Verdict) -> None:
        told.append(verdict)

    def started() -> Verifier:
        return Verifier(tmp_path, "store", at="02:00", now_s=lambda: now_s[0], on_broken=tell)

    first = started()
    assert (first.last.began, first.last.next) == (0, NIGHT)
    running = asyncio.create_task(first.run())
    await until(lambda: first.last.began > 0)
    running.cancel()
    again = started()
    assert again.last == first.last
    assert (again.last.records, again.last.broken, again.last.next) == (6, None, NIGHT + 24 * HOUR_MS)
    damage(tmp_path)
    running = asyncio.create_task(again.run())
    now_s[0] += 24 * 3600
    await until(lambda: again.last.broken is not None and bool(told))
    running.cancel()
    assert str(told[0].broken).startswith("chain gateway-1, record 1: it was altered")
    assert started().last.broken == told[0].broken


async def test_the_loop_goes_on_while_everything_is_read(tmp_path: Path) -> None:
    await asyncio.to_thread(write_chain, tmp_path, 4000)
    turns = 0

    async def work() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    working = asyncio.create_task(work())
    report = await Verifier(tmp_path, "store").verify()
    working.cancel()
    assert (report.broken, report.records) == (None, 4000)
    assert turns > 100


async def test_two_never_read_one_folder_at_once_and_one_that_is_not_waited_for_ends(tmp_path: Path) -> None:
    await asyncio.to_thread(write_chain, tmp_path, 2)
    verifier = Verifier(tmp_path, "store")
    held = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = asyncio.create_task(verifier.verify())
        given_up = asyncio.create_task(Verifier(tmp_path, "other").verify())
        await asyncio.sleep(1)
        assert not waiting.done()
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
    finally:
        os.close(held)
    assert (await waiting).records == 2


async def test_what_could_not_be_read_is_said_and_the_last_result_stays(tmp_path: Path) -> None:
    await asyncio.to_thread(write_chain, tmp_path, 2)
    verifier = Verifier(tmp_path, "store", at="02:00")
    await verifier.verify()
    (tmp_path / "keys").write_text("no key\n")
    with pytest.raises(OSError, match="verification ended with 1"):
        await verifier.verify()
    assert verifier.last.records == 2
    assert "verification ended with 1" in verifier.last.trouble
    assert kept(tmp_path, "store").trouble == verifier.last.trouble
    (tmp_path / FILE).write_text("nonsense")
    assert kept(tmp_path, "store") == Verdict(store="store")


async def test_keys_and_copies_that_are_kept_elsewhere_count(tmp_path: Path) -> None:
    await asyncio.to_thread(write_chain, tmp_path, 2)

    async def none_of_ours() -> list[str]:
        return ["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]

    async def ours() -> list[str]:
        return [public_text(KEY.public_key())]

    async def copies() -> list[bytes]:
        return [Signer(KEY, "gone").sign("checkpoint", seq=5, digest=bytes(32), time_ms=1)]

    report = await Verifier(tmp_path, "store", keys=none_of_ours).verify()
    assert "which is not known" in str(report.broken)
    missing = await Verifier(tmp_path, "store", keys=ours, anchors=copies).verify()
    assert str(missing.broken) == "chain gone, record 1: records up to 5 were removed"
    assert missing.behind


async def test_a_store_that_may_be_behind_its_peers_is_looked_at_again_before_anybody_is_alarmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.audit.verifier.START_S", 0)
    monkeypatch.setattr("edge.audit.verifier.CATCH_UP_S", 0)
    await asyncio.to_thread(write_chain, tmp_path, 2)
    asked = 0

    async def copies() -> list[bytes]:
        nonlocal asked
        asked += 1
        late = Signer(KEY, "late").sign("checkpoint", seq=5, digest=bytes(32), time_ms=1)
        return [late] if asked < 3 else []

    verifier = Verifier(tmp_path, "store", at="02:00", patience=5, anchors=copies)
    running = asyncio.create_task(verifier.run())
    await until(lambda: verifier.last.began > 0)
    running.cancel()
    assert (asked, verifier.last.broken) == (3, None)


def test_what_is_let_go_of_meanwhile_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of two files goes, as signed, between the reading of the statements and that of the files."""
    write_chain(tmp_path, 4)
    folder = Folder(tmp_path)
    (segment,) = folder.segments()
    lines = lines_of(segment.path)
    segment.path.write_bytes(b"".join(line + b"\n" for line in lines[:2]))
    rest = folder.segment("gateway-1", 3).path
    rest.write_bytes(b"".join(line + b"\n" for line in lines[2:]))
    really, gone = Folder.segments, [False]

    def listed(here: Folder, chain: str = "") -> object:
        if chain and not gone[0]:
            gone[0] = True
            path = here.statements(chain)
            digest = bytes.fromhex(lines[1][:64].decode())
            signer = Signer(KEY, chain, last_hash(path.read_bytes()))
            signer.keep(path, RETIRED, seq=2, digest=digest, time_ms=1)
            segment.path.unlink()
        return really(here, chain)

    monkeypatch.setattr(Folder, "segments", listed)
    report = verify(folder)
    assert (report.broken, report.records, report.retired) == (None, 2, 2)
