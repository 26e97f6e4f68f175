"""Whether an ID token is from the one provider, for us, for this very sign-in, and still good (I13). Pure.

Source: OpenID Connect Core §3.1.3.7; design §9 "OIDC in"; test S13.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import jwt
from jwt.types import Options

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Never one with a shared key: with it whoever knows our client secret could make ID tokens."""
LEEWAY_S: Final = 30
OLDEST_S: Final = 600
"""An ID token is used the moment it is made."""
SUBJECT_MAX: Final = 255
RSA_MIN_BITS: Final = 2048

Claims = Mapping[str, Any]
Keys = Sequence[Mapping[str, Any]]
"""JSON web keys as a provider publishes them."""


_SIGNATURE_ALONE: Final[Options] = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
}
"""The rest is checked below, with the caller's clock and with reasons."""


class IdTokenRefused(Exception):
    """The text says what is wrong, for the log."""


class UnknownKey(IdTokenRefused):
    """It was signed with a key that was not published when we looked: look again."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the token must be. nonce: of the sign-in that it answers."""

    issuer: str
    client: str
    nonce: str


def check_id_token(token: str, keys: Keys, expected: Expected, now_s: float) -> Claims:
    """The claims. Raises IdTokenRefused; UnknownKey when fresh keys might help."""
    claims = signed_claims(header_of(token), token, keys)
    _is_for_us(claims, expected)
    _is_now(claims, now_s)
    return claims


def header_of(token: str) -> Mapping[str, Any]:
    """What a token says about itself. Raises IdTokenRefused."""
    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise IdTokenRefused(f"it is no signed token: {error}") from None


def signed_claims(header: Mapping[str, Any], token: str, keys: Keys) -> Claims:
    """What one of these keys has signed; the claims are not looked at. Raises as `check_id_token`."""
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise IdTokenRefused(f"its algorithm is {str(algorithm)[:20]!r}")
    key = _key(keys, header.get("kid"), algorithm)
    try:
        return jwt.decode(token, key, algorithms=[algorithm], options=_SIGNATURE_ALONE)
    except (jwt.PyJWTError, ValueError) as error:
        raise IdTokenRefused(f"its signature is wrong: {error}") from None


def _key(keys: Keys, kid: object, algorithm: str) -> Any:
    fit = [key for key in keys if key.get("use", "sig") == "sig" and key.get("alg", algorithm) == algorithm]
    named = [key for key in fit if key.get("kid") == kid] if kid is not None else fit
    if not named:
        raise UnknownKey(f"no published key is called {str(kid)[:80]!r}")
    if len(named) > 1:
        raise IdTokenRefused("several published keys fit it")
    try:
        key = jwt.PyJWK(dict(named[0]), algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise IdTokenRefused(f"the published key cannot be used: {error}") from None
    if algorithm[:2] in ("RS", "PS") and key.key_size < RSA_MIN_BITS:
        raise IdTokenRefused(f"the published key has {key.key_size} bits")
    return key


def _is_for_us(claims: Claims, expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise IdTokenRefused(f"its issuer is {str(claims.get('iss'))[:200]!r}")
    audience = claims.get("aud")
    audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
    party = claims.get("azp")
    if expected.client not in audiences or party not in (None, expected.client):
        raise IdTokenRefused("it is for another client")
    if len(audiences) > 1 and party is None:
        raise IdTokenRefused("it is for several clients, and does not say for which it was made")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise IdTokenRefused("its nonce is of another sign-in")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MAX:
        raise IdTokenRefused("it names no subject")


def _is_now(claims: Claims, now_s: float) -> None:
    ends, made, begins = claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in (ends, made, begins)):
        raise IdTokenRefused("it does not say when it was made and when it ends")
    if now_s >= cast("float", ends) + LEEWAY_S:
        raise IdTokenRefused("it has expired")
    if max(cast("float", made), begins) > now_s + LEEWAY_S:
        raise IdTokenRefused("it is from the future: the clocks differ")
    if now_s - cast("float", made) > OLDEST_S:
        raise IdTokenRefused("it was made long before this sign-in")
