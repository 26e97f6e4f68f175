"""Asking member clusters how they are, in the background: a dead one never holds a worker (C9, C13)."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from edge.clusters.ports import MemberView, NodeView
from edge.clusters.types import NESTED_WORKER_LABEL
from edge_kube.client import Client
from edge_kube.config import load_kubeconfig
from edge_kube.core import Namespace, Node
from edge_kube.errors import ApiError, DeadlineExceeded, NotFound
from edge_kube.meta import Manifest

PROBE_DEADLINE_S = 3.0
APPLY_DEADLINE_S = 10.0
AT_ONCE = 32
MANAGER = "edge-clusters"

_REGION, _ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"


class _Version(msgspec.Struct):
    gitVersion: str = ""


@dataclass(slots=True)
class _Member:
    """One cluster under one kubeconfig."""

    digest: bytes
    client: Client
    view: MemberView | None = None
    task: asyncio.Task[None] | None = None


class MemberProbes:
    """Implements `edge.clusters.ports.Members`. Use it in one event loop; close it at the end."""

    def __init__(self) -> None:
        self._members: dict[str, _Member] = {}
        self._seats = asyncio.Semaphore(AT_ONCE)
        self._chores: set[asyncio.Task[None]] = set()

    def view(self, cluster: str, kubeconfig: bytes, period_s: float) -> MemberView | None:
        """Raises ConfigError for a kubeconfig that cannot be used."""
        member = self._member(cluster, kubeconfig)
        due = member.view is None or time.time() - member.view.asked_at >= period_s * 0.9
        if due and (member.task is None or member.task.done()):
            member.task = asyncio.create_task(self._ask(member), name=f"probe-{cluster}")
        return member.view

    async def apply(self, cluster: str, kubeconfig: bytes, manifests: Sequence[Manifest]) -> None:
        client = self._member(cluster, kubeconfig).client
        try:
            async with asyncio.timeout(APPLY_DEADLINE_S):
                for manifest in manifests:
                    await client.apply(manifest, manager=MANAGER, rv="")
        except TimeoutError:
            what = f"{len(manifests)} objects were not applied within {APPLY_DEADLINE_S:.0f} s"
            raise DeadlineExceeded(what) from None

    async def remove_node(self, cluster: str, kubeconfig: bytes, node: str) -> None:
        await self._member(cluster, kubeconfig).client.delete(Node, node)

    def forget(self, cluster: str) -> None:
        member = self._members.pop(cluster, None)
        if member is not None:
            self._later(member)

    async def close(self) -> None:
        for cluster in tuple(self._members):
            self.forget(cluster)
        await asyncio.gather(*self._chores)

    def _member(self, cluster: str, kubeconfig: bytes) -> _Member:
        digest = hashlib.sha256(kubeconfig).digest()
        known = self._members.get(cluster)
        if known is not None and known.digest == digest:
            return known
        made = _Member(digest, Client(load_kubeconfig(kubeconfig), host_label="member"))
        if known is not None:
            made.view = known.view  # new credentials for the same cluster do not make it unknown
            self._later(known)
        self._members[cluster] = made
        return made

    def _later(self, member: _Member) -> None:
        chore = asyncio.create_task(_end(member))
        self._chores.add(chore)
        chore.add_done_callback(self._chores.discard)

    async def _ask(self, member: _Member) -> None:
        async with self._seats:
            client = member.client.derive(limited=False, deadline_s=PROBE_DEADLINE_S)
            before = member.view
            try:
                async with asyncio.timeout(PROBE_DEADLINE_S):
                    member.view = await _look(client, before)
            except Exception as error:  # whatever a foreign server answers, it must not end the asking
                member.view = _silence(before, error)


async def _end(member: _Member) -> None:
    if member.task is not None and not member.task.done():
        member.task.cancel()
        await asyncio.gather(member.task, return_exceptions=True)
    await member.client.close()


async def _look(client: Client, before: MemberView | None) -> MemberView:
    async with await client.raw("GET", "/readyz", deadline_s=PROBE_DEADLINE_S) as answer:
        if answer.status != 200:
            body = (await answer.content.read(300)).decode(errors="replace").strip()
            raise ApiError(answer.status, "NotReady", f"/readyz answered {answer.status}: {body}")
    known = before is not None and before.ok
    version = before.version if before and known else await _version(client)
    # The uid is asked each time: it tells whether this is still the same cluster.
    uid = await _uid(client)
    nodes = tuple(_node(node) for node in await client.list(Node))
    now = time.time()
    return MemberView(ok=True, asked_at=now, ok_at=now, code=200, version=version, uid=uid, nodes=nodes)


async def _uid(client: Client) -> str:
    """Of namespace kube-system, which a new API server makes within a second of being ready."""
    try:
        return (await client.get(Namespace, "kube-system")).metadata.uid
    except NotFound:
        raise ApiError(404, "NotReady", "namespace kube-system is not there yet") from None


async def _version(client: Client) -> str:
    async with await client.raw("GET", "/version", deadline_s=PROBE_DEADLINE_S) as answer:
        return msgspec.json.decode(await answer.read(), type=_Version).gitVersion


def _silence(before: MemberView | None, error: Exception) -> MemberView:
    now = time.time()
    code = error.status if isinstance(error, ApiError) else 0
    why = f"no answer within {PROBE_DEADLINE_S:.0f} s" if isinstance(error, TimeoutError) else str(error)
    view = before or MemberView(ok=False, asked_at=now)
    return replace(view, ok=False, asked_at=now, why=why[:500], code=code)


def _node(node: Node) -> NodeView:
    ready = any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
    labels = node.metadata.labels
    return NodeView(
        name=node.metadata.name,
        ready=ready,
        nested=NESTED_WORKER_LABEL in labels,
        region=labels.get(_REGION, ""),
        zone=labels.get(_ZONE, ""),
    )
