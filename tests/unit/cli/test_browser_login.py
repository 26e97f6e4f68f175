"""What `edge login --browser` takes for an answer, and what not (I12; RFC 8252 §7.3, §8.9, RFC 9207)."""

import asyncio
from collections.abc import Mapping

import aiohttp
import pytest

from edge.cli.browser_login import code_in
from edge.cli.errors import CommandError
from edge.cli.loopback import Loopback

ISSUER = "https://edge.example.com"
STATE = "s" * 43


async def ask(address: str, method: str = "GET") -> tuple[int, str, Mapping[str, str]]:
    async with aiohttp.ClientSession() as session, session.request(method, address) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_the_answer_comes_to_an_address_of_this_machine_and_its_page_keeps_to_itself() -> None:
    async with Loopback(STATE) as back:
        assert back.uri.startswith("http://127.0.0.1:")
        assert back.uri.endswith("/callback")
        status, text, headers = await ask(f"{back.uri}?code=c%26&state={STATE}&iss={ISSUER}")
        assert await back.answer() == {"code": "c&", "state": STATE, "iss": ISSUER}
    assert (status, "You may close this page" in text, "script" in text) == (200, True, False)
    assert "c&" not in text
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    with pytest.raises(aiohttp.ClientError):
        await ask(back.uri)


async def test_what_lacks_the_state_is_told_so_and_the_right_answer_still_counts_once() -> None:
    async with Loopback(STATE) as back:
        for query in (
            "", "code=x", "code=x&state=", "code=x&state=other", f"code=x&state={STATE}x",
            "code=x&state=%C3%A9", f"code=x&state={STATE}&state=other", f"code=x&code=y&state={STATE}",
            "error=access_denied&state=other",
        ):  # fmt: skip
            status, text, _ = await ask(f"{back.uri}?{query}")
            assert (status, "another sign-in" in text) == (400, True), query
        for method, address in (
            ("POST", f"{back.uri}?code=x&state={STATE}"),
            ("GET", f"{back.uri}/x?code=x&state={STATE}"),
            ("GET", back.uri.replace("/callback", f"/?code=x&state={STATE}")),
        ):
            assert (await ask(address, method))[0] == 404
        assert not back.answered
        assert [(await ask(f"{back.uri}?code={code}&state={STATE}"))[0] for code in "ab"] == [200, 400]
        assert (await back.answer())["code"] == "a"


async def test_two_that_wait_have_ports_of_their_own() -> None:
    async with Loopback(STATE) as one, Loopback("t" * 43) as other:
        assert one.uri != other.uri
        assert (await ask(f"{other.uri}?code=x&state={STATE}"))[0] == 400
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await other.answer()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"code": "c"}, 'came from ""'),
        ({"code": "c", "iss": "https://evil.example"}, 'came from "https://evil.example" and not from'),
        ({"error": "access_denied", "iss": "https://evil.example"}, "not from"),
        ({"error": "access_denied", "iss": ISSUER}, "that was the answer in the browser"),
        ({"error": "unauthorized_client", "error_description": "may not", "iss": ISSUER}, "may not"),
        ({"error": "server_error", "iss": ISSUER}, "server_error: it says no more"),
        ({"error": "x\x1b[2J", "error_description": "\x07" + "y" * 9999, "iss": ISSUER}, "x?[2J: ?yyy"),
        ({"iss": ISSUER}, "has no code"),
        ({"code": "", "iss": ISSUER}, "has no code"),
    ],
)
def test_an_answer_that_brings_no_code_says_why(answer: dict[str, str], said: str) -> None:
    with pytest.raises(CommandError) as refused:
        code_in(answer, ISSUER)
    assert said in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


def test_a_code_of_the_gateway_that_was_asked_is_taken() -> None:
    assert code_in({"code": "c", "iss": ISSUER}, ISSUER) == "c"
