"""What is kept of a session, and what a refresh token is good for (I12). Pure.

A session is a Secret; while it is there, its tokens count. Nothing in it lets anybody in: of the refresh
token there are hashes only. A refresh token has three parts, all of them opaque to clients:

    <id of the session>.<secret of its family>.<secret of this one>

The family's part stays, so that a token that was swapped long ago is still told from one that never was:
the first means that somebody has a copy, and ends the session; the second means nothing.
Source: design §9.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import msgspec

from edge.iam.accounts import user_label
from edge.iam.types import GROUP
from edge_kube.conditions import rfc3339
from edge_kube.core import Secret as KubeSecret
from edge_kube.meta import Manifest

SECRET_TYPE: Final = "iam.theriseunion.io/session"  # noqa: S105
SECRET_PREFIX: Final = "edge-session-"  # noqa: S105
FIELD: Final = "session"
RESTRICTED_SCOPE: Final = "password-change"
"""Told to clients instead of what they asked for, while a password has to be changed first (I16)."""
REUSE_FORGIVEN_S: Final = 10.0
"""Two tabs, or an answer that was lost on its way: an honest client may send the same token again at once."""

_ID = re.compile(r"[0-9a-f]{32}")
_PART = re.compile(r"[A-Za-z0-9_-]{22,64}")


class SessionRecord(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One session. Times are seconds since 1970.

    id: shown in lists and in the Secret's name; sid: in the tokens, which alone let in.
    marks: of the passwords that it holds for, two while the password is being changed from within it.
    ends_s: when it is over unless it is refreshed. family, current, previous: hashes of refresh tokens'
    parts, "" where there are none; swapped_s: when `previous` was swapped for `current`.
    signed_in_s: when its user last gave the password, 0 for when it was opened. login: name of the Secret of
    the browser's sign-in that it came from, "" for none. origin: a digest of what an OpenID provider calls
    the sign-in there. vouched_s: when a directory was last asked and knew the user, 0 for not since then.
    """

    id: str
    sid: str
    user: str
    uid: str
    marks: tuple[str, ...]
    client: str
    provider: str
    scope: str
    address: str
    agent: str
    opened_s: float
    seen_s: float
    ends_s: float
    family: str = ""
    current: str = ""
    previous: str = ""
    swapped_s: float = 0.0
    signed_in_s: float = 0.0
    login: str = ""
    origin: str = ""
    vouched_s: float = 0.0

    @property
    def proven_s(self) -> float:
        """When its user last gave the password, here or at a provider."""
        return self.signed_in_s or self.opened_s

    def shown(self, seen_s: float) -> dict[str, Any]:
        """As lists show it: nothing in it lets anybody in. seen_s: the last use, as far as is known."""
        return {
            "id": self.id,
            "user": self.user,
            "client": self.client,
            "provider": self.provider,
            "address": self.address,
            "userAgent": self.agent,
            "opened": rfc3339(self.opened_s),
            "lastSeen": rfc3339(seen_s),
            "expires": rfc3339(self.ends_s),
        }


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """Its parts: the session's id, the family's secret, its own."""

    id: str
    family: str
    own: str

    def __str__(self) -> str:
        return f"{self.id}.{self.family}.{self.own}"


class Verdict(Enum):
    """GOOD: swap it. WORTHLESS: refuse it. STOLEN: there is a copy of it; end the session."""

    GOOD = "good"
    WORTHLESS = "worthless"
    STOLEN = "stolen"


def session_id(sid: str) -> str:
    """The id of a session, which may be shown, from the `sid` in its tokens."""
    return hashlib.sha256(sid.encode()).hexdigest()[:32]


def is_session_id(text: str) -> bool:
    """Whether it can be one: it becomes a part of a name."""
    return _ID.fullmatch(text) is not None


def first_refresh_token(id_: str) -> RefreshToken:
    return RefreshToken(id_, secrets.token_urlsafe(16), secrets.token_urlsafe(32))


def next_refresh_token(token: RefreshToken) -> RefreshToken:
    return RefreshToken(token.id, token.family, secrets.token_urlsafe(32))


def read_refresh_token(text: str) -> RefreshToken | None:
    """None for what is no refresh token of ours."""
    parts = text.split(".") if len(text) <= 200 else []
    if len(parts) != 3 or not is_session_id(parts[0]):
        return None
    if not all(_PART.fullmatch(part) for part in parts[1:]):
        return None
    return RefreshToken(*parts)


def hash_of(part: str) -> str:
    """A plain hash is enough: nobody guesses 128 bits."""
    return hashlib.sha256(part.encode()).hexdigest()


def origin_of(session: str) -> str:
    """What is kept of the name that a provider gave a sign-in there; "" for none."""
    return hash_of(session)[:32] if session else ""


def is_of_family(record: SessionRecord, token: RefreshToken) -> bool:
    """Whether it was given in this session, be it swapped since."""
    return bool(record.family) and _same(record.family, token.family)


def is_current(record: SessionRecord, token: RefreshToken) -> bool:
    """Whether it is the newest of its session."""
    return is_of_family(record, token) and _same(record.current, token.own)


def judge(record: SessionRecord, offered: RefreshToken, client: str, now_s: float) -> Verdict:
    """Whether a token may be swapped. Its client is a part of it: with another it is worth nothing."""
    if not is_of_family(record, offered) or now_s >= record.ends_s:
        return Verdict.WORTHLESS
    if not hmac.compare_digest(record.client.encode(), client.encode()):
        return Verdict.WORTHLESS
    if _same(record.current, offered.own):
        return Verdict.GOOD
    if _same(record.previous, offered.own) and now_s - record.swapped_s < REUSE_FORGIVEN_S:
        return Verdict.WORTHLESS
    return Verdict.STOLEN


def _same(hashed: str, part: str) -> bool:
    return hmac.compare_digest(hashed, hash_of(part))


def manifest_of(record: SessionRecord, namespace: str) -> Manifest:
    """The Secret that stands for it. It goes with its user."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": SECRET_TYPE,
        "metadata": {
            "name": SECRET_PREFIX + record.id,
            "namespace": namespace,
            "labels": user_label(record.user),
            "ownerReferences": [
                {"apiVersion": f"{GROUP}/v1alpha1", "kind": "User", "name": record.user, "uid": record.uid}
            ],
        },
        "data": data_of(record),
    }


def data_of(record: SessionRecord) -> Mapping[str, str]:
    return {FIELD: base64.b64encode(msgspec.json.encode(record)).decode()}


def read_session(secret: KubeSecret) -> SessionRecord | None:
    """What a Secret says; None when it is no session, or none that can be understood."""
    if secret.type != SECRET_TYPE:
        return None
    try:
        raw = base64.b64decode(dict(secret.data).get(FIELD, ""))
        record = msgspec.json.decode(raw, type=SessionRecord)
    except (ValueError, msgspec.MsgspecError):
        return None
    # A copy under another name would be a second session with the same tokens.
    named = secret.metadata.name == SECRET_PREFIX + record.id and record.id == session_id(record.sid)
    return record if named else None
