"""Fills an index from a cache: one subscription per kind, each change applied in the turn it arrives.

    watching = Watching(cache, index, {Workspace: "workspace", NodeGroup: "nodegroup", Cluster: "cluster"})
    await cache.start()
    freshness = Freshness(watching.silence_s)

The kinds of scopes are given, because this room knows none of the rooms above it. Source: I6; design §4, §5.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from edge.iam.beats import Beats
from edge.iam.feed import Feed
from edge.iam.heartbeat import BEATING, HEARTBEAT
from edge.iam.index import Index
from edge.iam.types import IAMRole, IAMRoleBinding, RoleTemplate, ScopePattern, User
from edge_kube.cache import Cache
from edge_kube.core import Namespace, Node
from edge_kube.meta import Resource
from edge_kube.store import Delta

SWEEP_EVERY_S: Final = 1.0
PLACES: Final[tuple[type[Resource], ...]] = (Namespace, Node)
KINDS: Final[tuple[type[Resource], ...]] = (
    *PLACES,
    User,
    RoleTemplate,
    IAMRole,
    IAMRoleBinding,
    ScopePattern,
)


class Watching:
    def __init__(self, cache: Cache, index: Index, scopes: Mapping[type[Resource], str]) -> None:
        """cache: of the host, not started yet. scopes: kind → workspace, nodegroup or cluster."""
        self._cache = cache
        self._index = index
        self._feed = Feed(index)
        self._scopes = scopes
        self._informers = [cache.informer(kind) for kind in (*KINDS, *scopes)]
        for informer in self._informers:
            informer.on(self._changed)

    def _changed(self, delta: Delta[Resource]) -> None:
        obj = delta.new if delta.new is not None else delta.old
        kind = self._scopes.get(type(obj)) if obj is not None else None
        if kind is None or obj is None:
            self._feed.changed(delta.old, delta.new)
        else:
            self._feed.scope_changed(kind, obj.metadata, gone=delta.new is None)

    def hear(self, beats: Beats) -> None:
        """Tell of every heartbeat that the watches bring. Call it before the cache starts."""

        def told(delta: Delta[Any]) -> None:
            new: Resource | None = delta.new
            if new is not None and new.metadata.name == HEARTBEAT:
                beats.heard(type(new), new.metadata.resource_version)

        for kind in BEATING:
            self._cache.informer(kind).on(told)

    def in_member(self, delta: Delta[Resource], cluster: str) -> None:
        """A handler for changes of PLACES in member clusters."""
        self._feed.changed(delta.old, delta.new, cluster)

    async def sweep(self) -> None:
        """Frees what the index has dropped, a slice a turn. Until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            while self._index.sweep():  # noqa: ASYNC110 - a turn for the others
                await asyncio.sleep(0)

    def silence_s(self) -> float | None:
        """Longest time that the server of one of the kinds was not heard of; None until all lists are in."""
        if not all(informer.synced for informer in self._informers):
            return None
        return max(self._cache.stale_s(kind) for kind in (*KINDS, *self._scopes))
