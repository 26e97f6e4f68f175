"""A search finds what is there with many files, a full disk, wrong clocks and damaged records (O6)."""

import asyncio
import contextlib
import os
import resource
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.sinks import NearSink
from tests.support.trails import KEY, change, intent, lines_of, outcome, trail, write_chain

from edge.apiserver.sinks.kept import SinkReading
from edge.audit.folder import Folder
from edge.audit.query import BadQueryError, Page, Query, search
from edge.audit.retention import Limits
from edge.audit.shipping import Shipper
from edge.audit.trail import Trail

FIRST_S = 1_700_000_000
ONE_A_SEGMENT = Limits(segment_bytes=1, refuse_ratio=1.1)


def found(path: Path, **asked: str | int) -> Page:
    return search(Folder(path), Query(**asked), lambda _user, _scope: True)  # type: ignore[arg-type]


@pytest.fixture
def few_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 40, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_search_over_many_segments_needs_few_open_files(tmp_path: Path, few_files: None) -> None:
    """One a day, as they come."""

    async def write() -> None:
        async with trail(tmp_path, limits=ONE_A_SEGMENT) as made:
            for day in range(60):
                await made.begin(intent(f"day-{day}", now_ms=(FIRST_S + day * 86_400) * 1000))

    asyncio.run(write())
    segments = Folder(tmp_path).segments()
    for day, segment in enumerate(segments):
        os.utime(segment.path, (FIRST_S + day * 86_400, FIRST_S + day * 86_400))
    assert len(segments) == 60
    for _ in range(2):  # without indexes, and with them
        assert found(tmp_path, user="nobody") == Page([], "")
        assert len(found(tmp_path, user="ada", limit=100).items) == 60


@pytest.mark.parametrize("state", ["new", "begun", "complete"])
def test_a_volume_that_cannot_be_written_is_searched(
    tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write() -> None:
        async with trail(tmp_path) as made:
            await change(made, "first")
            if state == "begun":
                await asyncio.to_thread(found, tmp_path)
            await change(made, "second")

    asyncio.run(write())
    if state == "complete":
        found(tmp_path)
    really = sqlite3.connect

    def connect(path: Path | str, **options: bool | float) -> sqlite3.Connection:
        """As SQLite does on a volume that is mounted read-only."""
        if isinstance(path, Path):
            raise sqlite3.OperationalError("unable to open database file")
        return really(path, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(sqlite3, "connect", connect)
    assert {entry.req.name for entry in found(tmp_path).items} == {"first", "second"}


def test_an_index_that_breaks_while_it_is_read_is_made_anew(tmp_path: Path) -> None:
    write_chain(tmp_path, 400)
    found(tmp_path)
    (index,) = (tmp_path / "index").glob("*.idx")
    whole = index.read_bytes()
    index.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    with contextlib.suppress(OSError):  # it may break before or while rows are read
        found(tmp_path, limit=500)
    assert len(found(tmp_path, limit=500).items) == 200


def test_an_entry_whose_record_was_destroyed_is_shown_as_the_index_knows_it(tmp_path: Path) -> None:
    write_chain(tmp_path, 6)
    found(tmp_path)
    (segment,) = tmp_path.glob("*.log")
    data = segment.read_bytes()
    for line in lines_of(segment)[2:4]:
        data = data.replace(line, line[:70] + b"x" * (len(line) - 70))
    segment.write_bytes(data)
    entries = found(tmp_path).items
    assert len(entries) == 3
    (damaged,) = [entry for entry in entries if entry.reason]
    assert (damaged.req.name, damaged.actor.user, damaged.result) == ("web-1", "ada", "success")
    assert "edge audit verify" in damaged.reason


def test_records_that_were_cut_off_again_are_not_found(tmp_path: Path) -> None:
    write_chain(tmp_path, 6)
    assert len(found(tmp_path).items) == 3
    (segment,) = tmp_path.glob("*.log")
    lines = lines_of(segment)
    segment.write_bytes(b"\n".join(lines[:4]) + b"\n")
    assert {entry.req.name for entry in found(tmp_path).items} == {"web-0", "web-1"}


def test_a_volume_whose_clock_is_behind_hides_nothing(tmp_path: Path) -> None:
    """Records of two chains, whose files say that they were written seconds before their records."""

    async def write() -> None:
        for chain, seconds in (("gateway-1", (100, 96)), ("gateway-2", (97, 90))):
            async with trail(tmp_path, chain) as made:
                for second in seconds:
                    await made.begin(intent(f"at-{second}", now_ms=1_700_000_000_000 + second * 1000))

    asyncio.run(write())
    for path, second in (("gateway-1", 101), ("gateway-2", 95)):
        (segment,) = tmp_path.glob(f"{path}.*.log")
        os.utime(segment, (1_700_000_000 + second, 1_700_000_000 + second))
    first = found(tmp_path, limit=2)
    rest = found(tmp_path, limit=2, cursor=first.cursor)
    names = [entry.req.name for entry in (*first.items, *rest.items)]
    assert names == ["at-100", "at-97", "at-96", "at-90"]
    after = found(tmp_path, from_ms=1_700_000_000_000 + 96_000)
    assert [entry.req.name for entry in after.items] == ["at-100", "at-97", "at-96"]


async def test_a_clock_that_was_set_back_hides_nothing(tmp_path: Path) -> None:
    """O6: what was written while it was five hours ahead is found by its time, and once, on every page."""
    now_ms, ahead_ms = int(time.time() * 1000), 5 * 3_600_000
    sink = NearSink(tmp_path / "sink")
    async with trail(tmp_path / "folder") as written:
        shipper = Trail(Shipper([sink], "gateway-1", KEY, enough=1), within_s=60)
        shipper.start()
        for each in (written, shipper):
            for name, at_ms in (("ahead", now_ms + ahead_ms), ("later", now_ms), ("last", now_ms + 1)):
                asked = intent(name, now_ms=at_ms)
                await each.begin(asked)
                each.finish(outcome(asked))
        await shipper.close()
    for path in (tmp_path / "folder", tmp_path / "sink"):
        since = found(path, from_ms=now_ms + ahead_ms - 1)
        assert [(entry.req.name, entry.result) for entry in since.items] == [("ahead", "success")]
        names, cursor = list[str](), ""
        while not names or cursor:
            page = found(path, limit=1, cursor=cursor)
            names += [entry.req.name for entry in page.items]
            cursor = page.cursor
        assert names == ["ahead", "last", "later"]


HUGE = "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OS54"
"""A cursor with a time of thirty digits."""


@pytest.mark.parametrize("asked", [{"code": "1" * 5000}, {"code": "40"}, {"cursor": HUGE}])
async def test_numbers_beyond_all_bounds_are_refused_wherever_records_are_kept(
    tmp_path: Path, asked: dict[str, str]
) -> None:
    await asyncio.to_thread(write_chain, tmp_path, 2)
    with pytest.raises(BadQueryError):
        found(tmp_path, **asked)
    with pytest.raises(BadQueryError):
        await SinkReading([]).search(Query()._replace(**asked), lambda _user, _scope: True)


class Searched(NearSink):
    async def search(self, query: Query) -> Page:
        return search(self._reached().folder, query, lambda _user, _scope: True)


async def test_the_sink_that_knows_most_answers(tmp_path: Path) -> None:
    await asyncio.to_thread(write_chain, tmp_path / "written", 4)
    lines = lines_of(next((tmp_path / "written").glob("*.log")))
    old, new = Searched(tmp_path / "old"), Searched(tmp_path / "new")
    old.received.append("gateway-1", lines[0] + b"\n")
    new.received.append("gateway-1", b"\n".join(lines) + b"\n")
    reading = SinkReading([old, new])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    page = await reading.search(Query(), lambda _user, _scope: True)
    assert [entry.result for entry in page.items] == ["success", "success"]
    new.away = True
    page = await reading.search(Query(), lambda _user, _scope: True)
    assert [entry.result for entry in page.items] == ["open"]
