"""Tokens that go on with a list: sealed for one caller and one question, of no use to anybody else. Pure.

    cursors = Cursors(key)                  # the same key in every replica
    token = cursors.seal("ann", question, ["4711", "press", "line-9"])
    cursors.open("ann", question, token, tuple[str, str, str])

A token that is another's, of another question, or made up, is refused alike. Source: design §8.3.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final, TypeVar

import msgspec

from edge_sdk.problem import Expired, Problem

TOKEN_MAX: Final = 8192
SEAL_BYTES: Final = 16
T = TypeVar("T")


class Cursors:
    def __init__(self, key: bytes) -> None:
        """key: any secret of the platform; what seals cursors is derived from it."""
        self._key = hmac.digest(key, b"edge-platform list cursors", hashlib.sha256)

    def seal(self, user: str, question: str, value: Any) -> str:
        body = msgspec.json.encode(value)
        return _text(self._seal(user, question, body) + body)

    def open(self, user: str, question: str, token: str, type_: type[T], parameter: str = "cursor") -> T:
        """Raises Problem (400, BadCursor)."""
        try:
            if len(token) > TOKEN_MAX:
                raise _bad(parameter, token)
            found = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            seal, body = found[:SEAL_BYTES], found[SEAL_BYTES:]
            if not hmac.compare_digest(seal, self._seal(user, question, body)):
                raise _bad(parameter, token)
            return msgspec.json.decode(body, type=type_)
        except (ValueError, binascii.Error, msgspec.MsgspecError):
            raise _bad(parameter, token) from None

    def _seal(self, user: str, question: str, body: bytes) -> bytes:
        about = msgspec.json.encode((user, question))
        return hmac.digest(self._key, about + b"\n" + body, hashlib.sha256)[:SEAL_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bad(parameter: str, token: str) -> Problem:
    return Problem(
        "bad-cursor",
        what=f'The parameter {parameter} is "{token[:60]}"',
        why="it was not given to you for this list",
        do="accepted: the value of the page before, with the same parameters; or none, to begin anew",
        params={"parameter": parameter},
    )


def expired() -> Expired:
    return Expired(
        "resource-version-expired",
        what="The list that this page belongs to is not known any more",
        why="too much has changed since its first page",
        do="begin anew, without continue or cursor",
    )
