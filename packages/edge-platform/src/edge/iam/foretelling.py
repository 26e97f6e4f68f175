"""Admission that tells beforehand: what a dry run would change, and which change would lock everybody out.

    foretelling = Foretelling(index, freshness, native, own)
    Webhook(IAMRole, warn=foretelling.warn)
    Webhook(IAMRoleBinding, warn=foretelling.warn, retain=foretelling.keep_last_admin, retain_if=AT_PLATFORM)

An author is told about the scopes whose bindings they may list, in the platform or natively, and about
themselves. Source: design §6, §6.1 (4).
"""

from collections.abc import Collection, Sequence
from typing import Final

import structlog

from edge.iam.accounts import groups_behind
from edge.iam.facts import binding_facts
from edge.iam.freshness import Freshness
from edge.iam.impact import Impact
from edge.iam.impacttext import sentences
from edge.iam.index import Index, Who
from edge.iam.lastadmin import is_last_admin
from edge.iam.ports import NativeRights
from edge.iam.proposal import Proposal
from edge.iam.questions import BINDINGS, lists_bindings
from edge.iam.turns import finish
from edge.iam.types import IAMRoleBinding
from edge_kube.errors import KubeError
from edge_kube.meta import Resource
from edge_kube.runtime import Author
from edge_sdk.problem import Unavailable
from edge_sdk.scopes import FORCE_DELETE_ANNOTATION, IAM_GROUP, IAM_SCOPE_LABEL

SYSTEM_CONTROLLERS: Final = "system:serviceaccounts:kube-system"
_LABELS: Final = "oldObject.metadata.labels"
AT_PLATFORM: Final = (
    f"has({_LABELS}) && '{IAM_SCOPE_LABEL}' in {_LABELS} && {_LABELS}['{IAM_SCOPE_LABEL}'] == 'platform'"
)

log = structlog.stdlib.get_logger("edge.iam")


class Foretelling:
    def __init__(
        self, index: Index, freshness: Freshness, native: NativeRights, own: Collection[str] = ()
    ) -> None:
        """own: names of the platform's own service accounts, which are neither warned nor held back."""
        self._index = index
        self._freshness = freshness
        self._native = native
        self._own = frozenset(own)

    async def warn(self, new: Resource | None, old: Resource | None, author: Author) -> Sequence[str]:
        """A `warn` of a webhook: whose access the change would give and take."""
        obj = new if new is not None else old
        if obj is None or author.username in self._own:
            return ()
        if reason := self._unknown():
            return (f"whose access changes is not known: {reason}",)
        who: Who = (author.username, groups_behind(author.groups))
        lists = lists_bindings(self._index, who)
        sees_all = await self._lists_natively(author)
        proposal = Proposal(type(obj).__name__, obj.metadata.name, new)
        impact = Impact(
            self._index, proposal, asker=author.username, sees=lambda scope: sees_all or lists(scope)
        )
        if new is not None and old is not None and not impact.changes:
            return ()
        await finish(impact.steps())
        return sentences(impact.result())

    async def keep_last_admin(self, old: IAMRoleBinding, author: Author) -> Sequence[str]:
        """A `retain`: why a binding may not be deleted."""
        return self._locked_out(None, old, author)

    async def keeps_an_admin(
        self, new: IAMRoleBinding, old: IAMRoleBinding | None, author: Author
    ) -> Sequence[str]:
        """Part of an `authorize`: the same, where a change empties the binding."""
        return self._locked_out(new, old, author) if old is not None else ()

    def _locked_out(self, new: IAMRoleBinding | None, old: IAMRoleBinding, author: Author) -> Sequence[str]:
        meta = old.metadata
        forced = bool(meta.uid) and meta.annotations.get(FORCE_DELETE_ANNOTATION) == meta.uid
        if forced or author.username in self._own or SYSTEM_CONTROLLERS in author.groups:
            return ()
        if meta.labels.get(IAM_SCOPE_LABEL) != "platform" or (new is not None and new.spec == old.spec):
            return ()
        if reason := self._unknown():
            return (f"whether another administrator remains is not known: {reason}",)
        facts = binding_facts(new) if new is not None else None
        if not is_last_admin(self._index, meta.name, facts):
            return ()
        why = "it is the last binding that gives all rights on the platform, and nobody could give them anew"
        way = "bind another active user to platform-admin first"
        return (f"{why}; {way}, or annotate it {FORCE_DELETE_ANNOTATION}={meta.uid}",)

    def _unknown(self) -> str:
        try:
            self._freshness.require("get")
        except Unavailable as problem:
            return f"{problem.why}; try again in a moment"
        return ""

    async def _lists_natively(self, author: Author) -> bool:
        try:
            return await self._native.may(author, "list", IAM_GROUP, BINDINGS, "")
        except KubeError as error:
            log.warning("native_rights_unknown", user=author.username, error=str(error))
            return False
