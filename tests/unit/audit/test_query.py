"""Who did what, when, to what, with which result: filters and pages over segments and chains (O6)."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.support.trails import intent, outcome, trail

from edge.audit.folder import Folder
from edge.audit.query import BadQueryError, Entry, Query, search
from edge.audit.record import UNKNOWN, Actor, Record
from edge.audit.retention import Limits

SMALL = Limits(segment_bytes=3000, refuse_ratio=1.1)
START_MS = 1_700_000_000_000


def found(path: Path, **asked: str | int) -> list[Entry]:
    return search(Folder(path), Query(**asked), lambda _user, _scope: True).items  # type: ignore[arg-type]


def names(path: Path, **asked: str | int) -> list[str]:
    return [entry.req.name for entry in found(path, **asked)]


async def _write(path: Path) -> list[Record]:
    """Forty changes in small segments of two chains, a second apart; outcomes come five changes later."""
    written: list[Record] = []
    async with trail(path, "gateway-1", SMALL) as one, trail(path, "gateway-2", SMALL) as two:
        late: list[tuple[Record, int]] = []
        for number in range(40):
            asked = intent(f"web-{number}", user=("ada", "eve")[number % 2], now_ms=START_MS + number * 1000)
            await (one, two)[number % 3 == 0].begin(asked)
            written.append(asked)
            late.append((asked, 201 if number % 4 else 409))
            if len(late) > 5:
                done, code = late.pop(0)
                await one.settled(outcome(done, code))
        for done, code in late[:-2]:
            await two.settled(outcome(done, code))
        await two.settled(replace(outcome(late[-2][0], 0), phase=UNKNOWN))
    return written


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("trail")
    asyncio.run(_write(made))
    assert len(Folder(made).segments()) > 6
    return made


def test_everything_comes_newest_first_and_once(path: Path) -> None:
    assert names(path, limit=100) == [f"web-{number}" for number in reversed(range(40))]


def test_an_entry_is_the_intent_and_its_outcome_together(path: Path) -> None:
    (entry,) = found(path, name="web-5")
    assert (entry.result, entry.code, entry.phase) == ("success", 201, "outcome")
    assert (entry.actor.user, entry.actor.groups, entry.scope) == ("eve", ("ops",), "namespace/press")
    assert entry.time == START_MS + 5000
    assert entry.ended == entry.time + 5


def test_it_is_searched_by_user_resource_verb_time_and_result(path: Path) -> None:
    assert names(path, user="ada", limit=3) == ["web-38", "web-36", "web-34"]
    assert names(path, resource="deployments.apps", name="web-7") == ["web-7"]
    assert names(path, resource="pods") == names(path, verb="delete") == names(path, namespace="other") == []
    between = {"from_ms": START_MS + 3000, "to_ms": START_MS + 6000}
    assert names(path, **between) == ["web-5", "web-4", "web-3"]
    assert names(path, result="failure", limit=2) == ["web-36", "web-32"]
    assert names(path, code="4xx", limit=2) == names(path, code="409", limit=2) == ["web-36", "web-32"]
    assert names(path, result="unknown") == ["web-38"]
    assert names(path, result="open") == ["web-39"]


@settings(max_examples=40)
@given(size=st.integers(1, 17), user=st.sampled_from(["", "ada"]), result=st.sampled_from(["", "success"]))
def test_pages_put_together_are_the_whole(path: Path, size: int, user: str, result: str) -> None:
    query = Query(user=user, result=result, limit=size)
    together: list[str] = []
    cursor = ""
    while True:
        page = search(Folder(path), query._replace(cursor=cursor), lambda _user, _scope: True)
        assert len(page.items) <= size
        together += [entry.id for entry in page.items]
        cursor = page.cursor
        if not cursor:
            break
    assert together == [entry.id for entry in found(path, user=user, result=result, limit=500)]


def test_what_the_asker_may_not_see_is_neither_shown_nor_counted(path: Path) -> None:
    page = search(Folder(path), Query(limit=5), lambda user, _scope: user == "ada")
    assert [entry.req.name for entry in page.items] == [f"web-{number}" for number in (38, 36, 34, 32, 30)]


def test_a_damaged_index_is_made_anew_and_an_old_one_catches_up(tmp_path: Path) -> None:
    async def write(name: str) -> None:
        async with trail(tmp_path, f"gateway-{name}") as made:
            for number in range(3):
                await made.begin(intent(f"{name}-{number}", now_ms=START_MS + number))
                assert len(await asyncio.to_thread(names, tmp_path, name=f"{name}-{number}")) == 1

    asyncio.run(write("a"))
    for path in (tmp_path / "index").glob("*"):
        path.write_bytes(b"no index at all" * 400)
    assert len(names(tmp_path)) == 3


def test_an_index_of_another_edition_is_filled_anew(tmp_path: Path) -> None:
    async def write() -> None:
        for chain in ("gateway-a", "gateway-b"):
            async with trail(tmp_path, chain) as made:
                actor = Actor(user="ada", impersonated="eve")
                await made.begin(replace(intent(chain, now_ms=START_MS), actor=actor))

    asyncio.run(write())
    both = {"gateway-a", "gateway-b"}
    assert set(names(tmp_path, impersonated="eve")) == set(names(tmp_path, user="ada")) == both
    indexes = [path for path in (tmp_path / "index").glob("*") if not path.name.endswith(("-wal", "-shm"))]
    assert len(indexes) == len(both)
    for path in indexes:
        with closing(sqlite3.connect(path)) as rows:
            rows.executescript(
                "DROP TABLE entries; CREATE TABLE entries (id TEXT PRIMARY KEY, began INTEGER, user TEXT);"
                "PRAGMA user_version = 1;"
            )
    assert set(names(tmp_path, impersonated="eve")) == both
    assert names(tmp_path, impersonated="ada") == []


@pytest.mark.parametrize("asked", [{"result": "maybe"}, {"code": "abc"}, {"cursor": "%%%"}])
def test_a_question_that_cannot_be_asked_says_what_would_do(path: Path, asked: dict[str, str]) -> None:
    with pytest.raises(BadQueryError, match="accepted"):
        found(path, **asked)
