"""Access tokens: a JWT that names a user and a session and nothing else; rights are looked up (I12).

The token of a session counts while the session does, and is bound to the user object (uid). That of a
kubeconfig is bound to the password too (a keyed fingerprint of the stored hash): a user who is deleted, made
again, or whose password changes loses all that was given before.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from edge.iam.keyring import Keyring

AUDIENCE: Final = "edge-platform"
KUBECONFIG_AUDIENCE: Final = "edge-platform/kubeconfig"
TYPE: Final = "at+jwt"
"""Header of what lets in (RFC 9068). An ID token has another, so that it is never taken for one."""
ID_TYPE: Final = "JWT"
LEEWAY_S: Final = 30


class TokenRefused(Exception):
    """code is for the console ("token-expired" makes it refresh), the text is for people."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Claims:
    """Of a session: `sid`. Of a kubeconfig: the one `cluster` that it opens, and its `password_mark`.

    What the other kind has is "".
    """

    user: str
    uid: str
    password_mark: str
    token_id: str
    issued_s: float
    expires_s: float
    cluster: str = ""
    sid: str = ""


class Tokens:
    """Issues and checks tokens with the keys of a ring. Times are seconds since 1970, given by the caller.

    ring: put a newer one there when keys turn.
    """

    def __init__(self, ring: Keyring, *, issuer: str, lifetime_s: float) -> None:
        self.ring = ring
        self.issuer = issuer
        self.lifetime_s = lifetime_s

    def password_mark(self, password_hash: str) -> str:
        """Changes when the stored hash does; tells nothing about it."""
        return hmac.new(self.ring.mark_key, b"mark:" + password_hash.encode(), hashlib.sha256).hexdigest()[
            :16
        ]

    def issue(self, *, user: str, uid: str, sid: str, now_s: float, ends_s: float) -> tuple[str, float]:
        """A session's access token and when it expires: after its life, or with the session at ends_s."""
        expires_s = float(int(min(now_s + self.lifetime_s, ends_s)))
        if not sid:
            raise ValueError("an access token belongs to a session")
        claims = Claims(user, uid, "", secrets.token_hex(16), now_s, expires_s, sid=sid)
        return self._signed(claims, now_s), expires_s

    def issue_kubeconfig(self, claims: Claims) -> str:
        """Raises ValueError without a cluster: that would be a token for everything."""
        if not claims.cluster:
            raise ValueError("a kubeconfig is for one cluster")
        return self._signed(claims, claims.issued_s)

    def issue_id(self, claims: Mapping[str, Any], now_s: float) -> str:
        """An ID token (OpenID Connect Core §2). claims: all but the issuer. It opens nothing here."""
        return self._encoded({**claims, "iss": self.issuer}, ID_TYPE, now_s)

    def read_id(self, token: str) -> dict[str, Any]:
        """The claims of an ID token of ours, for whichever client and however old: a hint, not a proof.

        Raises TokenRefused.
        """
        return self._verified(token, ID_TYPE)

    def _signed(self, claims: Claims, now_s: float) -> str:
        content: dict[str, Any] = {
            "iss": self.issuer,
            "aud": KUBECONFIG_AUDIENCE if claims.cluster else AUDIENCE,
            "sub": claims.user,
            "uid": claims.uid,
            "jti": claims.token_id,
            "iat": int(claims.issued_s),
            "exp": int(claims.expires_s),
        }
        content |= (
            {"pwm": claims.password_mark, "cluster": claims.cluster}
            if claims.cluster
            else {"sid": claims.sid}
        )
        return self._encoded(content, TYPE, now_s)

    def _encoded(self, content: dict[str, Any], typ: str, now_s: float) -> str:
        key = self.ring.signing(now_s)
        return jwt.encode(content, key.signs, algorithm=key.algorithm, headers={"kid": key.kid, "typ": typ})

    def check(self, token: str, now_s: float) -> Claims:
        """Key, its algorithm, signature, issuer, audience and time. Raises TokenRefused."""
        return _checked(self._verified(token, TYPE), now_s)

    def _verified(self, token: str, typ: str) -> dict[str, Any]:
        """The claims, of whatever purpose and time. The key decides the algorithm, never the token."""
        try:
            header = jwt.get_unverified_header(token)
            key = self.ring.find(header.get("kid"))
            if key is None or header.get("alg") != key.algorithm or header.get("typ") != typ:
                why = "the token was signed with a key that is not in use, or for something else"
                raise TokenRefused("token-invalid", why)
            return jwt.decode(
                token,
                key.checks,
                algorithms=[key.algorithm],
                issuer=self.issuer,
                options={
                    "require": ["iss", "aud", "exp", "iat", "sub"],
                    "verify_exp": False,  # checked with the caller's clock
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_aud": False,  # decides what the token is for
                },
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise TokenRefused(
                "token-invalid", "the token is not one that this platform has signed"
            ) from error


def _checked(claims: dict[str, Any], now_s: float) -> Claims:
    audience = claims["aud"]
    if audience not in (AUDIENCE, KUBECONFIG_AUDIENCE):
        raise TokenRefused("token-invalid", "the token is not one that this platform has signed for itself")
    cluster, sid, mark = (claims.get(name, "") for name in ("cluster", "sid", "pwm"))
    numbers = (claims["exp"], claims["iat"])
    words = (claims["sub"], claims.get("uid"), claims.get("jti"), cluster, sid, mark)
    if not all(type(number) is int for number in numbers) or not all(type(word) is str for word in words):
        raise TokenRefused("token-invalid", "the token's claims are malformed")
    of_session = audience == AUDIENCE
    if (bool(sid), bool(cluster), bool(mark)) != (of_session, not of_session, not of_session):
        raise TokenRefused("token-invalid", "the token lacks a session or a cluster, against its purpose")
    if now_s >= claims["exp"] + LEEWAY_S:
        raise TokenRefused("token-expired", "the token has expired")
    if claims["iat"] > now_s + LEEWAY_S:
        raise TokenRefused("token-invalid", "the token is from the future: the clocks differ")
    return Claims(
        user=claims["sub"],
        uid=claims["uid"],
        password_mark=mark,
        token_id=claims["jti"],
        issued_s=float(claims["iat"]),
        expires_s=float(claims["exp"]),
        cluster=cluster,
        sid=sid,
    )
