"""A Lease per release, so that two controllers never run Helm on one release (CA 1.3, R32).

The lock of a pod that is gone is broken at once, that of a living one when it has not been renewed for 60 s:
Helm's child dies with its controller, so nobody works behind a dead holder's lock.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import msgspec

from edge_kube.client import Client
from edge_kube.core import Lease, Namespace, Pod
from edge_kube.errors import AlreadyExists, Conflict, Forbidden, KubeError, NotFound
from edge_kube.meta import Key

DURATION_S = 60
RENEW_EVERY_S = 20.0
MANAGER = "edge-components"
BOOT_ANNOTATION = "theriseunion.io/boot"


class LockHeld(Exception):
    """Somebody who is alive has it; the message names them."""


class LockHolder(msgspec.Struct, frozen=True):
    """Who we are: pod name, its namespace, and an id of this start of the process."""

    pod: str
    namespace: str
    boot: str


class ReleaseLock:
    def __init__(self, host: Client, me: LockHolder) -> None:
        """host: where holders' pods are looked up, also for locks in members."""
        self._host = host
        self._me = me

    async def holder(self, client: Client, namespace: str, release: str) -> str:
        """The living holder that is not us, or ""."""
        lease = await client.find(Lease, _name(release), namespace)
        return lease.spec.holder_identity if lease is not None and await self._is_alive(lease) else ""

    @contextlib.asynccontextmanager
    async def held(
        self, client: Client, namespace: str, release: str, *, removing: bool = False
    ) -> AsyncGenerator[None]:
        """Raises LockHeld, or KubeError. Renewed while the block runs, deleted after it.

        removing: a namespace that is being deleted takes no new Lease; what is in it may still go.
        """
        if not removing:
            await _ensure_namespace(client, namespace)
        try:
            lease = await self._take(client, namespace, release)
        except (Forbidden, NotFound):
            if not removing:
                raise
            yield
            return
        renewing = asyncio.create_task(self._renew(client, Key(namespace, _name(release))))
        try:
            yield
        finally:
            renewing.cancel()
            with contextlib.suppress(KubeError):
                await client.delete(Lease, _name(release), namespace, uid=lease.metadata.uid)

    async def _take(self, client: Client, namespace: str, release: str) -> Lease:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": _name(release),
                "namespace": namespace,
                "annotations": {BOOT_ANNOTATION: self._me.boot},
            },
            "spec": {
                "holderIdentity": self._me.pod,
                "leaseDurationSeconds": DURATION_S,
                "acquireTime": _now(),
                "renewTime": _now(),
            },
        }
        for _ in range(3):
            try:
                made = await client.create(body, manager=MANAGER)
                return msgspec.convert(made, Lease, strict=False)
            except AlreadyExists:
                lease = await client.find(Lease, _name(release), namespace)
            if lease is None:
                continue
            if await self._is_alive(lease):
                raise LockHeld(f"{lease.spec.holder_identity} is working on release {namespace}/{release}")
            with contextlib.suppress(Conflict):  # somebody else broke it first
                await client.delete(Lease, _name(release), namespace, uid=lease.metadata.uid)
        raise LockHeld(f"the lock of release {namespace}/{release} changes hands")

    async def _is_alive(self, lease: Lease) -> bool:
        holder = lease.spec.holder_identity
        if holder == self._me.pod:
            # Our own pod: either this process (which guards itself) or one of its dead predecessors.
            return False
        if _age_s(lease.spec.renew_time) > DURATION_S:
            return False
        try:
            pod = await self._host.get(Pod, holder, self._me.namespace)
        except NotFound:
            return False
        return pod.status.phase not in ("Failed", "Succeeded")

    async def _renew(self, client: Client, key: Key) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            with contextlib.suppress(KubeError):
                await client.merge(Lease, key, {"spec": {"renewTime": _now()}})


async def _ensure_namespace(client: Client, name: str) -> None:
    if await client.find(Namespace, name) is None:
        manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        with contextlib.suppress(AlreadyExists):
            await client.create(manifest, manager=MANAGER)


def _name(release: str) -> str:
    return f"helm-{release}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _age_s(time: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds() if time else DURATION_S * 2.0
