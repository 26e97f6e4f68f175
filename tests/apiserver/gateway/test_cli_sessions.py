"""`edge login`, `logout` and `sessions` against a real gateway: tokens renewed, shared and ended (I12)."""

import asyncio
import json
import secrets
import stat
from pathlib import Path

import pytest_asyncio
from tests.support.gateway import PASSWORD, RunningGateway, make_user
from tests.support.person import Person
from tests.support.sessions import sessions_of

from edge_kube.client import Client
from edge_kube.harness import LightCluster

TOKEN_LIFE_S = 24 * 3600


@pytest_asyncio.fixture
async def user(gateway: RunningGateway, kube: Client) -> str:
    """An administrator of one test, with no session but those of the test."""
    name = f"user-{secrets.token_hex(3)}"
    await make_user(kube, name, admin=True)
    await gateway.knows(name, admin=True)
    return name


async def test_a_token_that_has_ended_is_renewed_without_a_word(
    gateway: RunningGateway, user: str, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path)
    await person.signs_in(user)
    before = json.loads(person.kept.read_text())
    for _ in range(2):
        gateway.clock.ahead_s += TOKEN_LIFE_S + 600
        code, out, err = await person.types("get", "user", user, "-o", "name")
        assert (code, out, err) == (0, f"users.iam.theriseunion.io/{user}\n", "")
    after = json.loads(person.kept.read_text())
    assert before["token"] != after["token"]
    assert before["refresh"] != after["refresh"]
    assert before["user"] == after["user"] == user
    assert stat.S_IMODE(person.kept.stat().st_mode) == 0o600
    assert sorted(one.name for one in person.kept.parent.iterdir()) == ["session.json", "session.lock"]


async def test_an_installation_may_have_another_client_than_the_published_one(
    gateway_cluster: LightCluster, kube: Client, tmp_path: Path
) -> None:
    settings = {"authentication.oauth.clients": "own:quite-secret"}
    name = f"user-{secrets.token_hex(3)}"
    await make_user(kube, name, admin=True)
    async with RunningGateway(gateway_cluster.connection, settings) as gateway:
        person = Person(gateway, tmp_path)
        signing_in = ("login", "-u", name, "--password-stdin")
        code, _, err = await person.types(*signing_in, stdin=PASSWORD)
        assert (code, "client" in err) == (1, True)
        person.env |= {"EDGE_CLIENT_ID": "own", "EDGE_CLIENT_SECRET": "quite-secret"}
        assert (await person.types(*signing_in, stdin=PASSWORD))[0] == 0
        gateway.clock.ahead_s += TOKEN_LIFE_S + 600
        del person.env["EDGE_CLIENT_ID"], person.env["EDGE_CLIENT_SECRET"]
        code, _, err = await person.types("logout")
        assert (code, err) == (0, ""), "what was signed in with is kept"


async def test_processes_at_once_swap_the_refresh_token_once(
    gateway: RunningGateway, user: str, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path)
    await person.signs_in(user)
    gateway.clock.ahead_s += TOKEN_LIFE_S + 600
    said = await asyncio.gather(*(person.types("get", "user", user, "-o", "name") for _ in range(5)))
    assert {code for code, _, _ in said} == {0}, said
    gateway.clock.ahead_s += TOKEN_LIFE_S + 600
    assert user in await person.gets("get", "user", user, "-o", "name"), "the last swap was kept"
    assert len(await sessions_of(gateway, user)) == 1


async def test_a_session_that_was_ended_says_so_and_what_to_do(
    gateway: RunningGateway, user: str, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path)
    await person.signs_in(user)
    admin = Person(gateway, tmp_path / "other", await gateway.token())
    assert "ended" in await admin.gets("sessions", "end", "--all", "--user", user)
    code, out, err = await person.types("get", "users")
    assert (code, out, "edge login" in err) == (1, "", True)
    gateway.clock.ahead_s += TOKEN_LIFE_S + 600
    code, _, err = await person.types("get", "users")
    assert (code, "edge login" in err) == (1, True)


async def test_a_token_of_ones_own_is_not_swapped_for_the_kept_one(
    gateway: RunningGateway, user: str, tmp_path: Path
) -> None:
    await Person(gateway, tmp_path).signs_in(user)
    other = Person(gateway, tmp_path, "of-somebody-else")
    code, _, err = await other.types("get", "users")
    assert code == 1, err


async def test_logout_ends_the_session_at_the_gateway_even_when_the_token_has_ended(
    gateway: RunningGateway, user: str, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path)
    for ahead_s in (0, TOKEN_LIFE_S + 600):
        await person.signs_in(user)
        assert len(await sessions_of(gateway, user)) == 1
        gateway.clock.ahead_s += ahead_s
        assert await person.gets("logout") == f"Signed out of {gateway.url}.\n"
        assert not person.kept.exists()
        assert await sessions_of(gateway, user) == []
    assert await person.gets("logout") == "You were not signed in.\n"


async def test_logout_removes_what_is_kept_when_the_gateway_is_away_and_says_so(
    gateway: RunningGateway, user: str, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path)
    await person.signs_in(user)
    person.kept.write_text(json.dumps(json.loads(person.kept.read_text()) | {"server": "http://127.0.0.1:1"}))
    code, out, err = await person.types("logout")
    assert (code, out) == (1, "")
    assert "What was kept here is gone" in err
    assert "http://127.0.0.1:1 was not reached" in err
    assert not person.kept.exists()


async def test_sessions_are_listed_and_ended(gateway: RunningGateway, user: str, tmp_path: Path) -> None:
    laptop, desk = Person(gateway, tmp_path / "laptop"), Person(gateway, tmp_path / "desk")
    for one in (laptop, desk):
        await one.signs_in(user)
    head, *rows = (await laptop.gets("sessions")).splitlines()
    assert head.split() == ["ID", "CLIENT", "ADDRESS", "LAST", "SEEN"]
    assert sorted(row.endswith("this one") for row in rows) == [False, True]
    assert "EXPIRES" in await laptop.gets("sessions", "list", "-o", "wide")
    assert len(json.loads(await laptop.gets("sessions", "-o", "json"))) == 2
    mine = json.loads(await desk.gets("sessions", "-o", "json"))
    (other,) = [one["id"] for one in mine if not one["current"]]
    assert f"ended {other} (edge-console at 127.0.0.1)" in await desk.gets("sessions", "end", other)
    assert (await laptop.types("get", "users"))[0] == 1
    await laptop.signs_in(user)
    await laptop.gets("sessions", "end", "--others")
    assert (await desk.types("get", "users"))[0] == 1
    left = (await laptop.gets("sessions", "-o", "name")).split()
    assert len(left) == 1
    assert (await laptop.gets("sessions", "end", "--all", "-o", "name")).split() == left
    assert (await laptop.types("sessions"))[0] == 1


async def test_sessions_of_others_need_a_right_and_a_word_that_says_which(
    gateway: RunningGateway, user: str, tmp_path: Path
) -> None:
    ada = Person(gateway, tmp_path, await gateway.token("ada"))
    code, _, err = await ada.types("sessions", "--user", user)
    assert (code, "cannot list" in err) == (1, True)
    for words in (("end",), ("end", "x", "--all"), ("list", "--all")):
        assert (await ada.types("sessions", *words))[0] == 2
    code, _, err = await ada.types("sessions", "end", "nothing")
    assert (code, 'no session "nothing"' in err) == (1, True)
