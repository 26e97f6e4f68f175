"""A cluster as projections see it: our own RBAC objects in memory, and a writer."""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from edge.iam.projection import Unit
from edge.iam.scope import HOST, name_of_scope
from edge.projection.objects import Binding, is_ours, unit_of
from edge_kube.core import ClusterRole, ClusterRoleBinding, RoleBinding
from edge_kube.runtime import Index, Reader, Writer
from edge_sdk.sites import Site


def _units(there: ClusterRoleBinding) -> tuple[str, ...]:
    return (unit_of(there, HOST),) if is_ours(there) else ()


BY_UNIT: Final = Index(ClusterRoleBinding, "unit", _units)
"""Cluster-wide bindings of the host by their unit: there may be one for each workspace and node."""


class Ground(Protocol):
    """Reads are from memory; only what is ours is shown."""

    @property
    def writer(self) -> Writer: ...
    def role(self, name: str) -> ClusterRole | None: ...
    def roles(self) -> Sequence[ClusterRole]: ...
    def bindings_of(self, unit: Unit) -> Sequence[Binding]: ...
    def bindings(self) -> Iterator[Binding]: ...


class SiteGround:
    """Any cluster, as a site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.writer = site.writer

    def role(self, name: str) -> ClusterRole | None:
        found = self._site.get(ClusterRole, name)
        return found if found is not None and is_ours(found) else None

    def roles(self) -> Sequence[ClusterRole]:
        return [one for one in self._site.list(ClusterRole) if is_ours(one)]

    def bindings_of(self, unit: Unit) -> Sequence[Binding]:
        if unit.scope[0] == "n":
            found = self._site.list(RoleBinding, name_of_scope(unit.scope))
            return [one for one in found if is_ours(one)]
        return self._wide(unit.scope)

    def bindings(self) -> Iterator[Binding]:
        yield from (one for one in self._site.list(ClusterRoleBinding) if is_ours(one))
        yield from (one for one in self._site.list(RoleBinding) if is_ours(one))

    def _wide(self, scope: str) -> Sequence[ClusterRoleBinding]:
        return [one for one in self._site.list(ClusterRoleBinding) if _units(one) == (scope,)]


class HostGround(SiteGround):
    """The host, where there may be thousands of units."""

    def __init__(self, site: Site, cache: Reader) -> None:
        super().__init__(site)
        self._cache = cache

    def _wide(self, scope: str) -> Sequence[ClusterRoleBinding]:
        return self._cache.by(ClusterRoleBinding, BY_UNIT.name, scope)
