"""How an upstream is told who calls: a token of 60 seconds, signed for this one upstream (authProxy).

The signature is Ed25519's, so that upstreams check it with the public key of /.well-known/edge-proxy-keys and
could sign nothing. All replicas derive the same key from the platform's signing key.
"""

import base64
import secrets
from typing import Any, Final
from urllib.parse import quote

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edge_sdk.access import Caller

LIFETIME_S: Final = 60
TOKEN_HEADER: Final = "X-Edge-Identity"  # noqa: S105
GROUPS_MAX: Final = 50
Headers = list[tuple[str, str]]


class Introductions:
    def __init__(self, key: bytes, issuer: str) -> None:
        """key: the platform's own signing key, which is not what signs here."""
        seed = HKDF(SHA256(), 32, salt=None, info=b"edge-reverse-proxy/identity/v1").derive(key)
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._issuer = issuer
        self._public = self._key.public_key().public_bytes_raw()
        digest = Hash(SHA256())
        digest.update(self._public)
        self._kid = digest.finalize().hex()[:16]

    def headers(self, caller: Caller, audience: str, now_s: float) -> Headers:
        """The token, and for upstreams that know no better the names that Kubernetes uses (X-Remote-*).

        audience: reverseproxy/NAMESPACE/NAME.
        """
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": audience,
            "sub": caller.name,
            "uid": caller.uid,
            "groups": list(caller.groups[:GROUPS_MAX]),
            "iat": int(now_s),
            "exp": int(now_s) + LIFETIME_S,
            "jti": secrets.token_hex(12),
        }
        token = jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": self._kid})
        groups = [("X-Remote-Group", _plain(group)) for group in caller.groups[:GROUPS_MAX]]
        return [(TOKEN_HEADER, token), ("X-Remote-User", _plain(caller.name)), *groups]

    def public_keys(self) -> dict[str, Any]:
        """A JWK Set."""
        key = base64.urlsafe_b64encode(self._public).rstrip(b"=").decode()
        return {
            "keys": [
                {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self._kid, "x": key}
            ]
        }


def _plain(text: str) -> str:
    """As a header value: what is not plain ASCII, or is a percent sign, as percent signs."""
    return quote(text, safe="!#$&'()*+,-./:;<=>?@[]^_`{|}~ ")[:1000]
