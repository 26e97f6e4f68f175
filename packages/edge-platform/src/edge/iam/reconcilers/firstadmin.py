"""Makes the first administrator when there is none. Woken by namespace kube-system, which always exists."""

import asyncio

import msgspec
import structlog

from edge.iam.firstadmin import ADMIN_ROLE, plan_first_admin
from edge.iam.passwords import hash_password, is_hash
from edge.iam.reconcilers.healing import FIELD_MANAGER, put_back
from edge.iam.reconcilers.role import BY_ROLE
from edge.iam.types import IAMRoleBinding, User
from edge_kube.errors import AlreadyExists, KubeError
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.secret import Secret

ANCHOR = "kube-system"
AGAIN_S = 5.0

log = structlog.stdlib.get_logger("edge.iam")


class FirstAdminReconciler:
    def __init__(self, cache: Reader, client: Writer, *, username: str, password: Secret) -> None:
        self._cache = cache
        self._client = client
        self._username = username
        self._password = password

    async def reconcile(self, request: Request) -> Result:
        """An error is logged and tried again here: the anchor's own status is not ours to write to."""
        if request.name != ANCHOR:
            return DONE
        try:
            await self._ensure()
        except KubeError as error:
            log.warning("first_admin_not_ensured", error=str(error), again_in_s=AGAIN_S)
            return Result(after_s=AGAIN_S)
        return DONE

    async def _ensure(self) -> None:
        name = self._username
        known = self._cache.by(IAMRoleBinding, BY_ROLE, ADMIN_ROLE)  # asked at each change of a binding
        if plan_first_admin(name, self._cache.list(User), known).is_empty:
            return
        # Users and bindings come by a watch each. A deleted administrator may be heard of before the binding
        # of who took their place, and would come back with the published password.
        bound = {
            one.metadata.name: one
            for one in await self._client.list(IAMRoleBinding)
            if one.spec.role_ref.name == ADMIN_ROLE
        }
        plan = plan_first_admin(name, await self._client.list(User), bound.values())
        if plan.user is not None:
            await self._create(await self._with_password(plan.user))
        if plan.binding is not None:
            found = bound.get(plan.binding.metadata.name)
            if found is None:
                await self._create(plan.binding)
            else:
                await put_back(self._client, plan.binding, found)
                log.warning("last_administrator_bound_again", name=name)

    async def _with_password(self, user: User) -> User:
        given = self._password.reveal()
        hashed = given if is_hash(given) else await asyncio.to_thread(hash_password, given)
        return msgspec.structs.replace(
            user, spec=msgspec.structs.replace(user.spec, encrypted_password=hashed)
        )

    async def _create(self, obj: User | IAMRoleBinding) -> None:
        # Create, not apply: the cache may be old, and an existing user's password must never be set back.
        try:
            if isinstance(obj, User):
                await self._client.create(obj, manager=FIELD_MANAGER)
            else:
                await self._client.create(obj, manager=FIELD_MANAGER)
        except AlreadyExists:
            return
        log.info("first_admin_created", kind=type(obj).__name__, name=obj.metadata.name)
