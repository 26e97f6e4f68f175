"""Whether a logout token is from the one provider, for us, and new: whose sign-ins it ends (I13). Pure.

It must not be taken for an ID token, nor an ID token for it: it has the event, and no nonce.
Source: OpenID Connect Back-Channel Logout 1.0 §2.4, §2.6.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from edge.iam.idtokens import (
    LEEWAY_S,
    OLDEST_S,
    SUBJECT_MAX,
    Claims,
    IdTokenRefused,
    Keys,
    header_of,
    signed_claims,
)

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
TYPES: Final = frozenset({"", "jwt", "logout+jwt"})
"""Of the header: providers from before the last draft say nothing, or what every token says."""
GOOD_FOR_S: Final = OLDEST_S + LEEWAY_S
"""How long after it was made a token is taken at most."""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """Who left at the provider. subject, session: "" where the token does not say, never both.

    id: of the token. made_s: when, in seconds since 1970; sign-ins after that are others.
    """

    id: str
    subject: str
    session: str
    made_s: float


def check_logout_token(token: str, keys: Keys, issuer: str, client: str, now_s: float) -> LoggedOut:
    """Raises IdTokenRefused; UnknownKey when fresh keys might help."""
    header = header_of(token)
    if str(header.get("typ", "")).lower() not in TYPES:
        raise IdTokenRefused(f"its type is {str(header.get('typ'))[:40]!r}")
    claims = signed_claims(header, token, keys)
    _is_for_us(claims, issuer, client)
    if "nonce" in claims:
        raise IdTokenRefused("it has a nonce, as ID tokens have")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(cast("Claims", events).get(EVENT), dict):
        raise IdTokenRefused("it does not tell of a logout")
    left = LoggedOut(_text(claims, "jti"), _text(claims, "sub"), _text(claims, "sid"), _made(claims, now_s))
    if not left.id:
        raise IdTokenRefused("it has no id of its own")
    if not left.subject and not left.session:
        raise IdTokenRefused("it names neither a person nor a session")
    return left


def _is_for_us(claims: Claims, issuer: str, client: str) -> None:
    if claims.get("iss") != issuer:
        raise IdTokenRefused(f"its issuer is {str(claims.get('iss'))[:200]!r}")
    audience = claims.get("aud")
    audiences = cast("list[object]", audience) if isinstance(audience, list) else [audience]
    if client not in audiences:
        raise IdTokenRefused("it is for another client")


def _made(claims: Claims, now_s: float) -> float:
    """When it was made. Without `exp`, as older drafts allow, its age decides alone."""
    made, ends = _time(claims, "iat"), _time(claims, "exp") if "exp" in claims else None
    if made > now_s + LEEWAY_S:
        raise IdTokenRefused("it is from the future: the clocks differ")
    if now_s - made > OLDEST_S or (ends is not None and now_s >= ends + LEEWAY_S):
        raise IdTokenRefused("it has expired")
    return made


def _time(claims: Claims, name: str) -> float:
    value = claims.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise IdTokenRefused(f"its {name} is no time")
    return value


def _text(claims: Mapping[str, object], name: str) -> str:
    """ "" where it is missing. Raises IdTokenRefused."""
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > SUBJECT_MAX or (name in claims and not value):
        raise IdTokenRefused(f"its {name} is no text that can be one")
    return value
