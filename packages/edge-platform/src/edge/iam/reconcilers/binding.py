"""Shows on each binding whether it counts, and writes down which object a binding has waited for."""

from collections.abc import Iterable, Mapping
from typing import Final

import structlog

from edge.iam.bindings import TAKEN_TO_BE_THERE, plan_binding
from edge.iam.facts import MOVABLE, SCOPE_UID_LABEL, Label, home_of, label_of
from edge.iam.graph import Place
from edge.iam.scope import HOST
from edge.iam.types import IAMRole, IAMRoleBinding, ScopePattern
from edge_kube.core import Namespace, Node
from edge_kube.errors import NotFound
from edge_kube.meta import Key, Resource
from edge_kube.reconcile import advance_fence
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

BY_SCOPE: Final = "scope"
"""Index of bindings by type and name of the scope that they are labelled with."""
INSIDE: Final[Mapping[str, type[Resource]]] = {"namespace": Namespace, "node": Node}
"""Scope types that every cluster has objects of."""

Kinds = Mapping[str, type[Resource]]

log = structlog.stdlib.get_logger("edge.iam")


def scope_labelled(binding: IAMRoleBinding) -> tuple[tuple[str, str], ...]:
    labels = binding.metadata.labels
    return ((labels.get(IAM_SCOPE_LABEL, ""), labels.get(IAM_SCOPE_VALUE_LABEL, "")),)


class BindingReconciler:
    def __init__(self, kinds: Kinds, cache: Reader, client: Writer) -> None:
        """kinds: cluster, workspace, nodegroup → the kind of their objects, as far as it is known."""
        self._kinds = {**kinds, **INSIDE}
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        binding = self._cache.get(IAMRoleBinding, request.name)
        if binding is None or binding.metadata.deletion_timestamp:
            return DONE
        role = self._cache.get(IAMRole, binding.spec.role_ref.name)
        scope, home = self._scope(label_of(binding.metadata))
        plan = plan_binding(binding, role, self._registered(), scope, home)
        if plan.pin:
            patch = {"metadata": {"labels": {SCOPE_UID_LABEL: plan.pin}}}
            version = binding.metadata.resource_version  # what its status says is what was decided by
            try:
                advance_fence(
                    await self._client.merge(IAMRoleBinding, Key("", request.name), patch, rv=version)
                )
            except NotFound:
                return DONE
            log.info("binding_found_its_scope", name=request.name, uid=plan.pin)
        return Result(status=plan.status)

    def _registered(self) -> Iterable[str]:
        return [
            one.spec.scope_type for one in self._cache.list(ScopePattern) if one.status.registered is True
        ]

    def _scope(self, label: Label) -> tuple[Place | None, str]:
        """The object of a scope, and its cluster. What is in a member is taken to be there while that is."""
        kind, name, home = label.kind, label.value, label.cluster or HOST
        in_member = kind in INSIDE and home != HOST
        if in_member:
            kind, name = "cluster", home
        cls = self._kinds.get(kind)
        if cls is None or (kind, name) == ("cluster", HOST):
            return TAKEN_TO_BE_THERE, home
        found = self._cache.get(cls, name)
        if found is None:
            return None, home
        if kind in MOVABLE:
            home = home_of(found.metadata)
            if label.cluster not in ("", home):
                return None, home
        meta = found.metadata
        place = TAKEN_TO_BE_THERE if in_member else Place((), meta.uid, meta.creation_timestamp)
        return place, home
