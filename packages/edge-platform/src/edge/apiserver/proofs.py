"""What is proven before a request that changes something is decided (I6, I12; docs/decisions/006).

    of every request                     that rights are known to be new
    with the token of a session          that the session has not ended; and that its program is registered
    with a kubeconfig                    that it has not been revoked
    of a service account, by certificate nothing more: no record of ours stands behind them

A watch that is frozen, and not broken, looks like a quiet one: without proof an ended session would go on to
count until the silence is noticed.
"""

import asyncio
from collections.abc import Iterator

from edge.apiserver.callers.identity import Session
from edge.apiserver.callers.kubeconfigs import Kubeconfigs
from edge.apiserver.mirrors.secretrecords import SecretRecords
from edge.apiserver.rights.picture import Rights
from edge.apiserver.sessions.live import LiveSessions
from edge.apiserver.signin.clients import Clients
from edge.iam.sessions import SessionRecord, session_id


class Proofs:
    def __init__(
        self, rights: Rights, sessions: LiveSessions, kubeconfigs: Kubeconfigs, clients: Clients
    ) -> None:
        self._rights = rights
        self._sessions = sessions
        self._kubeconfigs = kubeconfigs
        self._clients = clients

    async def prove(self, caller: Session) -> None:
        """Then ask once more who it is: what the proof has brought may have ended the caller's token.

        Raises Unavailable (503) where it is not known whether that token still counts, NotAuthenticated (401)
        when its program is gone, or could not get it any more. Whether rights are known to be new is asked
        where they decide.
        """
        record = self._of_program(caller)
        followed = tuple(self._behind(caller, record))
        proofs = (self._rights.beats, *(one.beats for one in followed))
        await asyncio.gather(*(beats.prove() for beats in proofs if beats.is_due))
        if not all(one.is_new for one in followed):
            self._rights.freshness.require("create")  # where nothing at all is heard, that is what is said
        for one in followed:
            one.require_new()
        if record is not None:
            self._clients.check(record)

    async def close(self) -> None:
        for one in (self._sessions, self._kubeconfigs, self._clients):
            await one.followed.beats.close()

    def _behind(self, caller: Session, record: SessionRecord | None) -> Iterator[SecretRecords]:
        if caller.cluster:
            yield self._kubeconfigs.followed
        if caller.sid:
            yield self._sessions.followed
        if record is not None:
            yield self._clients.followed

    def _of_program(self, caller: Session) -> SessionRecord | None:
        """The caller's session, if a program opened it that the settings do not name."""
        record = self._sessions.get(session_id(caller.sid)) if caller.sid else None
        return None if record is None or self._clients.is_configured(record.client) else record
