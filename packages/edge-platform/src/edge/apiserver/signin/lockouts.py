"""Lock-outs as the sign-in asks for them: fed by its own attempts at once, and by all others' LoginRecords.

    async with lockouts.turn(name, address) as mark:     # raises TooMuch: wait
        …
        lockouts.note(record, mark, address, success=False)

A name that nobody has is treated as any other: it is known by a keyed mark, and never stored. Source: I14.
"""

import asyncio
import hashlib
import hmac
import math
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import structlog

from edge.iam.lockout import NAME_LABEL, UNLOCKED_ANNOTATION, Ledger, Rules, normal_name
from edge.iam.types import LoginRecord, User
from edge_kube.meta import Key
from edge_kube.wire import ObjectDecoder, UndecodableError
from edge_sdk.clock import Clock
from edge_sdk.problem import TooMuch

WAITING_MAX: Final = 200
ADMINS_KEPT_S: Final = 5.0

_RECORDS = ObjectDecoder(LoginRecord)

log = structlog.stdlib.get_logger("edge.apiserver")


class Lockouts:
    def __init__(
        self, rules: Rules, key: Callable[[], bytes], clock: Clock, admins: Callable[[], Iterable[str]]
    ) -> None:
        """key: secret, and the same in all replicas. admins: names of enabled platform administrators."""
        self._ledger = Ledger(rules)
        self._key = key
        self._clock = clock
        self._admins = admins
        self._admins_known: tuple[float, frozenset[str]] = (float("-inf"), frozenset())
        self._under_way: dict[str, int] = {}
        self._waiting = 0
        self._done = asyncio.Condition()

    def mark(self, name: str) -> str:
        return hmac.new(self._key(), b"name:" + normal_name(name).encode(), hashlib.sha256).hexdigest()[:32]

    @asynccontextmanager
    async def turn(self, name: str, address: str) -> AsyncGenerator[str]:
        """Around one attempt; gives the name's mark. Raises TooMuch.

        Attempts at one name that could be one too many together wait for each other.
        """
        mark = self.mark(name)
        self._admit(name, mark, address)
        while not self._has_room(mark):
            await self._room(mark)
            self._admit(name, mark, address)
        self._under_way[mark] = self._under_way.get(mark, 0) + 1
        try:
            yield mark
        finally:
            left = self._under_way.pop(mark) - 1
            if left:
                self._under_way[mark] = left
            async with self._done:
                self._done.notify_all()

    def note(self, record: str, mark: str, address: str, *, success: bool) -> None:
        self._ledger.note(record, mark, address, self._clock.now_s(), success=success)

    def recorded(self, key: Key, _: bytes | None, new: bytes | None) -> None:
        """A LoginRecord that the watch brings, of this or another replica."""
        if new is None:
            return
        try:
            record = _RECORDS.decode(new)
            at_s = datetime.fromisoformat(record.metadata.creation_timestamp).timestamp()
        except (UndecodableError, ValueError) as error:
            log.warning("object_not_understood", name=key.name, error=str(error))
            return
        mark = record.metadata.labels.get(NAME_LABEL, "")
        if mark and self._clock.now_s() - at_s < self._ledger.rules.remembered_s:
            self._ledger.note(key.name, mark, record.spec.source_ip, at_s, success=record.spec.success)

    def user_changed(self, user: User | None) -> None:
        """An administrator may have forgiven what was."""
        text = user.metadata.annotations.get(UNLOCKED_ANNOTATION, "") if user is not None else ""
        if user is None or not text:
            return
        try:
            at_s = datetime.fromisoformat(text).timestamp()
        except ValueError:
            log.warning("annotation_not_understood", user=user.metadata.name, name=UNLOCKED_ANNOTATION)
            return
        self._ledger.forgive(self.mark(user.metadata.name), min(at_s, self._clock.now_s()))

    def _admit(self, name: str, mark: str, address: str) -> None:
        """Raises TooMuch."""
        now_s = self._clock.now_s()
        wait_s = self._ledger.address_wait_s(address, now_s)
        if wait_s > 0:
            raise wait_longer("too many wrong passwords came from this address", wait_s)
        wait_s = self._ledger.name_wait_s(mark, now_s)
        if wait_s > 0 and self._is_last_admin(name, now_s):
            wait_s = self._ledger.slowed_s(mark, now_s)
        if wait_s > 0:
            raise wait_longer("too many wrong passwords were tried for this name", wait_s)

    def _is_last_admin(self, name: str, now_s: float) -> bool:
        """Whether nobody could undo anything, were this administrator locked out as well."""
        known_s, admins = self._admins_known
        if now_s - known_s > ADMINS_KEPT_S:
            admins = frozenset(self._admins())
            self._admins_known = now_s, admins
        others = (one for one in admins if one != name)
        return name in admins and all(self._ledger.name_wait_s(self.mark(one), now_s) > 0 for one in others)

    def _has_room(self, mark: str) -> bool:
        return self._under_way.get(mark, 0) < max(1, self._ledger.free(mark, self._clock.now_s()))

    async def _room(self, mark: str) -> None:
        if self._waiting >= WAITING_MAX:
            raise wait_longer(f"{WAITING_MAX} sign-ins are waiting", 2)
        self._waiting += 1
        try:
            async with self._done:
                await self._done.wait_for(lambda: self._has_room(mark))
        finally:
            self._waiting -= 1


def wait_longer(why: str, wait_s: float, *, unlockable: bool = True) -> TooMuch:
    seconds = max(1, math.ceil(wait_s))
    others = ", or ask a platform admin to unlock the user" if unlockable else ""
    return TooMuch(
        "too-many-sign-ins",
        what="The sign-in was not tried",
        why=why,
        do=f"try again in {seconds} s{others}",
        retry_after_s=seconds,
    )
