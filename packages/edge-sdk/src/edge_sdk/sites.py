"""Clusters as a room works in them: the host and the members alike, read from memory, written with a budget.

async with sites.open("plant-a") as site:           # ClusterUnavailable at once while it does not answer
    for node in site.list(Node): ...
    await site.writer.apply(manifest, manager="edge-nodegroup")
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from edge_kube.meta import Resource
from edge_kube.runtime import Reader, Writer

T = TypeVar("T", bound=Resource)


class Site(Protocol):
    """One cluster. Reads are synchronous, from a copy that is complete when the site was opened.

    In a member only the kinds and labels that the room's member watches name are copied (R8).
    """

    @property
    def writer(self) -> Writer: ...
    def get(self, cls: type[T], name: str, namespace: str = "") -> T | None: ...
    def list(self, cls: type[T], namespace: str = "") -> Sequence[T]: ...


class Sites(Protocol):
    """The member clusters. Never dials one that is down, and never waits for one that is slow (C9)."""

    @property
    def names(self) -> Sequence[str]: ...
    def open(self, cluster: str) -> AbstractAsyncContextManager[Site]: ...


class HostSite:
    """The host cluster in the shape of a site."""

    def __init__(self, cache: Reader, writer: Writer) -> None:
        self._cache = cache
        self.writer = writer

    def get(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        return self._cache.get(cls, name, namespace)

    def list(self, cls: type[T], namespace: str = "") -> Sequence[T]:
        return self._cache.list(cls, namespace)
