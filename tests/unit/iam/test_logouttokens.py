"""Logout tokens are checked in every part (I13, S13; OpenID Connect Back-Channel Logout 1.0 §2.6)."""

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from edge.iam.idtokens import Expected, IdTokenRefused, UnknownKey, check_id_token
from edge.iam.logouttokens import EVENT, LoggedOut, check_logout_token

NOW_S = time.time()
ISSUER, CLIENT = "https://idp.example.com", "edge-platform"
KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
KEYS = [{**json.loads(RSAAlgorithm.to_jwk(KEY.public_key())), "kid": "one"}]
CLAIMS: dict[str, Any] = {
    "iss": ISSUER, "aud": CLIENT, "sub": "1234", "sid": "at-9", "jti": "j-1", "iat": NOW_S - 1,
    "exp": NOW_S + 120, "events": {EVENT: {}},
}  # fmt: skip


def signed(key: Any = KEY, kid: str = "one", typ: str | None = "logout+jwt", **claims: Any) -> str:
    content = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode(content, key, "RS256", headers={"kid": kid, "typ": typ})


def read(token: str) -> LoggedOut:
    return check_logout_token(token, KEYS, ISSUER, CLIENT, NOW_S)


@pytest.mark.parametrize(
    ("token", "subject", "session"),
    [
        (signed(), "1234", "at-9"),
        (signed(sid=None), "1234", ""),
        (signed(sub=None), "", "at-9"),
        (signed(typ="JWT"), "1234", "at-9"),
        (signed(typ=None), "1234", "at-9"),
        (signed(exp=None), "1234", "at-9"),
        (signed(aud=["other", CLIENT]), "1234", "at-9"),
    ],
)
def test_a_token_of_the_provider_says_who_left(token: str, subject: str, session: str) -> None:
    assert read(token) == LoggedOut("j-1", subject, session, NOW_S - 1)


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (signed(iss="https://idp.example.com/"), "issuer"),
        (signed(aud="other"), "another client"),
        (signed(aud=None), "another client"),
        (signed(nonce="n-0nce"), "nonce"),
        (signed(nonce=""), "nonce"),
        (signed(events=None), "logout"),
        (signed(events=[EVENT]), "logout"),
        (signed(events={EVENT: "yes"}), "logout"),
        (signed(events={"http://schemas.openid.net/event/other": {}}), "logout"),
        (signed(jti=None), "id of its own"),
        (signed(jti=7), "must be a string"),
        (signed(sub=None, sid=None), "neither"),
        (signed(sub=""), "sub"),
        (signed(sid=["at-9"]), "sid"),
        (signed(sub="x" * 300), "sub"),
        (signed(iat=None), "iat"),
        (signed(iat=True), "iat"),
        (signed(iat=NOW_S + 120), "future"),
        (signed(iat=NOW_S - 3600), "expired"),
        (signed(exp=NOW_S - 31), "expired"),
        (signed(exp="soon"), "exp"),
        (signed(typ="at+jwt"), "type"),
        (signed(OTHER), "signature"),
        (jwt.encode(CLAIMS, "", "none"), "algorithm"),
        (jwt.encode(CLAIMS, "x" * 32, "HS256", headers={"kid": "one"}), "algorithm"),
        ("nonsense", "no signed token"),
    ],
)
def test_S13_a_token_that_is_wrong_in_one_part_ends_nothing(token: str, why: str) -> None:
    with pytest.raises(IdTokenRefused, match=why):
        read(token)


def test_an_unknown_key_is_told_apart_so_that_keys_are_read_again() -> None:
    with pytest.raises(UnknownKey):
        read(signed(kid="two"))


def test_S13_neither_sort_of_token_passes_for_the_other() -> None:
    id_token = signed(typ="JWT", nonce="n-0nce", events=None, jti=None)
    assert check_id_token(id_token, KEYS, Expected(ISSUER, CLIENT, "n-0nce"), NOW_S)["sub"] == "1234"
    with pytest.raises(IdTokenRefused, match="nonce"):
        read(id_token)
    with pytest.raises(IdTokenRefused, match="nonce"):
        check_id_token(signed(), KEYS, Expected(ISSUER, CLIENT, "n-0nce"), NOW_S)
