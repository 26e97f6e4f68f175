"""Where a workspace's shares are: in the host, or in the member cluster that the workspace is in (I15)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from edge.iam.scope import HOST
from edge.tenancy.limits import QUOTA_NAME, workspace_named
from edge_kube.core import Namespace, ResourceQuota
from edge_kube.runtime import Reader, Writer
from edge_sdk.sites import Site

BY_SHARE: Final = "workspace-share"
"""Index of the host's ResourceQuotas by the workspace whose shares they are."""

Found = Mapping[str, ResourceQuota | None]
"""Namespace to the quota there that has the name of a share, whoever made it."""


class Ground(Protocol):
    """One cluster, as quotas see it."""

    @property
    def cluster(self) -> str: ...
    @property
    def writer(self) -> Writer: ...
    async def quotas_in(self, namespaces: Iterable[str]) -> Found: ...
    def shares_of(self, workspace: str) -> Sequence[ResourceQuota]: ...
    def namespace(self, name: str) -> Namespace | None: ...


class HostGround:
    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache
        self.cluster = HOST
        self.writer = client

    async def quotas_in(self, namespaces: Iterable[str]) -> Found:
        return {one: self._cache.get(ResourceQuota, QUOTA_NAME, one) for one in namespaces}

    def shares_of(self, workspace: str) -> Sequence[ResourceQuota]:
        return self._cache.by(ResourceQuota, BY_SHARE, workspace)

    def namespace(self, name: str) -> Namespace | None:
        return self._cache.get(Namespace, name)


class SiteGround:
    """A member, of which only our own quotas and the namespaces of workspaces are copied."""

    def __init__(self, cluster: str, site: Site) -> None:
        self._site = site
        self.cluster = cluster
        self.writer = site.writer

    async def quotas_in(self, namespaces: Iterable[str]) -> Found:
        """What is not copied is asked for: it may be somebody's own, of the same name."""
        found: dict[str, ResourceQuota | None] = {}
        for one in namespaces:
            known = self._site.get(ResourceQuota, QUOTA_NAME, one)
            found[one] = known or await self.writer.find(ResourceQuota, QUOTA_NAME, one)
        return found

    def shares_of(self, workspace: str) -> Sequence[ResourceQuota]:
        return [one for one in self._site.list(ResourceQuota) if workspace_named(one) == workspace]

    def namespace(self, name: str) -> Namespace | None:
        return self._site.get(Namespace, name)
