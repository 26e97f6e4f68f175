"""Removes sign-in records that are older than the retention (I14)."""

from edge.iam.accounts import record_due_in_s
from edge.iam.types import LoginRecord
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.clock import Clock, SystemClock

DAY_S = 86_400.0


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
        if left_s > 0:
            return Result(after_s=min(left_s, DAY_S))
        await self._client.delete(LoginRecord, request.name, uid=record.metadata.uid)
        return DONE
