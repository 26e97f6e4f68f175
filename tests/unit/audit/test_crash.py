"""Nothing acknowledged is lost: torn ends, kill -9, full and read-only disks (O6; design §10, §4.3)."""

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.trails import KEY, ROOMY, change, intent, lines_of, outcome, trail, write_chain

from edge.audit.chain import BODY
from edge.audit.folder import Folder
from edge.audit.record import Record, read_record
from edge.audit.recovery import left_behind, let_go
from edge.audit.retention import Limits
from edge.audit.verify import verify
from edge.audit.writer import NotWrittenError


@pytest.fixture(scope="module")
def unclosed() -> Iterator[Path]:
    """A chain as a killed writer leaves it: nothing is signed but its opening, and zeros follow."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trail"
        write_chain(path, 12)
        signatures = path / "gateway-1.sig"
        signatures.write_bytes(signatures.read_bytes().splitlines(keepends=True)[0])
        yield path


def records(path: Path, chain: str = "*") -> list[Record]:
    return [read_record(line[BODY:]) for one in sorted(path.glob(f"{chain}.*.log")) for line in lines_of(one)]


@settings(max_examples=100)
@given(data=st.data())
def test_a_torn_end_is_cut_off_and_everything_before_it_stays(data: st.DataObject, unclosed: Path) -> None:
    (segment,) = unclosed.glob("*.log")
    whole = segment.read_bytes()
    lines = lines_of(segment)
    acknowledged = data.draw(st.integers(0, len(lines)), label="acknowledged")
    done = sum(len(line) + 1 for line in lines[:acknowledged])
    # The batch that was being written: any part of it may have reached the disk, in pieces.
    torn = bytearray(whole[done:])
    if torn:
        cut = data.draw(st.integers(0, len(torn)), label="cut")
        torn[cut:] = bytes(len(torn) - cut)
        start = data.draw(st.integers(0, len(torn)), label="hole")
        hole = data.draw(st.integers(0, 200))
        torn[start : start + hole] = bytes(len(torn[start : start + hole]))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(unclosed, copy)
        (segment,) = copy.glob("*.log")
        segment.write_bytes(whole[:done] + torn + bytes(5000))
        (left,) = left_behind(Folder(copy), "gateway-2")
        assert left.seq >= acknowledged
        let_go(Folder(copy), left, KEY, 1)
        assert lines_of(segment)[:acknowledged] == lines[:acknowledged]
        report = verify(Folder(copy))
        assert (report.broken, report.records) == (None, left.seq)
        assert left_behind(Folder(copy), "gateway-2") == []


def test_a_change_before_the_last_signature_is_no_torn_end(tmp_path: Path) -> None:
    write_chain(tmp_path, 12)
    signatures, (segment,) = tmp_path / "gateway-1.sig", tmp_path.glob("*.log")
    lines = signatures.read_bytes().splitlines(keepends=True)
    signatures.write_bytes(lines[0] + lines[1].replace(b"closed", b"checkpoint"))
    damaged = segment.read_bytes().replace(b'"name":"web-1"', b'"name":"bew-1"', 1)
    segment.write_bytes(damaged)
    (left,) = left_behind(Folder(tmp_path), "gateway-2")
    os.close(left.lock)
    assert segment.read_bytes() == damaged


async def test_the_next_writer_marks_what_has_no_outcome_as_unknown(tmp_path: Path, unclosed: Path) -> None:
    shutil.copytree(unclosed, tmp_path / "t")
    (segment,) = (tmp_path / "t").glob("*.log")
    lines = lines_of(segment)
    segment.write_bytes(b"\n".join(lines[:-1]) + b"\n")  # the outcome of the last one never came
    async with trail(tmp_path / "t", "gateway-2") as after:
        looking = asyncio.create_task(after.look_after_orphans(lambda: 7))
        async with asyncio.timeout(60):
            while not records(tmp_path / "t", "gateway-2"):  # noqa: ASYNC110 - files change elsewhere
                await asyncio.sleep(0.02)
            while left_behind_names(tmp_path / "t"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        looking.cancel()
    (unknown,) = records(tmp_path / "t", "gateway-2")
    assert (unknown.phase, unknown.req.name, unknown.actor.user) == ("unknown", "web-5", "ada")
    assert unknown.id == records(tmp_path / "t", "gateway-1")[-1].id
    assert verify(Folder(tmp_path / "t")).broken is None


def left_behind_names(path: Path) -> bool:
    return b"closed" not in (path / "gateway-1.sig").read_bytes()


WRITES_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from tests.support.trails import change, trail

async def main():
    async with trail(Path(sys.argv[1])) as made:
        number = 0
        async def client():
            nonlocal number
            while True:
                number += 1
                asked = await change(made, f"web-{number}")
                sys.stdout.write(asked.id + "\\n")
                sys.stdout.flush()
        await asyncio.gather(*(client() for _ in range(20)))

asyncio.run(main())
"""


@pytest.mark.parametrize("after_s", [0.05, 0.3, 0.7])
def test_kill_9_loses_no_acknowledged_record(tmp_path: Path, after_s: float) -> None:
    command = [sys.executable, "-c", WRITES_UNTIL_KILLED, str(tmp_path / "t")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(after_s)
        process.send_signal(signal.SIGKILL)
        acknowledged = {line.strip().decode() for line in [first, *process.stdout] if len(line) == 33}
    assert acknowledged
    (left,) = left_behind(Folder(tmp_path / "t"), "gateway-2")
    let_go(Folder(tmp_path / "t"), left, KEY, 1)
    found = records(tmp_path / "t")
    assert acknowledged <= {record.id for record in found}
    assert verify(Folder(tmp_path / "t")).broken is None
    open_ids = {record.id for record in left.open}
    ended = {record.id for record in found if record.phase == "outcome"}
    assert open_ids == {record.id for record in found} - ended


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def fill(path: Path) -> None:
    """Take what is free, to the last block."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - the loop ends by it


async def test_a_full_disk_refuses_changes_and_takes_the_outcomes_of_earlier_ones(small_disk: Path) -> None:
    async with trail(small_disk / "t") as made:
        before = [intent(f"web-{number}") for number in range(50)]
        for record in before:
            await made.begin(record)
        filler = small_disk / "filler"
        fill(filler)
        refused: NotWrittenError | None = None
        allowed = 0
        while refused is None:
            try:
                await made.begin(intent("more" * 30))
                allowed += 1
            except NotWrittenError as error:
                refused = error
        assert refused.reason == "disk-full"
        for record in before:
            made.finish(outcome(record))
        async with asyncio.timeout(60):
            while made.counts.written < 100 + allowed:  # noqa: ASYNC110 - a thread writes
                await asyncio.sleep(0.01)
        filler.unlink()
        await change(made)
    assert verify(Folder(small_disk / "t")).broken is None
    assert sum(record.phase == "outcome" for record in records(small_disk / "t")) == 51


async def test_statements_that_a_full_disk_tore_leave_the_chain_whole(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.audit.writer.CHECKPOINT_RECORDS", 1)
    async with trail(small_disk / "t") as made:
        await change(made)
        fill(small_disk / "filler")
        for _ in range(60):  # each wants a statement of 350 bytes: the file needs another block soon
            await made.begin(intent())
        (small_disk / "filler").unlink()
        await change(made)
    report = verify(Folder(small_disk / "t"))
    assert (report.broken, report.unsigned) == (None, 0)


async def test_a_volume_that_is_nearly_full_refuses_changes(tmp_path: Path) -> None:
    nearly = Limits(refuse_ratio=0.0001, enough_free_bytes=2**60)
    async with trail(tmp_path, limits=nearly) as made:
        with pytest.raises(NotWrittenError, match=r"is \d+% full"):
            await made.begin(intent())
    assert records(tmp_path) == []


async def test_a_folder_that_cannot_be_made_refuses_changes_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("a file is in the way")
    async with trail(tmp_path / "t") as made:
        with pytest.raises(NotWrittenError) as refused:
            await made.begin(intent())
        assert refused.value.reason == "storage-failed"
        asked = intent("later")
        made.finish(outcome(asked))
        (tmp_path / "t").unlink()
        async with asyncio.timeout(60):
            while not made.counts.written:  # noqa: ASYNC110 - a thread writes
                await asyncio.sleep(0.02)
        await change(made)
    assert [record.phase for record in records(tmp_path / "t")] == ["outcome", "intent", "outcome"]


async def test_two_writers_share_a_folder_and_a_chain_has_one_writer(tmp_path: Path) -> None:
    async with trail(tmp_path, "gateway-1") as one, trail(tmp_path, "gateway-2") as two:
        await asyncio.gather(*(change(made) for made in (one, two) for _ in range(20)))
        assert left_behind(Folder(tmp_path), "gateway-3") == []
        async with trail(tmp_path, "gateway-1") as third:
            with pytest.raises(NotWrittenError, match="another process"):
                await third.begin(intent())
    report = verify(Folder(tmp_path))
    assert (report.broken, report.chains, report.records) == (None, 2, 80)


async def test_reads_are_dropped_and_counted_before_changes_wait(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("a file is in the way")
    async with trail(tmp_path / "t", limits=ROOMY) as made:
        for _ in range(1500):
            made.note(intent())
        assert made.counts.dropped >= 500
