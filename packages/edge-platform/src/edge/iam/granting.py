"""Admission that knows the author: refuses a change that gives rights which its author does not hold.

    grants = Grants(index, freshness, native, own=("system:serviceaccount:edge-system:edge-controller",))
    Webhook(IAMRole, validate=check_role, authorize=grants.guard(role_lacks))

The author is judged by the roles and bindings of the platform. Who is nobody there, such as a pipeline with
rights of its own in the host, may do it with the verb `escalate` or `bind` on iamroles in the host's RBAC, as
cluster-admin has them. Source: design §6.1; decision 007.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

import structlog

from edge.iam.accounts import groups_behind
from edge.iam.bindings import uid_noted
from edge.iam.escalation import ROLES, Lack, Steps, binding_lacks
from edge.iam.foretelling import Foretelling
from edge.iam.freshness import Freshness, asked_now
from edge.iam.index import Index, Who
from edge.iam.instances import CREATOR_ANNOTATION
from edge.iam.ports import NativeRights
from edge.iam.turns import in_turns
from edge.iam.types import IAMRoleBinding
from edge_kube.errors import KubeError
from edge_kube.meta import Resource
from edge_kube.runtime import Author, NotNow
from edge_sdk.problem import Unavailable
from edge_sdk.room import PatchOp
from edge_sdk.scopes import ADMINS_GROUP, IAM_GROUP, WORKSPACE_LABEL

TRUSTED_GROUPS: Final = frozenset({"system:masters", ADMINS_GROUP, "system:serviceaccounts:kube-system"})
"""Those who may everything in the host by definition, and the cluster's own controllers."""
REFUSED_MAX: Final = 10
"""Sentences of one refusal. A template may be in thousands of roles."""

T = TypeVar("T", bound=Resource)
Asks = Callable[[Index, Who, T, T | None], Steps]

log = structlog.stdlib.get_logger("edge.iam")


class Grants:
    def __init__(
        self,
        index: Index,
        freshness: Freshness,
        native: NativeRights,
        own: Collection[str] = (),
        prove: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """own: names of the platform's own service accounts; their authors were asked before.

        prove: makes sure that all changes of rights made before now have arrived in the index (decision 006).
        """
        self._index = index
        self._freshness = freshness
        self._native = native
        self._own = frozenset(own)
        self._prove = prove
        self._foretelling = Foretelling(index, freshness, native, own)
        self.warn = self._foretelling.warn
        """The `warn` of every kind that rights hang on."""
        self.keep_last_admin = self._foretelling.keep_last_admin

    async def bindings(
        self, new: IAMRoleBinding, old: IAMRoleBinding | None, author: Author
    ) -> Sequence[str]:
        """The `authorize` of bindings: what the author lacks, and whether an administrator remains."""
        lacks = await self.guard(binding_lacks)(new, old, author)
        return lacks or await self._foretelling.keeps_an_admin(new, old, author)

    def guard(self, asks: Asks[T]) -> Callable[[T, T | None, Author], Awaitable[Sequence[str]]]:
        """An `authorize` of a webhook: sentences about what the author lacks."""

        async def authorize(new: T, old: T | None, author: Author) -> Sequence[str]:
            if self._is_trusted(author):
                return ()
            await self._require_fresh()
            who: Who = (author.username, groups_behind(author.groups))
            return await self._refused(author, asks(self._index, who, new, old))

        return authorize

    def creator(self, obj: Resource, old: Resource | None, author: Author) -> Sequence[PatchOp]:
        """A `stamp`: who makes a scope becomes its admin, so the note of it is nobody's to choose."""
        if self._is_trusted(author):
            return ()
        noted = obj.metadata.annotations.get(CREATOR_ANNOTATION, "")
        if old is None or _joins(obj, old):
            wanted = _person(author)
        else:
            wanted = old.metadata.annotations.get(CREATOR_ANNOTATION, "")
        if noted == wanted:
            return ()
        path = f"/metadata/annotations/{CREATOR_ANNOTATION.replace('/', '~1')}"
        if not wanted:
            return ({"op": "remove", "path": path},)
        if not obj.metadata.annotations:
            return ({"op": "add", "path": "/metadata/annotations", "value": {CREATOR_ANNOTATION: wanted}},)
        return ({"op": "add", "path": path, "value": wanted},)

    def ours(self, why: str) -> Callable[[Resource, Resource | None, Author], Awaitable[Sequence[str]]]:
        """An `authorize` of what the platform alone writes. why: and what others do instead."""

        async def authorize(new: Resource, old: Resource | None, author: Author) -> Sequence[str]:
            del new, old
            return () if self._is_trusted(author) else (why,)

        return authorize

    def ours_to_delete(self, why: str) -> Callable[[Resource, Author], Awaitable[Sequence[str]]]:
        """A `retain` of the same."""

        async def retain(old: Resource, author: Author) -> Sequence[str]:
            del old
            return () if self._is_trusted(author) else (why,)

        return retain

    def scope_uid(self, new: IAMRoleBinding, old: IAMRoleBinding | None, author: Author) -> Sequence[PatchOp]:
        """A `stamp` of bindings: for which object of its scope's name it is made (S7)."""
        del author
        return uid_noted(self._index, new, old)

    async def _require_fresh(self) -> None:
        """Raises NotNow: what is not known to hold still is neither allowed nor forbidden."""
        asked_now()
        if self._prove is not None:
            await self._prove()
        try:
            self._freshness.require("create")
        except Unavailable as problem:
            raise NotNow(f"{problem.what}: {problem.why}. {problem.do}") from None

    def _is_trusted(self, author: Author) -> bool:
        return author.username in self._own or not TRUSTED_GROUPS.isdisjoint(author.groups)

    async def _refused(self, author: Author, steps: Steps) -> Sequence[str]:
        """What the author lacks and may not natively either; a few are enough to refuse by."""
        refused: dict[str, None] = {}
        known: dict[tuple[str, str], bool] = {}
        async with aclosing(in_turns(steps)) as lacks:
            async for lack in lacks:
                if not await self._may_natively(author, lack, known):
                    refused[lack.text] = None
                if len(refused) == REFUSED_MAX:
                    break
        return tuple(refused)

    async def _may_natively(self, author: Author, lack: Lack, known: dict[tuple[str, str], bool]) -> bool:
        """known: what has been asked about the author already. From the second role on, first about all."""
        for role in ("", lack.role) if known else (lack.role,):
            if lack.verb and (lack.verb, role) not in known:
                known[lack.verb, role] = await self._ask(author, lack.verb, role)
            if lack.verb and known[lack.verb, role]:
                return True
        return False

    async def _ask(self, author: Author, verb: str, role: str) -> bool:
        try:
            return await self._native.may(author, verb, IAM_GROUP, ROLES, role)
        except KubeError as error:
            log.warning("native_rights_unknown", user=author.username, error=str(error))
            return False


def _joins(obj: Resource, old: Resource) -> bool:
    """Whether a namespace comes into a workspace: outside of one, anybody may have noted anything on it."""
    there = obj.metadata.labels.get(WORKSPACE_LABEL, "")
    return bool(there) and there != old.metadata.labels.get(WORKSPACE_LABEL, "")


def _person(author: Author) -> str:
    """Parts of the system and programs administer nothing that they happen to make."""
    return "" if author.username.startswith("system:") else author.username
