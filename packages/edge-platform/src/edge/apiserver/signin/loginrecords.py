"""One LoginRecord per attempt, written beside the answer, never before it (I14).

The queue is bounded: a flood of attempts costs records (counted), not memory and not sign-ins.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import structlog
from prometheus_client import Counter

from edge.iam.accounts import user_label
from edge.iam.lockout import NAME_LABEL
from edge.iam.types import LoginRecord, LoginRecordSpec, User
from edge_kube.client import Client
from edge_kube.conditions import rfc3339
from edge_kube.errors import KubeError
from edge_kube.meta import Key, ObjectMeta
from edge_sdk.clock import Clock

QUEUE_MAX: Final = 1000
MANAGER: Final = "edge-iam"

log = structlog.stdlib.get_logger("edge.apiserver")


@dataclass(frozen=True, slots=True)
class Attempt:
    """user is "" for a name that nobody has: people type passwords into that field, so it is not kept.

    provider: "local", or who vouched. way: Password, Token or OAuth. mark: of the name that was typed.
    """

    user: str
    uid: str
    reason: str
    success: bool
    address: str
    agent: str
    provider: str = "local"
    way: str = "Password"
    mark: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(5))

    @property
    def record(self) -> str:
        """The name of its LoginRecord."""
        return f"{self.user[:200].rstrip('-.') or 'unknown'}-{self.id}"


class LoginRecords:
    def __init__(self, client: Client, clock: Clock, dropped: Counter) -> None:
        self._client = client
        self._clock = clock
        self._dropped = dropped
        self._waiting: deque[tuple[Attempt, float]] = deque()
        self._wake = asyncio.Event()

    def add(self, attempt: Attempt) -> None:
        if len(self._waiting) >= QUEUE_MAX:
            self._dropped.labels("login-record").inc()
            return
        self._waiting.append((attempt, self._clock.now_s()))
        self._wake.set()

    async def run(self) -> None:
        """Writes until it is cancelled; what then still waits is written within two seconds or lost."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._drain()
        except asyncio.CancelledError:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await self._drain()
            raise

    async def _drain(self) -> None:
        while self._waiting:
            attempt, at_s = self._waiting.popleft()
            try:
                await self._client.create(record_of(attempt), manager=MANAGER)
                if attempt.success:
                    await self._note_login(attempt, at_s)
            except KubeError as error:
                self._dropped.labels("login-record").inc()
                log.warning("login_record_lost", user=attempt.user, error=str(error))

    async def _note_login(self, attempt: Attempt, at_s: float) -> None:
        status = {"lastLoginTime": rfc3339(at_s)}
        await self._client.merge(User, Key("", attempt.user), {"status": status}, sub="status")


def record_of(attempt: Attempt) -> LoginRecord:
    labels = user_label(attempt.user) | ({NAME_LABEL: attempt.mark} if attempt.mark else {})
    return LoginRecord(
        metadata=ObjectMeta(name=attempt.record, labels=labels),
        spec=LoginRecordSpec(
            type=attempt.way,
            provider=attempt.provider,
            source_ip=attempt.address,
            success=attempt.success,
            reason=attempt.reason,
            user_agent=attempt.agent,
        ),
    )
