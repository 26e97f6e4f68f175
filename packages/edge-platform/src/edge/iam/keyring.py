"""The keys that tokens are signed with, and when which of them signs (I12). Pure, but for random keys.

    made ──── 24 h ───► signs ──── 30 days ───► checked only ──── one token life ───► forgotten
    (in the JWKS)

Every key of the ring is good for checking, so the moment at which two replicas turn to the next one need not
be the same, and nobody is signed out by a rotation. With a configured secret (HS256) there is one key, which
never turns. Source: design §9.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edge_sdk.secret import Secret

EDDSA: Final = "EdDSA"
HS256: Final = "HS256"
ROTATE_EVERY_S: Final = 30 * 86_400.0
PUBLISHED_BEFORE_S: Final = 86_400.0
MIN_SECRET_BYTES: Final = 32
MARK_FIELD: Final = "mark"

PLACEHOLDERS: Final = frozenset(
    {
        *("", "***", "your-jwt-secret", "changeme", "change-me", "secret", "edge-jwt-secret"),
        "your-secret-key",
        "c069c36be9c64acd4d3993d7e9ea44c3c65802e06a5909cee933af6768e2004e",  # of the public installer's chart
    }
)
"""Values that documents print. A published key would let anybody sign in, so they count as unset (X30)."""


def is_placeholder(secret: str) -> bool:
    """Whether documents print it; `echo` into a Secret adds an end of line, which makes it no better."""
    return secret.strip().lower() in PLACEHOLDERS


@dataclass(frozen=True, slots=True)
class SigningKey:
    """signs: what signs; checks: what checks. With HS256 both are the secret itself."""

    kid: str
    algorithm: str
    signs_from_s: float
    signs: Ed25519PrivateKey | bytes
    checks: Ed25519PublicKey | bytes

    def jwk(self) -> dict[str, str]:
        """The public half (RFC 8037). Raises ValueError for a secret, which has none."""
        if isinstance(self.checks, bytes):
            raise ValueError("a secret is never published")
        x = base64.urlsafe_b64encode(self.checks.public_bytes_raw()).decode().rstrip("=")
        return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": EDDSA, "kid": self.kid, "x": x}


@dataclass(frozen=True, slots=True)
class Keyring:
    """keys: by the time from which they sign, at least one. mark_key: of password marks; it never turns."""

    keys: tuple[SigningKey, ...]
    mark_key: bytes

    def signing(self, now_s: float) -> SigningKey:
        """The newest whose time has come."""
        come = [key for key in self.keys if key.signs_from_s <= now_s]
        return come[-1] if come else self.keys[0]

    def find(self, kid: object) -> SigningKey | None:
        return next((key for key in self.keys if key.kid == kid), None)

    def jwks(self) -> dict[str, Any]:
        """RFC 7517; no key at all where a secret signs."""
        return {"keys": [key.jwk() for key in self.keys if not isinstance(key.checks, bytes)]}


class _Kept(msgspec.Struct, frozen=True, rename="camel"):
    """A key as the Secret holds it. seed: of Ed25519, base64."""

    seed: bytes
    signs_from: float


@dataclass(frozen=True, slots=True)
class Turn:
    """What is due. signs_from_s: of a key to make, None: of none. forget: keys that no token needs now."""

    signs_from_s: float | None
    forget: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.signs_from_s is not None or bool(self.forget)


def due(keys: Sequence[SigningKey], now_s: float, keep_s: float) -> Turn:
    """keys: by time. keep_s: the longest life of a token."""
    if not keys:
        return Turn(now_s)
    next_s = keys[-1].signs_from_s + ROTATE_EVERY_S
    # After a long standstill the next key waits its day all the same: somebody may keep the JWKS for long.
    starts_s = max(next_s, now_s + PUBLISHED_BEFORE_S) if now_s >= next_s - PUBLISHED_BEFORE_S else None
    over = tuple(old.kid for old, new in pairwise(keys) if new.signs_from_s + keep_s <= now_s)
    return Turn(starts_s, over)


def ring_of_secret(secret: Secret) -> Keyring:
    key = hmac_key(secret)
    kid = hashlib.sha256(b"kid:" + key).hexdigest()[:16]
    return Keyring((SigningKey(kid, HS256, 0.0, key, key),), key)


def hmac_key(secret: Secret) -> bytes:
    """The key for HS256. A short secret is stretched to full length, and stays as easy to guess."""
    raw = secret.reveal().encode()
    if len(raw) >= MIN_SECRET_BYTES:
        return raw
    return HKDF(algorithm=SHA256(), length=MIN_SECRET_BYTES, salt=None, info=b"edge-jwt").derive(raw)


def new_mark() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def new_key(signs_from_s: float) -> tuple[str, str]:
    """Key id and value of a new key's entry in the Secret."""
    private = Ed25519PrivateKey.generate()
    kept = _Kept(private.private_bytes_raw(), signs_from_s)
    return _ed25519(kept).kid, base64.b64encode(msgspec.json.encode(kept)).decode()


def read_ring(data: Mapping[str, str]) -> Keyring:
    """The ring that a Secret's data holds; entries that are no key are left out. Raises ValueError."""
    found: list[SigningKey] = []
    for kid, text in data.items():
        if kid == MARK_FIELD:
            continue
        try:
            key = _ed25519(msgspec.json.decode(base64.b64decode(text), type=_Kept))
        except (ValueError, msgspec.MsgspecError):
            continue
        if key.kid == kid:
            found.append(key)
    mark = base64.b64decode(data.get(MARK_FIELD, ""))
    if not found or len(mark) < MIN_SECRET_BYTES:
        raise ValueError(f"it holds {len(found)} keys, and a {MARK_FIELD} of {len(mark)} bytes")
    return Keyring(tuple(sorted(found, key=lambda key: key.signs_from_s)), mark)


def _ed25519(kept: _Kept) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(kept.seed)
    public = private.public_key()
    kid = hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]
    return SigningKey(kid, EDDSA, kept.signs_from, private, public)
