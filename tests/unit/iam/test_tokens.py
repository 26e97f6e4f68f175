"""Tokens: only ours, only with our key, only for as long as they say (I12, S12)."""

import base64
import json
from collections.abc import Callable

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.iam.tokens import AUDIENCE, KUBECONFIG_AUDIENCE, Claims, TokenRefused, Tokens, signing_key
from edge_sdk.secret import Secret

KEY = b"k" * 64
NOW = 1_800_000_000.0
ISSUER = "https://edge.example.com"


def tokens(key: bytes = KEY, issuer: str = ISSUER) -> Tokens:
    return Tokens(key, issuer=issuer, lifetime_s=24 * 3600)


def issue() -> str:
    return tokens().issue(user="ada", uid="u1", password_hash="$2b$hash", now_s=NOW)


def forged(header: dict[str, str], claims: dict[str, object] | None = None, key: bytes = KEY) -> str:
    good = jwt.decode(issue(), options={"verify_signature": False})
    return jwt.encode({**good, **(claims or {})}, key, algorithm=header.pop("alg", "HS256"), headers=header)


def kid() -> str:
    return jwt.get_unverified_header(issue())["kid"]


def test_a_token_says_who_and_until_when() -> None:
    claims = tokens().check(issue(), NOW + 60)
    assert (claims.user, claims.uid, claims.expires_s) == ("ada", "u1", NOW + 24 * 3600)
    assert claims.password_mark == tokens().password_mark("$2b$hash")


def test_a_token_ends_after_its_life_and_a_leeway_for_clocks() -> None:
    assert tokens().check(issue(), NOW + 24 * 3600 + 29).user == "ada"
    with pytest.raises(TokenRefused) as refused:
        tokens().check(issue(), NOW + 24 * 3600 + 31)
    assert refused.value.code == "token-expired"


def test_a_token_from_the_future_is_refused() -> None:
    with pytest.raises(TokenRefused):
        tokens().check(issue(), NOW - 3600)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(lambda: forged({"kid": kid()}, key=b"x" * 64), id="wrong key"),
        pytest.param(lambda: forged({"kid": "other"}), id="wrong key id"),
        pytest.param(lambda: forged({"kid": kid(), "alg": "HS512"}), id="other algorithm"),
        pytest.param(lambda: forged({"kid": kid()}, {"aud": "other"}), id="wrong audience"),
        pytest.param(lambda: forged({"kid": kid()}, {"aud": [AUDIENCE, "other"]}), id="list of audiences"),
        pytest.param(lambda: forged({"kid": kid()}, {"iss": "https://evil"}), id="wrong issuer"),
        pytest.param(lambda: forged({"kid": kid()}, {"sub": 7}), id="subject that is no text"),
        pytest.param(lambda: forged({"kid": kid()}, {"exp": 1e99}), id="expiry that is no whole number"),
        pytest.param(lambda: forged({"kid": kid()}, {"uid": None}), id="no uid"),
        pytest.param(lambda: issue().rsplit(".", 1)[0] + ".", id="signature cut off"),
    ],
)
def test_a_forged_token_is_refused(token: Callable[[], str]) -> None:
    with pytest.raises(TokenRefused):
        tokens().check(token(), NOW + 1)


def test_alg_none_is_refused() -> None:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = jwt.decode(issue(), options={"verify_signature": False})
    for alg in ("none", "None", "NONE", ""):
        bare = f"{part({'alg': alg, 'kid': kid(), 'typ': 'JWT'})}.{part(claims)}."
        with pytest.raises(TokenRefused):
            tokens().check(bare, NOW + 1)


@given(st.text(max_size=80))
def test_no_text_at_all_is_a_token(text: str) -> None:
    with pytest.raises(TokenRefused):
        tokens().check(text, NOW)


def test_the_mark_changes_with_the_password_and_with_the_key() -> None:
    assert tokens().password_mark("a") != tokens().password_mark("b")
    assert tokens().password_mark("a") != tokens(b"y" * 32).password_mark("a")


def test_a_short_secret_is_stretched_to_a_full_key() -> None:
    assert len(signing_key(Secret("short"))) == 32
    assert signing_key(Secret("x" * 40)) == b"x" * 40


def of_kubeconfig(cluster: str = "east") -> Claims:
    mark = tokens().password_mark("$2b$hash")
    return Claims("ada", "u1", mark, "a" * 32, NOW, NOW + 3600, cluster)


def test_a_kubeconfigs_token_is_for_another_audience_and_names_its_cluster() -> None:
    token = tokens().issue_kubeconfig(of_kubeconfig())
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == KUBECONFIG_AUDIENCE
    assert tokens().check(token, NOW) == of_kubeconfig()
    assert tokens().check(issue(), NOW).cluster == ""
    with pytest.raises(ValueError, match="one cluster"):
        tokens().issue_kubeconfig(of_kubeconfig(""))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": KUBECONFIG_AUDIENCE},
        {"cluster": "east"},
        {"aud": [AUDIENCE], "cluster": "east"},
        {"aud": [AUDIENCE, KUBECONFIG_AUDIENCE]},
        {"aud": KUBECONFIG_AUDIENCE, "cluster": ["east"]},
        {"aud": KUBECONFIG_AUDIENCE, "cluster": ""},
        {"aud": {"a": 1}},
        {"aud": None},
    ],
)
def test_purpose_and_cluster_of_a_token_must_agree(claims: dict[str, object]) -> None:
    with pytest.raises(TokenRefused):
        tokens().check(forged({"kid": kid()}, claims), NOW)
