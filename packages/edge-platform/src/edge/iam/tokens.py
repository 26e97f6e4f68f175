"""Access tokens: a JWT that names a user and nothing else; rights are looked up, never carried (I12).

A token is bound to the user object (uid) and to the password that it was given for (a keyed fingerprint of
the stored hash): a user who is deleted, made again, or whose password changes loses all earlier tokens.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

import jwt

from edge_sdk.secret import Secret

ALGORITHM = "HS256"
AUDIENCE = "edge-platform"
KUBECONFIG_AUDIENCE = "edge-platform/kubeconfig"
LEEWAY_S = 30
MIN_KEY_BYTES = 32

PLACEHOLDERS = frozenset({"", "***", "your-jwt-secret", "changeme", "secret", "edge-jwt-secret"})
"""Values that documents print. A published key would let anybody sign in, so they count as unset (X30)."""


class TokenRefused(Exception):
    """code is for the console ("token-expired" makes it refresh), the text is for people."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True)
class Claims:
    """cluster: of a kubeconfig's token, the only one that it opens; "" for the token of a sign-in."""

    user: str
    uid: str
    password_mark: str
    token_id: str
    issued_s: float
    expires_s: float
    cluster: str = ""


def signing_key(secret: Secret) -> bytes:
    """The key for HS256. A short secret is stretched, so that its length does not weaken the signature."""
    raw = secret.reveal().encode()
    return raw if len(raw) >= MIN_KEY_BYTES else hashlib.sha256(b"edge-jwt:" + raw).digest()


class Tokens:
    """Issues and checks tokens with one key. Times are seconds since 1970, given by the caller."""

    def __init__(self, key: bytes, *, issuer: str, lifetime_s: float) -> None:
        self._key = key
        self._issuer = issuer
        self._kid = hashlib.sha256(b"kid:" + key).hexdigest()[:16]
        self.lifetime_s = lifetime_s

    def password_mark(self, password_hash: str) -> str:
        """Changes when the stored hash does; tells nothing about it."""
        return hmac.new(self._key, b"mark:" + password_hash.encode(), hashlib.sha256).hexdigest()[:16]

    def issue(self, *, user: str, uid: str, password_hash: str, now_s: float) -> str:
        return self._signed(
            Claims(
                user=user,
                uid=uid,
                password_mark=self.password_mark(password_hash),
                token_id=secrets.token_hex(16),
                issued_s=now_s,
                expires_s=now_s + self.lifetime_s,
            )
        )

    def issue_kubeconfig(self, claims: Claims) -> str:
        """Raises ValueError without a cluster: that would be a token for everything."""
        if not claims.cluster:
            raise ValueError("a kubeconfig is for one cluster")
        return self._signed(claims)

    def _signed(self, claims: Claims) -> str:
        content: dict[str, Any] = {
            "iss": self._issuer,
            "aud": KUBECONFIG_AUDIENCE if claims.cluster else AUDIENCE,
            "sub": claims.user,
            "uid": claims.uid,
            "pwm": claims.password_mark,
            "jti": claims.token_id,
            "iat": int(claims.issued_s),
            "exp": int(claims.expires_s),
        }
        if claims.cluster:
            content["cluster"] = claims.cluster
        return jwt.encode(content, self._key, algorithm=ALGORITHM, headers={"kid": self._kid})

    def check(self, token: str, now_s: float) -> Claims:
        """Signature, key, algorithm, audience, issuer and time. Raises TokenRefused."""
        try:
            decoded = jwt.decode_complete(
                token,
                self._key,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                options={
                    "require": ["aud", "exp", "iat", "sub", "uid", "pwm", "jti"],
                    "verify_exp": False,  # checked below, with the caller's clock
                    "verify_iat": False,
                    "verify_aud": False,  # checked below, since the audience decides what the token is for
                },
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise TokenRefused(
                "token-invalid", "the token is not one that this platform has signed"
            ) from error
        header, claims = decoded["header"], decoded["payload"]
        if header.get("kid") != self._kid:
            raise TokenRefused("token-invalid", "the token was signed with a key that is no longer in use")
        return _checked(claims, now_s)


def _checked(claims: dict[str, Any], now_s: float) -> Claims:
    audience, cluster = claims["aud"], claims.get("cluster", "")
    if audience not in (AUDIENCE, KUBECONFIG_AUDIENCE):
        raise TokenRefused("token-invalid", "the token is not one that this platform has signed for itself")
    numbers = (claims["exp"], claims["iat"])
    words = (claims["sub"], claims["uid"], claims["pwm"], claims["jti"], cluster)
    if not all(type(number) is int for number in numbers) or not all(type(word) is str for word in words):
        raise TokenRefused("token-invalid", "the token's claims are malformed")
    if bool(cluster) != (audience == KUBECONFIG_AUDIENCE):
        raise TokenRefused("token-invalid", "the token names a cluster, or lacks one, against its purpose")
    if now_s >= claims["exp"] + LEEWAY_S:
        raise TokenRefused("token-expired", "the token has expired")
    if claims["iat"] > now_s + LEEWAY_S:
        raise TokenRefused("token-invalid", "the token is from the future: the clocks differ")
    user, uid, password_mark, token_id, _ = words
    return Claims(
        user, uid, password_mark, token_id, float(claims["iat"]), float(claims["exp"]), cluster=cluster
    )
