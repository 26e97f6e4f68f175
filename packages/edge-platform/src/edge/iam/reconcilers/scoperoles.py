"""Gives every scope of one type its own roles, and its creator and manager the admin role of it (I11).

    Loop(Workspace, partial(ScopeRoles, Workspace, "workspace", wants, manager_of), name="workspaceroles", …)

Rooms of scope kinds put it among their loops. While everything stands, nothing is sent.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import structlog

from edge.iam.instances import (
    CREATOR_ANNOTATION,
    admin_binding,
    instance_role_name,
    instance_roles,
    manager_binding,
    pattern_names,
    stands,
)
from edge.iam.reconcilers.healing import FIELD_MANAGER, put_back
from edge.iam.types import IAMRole, IAMRoleBinding
from edge_kube.errors import AlreadyExists
from edge_kube.meta import Resource
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.scopes import CLUSTER_LABEL, IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

T = TypeVar("T", bound=Resource)


def scope_named(kind: str, obj: IAMRole | IAMRoleBinding) -> Iterable[Request]:
    """The scope of this type whose role or binding changed, so that what was taken away comes back."""
    labels = obj.metadata.labels
    name = labels.get(IAM_SCOPE_VALUE_LABEL, "")
    return [Request(name)] if labels.get(IAM_SCOPE_LABEL) == kind and name else ()


def nobody(_: Resource) -> str:
    """The manager of scopes that have none."""
    return ""


SYSTEM = "system"
AGAIN_S = 2.0

log = structlog.stdlib.get_logger("edge.iam")


class ScopeRoles(Generic[T]):
    """wants: whether an object is a scope that gets roles. manager: who is always its admin, or ""."""

    def __init__(
        self,
        kind: type[T],
        scope: str,
        wants: Callable[[T], bool],
        manager: Callable[[T], str],
        cache: Reader,
        client: Writer,
    ) -> None:
        self._kind = kind
        self._scope = scope
        self._wants = wants
        self._manager = manager
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        owner = self._cache.get(self._kind, request.name)
        if owner is None or owner.metadata.deletion_timestamp or not self._wants(owner):
            return DONE
        cluster = owner.metadata.labels.get(CLUSTER_LABEL, "") or "host"
        patterns = [
            found
            for name in pattern_names(self._scope)
            if (found := self._cache.get(IAMRole, name)) is not None
        ]
        wanted = instance_roles(self._scope, owner, patterns, cluster)
        await self._bind_creator(owner, cluster)
        for role in wanted:
            found = self._cache.get(IAMRole, role.metadata.name)
            if not stands(role, found):
                await put_back(self._client, role, found)
                log.info("scope_role_applied", scope=self._scope, name=request.name, role=role.metadata.name)
        await self._bind_manager(owner, cluster)
        # At the first start the pattern roles are still being made.
        return DONE if len(patterns) == len(pattern_names(self._scope)) else Result(after_s=AGAIN_S)

    async def _bind_manager(self, owner: T, cluster: str) -> None:
        """As spec says now: who was manager before is bound no more."""
        user = self._manager(owner)
        binding = manager_binding(self._scope, owner, user, cluster)
        there = self._cache.get(IAMRoleBinding, binding.metadata.name)
        if user and not stands(binding, there):
            await put_back(self._client, binding, there)
            log.info("manager_bound", scope=self._scope, name=owner.metadata.name, user=user)
        elif not user and there is not None:
            await self._client.delete(IAMRoleBinding, there.metadata.name, uid=there.metadata.uid)
            log.info("manager_unbound", scope=self._scope, name=owner.metadata.name)

    async def _bind_creator(self, owner: T, cluster: str) -> None:
        """Once, before the admin role is there: a creator who was taken off later must not come back."""
        creator = owner.metadata.annotations.get(CREATOR_ANNOTATION, "")
        role = instance_role_name(self._scope, owner.metadata.name, "admin")
        if creator in ("", SYSTEM) or self._cache.get(IAMRole, role) is not None:
            return
        try:
            await self._client.create(
                admin_binding(self._scope, owner, creator, cluster), manager=FIELD_MANAGER
            )
        except AlreadyExists:
            return
        log.info("creator_bound", scope=self._scope, name=owner.metadata.name, user=creator)
