"""Records of sessions, and what a refresh token is good for (I12, S12)."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.iam.sessions import (
    FIELD,
    REUSE_FORGIVEN_S,
    SECRET_TYPE,
    RefreshToken,
    SessionRecord,
    first_refresh_token,
    hash_of,
    is_of_family,
    judge,
    manifest_of,
    next_refresh_token,
    read_refresh_token,
    read_session,
    session_id,
)
from edge_kube.core import Secret

NOW = 1_800_000_000.0
SID = "0" * 32
FIRST = first_refresh_token(session_id(SID))
SECOND = next_refresh_token(FIRST)
THIRD = next_refresh_token(SECOND)

OPENED = SessionRecord(
    id=session_id(SID),
    sid=SID,
    user="ada",
    uid="u1",
    marks=("m1",),
    client="edge-console",
    provider="local",
    scope="openid",
    address="10.0.0.1",
    agent="curl",
    opened_s=NOW,
    seen_s=NOW,
    ends_s=NOW + 3600,
    family=hash_of(FIRST.family),
    current=hash_of(FIRST.own),
)
SWAPPED = replace(OPENED, current=hash_of(SECOND.own), previous=hash_of(FIRST.own), swapped_s=NOW)
SWAPPED_TWICE = replace(SWAPPED, current=hash_of(THIRD.own), previous=hash_of(SECOND.own), swapped_s=NOW + 60)


def verdict(
    record: SessionRecord, token: RefreshToken, after_s: float = 1, client: str = "edge-console"
) -> str:
    return judge(record, token, client, NOW + after_s).value


def test_the_newest_token_is_good_for_its_client_until_the_session_ends() -> None:
    assert verdict(OPENED, FIRST) == "good"
    assert verdict(OPENED, FIRST, client="other") == "worthless"
    assert verdict(OPENED, FIRST, client="") == "worthless"
    assert verdict(OPENED, FIRST, after_s=3599) == "good"
    assert verdict(OPENED, FIRST, after_s=3600) == "worthless"


def test_a_swapped_token_is_forgiven_for_a_moment_and_then_means_that_there_is_a_copy() -> None:
    assert verdict(SWAPPED, SECOND) == "good"
    assert verdict(SWAPPED, FIRST, after_s=REUSE_FORGIVEN_S - 1) == "worthless"
    assert verdict(SWAPPED, FIRST, after_s=REUSE_FORGIVEN_S) == "stolen"
    assert verdict(SWAPPED_TWICE, FIRST, after_s=61) == "stolen", "two swaps ago, however lately"
    assert verdict(SWAPPED_TWICE, SECOND, after_s=61) == "worthless"


def test_what_was_never_given_ends_nothing() -> None:
    """Or everybody who sees the id of a session in a list could end it."""
    for token in (
        first_refresh_token(OPENED.id),
        RefreshToken(OPENED.id, FIRST.own[:22], FIRST.own),
        RefreshToken(OPENED.id, "", ""),
    ):
        assert verdict(SWAPPED, token, after_s=60) == "worthless"
        assert not is_of_family(SWAPPED, token)


def test_a_session_without_refresh_token_has_none_that_fits() -> None:
    plain = replace(OPENED, family="", current="")
    for token in (FIRST, RefreshToken(OPENED.id, "", "")):
        assert verdict(plain, token) == "worthless"


def test_a_token_is_written_as_three_opaque_parts_and_read_back() -> None:
    assert read_refresh_token(str(FIRST)) == FIRST
    assert len(base64.urlsafe_b64decode(FIRST.own + "=")) == 32, "256 bit"
    for text in ("", "a.b.c", str(FIRST) + ".x", str(FIRST)[1:], str(FIRST).upper(), "x" * 300):
        assert read_refresh_token(text) is None
    assert read_refresh_token(f"{FIRST.id}/../x.{FIRST.family}.{FIRST.own}") is None


@given(st.text(max_size=100))
def test_no_text_is_a_refresh_token_by_chance(text: str) -> None:
    assert read_refresh_token(text) is None


def secret_of(record: SessionRecord) -> Secret:
    return msgspec.convert(manifest_of(record, "edge-system"), Secret)


def test_a_record_is_a_secret_that_holds_no_token_and_goes_with_its_user() -> None:
    manifest = manifest_of(OPENED, "edge-system")
    held = base64.b64decode(manifest["data"][FIELD]).decode()
    for part in (FIRST.own, FIRST.family):
        assert part not in held
    assert manifest["type"] == SECRET_TYPE
    assert manifest["metadata"]["name"] == f"edge-session-{session_id(SID)}"
    assert manifest["metadata"]["labels"] == {"iam.theriseunion.io/user": "ada"}
    assert manifest["metadata"]["ownerReferences"][0]["uid"] == "u1"
    assert read_session(secret_of(OPENED)) == OPENED


def test_what_is_shown_lets_nobody_in() -> None:
    shown = str(OPENED.shown(NOW))
    assert SID not in shown
    assert OPENED.family not in shown
    assert "m1" not in shown


@pytest.mark.parametrize("what", ["type", "name", "sid", "no JSON", "nothing"])
def test_what_is_no_session_is_not_read_as_one(what: str) -> None:
    good = secret_of(OPENED)
    bad = {
        "type": replace(good, type="Opaque"),
        "name": replace(good, metadata=replace(good.metadata, name="edge-session-" + "1" * 32)),
        "sid": secret_of(replace(OPENED, sid="1" * 32)),
        "no JSON": replace(good, data={FIELD: "e30="}),
        "nothing": replace(good, data={}),
    }[what]
    assert read_session(bad) is None
