"""The namespaces and nodes of member clusters: they say where in a member a right holds (I4; design §2).

Each member is followed by itself: one that does not answer keeps what was last known of it, and costs the
others nothing. It does not make the picture of rights stale, since nothing in it can be reached meanwhile.
"""

import asyncio

import structlog

from edge.apiserver.mirrors.kinds import collection_of
from edge.apiserver.mirrors.mirror import Mirror
from edge.apiserver.rights.picture import Rights
from edge.apiserver.upstreams.members import Members
from edge.iam.watching import PLACES
from edge_kube.client import Client
from edge_kube.meta import kind_of
from edge_sdk.problem import Unavailable

log = structlog.stdlib.get_logger("edge.apiserver")


class MemberScopes:
    def __init__(self, members: Members, rights: Rights) -> None:
        self._members = members
        self._rights = rights
        self._following: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def follow(self, cluster: str) -> None:
        """A member came, is reached in another way, or is gone: begin anew with what it holds."""
        running = self._following.pop(cluster, None)
        if running is not None:
            running.cancel()
            self._ending.add(running)
            running.add_done_callback(self._ending.discard)
        self._rights.forget_cluster(cluster)
        try:
            client = Client(self._members.connection(cluster))
        except Unavailable:
            return
        task = asyncio.get_running_loop().create_task(self._follow(client, cluster))
        self._following[cluster] = task

    async def close(self) -> None:
        tasks = (*self._following.values(), *self._ending)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, client: Client, cluster: str) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for cls in PLACES:
                    kind = kind_of(cls)
                    collection = collection_of(kind, self._rights.listener(cls, cluster))
                    group.create_task(Mirror(client, kind, collection).run())
        except Exception:
            log.exception("member_not_followed", cluster=cluster)
        finally:
            await client.close()
