"""ID tokens are checked in every part (I13, S13; OpenID Connect Core §3.1.3.7)."""

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from edge.iam.idtokens import Expected, IdTokenRefused, UnknownKey, check_id_token

NOW_S = time.time()
KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
SMALL = rsa.generate_private_key(65537, 1024)  # noqa: S505 - too small, which is the point
CURVE = ec.generate_private_key(ec.SECP256R1())
EXPECTED = Expected("https://idp.example.com", "edge-platform", "n-0nce")
CLAIMS: dict[str, Any] = {
    "iss": EXPECTED.issuer, "aud": EXPECTED.client, "nonce": EXPECTED.nonce, "sub": "1234", "iat": NOW_S - 1,
    "exp": NOW_S + 300,
}  # fmt: skip


def public(key: Any, kid: str, **more: str) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    published: Any = key.public_key()
    return {**json.loads(algorithm.to_jwk(published)), "kid": kid, **more}


KEYS = [public(KEY, "one"), public(CURVE, "curve"), public(SMALL, "small"), public(OTHER, "enc", use="enc")]


def signed(key: Any = KEY, kid: str | None = "one", algorithm: str = "RS256", **claims: Any) -> str:
    content = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode(content, key, algorithm, headers={"kid": kid} if kid else {})


@pytest.mark.parametrize(
    "token",
    [
        signed(),
        signed(CURVE, "curve", "ES256"),
        signed(algorithm="PS256"),
        signed(aud=["edge-platform"]),
        signed(aud=["edge-platform", "other"], azp="edge-platform"),
    ],
)
def test_a_token_that_is_for_this_sign_in_is_taken(token: str) -> None:
    assert check_id_token(token, KEYS, EXPECTED, NOW_S)["sub"] == "1234"


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (signed(iss="https://idp.example.com/"), "issuer"),
        (signed(iss="https://evil.example.com"), "issuer"),
        (signed(aud="other"), "another client"),
        (signed(aud=None), "another client"),
        (signed(aud=["edge-platform", "other"]), "several clients"),
        (signed(azp="other"), "another client"),
        (signed(nonce="of another"), "nonce"),
        (signed(nonce=None), "nonce"),
        (signed(sub=""), "subject"),
        (signed(sub="x" * 300), "subject"),
        (signed(exp=NOW_S - 31), "expired"),
        (signed(exp=None), "when"),
        (signed(exp=True), "when"),
        (signed(iat=NOW_S + 120), "future"),
        (signed(nbf=NOW_S + 120), "future"),
        (signed(iat=NOW_S - 3600), "long before"),
        (signed(OTHER), "signature"),
        (signed(SMALL, "small"), "1024 bits"),
        (signed(kid="curve"), "cannot be used"),
        (jwt.encode(CLAIMS, "", "none"), "algorithm"),
        (jwt.encode(CLAIMS, "x" * 32, "HS256", headers={"kid": "one"}), "algorithm"),
        ("nonsense", "no signed token"),
        ("", "no signed token"),
    ],
)
def test_S13_a_token_that_is_wrong_in_one_part_is_refused(token: str, why: str) -> None:
    with pytest.raises(IdTokenRefused, match=why):
        check_id_token(token, KEYS, EXPECTED, NOW_S)


@pytest.mark.parametrize("kid", ["two", "enc"])
def test_an_unknown_key_is_told_apart_so_that_keys_are_read_again(kid: str) -> None:
    with pytest.raises(UnknownKey):
        check_id_token(signed(kid=kid), KEYS, EXPECTED, NOW_S)


def test_a_token_without_a_key_id_is_taken_when_one_key_alone_fits() -> None:
    assert check_id_token(signed(kid=None), [public(KEY, "one")], EXPECTED, NOW_S)
    with pytest.raises(IdTokenRefused, match="several"):
        check_id_token(signed(kid=None), [public(KEY, "one"), public(OTHER, "two")], EXPECTED, NOW_S)
