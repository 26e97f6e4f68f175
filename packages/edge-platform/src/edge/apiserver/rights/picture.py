"""Who may do what, as this process knows it: the index, fed by the same watches that serve the lists.

    rights = Rights(client, cache_size=10_000, streams=streams)
    collection = Collection(served, rights.listener(IAMRole))

Promise: a change is in force, and the streams it ends are ended, in the turn in which its event arrives.
Source: I4–I6; design authorization-and-gateway §4, §5.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import structlog

from edge.apiserver.mirrors.secretrecords import MANAGER
from edge.apiserver.mirrors.store import Listener
from edge.apiserver.rights.measures import AllowAll, Checks, CountedAccess
from edge.apiserver.rights.streams import Streams
from edge.clusters.types import Cluster
from edge.iam.beats import beats_of_rights
from edge.iam.feed import Feed
from edge.iam.firstadmin import ADMIN_ROLE
from edge.iam.freshness import Freshness
from edge.iam.heartbeat import HEARTBEAT
from edge.iam.index import Index, Who
from edge.iam.scope import PLATFORM
from edge.iam.watching import KINDS
from edge.nodes.types import NodeGroup
from edge.tenancy.types import Workspace
from edge_kube.client import Client
from edge_kube.meta import Key, Resource
from edge_kube.wire import ObjectDecoder, UndecodableError

SCOPES: Final[Mapping[type[Resource], str]] = {
    Workspace: "workspace",
    NodeGroup: "nodegroup",
    Cluster: "cluster",
}

T = TypeVar("T", bound=Resource)

log = structlog.stdlib.get_logger("edge.apiserver")


class Rights:
    def __init__(
        self,
        client: Client,
        *,
        cache_size: int,
        streams: Streams,
        silence_s: Callable[[], float | None],
        allow_all: bool = False,
    ) -> None:
        """silence_s: as `Freshness` wants it, over the mirrors of all kinds that are fed.

        allow_all: decide nothing by roles.
        """
        self.allow_all = allow_all
        self.index = Index(cache_size)
        self.beats = beats_of_rights(client, MANAGER)
        self.freshness = Freshness(silence_s, self.beats.age_s)
        self.checks = Checks()
        self.access = (AllowAll if allow_all else CountedAccess)(self.index, self.freshness, self.checks)
        self._feed = Feed(self.index)
        self._streams = streams
        self._touched = asyncio.Event()
        self.drops = {"some": 0, "all": 0}
        """Times that the worked out rights of some callers, or of all, were dropped."""
        self.index.on_drop = self._dropped

    def is_admin(self, user: str) -> bool:
        """Whether the user is bound to platform-admin, and so is cluster-admin natively (R13)."""
        return self.allow_all or self.index.holds(user, ADMIN_ROLE, PLATFORM)

    def listener(self, cls: type[Resource], cluster: str = "") -> Listener | None:
        """What a collection of this kind calls; None for kinds that confer nothing. cluster "": the host."""
        if cls in SCOPES:
            return self._scope_listener(cls, SCOPES[cls])
        return self._object_listener(cls, cluster) if cls in KINDS else None

    def _object_listener(self, cls: type[T], cluster: str) -> Listener:
        decoder = ObjectDecoder(cls)

        def changed(key: Key, old: bytes | None, new: bytes | None) -> None:
            if key.name != HEARTBEAT or cluster:
                self._feed.changed(_decoded(decoder, key, old), _decoded(decoder, key, new), cluster)

        return changed

    def _scope_listener(self, cls: type[T], kind: str) -> Listener:
        decoder = ObjectDecoder(cls)

        def changed(key: Key, old: bytes | None, new: bytes | None) -> None:
            obj = _decoded(decoder, key, new if new is not None else old)
            if obj is not None:
                self._feed.scope_changed(kind, obj.metadata, gone=new is None)

        return changed

    def forget_cluster(self, cluster: str) -> None:
        """A member is gone, or another cluster has come in its place: its namespaces and nodes go."""
        for letter in ("n", "d"):
            for key in self.index.scopes.all(letter):
                if key.split("/")[1] == cluster:
                    self.index.drop_scope(key)

    def _dropped(self, callers: list[Who] | None) -> None:
        self.drops["all" if callers is None else "some"] += 1
        self._streams.rights_changed(callers)
        self._touched.set()

    async def sweep(self) -> None:
        """Frees what was dropped, and ends streams after wide events, a slice a turn. Until cancelled."""
        while True:
            await self._touched.wait()
            self._touched.clear()
            while self.index.sweep() | self._streams.sweep():  # noqa: ASYNC110 - a turn for the others
                await asyncio.sleep(0)


def _decoded(decoder: ObjectDecoder[T], key: Key, raw: bytes | None) -> T | None:
    """An object that cannot be read gives no right: it counts as absent, and the log says so."""
    if raw is None:
        return None
    try:
        return decoder.decode(raw)
    except UndecodableError as error:
        log.warning("object_not_understood", name=key.name, error=str(error))
        return None
