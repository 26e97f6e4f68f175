"""Requests that gateways sign: a sink tells a gateway from whoever holds a token that was sent to it. Pure.

    Edge-Signature: <name of the key> <Ed25519 signature in base64>

Signed are the method, the sink that is meant, path and query, and a hash of the body, with the key of the
trail's statements, which gateways alone can read. There is no time in it, so that no clock can stop the
trail: whatever is sent to the same sink again was there before, and changes nothing.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from yarl import URL

from edge.audit.statements import key_name

HEADER: Final = "Edge-Signature"
_PURPOSE: Final = "edge-audit request 1"
"""No statement begins so: one signature is never taken for the other."""


def authority(url: URL) -> str:
    return f"{url.host}:{url.port}"


def sign(key: Ed25519PrivateKey, method: str, url: URL, body: bytes) -> str:
    """The header's value. url: as it is sent."""
    signature = key.sign(_signed(method, authority(url), url.raw_path_qs, body))
    return f"{key_name(key.public_key())} {base64.b64encode(signature).decode()}"


def named(header: str) -> str:
    """Name of the key that it claims."""
    return header.partition(" ")[0][:80]


def is_signed(
    header: str,
    keys: Mapping[str, Ed25519PublicKey],
    *,
    method: str,
    to: str,
    path: str,
    body: bytes,
) -> bool:
    """to: host:port that the sink goes by. path: with the query, as it came."""
    key = keys.get(named(header))
    if key is None:
        return False
    try:
        key.verify(base64.b64decode(header.partition(" ")[2], validate=True), _signed(method, to, path, body))
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed(method: str, to: str, path: str, body: bytes) -> bytes:
    return "\n".join((_PURPOSE, method, to, path, hashlib.sha256(body).hexdigest())).encode()
