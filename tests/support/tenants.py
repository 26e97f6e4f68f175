"""Outside of the clusters room, played by a test: members that answer as told, and an etcd's tenants."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.clusters.ports import MemberView, NodeView, StoreAccess, StoreUnavailableError
from edge_kube.meta import Manifest


@dataclass
class PlayedMembers:
    """Answers for clusters named in `up`; keeps what was applied to each."""

    up: dict[str, tuple[NodeView, ...]] = field(default_factory=dict[str, tuple[NodeView, ...]])
    applied: dict[str, list[Manifest]] = field(default_factory=dict[str, list[Manifest]])
    removed: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])
    was_ok_at: dict[str, float] = field(default_factory=dict[str, float])

    def view(self, cluster: str, kubeconfig: bytes, period_s: float) -> MemberView | None:
        assert kubeconfig
        self.asked.append(cluster)
        now = time.time()
        if cluster not in self.up:
            ok_at = self.was_ok_at.get(cluster, 0.0)
            return MemberView(ok=False, asked_at=now, ok_at=ok_at, why="connection refused")
        self.was_ok_at[cluster] = now
        return MemberView(
            ok=True,
            asked_at=now,
            ok_at=now,
            version="v1.36.3",
            uid=f"uid-of-{cluster}",
            nodes=self.up[cluster],
        )

    async def apply(self, cluster: str, kubeconfig: bytes, manifests: Sequence[Manifest]) -> None:
        self.applied.setdefault(cluster, []).extend(manifests)

    async def remove_node(self, cluster: str, kubeconfig: bytes, node: str) -> None:
        self.removed.append(node)

    def forget(self, cluster: str) -> None:
        """Nothing is kept open."""


@dataclass
class PlayedStores:
    """Tenants by user; `down` makes every call fail."""

    tenants: dict[str, str] = field(default_factory=dict[str, str])
    down: bool = False

    async def admit(self, access: StoreAccess, user: str, prefix: str) -> None:
        self._check()
        self.tenants[user] = prefix

    async def expel(self, access: StoreAccess, user: str, prefix: str) -> int:
        self._check()
        self.tenants.pop(user, None)
        return 0

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailableError("the platform's etcd does not answer")
