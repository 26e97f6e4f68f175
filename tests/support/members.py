"""A member cluster for tests: a second LightCluster, and the pool through which rooms reach it."""

from collections.abc import Sequence
from typing import Any

from edge.adapters.member_sites import MemberSites, connect
from edge_kube.clusters import ClusterPool
from edge_kube.harness import Kube, LightCluster
from edge_kube.manager import Manager
from edge_kube.runtime import MemberWatch


class Members:
    """The pool of one test. `join` and `leave` are what the clusters room does when a Cluster changes."""

    def __init__(self, watches: Sequence[MemberWatch[Any]]) -> None:
        self.pool = ClusterPool()
        self.sites = MemberSites(self.pool, watches)

    async def __aenter__(self) -> "Members":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.close()

    def connect(self, manager: Manager) -> None:
        connect(self.pool, manager.controllers)

    def join(self, name: str, cluster: LightCluster) -> None:
        self.pool.update(name, f"uid-{name}", cluster.kubeconfig.read_bytes())

    def join_dead(self, name: str, cluster: LightCluster) -> None:
        """A member at an address where nobody listens."""
        text = cluster.kubeconfig.read_text().replace(cluster.server, "https://127.0.0.1:1")
        self.pool.update(name, f"uid-{name}", text.encode())


async def clear_nodes(kube: Kube) -> None:
    """The harness does not know nodes; tests that make some take them away again."""
    from edge_kube.core import Node

    for node in await kube.client.list(Node):
        await kube.client.delete(Node, node.metadata.name)
