"""Removes sign-in records that are older than the retention, and the oldest of who has too many (I14)."""

from edge.iam.accounts import RECORDS_KEPT_S, USER_LABEL, record_due_in_s, records_too_many
from edge.iam.types import LoginRecord
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.clock import Clock, SystemClock

DAY_S = 86_400.0
NEW_S = 600.0
BY_USER = "user"
"""Index of records by the user they are about; "" for names that nobody has."""
AT_ONCE = 50


def user_of(record: LoginRecord) -> tuple[str, ...]:
    return (record.metadata.labels.get(USER_LABEL, ""),)


class LoginRecordReconciler:
    def __init__(self, cache: Reader, client: Writer, *, clock: Clock | None = None) -> None:
        self._cache = cache
        self._client = client
        self._clock = clock or SystemClock()

    async def reconcile(self, request: Request) -> Result:
        record = self._cache.get(LoginRecord, request.name)
        if record is None or record.metadata.deletion_timestamp:
            return DONE
        left_s = record_due_in_s(record, self._clock.now_s())
        if left_s <= 0:
            await self._client.delete(LoginRecord, request.name, uid=record.metadata.uid)
            return DONE
        if left_s < RECORDS_KEPT_S - NEW_S:  # who has too many has new ones; the others need not look
            return Result(after_s=min(left_s, DAY_S))
        (user,) = user_of(record)
        for old in records_too_many(self._cache.by(LoginRecord, BY_USER, user), user)[:AT_ONCE]:
            await self._client.delete(LoginRecord, old.metadata.name, uid=old.metadata.uid)
        return Result(after_s=min(left_s, DAY_S))
