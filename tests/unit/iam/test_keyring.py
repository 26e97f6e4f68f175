"""Keys that turn: when one is made, signs and is forgotten (I12)."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.iam.keyring import (
    MARK_FIELD,
    PLACEHOLDERS,
    PUBLISHED_BEFORE_S,
    ROTATE_EVERY_S,
    Keyring,
    Turn,
    due,
    hmac_key,
    is_placeholder,
    new_key,
    new_mark,
    read_ring,
    ring_of_secret,
)
from edge.iam.tokens import TokenRefused, Tokens
from edge_sdk.secret import Secret

NOW = 1_800_000_000.0
DAY_S = 86_400.0
KEEP_S = 30 * DAY_S


def data(*signs_from_s: float) -> dict[str, str]:
    return {MARK_FIELD: new_mark(), **dict(new_key(at_s) for at_s in signs_from_s)}


def ring(*signs_from_s: float) -> Keyring:
    return read_ring(data(*signs_from_s))


def test_without_any_key_one_is_made_that_signs_at_once() -> None:
    assert due((), NOW, KEEP_S) == Turn(NOW)


def test_the_next_key_is_published_a_day_before_it_signs() -> None:
    keys = ring(NOW).keys
    soon = NOW + ROTATE_EVERY_S - PUBLISHED_BEFORE_S
    assert not due(keys, soon - 1, KEEP_S)
    assert due(keys, soon, KEEP_S) == Turn(NOW + ROTATE_EVERY_S)
    both = ring(NOW, NOW + ROTATE_EVERY_S)
    assert not due(both.keys, soon, KEEP_S)
    assert both.signing(NOW + ROTATE_EVERY_S - 1) == both.keys[0]
    assert both.signing(NOW + ROTATE_EVERY_S) == both.keys[1]
    assert [key["kid"] for key in both.jwks()["keys"]] == [key.kid for key in both.keys]


def test_after_a_long_standstill_the_next_key_waits_its_day_all_the_same() -> None:
    assert due(ring(NOW).keys, NOW + 400 * DAY_S, KEEP_S) == Turn(NOW + 401 * DAY_S)


def test_a_key_is_forgotten_when_no_token_of_it_can_be_left() -> None:
    keys = ring(NOW, NOW + ROTATE_EVERY_S).keys
    end = NOW + ROTATE_EVERY_S + KEEP_S
    assert keys[0].kid not in due(keys, end - 1, KEEP_S).forget
    assert due(keys, end, KEEP_S).forget == (keys[0].kid,)


@given(st.lists(st.floats(60, 20 * DAY_S), min_size=5, max_size=60))
def test_through_any_number_of_turns_every_token_counts_until_it_expires(steps: list[float]) -> None:
    """Whoever looks, and however seldom: a token that was given is good for the whole of its life."""
    held, at_s, life_s = data(NOW), NOW, 3 * DAY_S
    tokens = Tokens(read_ring(held), issuer="i", lifetime_s=life_s)
    given_out: list[tuple[str, float]] = []
    for step in steps:
        at_s += step
        turn = due(tokens.ring.keys, at_s, life_s + 60)
        held = {kid: text for kid, text in held.items() if kid not in turn.forget}
        if turn.signs_from_s is not None:
            assert turn.signs_from_s >= at_s + PUBLISHED_BEFORE_S
            held |= dict([new_key(turn.signs_from_s)])
        tokens.ring = read_ring(held)
        assert len(tokens.ring.keys) <= 4
        given_out.append(tokens.issue(user="a", uid="u", sid="s", now_s=at_s, ends_s=at_s + life_s))
        for token, expires_s in given_out:
            if at_s < expires_s:
                assert tokens.check(token, at_s).user == "a"


def test_a_token_of_a_forgotten_key_is_refused() -> None:
    tokens = Tokens(ring(NOW), issuer="i", lifetime_s=DAY_S)
    token, _ = tokens.issue(user="a", uid="u", sid="s", now_s=NOW, ends_s=NOW + DAY_S)
    tokens.ring = ring(NOW)
    with pytest.raises(TokenRefused):
        tokens.check(token, NOW)


def test_what_is_published_lets_nobody_sign() -> None:
    (jwk,) = ring(NOW).jwks()["keys"]
    assert {name: jwk[name] for name in ("kty", "crv", "alg", "use")} == {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
    }
    assert set(jwk) == {"kty", "crv", "alg", "use", "kid", "x"}, "no private part"


def test_a_secret_is_never_published() -> None:
    assert ring_of_secret(Secret("s" * 40)).jwks() == {"keys": []}


def test_a_short_secret_is_stretched_to_a_full_key() -> None:
    assert len(hmac_key(Secret("short"))) == 32
    assert hmac_key(Secret("short")) != hmac_key(Secret("shorter"))
    assert hmac_key(Secret("x" * 40)) == b"x" * 40


def test_entries_that_are_no_key_are_left_out() -> None:
    good = data(NOW)
    (kid,) = good.keys() - {MARK_FIELD}
    bad = {**good, "note": "aGVsbG8=", "x": "%%", "0" * 16: good[kid]}
    assert [key.kid for key in read_ring(bad).keys] == [kid]


@pytest.mark.parametrize("lacks", ["keys", "mark", "length"])
def test_a_ring_without_keys_or_mark_is_refused(lacks: str) -> None:
    held = data(NOW)
    if lacks == "keys":
        held = {MARK_FIELD: held[MARK_FIELD]}
    elif lacks == "mark":
        del held[MARK_FIELD]
    else:
        held[MARK_FIELD] = base64.b64encode(b"short").decode()
    with pytest.raises(ValueError, match="it holds"):
        read_ring(held)


def test_published_values_are_known_however_they_came_into_a_secret() -> None:
    assert {"", "***", "your-jwt-secret", "changeme"} <= PLACEHOLDERS
    # The one that every default installation of the public installer signs with (X30).
    published = "c069c36be9c64acd4d3993d7e9ea44c3c65802e06a5909cee933af6768e2004e"
    for secret in (published, published.upper(), "your-jwt-secret\n", " Changeme "):
        assert is_placeholder(secret), secret
    assert not is_placeholder("c069c36be9c64acd4d3993d7e9ea44c3c65802e06a5909cee933af6768e2004f")
