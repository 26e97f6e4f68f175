"""The sessions that are live, as this process knows them: a mirror of their records (I12).

A session counts while its record is there. A record that goes, by whomever, takes its tokens' force and the
streams that they opened in the turn in which the event arrives, on every replica.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from edge.apiserver.mirrors.secretrecords import Gone, SecretRecords, record_in
from edge.iam.sessions import SECRET_PREFIX, SECRET_TYPE, SessionRecord, read_session, session_id
from edge_kube.client import Client
from edge_kube.core import Secret as KubeSecret
from edge_kube.meta import Key, to_manifest
from edge_sdk.problem import NotAuthenticated

SIGN_IN: Final = "sign in again at /oauth/token, or use the refresh token"


class LiveSessions:
    """look: told the name of a user one of whose sessions ended, so that streams are looked at."""

    def __init__(
        self, client: Client, namespace: str, look: Callable[[str], None], *, relist_s: float
    ) -> None:
        self._namespace = namespace
        self._look = look
        self._records: dict[str, SessionRecord] = {}
        self._by_user: dict[str, dict[str, None]] = {}
        self._gone = Gone()
        self.followed = SecretRecords(
            client,
            namespace,
            SECRET_TYPE,
            self._changed,
            of="sessions",
            unknown="which sessions have ended",
            relist_s=relist_s,
        )
        self.mirror = self.followed.mirror

    def check(self, sid: str, uid: str, mark: str) -> None:
        """Raises NotAuthenticated (401) unless this session is live, of this user with this password.

        Raises Unavailable (503) while that is not known: nobody is signed out by it.
        """
        self.followed.require()
        record = self._records.get(session_id(sid))
        if record is None or record.uid != uid:
            raise _refused("its session has ended")
        if mark not in record.marks:
            raise _refused("the password has been changed since")

    def get(self, id_: str) -> SessionRecord | None:
        return self._records.get(id_)

    def version(self, id_: str) -> str:
        """Of the record, as far as it is known here."""
        stored = self.mirror.collection.get(Key(self._namespace, SECRET_PREFIX + id_))
        return stored.resource_version if stored is not None else ""

    def all(self) -> list[SessionRecord]:
        return list(self._records.values())

    def of(self, user: str) -> list[SessionRecord]:
        """Newest first."""
        mine = (self._records[id_] for id_ in self._by_user.get(user, ()))
        return sorted(mine, key=lambda one: (-one.opened_s, one.id))

    def count(self, user: str) -> int:
        return len(self._by_user.get(user, ()))

    def is_gone(self, id_: str) -> bool:
        return id_ in self._gone

    def put(self, secret: KubeSecret) -> None:
        """What this process has just written or read, before the watch brings it."""
        self.mirror.collection.put(msgspec.json.encode(to_manifest(secret)))

    def drop(self, id_: str) -> None:
        self._gone.add(id_)
        self.mirror.collection.drop(Key(self._namespace, SECRET_PREFIX + id_))

    def _changed(self, key: Key, _: bytes | None, new: bytes | None) -> None:
        id_ = key.name.removeprefix(SECRET_PREFIX)
        before = self._records.pop(id_, None)
        now = None if new is None else record_in(key, new, read_session, "a session")
        if now is None:
            self._gone.add(id_)
        elif id_ not in self._gone:  # an event that was under way while we ended it brings nobody back
            self._records[id_] = now
            self._by_user.setdefault(now.user, {})[id_] = None
        if before is None:
            return
        if id_ not in self._records:
            mine = self._by_user[before.user]
            mine.pop(id_, None)
            if not mine:
                del self._by_user[before.user]
        if now is None or now.marks != before.marks:
            self._look(before.user)


def _refused(why: str) -> NotAuthenticated:
    return NotAuthenticated("token-revoked", what="The token was refused", why=why, do=SIGN_IN)
