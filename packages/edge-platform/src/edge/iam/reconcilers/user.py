"""Fills in the state of a new user; what people set stays as they set it."""

import msgspec

from edge.iam.accounts import ACTIVE
from edge.iam.types import User
from edge_kube.runtime import DONE, Reader, Request, Result, Writer


class UserReconciler:
    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache

    async def reconcile(self, request: Request) -> Result:
        user = self._cache.get(User, request.name)
        if user is None or user.metadata.deletion_timestamp or user.status.state:
            return DONE
        return Result(status=msgspec.structs.replace(user.status, state=ACTIVE))
