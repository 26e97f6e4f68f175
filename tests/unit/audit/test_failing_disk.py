"""Disks that fail and clocks that are wrong lose no record, and make no whole chain look broken (O6)."""

import asyncio
import os
import time
from pathlib import Path

import pytest
from tests.support.sinks import NearSink
from tests.support.trails import KEY, ROOMY, change, intent, lines_of, outcome, trail, write_chain

from edge.audit.folder import Folder
from edge.audit.recovery import left_behind, let_go
from edge.audit.retention import DAY_S, Limits
from edge.audit.segment import OpenSegment
from edge.audit.statements import CHECKPOINT, Signer, read_statements
from edge.audit.trail import Trail
from edge.audit.verify import verify
from edge.audit.writer import Entry, NotWrittenError, Writer

SMALL = Limits(segment_bytes=1500, refuse_ratio=1.1)
ONE_A_SEGMENT = Limits(segment_bytes=1, refuse_ratio=1.1)


class Failing:
    """fdatasync of segments, which fails `times` times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        really = OpenSegment.write

        def write(segment: OpenSegment, data: bytes, newest_ms: int = 0) -> None:
            if self.times:
                self.times -= 1
                raise OSError(5, "Input/output error")
            really(segment, data, newest_ms)

        monkeypatch.setattr(OpenSegment, "write", write)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Failing:
    return Failing(monkeypatch)


async def test_a_disk_that_fails_at_the_first_record_is_written_to_again(
    tmp_path: Path, disk: Failing
) -> None:
    async with trail(tmp_path) as made:
        disk.times = 1
        with pytest.raises(NotWrittenError, match="Input/output error"):
            await made.begin(intent())
        await change(made, "later")
    report = verify(Folder(tmp_path))
    assert (report.broken, report.records, report.unsigned) == (None, 2, 0)


def test_a_sink_whose_disk_failed_takes_records_again(tmp_path: Path, disk: Failing) -> None:
    writes = tmp_path / "written"
    write_chain(writes, 6)
    lines = [line + b"\n" for line in lines_of(next(writes.glob("*.log")))]
    sink = NearSink(tmp_path / "sink")
    for number, line in enumerate(lines):
        if number in (0, 3):  # into an empty file, and behind records
            disk.times = 1
            with pytest.raises(OSError, match="Input/output error"):
                sink.received.append("gateway-1", line)
        assert sink.received.append("gateway-1", line).seq == number + 1
    report = verify(sink.folder, [KEY.public_key()])
    assert (report.broken, report.records) == (None, 6)


def no_space(*_: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_sink_that_was_full_between_two_files_takes_records_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_chain(tmp_path / "written", 4)
    lines = [line + b"\n" for line in lines_of(next((tmp_path / "written").glob("*.log")))]
    sink = NearSink(tmp_path / "sink", ONE_A_SEGMENT)
    sink.received.append("gateway-1", lines[0])
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", no_space)
        with pytest.raises(OSError, match="No space"):
            sink.received.append("gateway-1", lines[1])
    for line in lines[1:]:
        sink.received.append("gateway-1", line)
    assert verify(sink.folder, [KEY.public_key()]).broken is None


async def test_outcomes_that_could_not_be_written_at_the_end_are_marked_by_the_next_process(
    tmp_path: Path, disk: Failing
) -> None:
    async with trail(tmp_path) as made:
        asked = intent()
        await made.begin(asked)
        disk.times = 10**6
        made.finish(outcome(asked))
    disk.times = 0
    (left,) = left_behind(Folder(tmp_path), "gateway-2")
    let_go(Folder(tmp_path), left, KEY, 1)
    assert [record.id for record in left.open] == [asked.id]
    assert verify(Folder(tmp_path)).broken is None


class Deaf(Writer):
    """Keeps what it is given, and says nothing by itself."""

    given: list[Entry]

    def put(self, entry: Entry) -> bool:
        self.given.append(entry)
        return True


@pytest.mark.parametrize("acknowledged_first", [True, False])
async def test_who_gives_up_while_the_record_is_acknowledged_leaves_an_outcome(
    tmp_path: Path, *, acknowledged_first: bool
) -> None:
    writer = Deaf(Folder(tmp_path), "gateway-1", KEY, ROOMY)
    writer.given = []
    asking = asyncio.create_task(Trail(writer, within_s=60).begin(intent()))
    await asyncio.sleep(0)
    (entry,) = writer.given
    assert entry.done is not None
    if acknowledged_first:
        entry.done(None)
        asking.cancel()
    else:
        asking.cancel()
        entry.done(None)
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [one.record.code for one in writer.given[1:]] == [503]


def test_a_file_that_was_made_to_look_old_is_not_let_go_of(tmp_path: Path) -> None:
    async def write() -> None:
        async with trail(tmp_path, limits=SMALL) as made:
            for _ in range(8):
                await made.begin(intent(now_ms=int(time.time() * 1000)))

    asyncio.run(write())
    segments = sorted(tmp_path.glob("*.log"))
    assert len(segments) > 1
    os.utime(segments[0], (1, 1))
    write_chain(tmp_path, 2, "gateway-2")
    assert segments[0].exists()
    assert verify(Folder(tmp_path)).retired == 0


async def test_nothing_goes_because_a_clock_jumped_ahead(tmp_path: Path) -> None:
    await asyncio.to_thread(write_chain, tmp_path, 20, limits=SMALL)
    before = sorted(tmp_path.glob("gateway-1.*.log"))
    for path in before:
        os.utime(path, (1, 1))  # their records are of 2023: truly old, but who is to say so
    ahead_s = [0.0]
    writer = Writer(Folder(tmp_path), "gateway-2", KEY, ROOMY, lambda: time.time() + ahead_s[0])
    ahead_s[0] = 400 * DAY_S
    made = Trail(writer, within_s=60)
    made.start()
    await change(made)
    await made.close()
    assert sorted(tmp_path.glob("gateway-1.*.log")) == before


async def test_a_clock_that_was_set_back_does_not_stop_the_signing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.audit.writer.LOOK_S", 0.05)
    back_s = [0.0]
    writer = Writer(Folder(tmp_path), "gateway-1", KEY, ROOMY, lambda: time.time() - back_s[0])
    made = Trail(writer, within_s=60)
    made.start()
    await change(made)
    back_s[0] = 10 * DAY_S
    statements = tmp_path / "gateway-1.sig"
    async with asyncio.timeout(60):
        while CHECKPOINT.encode() not in statements.read_bytes():  # noqa: ASYNC110 - a thread writes
            await asyncio.sleep(0.02)
    await made.close()


@pytest.mark.parametrize("damage", [b"no record at all", b"\xff" * 40])
def test_a_record_that_was_destroyed_keeps_no_other_chain_open(tmp_path: Path, damage: bytes) -> None:
    for chain in ("gateway-1", "gateway-2"):
        write_chain(tmp_path, 5, chain)
        signatures = tmp_path / f"{chain}.sig"
        opened = signatures.read_bytes().splitlines(keepends=True)[0]
        signed = verify(Folder(tmp_path), [KEY.public_key()])
        assert signed.broken is None
        signatures.write_bytes(opened)
    # The last record of the first chain was signed, and is destroyed.
    (segment,) = tmp_path.glob("gateway-1.*.log")
    lines = lines_of(segment)
    opening = (tmp_path / "gateway-1.sig").read_bytes()
    said = list(read_statements([opening], [KEY.public_key()]))
    previous = Signer(KEY, "gateway-1")
    first = previous.sign(said[0].kind, seq=0, digest=bytes(32), time_ms=said[0].time, heads=said[0].heads)
    assert first == opening
    checkpoint = previous.sign(CHECKPOINT, seq=5, digest=bytes.fromhex(lines[4][:64].decode()), time_ms=1)
    with (tmp_path / "gateway-1.sig").open("ab") as file:
        file.write(checkpoint)
    segment.write_bytes(b"\n".join([*lines[:4], damage]) + b"\n")
    found = left_behind(Folder(tmp_path), "gateway-3")
    assert [left.chain for left in found] == ["gateway-1", "gateway-2"]
    for left in found:
        let_go(Folder(tmp_path), left, KEY, 1)
    broken = verify(Folder(tmp_path)).broken
    assert broken is not None
    assert (broken.chain, broken.seq) == ("gateway-1", 5)
