"""Which addresses people may ever be sent back to (I12; open redirect of issue 5 §5)."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.iam.redirects import absolute, is_registered, origin_of, redirect_violation, with_answer

GOOD = (
    "https://app.example.com/cb",
    "https://app.example.com:8443/cb?tenant=a&x=%20",
    "http://localhost:3000/cb",
    "http://127.0.0.1/cb",
    "http://[::1]/cb",
    "http://[::1]:8400/cb?x=1",
    "com.example.app:/signed-in",
    "com.example.app://signed-in",
)
BAD = (
    "", "cb", "/cb", "//app.example.com/cb", "http://app.example.com/cb", "http://localhost.evil.example/",
    "http://127.0.0.1@evil.example/", "http://127.0.0.1.evil.example/", "http://[::1]evil.example/",
    "http://[::1]@evil.example/", "http://[::2]/cb", "https://[::1]/cb", "http://[0:0:0:0:0:0:0:1]/cb",
    "http://[::1%25eth0]/cb", "http://[::1]:99999/cb", "http://[::1]/[", "http://127.0.0.2/cb", "http://0.0.0.0/cb",
    "https://", "https:///cb",
    "https:app.example.com", "HTTPS://app.example.com/", "https://a@app.example.com/", "https://app.example.com/#",
    "https://app.example.com/#x", "https://app.example.com:x/", "https://app.example.com:99999/",
    "https://app example.com/",
    "https://app.example.com/\r\nX: y", "https://app.example.com/\x00", "https://аpp.example.com/",
    "https://app.example.com\\@evil.example/", "https://app.example.com/; script-src *", "https://app.example.com/,*",
    "https://*.example.com/", "https://*/", "https://'self'/", "javascript:alert(1)", "data:text/html,x",
    "file:///etc/passwd",
    "vbscript:x", "blob:https://app.example.com/x", "app:/cb", "mailto:a@b.example", "com.example.app;x:/cb",
    "https://" + "a" * 2000,
)  # fmt: skip


@pytest.mark.parametrize("uri", GOOD)
def test_addresses_of_programs_may_be_registered(uri: str) -> None:
    assert redirect_violation(uri, "redirectURIs") is None


@pytest.mark.parametrize("uri", BAD)
def test_addresses_that_could_lead_elsewhere_may_not(uri: str) -> None:
    violation = redirect_violation(uri, "redirectURIs")
    assert violation is not None
    assert (violation.field, bool(violation.accepted)) == ("redirectURIs", True)


@given(
    st.text(alphabet=st.characters(max_codepoint=0x2FF), max_size=60),
    st.sampled_from(["", *GOOD, "https://"]),
)
def test_what_may_be_registered_ends_neither_a_header_nor_a_policy(text: str, start: str) -> None:
    uri = start + text
    if redirect_violation(uri, "redirectURIs") is not None:
        return
    assert not set(uri) & set(" \t\r\n\x00#;,'\"<>\\")
    assert urlsplit(uri).username is None
    assert set(origin_of(uri)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/.-+")


@given(
    st.sampled_from(GOOD), st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=40), max_size=4)
)
def test_an_answer_comes_back_as_it_was_whatever_is_in_it(uri: str, answer: dict[str, str]) -> None:
    whole = with_answer(uri, answer)
    assert whole.startswith(uri)
    assert whole.isascii()
    assert not set(whole) & set(" \r\n#")
    query = parse_qsl(urlsplit(whole).query, keep_blank_values=True)
    assert query[len(query) - len(answer) :] == list(answer.items())


def test_a_path_is_one_at_the_issuers_address() -> None:
    assert (
        absolute("/sign-in/callback", "https://edge.example.com/kapis")
        == "https://edge.example.com/sign-in/callback"
    )
    assert absolute("//evil.example", "https://edge.example.com") == "//evil.example"
    assert absolute("https://app.example.com/", "https://edge.example.com") == "https://app.example.com/"


REGISTERED = (
    "http://127.0.0.1/cb", "http://[::1]/cb?x=1", "http://127.0.0.1:8400/other", "http://localhost:3000/cb",
    "https://app.example.com:8443/cb", "http://127.0.0.1", "com.example.app:/cb",
)  # fmt: skip
ELSEWHERE = (
    # no loopback address
    "http://localhost/cb", "http://localhost:3001/cb", "https://app.example.com/cb", "https://app.example.com:8444/cb",
    "https://127.0.0.1:4000/cb", "http://127.0.0.2:4000/cb", "http://127.1:4000/cb", "http://127.0.0.1.:4000/cb",
    "http://2130706433:4000/cb", "http://0x7f.0.0.1:4000/cb", "http://0.0.0.0:4000/cb", "http://[::]:4000/cb?x=1",
    "http://[0:0:0:0:0:0:0:1]:4000/cb?x=1", "http://[::ffff:127.0.0.1]:4000/cb", "HTTP://127.0.0.1:4000/cb",
    "http://127.0.0.1.evil.example:4000/cb", "http://127.0.0.1@evil.example/cb", "http://127.0.0.1:4000@evil.example/cb",
    "http://[::1]@evil.example/cb?x=1", "http://127.0.0.1\\@evil.example/cb", "com.example.app:4000/cb",
    # no port
    "http://127.0.0.1:/cb", "http://127.0.0.1:0/cb", "http://127.0.0.1:080/cb", "http://127.0.0.1:65536/cb",
    "http://127.0.0.1:999999/cb", "http://127.0.0.1:4000:4001/cb", "http://127.0.0.1:+1/cb", "http://127.0.0.1:\u0661/cb",
    "http://127.0.0.1:*/cb",
    # more than the port is another
    "http://127.0.0.1:4000/cb/", "http://127.0.0.1:4000/cb?x=1", "http://127.0.0.1:4000/CB", "http://127.0.0.1:4000/cb#x",
    "http://127.0.0.1:4000//cb", "http://127.0.0.1:4000/x/../cb", "http://127.0.0.1:4000/%63b", "http://127.0.0.1:4000/",
    "http://[::1]:4000/cb", "http://[::1]:4000/other", "http://127.0.0.1:4000/cb\r\nX: y", "http://127.0.0.1:4000/cb\n",
    " http://127.0.0.1:4000/cb", "",
)  # fmt: skip


@pytest.mark.parametrize(
    "uri",
    [
        *REGISTERED,
        "http://127.0.0.1:1/cb",
        "http://127.0.0.1:65535/cb",
        "http://[::1]:4000/cb?x=1",
        "http://127.0.0.1/other",
        "http://127.0.0.1:9/other",
        "http://127.0.0.1:4000",
    ],
)
def test_a_program_on_the_persons_machine_takes_the_port_that_is_free(uri: str) -> None:
    """RFC 8252 §7.3."""
    assert is_registered(uri, REGISTERED)


@pytest.mark.parametrize("uri", ELSEWHERE)
def test_only_the_port_of_a_loopback_address_may_differ(uri: str) -> None:
    assert not is_registered(uri, REGISTERED)


@given(st.text(alphabet=st.sampled_from("htp:/127.0.[]@localhost#?\\x\r\n%cb4"), max_size=40))
def test_what_is_not_written_down_is_a_loopback_address_with_the_same_end(text: str) -> None:
    for uri in (text, f"http://127.0.0.1{text}", f"http://[::1]{text}", f"http://127.0.0.1:{text}/cb"):
        if not is_registered(uri, REGISTERED) or uri in REGISTERED:
            continue
        parts = urlsplit(uri)
        assert (parts.scheme, parts.hostname in ("127.0.0.1", "::1"), parts.username) == ("http", True, None)
        assert (parts.path, parts.query) in {("/cb", ""), ("/cb", "x=1"), ("/other", ""), ("", "")}
        assert not set(uri) & set("\r\n#\\")


def test_a_policy_that_has_no_word_for_an_address_names_its_scheme() -> None:
    assert origin_of("http://[::1]:4000/cb") == "http:"
    assert origin_of("http://127.0.0.1:4000/cb") == "http://127.0.0.1:4000"
