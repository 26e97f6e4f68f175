"""What the gateway holds a copy of: every served kind, the rights that come of some, and the members."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import structlog

from edge.apiserver.configuration.settings import ALWAYS_ALLOW
from edge.apiserver.mirrors.kinds import SERVED, collection_of
from edge.apiserver.mirrors.mirror import Mirror
from edge.apiserver.mirrors.store import Collection, Listener
from edge.apiserver.rights.measures import AuthzCollector
from edge.apiserver.rights.memberscopes import MemberScopes
from edge.apiserver.rights.picture import Rights
from edge.apiserver.upstreams.members import Members
from edge.apiserver.wiring.ground import Ground
from edge.clusters.types import Cluster
from edge_kube.meta import Key, Resource, kind_of

SLOW_SHARE: Final = 0.8
"""Of the time-out: a member that takes longer counts as slow."""

log = structlog.stdlib.get_logger("edge.apiserver")

Around = Callable[[Listener | None], Listener | None]
"""Gets what the rights are told by, if the kind gives any; gives what the kind's mirror calls."""


class Picture:
    """collections: by (group, plural). mirrors: those whose kinds give rights."""

    def __init__(self, ground: Ground) -> None:
        settings = ground.settings
        self._ground = ground
        self.collections: dict[tuple[str, str], Collection] = {}
        self.mirrors: list[Mirror] = []
        self.members = Members(
            loopback_allowed=settings.server.loopback_members,
            seats=settings.server.max_per_member,
            slow_s=settings.request_timeout_s * SLOW_SHARE,
            left=self._left,
        )
        self.rights = Rights(
            ground.client,
            cache_size=settings.authorization.remembered,
            streams=ground.open_streams,
            silence_s=self._silence_s,
            allow_all=settings.authorization.mode == ALWAYS_ALLOW,
        )
        self._member_scopes = MemberScopes(self.members, self.rights)
        self._measure()

    def _measure(self) -> None:
        AuthzCollector(
            self._ground.registry,
            self.rights.checks,
            state=self.rights.freshness.state,
            identities=lambda: self.rights.index.remembered,
            ages_s=lambda: {one.collection.served.resource: one.silence_s() for one in self.mirrors},
            drops=self.rights.drops,
            drift=lambda: sum(mirror.drift for mirror in self.mirrors),
            mode=self._ground.settings.authorization.mode,
        )

    def follow(self, around: Mapping[type[Resource], Around]) -> None:
        """Mirror every served kind. around: who else is told of a kind, and when."""
        for cls in SERVED:
            kind = kind_of(cls)
            feed = self.rights.listener(cls)
            listener = self._clusters(feed) if cls is Cluster else around.get(cls, _alone)(feed)
            collection = collection_of(kind, listener)
            mirror = Mirror(
                self._ground.client,
                kind,
                collection,
                relist_s=self._ground.relist_s,
                reached=partial(self.rights.beats.heard, cls),
            )
            self.collections[kind.group, kind.plural] = collection
            if feed is not None:
                self.mirrors.append(mirror)
            self._ground.background.spawn(mirror.run())

    async def wait_listed(self) -> None:
        """Until every kind has been listed once."""
        for collection in tuple(self.collections.values()):
            await collection.listed.wait()

    async def close(self) -> None:
        await self._member_scopes.close()
        await self.members.close()

    def _clusters(self, feed: Listener | None) -> Listener:
        def changed(key: Key, old: bytes | None, new: bytes | None) -> None:
            if feed is not None:
                feed(key, old, new)
            if self.members.cluster_changed(key, new):
                self._member_scopes.follow(key.name)

        return changed

    def _left(self, cluster: str) -> None:
        ended = self._ground.open_streams.end_into(cluster)
        if ended:
            log.info("streams_into_member_ended", cluster=cluster, streams=ended)

    def _silence_s(self) -> float | None:
        """Longest time that the server was not heard of about a kind that gives rights; None: unsynced."""
        if not self.mirrors or not all(mirror.collection.synced for mirror in self.mirrors):
            return None
        return max(mirror.silence_s() for mirror in self.mirrors)


def _alone(feed: Listener | None) -> Listener | None:
    return feed
