"""`edge login --browser` against a real gateway; the browser's part is played by HTTP (I12; RFC 8252)."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from tests.support.browser import Browser, Page
from tests.support.gateway import PASSWORD, RunningGateway, make_user, somebody
from tests.support.person import Person
from tests.support.sessions import sessions_of

from edge.cli.browser_login import sign_in
from edge.cli.errors import CommandError
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_sdk.client import EdgeClient

TOKEN_LIFE_S = 24 * 3600
WITHIN_S = 90.0


@dataclass
class Command:
    """`edge login --browser` that waits. path: of the page, as it was printed."""

    process: asyncio.subprocess.Process
    path: str
    gateway: RunningGateway

    @property
    def asked(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query))

    async def comes_back(self, address: str) -> tuple[int, str]:
        """What the browser sees there."""
        async with self.gateway.session.get(address, allow_redirects=False) as answer:
            return answer.status, await answer.text()

    async def ends(self) -> tuple[int, str, str]:
        """Exit code, what was printed after the address, errors."""
        out, err = await asyncio.wait_for(self.process.communicate(), WITHIN_S)
        assert "Traceback" not in err.decode(), err.decode()
        return self.process.returncode or 0, out.decode(), err.decode()


@asynccontextmanager
async def login(gateway: RunningGateway, person: Person, *words: str) -> AsyncGenerator[Command]:
    process = await person.start("login", "--browser", *words)
    assert process.stdout is not None
    try:
        line = ""
        async with asyncio.timeout(WITHIN_S):
            while not line.strip().startswith("http"):
                line = (await process.stdout.readline()).decode()
                assert line, (await process.communicate())[1].decode()
        address = line.strip()
        assert address.startswith(gateway.url)
        yield Command(process, address.removeprefix(gateway.url), gateway)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def filled_in(browser: Browser, command: Command, user: str) -> str:
    """The page, filled in and sent: where the browser is sent on to."""
    page = Page((await browser.open(command.path)).body.decode())
    answer = await browser.send("/oauth/authorize", page.fields | {"username": user, "password": PASSWORD})
    assert answer.status == 303, answer.body
    return answer.headers["Location"]


async def test_a_sign_in_with_the_browser_is_a_session_like_any_other(
    gateway: RunningGateway, kube: Client, tmp_path: Path
) -> None:
    """Kept, used, renewed and ended without a password or a secret on this machine."""
    user, person = await somebody(gateway, kube, admin=True), Person(gateway, tmp_path)
    async with login(gateway, person, "--no-open") as command:
        assert command.asked["client_id"] == "edge-cli"
        assert command.asked["code_challenge_method"] == "S256"
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/callback", command.asked["redirect_uri"])
        status, page = await command.comes_back(await filled_in(Browser(gateway), command, user))
        assert (status, "Back to the terminal" in page) == (200, True)
        code, out, err = await command.ends()
    assert (code, err) == (0, "")
    assert f"Signed in to {gateway.url} as {user}." in out
    kept = json.loads(person.kept.read_text())
    assert (kept["user"], kept["client"], kept["secret"]) == (user, "edge-cli", "")
    assert await person.gets("get", "user", user, "-o", "name") == f"users.iam.theriseunion.io/{user}\n"
    assert await sessions_of(gateway, user, "client") == ["edge-cli"]
    gateway.clock.ahead_s += TOKEN_LIFE_S + 600
    assert user in await person.gets("get", "user", user, "-o", "name")
    assert json.loads(person.kept.read_text())["refresh"] != kept["refresh"]
    assert await person.gets("logout") == f"Signed out of {gateway.url}.\n"
    assert await sessions_of(gateway, user, "client") == []


async def test_the_browser_is_opened_at_the_printed_address(gateway: RunningGateway, tmp_path: Path) -> None:
    person, seen = Person(gateway, tmp_path), tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}.new && mv {seen}.new {seen}\n')
    browser.chmod(0o755)
    person.env["BROWSER"] = str(browser)
    async with login(gateway, person) as command:
        async with asyncio.timeout(WITHIN_S):
            while not seen.exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
        assert seen.read_text() == gateway.url + command.path


async def test_without_a_browser_the_password_is_named_and_the_address_still_works(
    gateway: RunningGateway, kube: Client, tmp_path: Path
) -> None:
    user, person = await somebody(gateway, kube), Person(gateway, tmp_path)
    person.env |= {"BROWSER": "/nonexistent/browser", "PATH": str(tmp_path)}
    async with login(gateway, person) as command:
        assert command.process.stderr is not None
        async with asyncio.timeout(WITHIN_S):
            said = (await command.process.stderr.readline()).decode()
        assert "No browser could be opened" in said
        assert "edge login -u NAME" in said
        await command.comes_back(await filled_in(Browser(gateway), command, user))
        assert (await command.ends())[0] == 0


async def test_an_answer_that_is_not_ours_is_not_used_and_ours_still_counts(
    gateway: RunningGateway, kube: Client, tmp_path: Path
) -> None:
    """Another state, be it with a good code: it would sign in as somebody else (RFC 6749 §10.12)."""
    user, person = await somebody(gateway, kube), Person(gateway, tmp_path)
    async with login(gateway, person, "--no-open") as command:
        ours = await filled_in(Browser(gateway), command, user)
        theirs = command.path.replace(command.asked["state"], "s" * 43)
        attacker = Command(command.process, theirs, gateway)
        foreign = await filled_in(Browser(gateway), attacker, "ada")
        for address in (foreign, ours.replace("state=", "estate="), f"{ours}&state=x"):
            status, page = await command.comes_back(address)
            assert (status, "another sign-in" in page) == (400, True)
        assert command.process.returncode is None
        assert (await command.comes_back(ours))[0] == 200
        code, out, _ = await command.ends()
    assert (code, f"as {user}." in out) == (0, True)


async def test_an_answer_of_another_issuer_signs_nobody_in(gateway: RunningGateway, tmp_path: Path) -> None:
    """RFC 9207: a code of one server is not taken to another."""
    for iss in ({"iss": "https://evil.example"}, {}):
        async with login(gateway, Person(gateway, tmp_path), "--no-open") as command:
            query = urlencode({"code": "x" * 43, "state": command.asked["state"], **iss})
            await command.comes_back(f"{command.asked['redirect_uri']}?{query}")
            code, _, err = await command.ends()
        assert (code, 'and not from "https://edge.example.com"' in err) == (1, True)
    assert not Person(gateway, tmp_path).kept.exists()


async def test_a_code_that_is_made_up_is_refused_by_the_gateway(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path)
    async with login(gateway, person, "--no-open") as command:
        query = {"code": "x" * 43, "state": command.asked["state"], "iss": "https://edge.example.com"}
        await command.comes_back(f"{command.asked['redirect_uri']}?{urlencode(query)}")
        code, _, err = await command.ends()
    assert (code, "the code is not good" in err, person.kept.exists()) == (2, True, False)


async def test_who_is_signed_in_in_the_browser_goes_on_or_says_no(
    gateway: RunningGateway, kube: Client, tmp_path: Path
) -> None:
    user, browser = await somebody(gateway, kube), Browser(gateway)
    person = Person(gateway, tmp_path)
    async with login(gateway, person, "--no-open") as command:
        await filled_in(browser, command, user)
    for answer, code, said in (
        ("cancel", 1, "that was the answer in the browser"),
        ("continue", 0, f"as {user}."),
    ):
        async with login(gateway, person, "--no-open") as command:
            page = Page((await browser.open(command.path)).body.decode())
            sent = await browser.send("/oauth/authorize", page.fields | {"answer": answer})
            await command.comes_back(sent.headers["Location"])
            ended = await command.ends()
        assert ended[0] == code, ended
        assert said in "".join(ended[1:])


async def test_who_must_change_the_password_is_told_so(
    gateway: RunningGateway, kube: Client, tmp_path: Path
) -> None:
    user = await somebody(gateway, kube, must_change=True)
    async with login(gateway, Person(gateway, tmp_path), "--no-open") as command:
        await command.comes_back(await filled_in(Browser(gateway), command, user))
        code, out, _ = await command.ends()
    assert (code, f"as {user}." in out, "until you change it" in out) == (0, True, True)


async def test_nobody_is_waited_for_for_ever(gateway: RunningGateway) -> None:
    async with EdgeClient(gateway.url) as edge:
        with pytest.raises(CommandError, match="edge login -u NAME"):
            await sign_in(edge, {"client_id": "edge-cli"}, opens=False, wait_s=0.1)


async def test_a_client_that_is_switched_off_or_may_not_is_told_before_anybody_waits(
    gateway_cluster: LightCluster, kube: Client, tmp_path: Path
) -> None:
    off = {"authentication.oauth.commandLine": "false"}
    async with RunningGateway(gateway_cluster.connection, off) as gateway:
        name = f"user-{secrets.token_hex(3)}"
        await make_user(kube, name)
        await gateway.knows(name)
        person = Person(gateway, tmp_path)
        for words, client in (((), "edge-cli"), (("--client-id", "edge-console"), "edge-console")):
            code, out, err = await person.types("login", "--browser", "--no-open", *words)
            assert (code, out) == (1, "")
            assert f'does not let "{client}" sign people in with a browser' in err
            assert "edge login -u NAME" in err
        await person.signs_in(name)


async def test_flags_that_contradict_each_other_are_not_understood(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path)
    for words in (("--browser", "-u", "ann"), ("--browser", "--password-stdin"), ("--no-open", "-u", "ann")):
        code, _, err = await person.types("login", *words, stdin=PASSWORD)
        assert (code, "--browser" in err) == (2, True)
