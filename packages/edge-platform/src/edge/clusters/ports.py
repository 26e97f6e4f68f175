"""What the clusters room needs from outside: calls into member clusters, and tenants of its etcd."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.pki import KeyPair
from edge_kube.meta import Manifest


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node of a member cluster; nested: one of the workers that the platform runs for it."""

    name: str
    ready: bool
    nested: bool
    region: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True)
class MemberView:
    """What the last question to a member cluster brought. Times are seconds since 1970.

    ok: its API server answered ready and let us in; ok_at: when it last did so, 0 for never.
    why: what was seen instead, for people, without secrets; code: HTTP status of that answer, 0 for none.
    """

    ok: bool
    asked_at: float
    ok_at: float = 0.0
    why: str = ""
    code: int = 0
    version: str = ""
    uid: str = ""
    nodes: tuple[NodeView, ...] = ()


class Members(Protocol):
    """Member clusters by name. No call blocks on a dead one for longer than a few seconds."""

    def view(self, cluster: str, kubeconfig: bytes, period_s: float) -> MemberView | None:
        """The newest view, never older than needed: asking goes on in the background. None: not yet asked."""
        ...

    async def apply(self, cluster: str, kubeconfig: bytes, manifests: Sequence[Manifest]) -> None:
        """Server-side apply in order. Raises KubeError at the first that fails."""
        ...

    async def remove_node(self, cluster: str, kubeconfig: bytes, node: str) -> None: ...

    def forget(self, cluster: str) -> None:
        """Stop asking, close connections."""
        ...


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """How to reach the platform's etcd as its root user; client: a certificate without a common name."""

    endpoint: str
    authority: bytes
    client: KeyPair
    password: str


class StoreUnavailableError(Exception):
    """The platform's etcd does not answer, or refuses; the message says which and why."""


class Stores(Protocol):
    """Tenants of the platform's etcd. Each call may be repeated; all raise StoreUnavailableError."""

    async def admit(self, access: StoreAccess, user: str, prefix: str) -> None:
        """Let `user` read and write below `prefix` and nowhere else; turns authentication on before."""
        ...

    async def expel(self, access: StoreAccess, user: str, prefix: str) -> int:
        """Remove the user and all keys below `prefix`; returns how many keys are left."""
        ...
