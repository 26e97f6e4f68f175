"""Says on each ScopePattern whether it is in force and why not; gateways act on what it says (I9)."""

from collections.abc import Iterable
from typing import Final

from edge.iam.reconcilers.binding import BY_SCOPE
from edge.iam.registration import owner_of, plan_status, resource_of
from edge.iam.types import IAMRoleBinding, ScopePattern
from edge_kube.meta import Resource
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.scopes import IAM_SCOPE_LABEL

BY_RESOURCE: Final = "resource"
"""Index of patterns by the resource that they are about."""
BY_SCOPE_TYPE: Final = "scopetype"
"""Index of bindings by the scope type that they are labelled with."""


def scope_type_labelled(binding: IAMRoleBinding) -> tuple[str, ...]:
    return (binding.metadata.labels.get(IAM_SCOPE_LABEL, ""),)


class Concerned:
    """Whom a changed pattern or scope concerns; asked of the cache, which a reconciler brings when made."""

    def __init__(self) -> None:
        self.cache: Reader | None = None

    def rivals(self, pattern: ScopePattern) -> Iterable[Request]:
        """Other patterns of its resource: one that goes may have been in their way."""
        if self.cache is None:
            return ()
        found = [one for key in resource_of(pattern) for one in self.cache.by(ScopePattern, BY_RESOURCE, key)]
        return [_request(one) for one in found if owner_of(one.metadata) != owner_of(pattern.metadata)]

    def bindings(self, pattern: ScopePattern) -> Iterable[Request]:
        """Bindings at scopes of its type: they come to count, or no longer do."""
        if self.cache is None:
            return ()
        return [
            _request(one) for one in self.cache.by(IAMRoleBinding, BY_SCOPE_TYPE, pattern.spec.scope_type)
        ]

    def bindings_at(self, scope_type: str, scope: Resource) -> Iterable[Request]:
        """Bindings at a scope whose object comes, changes or goes."""
        if self.cache is None:
            return ()
        found = self.cache.by(IAMRoleBinding, BY_SCOPE, (scope_type, scope.metadata.name))
        return [_request(one) for one in found]


class ScopePatternReconciler:
    def __init__(self, cache: Reader, client: Writer, concerned: Concerned) -> None:
        self._cache = concerned.cache = cache

    async def reconcile(self, request: Request) -> Result:
        pattern = self._cache.get(ScopePattern, request.name, request.namespace)
        if pattern is None or pattern.metadata.deletion_timestamp:
            return DONE
        others = [
            one for key in resource_of(pattern) for one in self._cache.by(ScopePattern, BY_RESOURCE, key)
        ]
        return Result(status=plan_status(pattern, others))


def _request(obj: Resource) -> Request:
    return Request(obj.metadata.name, obj.metadata.namespace)
