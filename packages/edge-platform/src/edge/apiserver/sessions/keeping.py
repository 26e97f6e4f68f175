"""Looks after the records of sessions: notes when they were used, removes those that are over."""

import asyncio
import random
from collections.abc import Callable
from typing import Final

import structlog
from msgspec.structs import replace

from edge.apiserver.callers.identity import People
from edge.apiserver.sessions.live import LiveSessions
from edge.apiserver.sessions.records import SessionRecords
from edge.iam.sessions import SessionRecord, session_id
from edge.iam.tokens import LEEWAY_S, Tokens
from edge_kube.errors import KubeError
from edge_sdk.clock import Clock

SEEN_GRAIN_S: Final = 60.0
SEEN_EVERY_S: Final = 15.0
SEEN_AT_ONCE: Final = 75
"""How many times of last use are written in one go: many sessions are noted more coarsely."""
SWEEP_EVERY_S: Final = 600.0
NEW_S: Final = 60.0
"""A session that is younger may have a user, or a client, whom the watch has not brought yet."""

log = structlog.stdlib.get_logger("edge.apiserver")


class SessionKeeper:
    """Every replica runs one; they write different sessions, or the same and one of them is too late."""

    def __init__(
        self, live: LiveSessions, records: SessionRecords, tokens: Tokens, people: People, clock: Clock
    ) -> None:
        self._live = live
        self._records = records
        self._tokens = tokens
        self._people = people
        self._clock = clock
        self._used: dict[str, float] = {}
        self.client_is_gone: Callable[[str], bool] = lambda _: False
        """Whether there is no such client any more, by its id."""

    def used(self, sid: str) -> None:
        """Cheap: called at every request."""
        self._used[session_id(sid)] = self._clock.now_s()

    def last_use_s(self, record: SessionRecord) -> float:
        return max(self._used.get(record.id, 0.0), record.seen_s)

    async def run(self) -> None:
        """Until cancelled."""
        swept_s = self._clock.monotonic_s()
        while True:
            await asyncio.sleep(SEEN_EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the replicas
            await self.note_used()
            if self._clock.monotonic_s() - swept_s > SWEEP_EVERY_S:
                swept_s = self._clock.monotonic_s()
                await self.sweep()

    async def note_used(self) -> int:
        """Write the times of last use that are much older in the records; how many are."""
        used, self._used = self._used, {}
        late = [id_ for id_, at_s in used.items() if self._noted_late(id_, at_s) is not None]
        for id_ in late[:SEEN_AT_ONCE]:
            # Read in the turn in which it is written: an older reading would undo a refresh since.
            record = self._noted_late(id_, used[id_])
            if record is None:
                continue
            try:
                await self._records.write(replace(record, seen_s=used[id_]), self._live.version(id_))
            except KubeError as error:  # somebody else wrote it, or it is gone: the next use tells again
                log.debug("session_use_not_noted", session=id_, error=str(error))
        return len(late)

    def _noted_late(self, id_: str, at_s: float) -> SessionRecord | None:
        """The record of a session whose last use is much older there; None for any other."""
        record = self._live.get(id_)
        return record if record is not None and at_s - record.seen_s >= SEEN_GRAIN_S else None

    async def sweep(self) -> int:
        """Remove the records of sessions that nothing belongs to any more; their number."""
        over = [record for record in self._live.all() if self._is_over(record)]
        for record in over:
            try:
                await self._records.remove(record.id)
            except KubeError as error:
                log.warning("session_not_removed", session=record.id, error=str(error))
        return len(over)

    def _is_over(self, record: SessionRecord) -> bool:
        """Past its end, or its user or client is gone, or the user has another password."""
        now_s = self._clock.now_s()
        if now_s >= record.ends_s + LEEWAY_S:
            return True
        user = self._people.user(record.user)
        if user is None or user.metadata.uid != record.uid or self.client_is_gone(record.client):
            return now_s - record.opened_s > NEW_S
        return self._tokens.password_mark(user.spec.encrypted_password) not in record.marks

    async def make_room(self, user: str, most: int) -> None:
        """End those that were not used for longest: a script may leave a session at each of its runs.

        Raises KubeError.
        """
        too_many = self._live.count(user) - most + 1
        if too_many > 0:
            for record in sorted(self._live.of(user), key=self.last_use_s)[:too_many]:
                await self._records.remove(record.id)
