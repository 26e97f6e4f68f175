"""Keys of virtual clusters and of the platform's etcd: read once, completed, written when they differ.

Secrets are not watched (the cache would hold every credential of the host), so what was read is kept for
ten minutes and looked at again then.
"""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from edge import pki
from edge.clusters import keys, manifests, rules
from edge.clusters.engines import Wish, store_user
from edge.clusters.ports import StoreAccess
from edge.clusters.types import SYSTEM_NAMESPACE
from edge.pki import KeyPair
from edge_kube.core import Secret
from edge_kube.reconcile import Writer
from edge_kube.runtime import Waiting
from edge_sdk.clock import Clock

MANAGER = "edge-clusters"
RE_READ_S = 600.0
RE_CHECK_S = 60.0

ETCD_AUTHORITY, ETCD_SERVER, ETCD_CLIENT = "etcd-ca", "etcd-certs", "etcd-client-certs"
_ETCD_NAMES = (
    "localhost",
    "127.0.0.1",
    "etcd",
    "*.etcd",
    f"etcd.{SYSTEM_NAMESPACE}.svc",
    f"*.etcd.{SYSTEM_NAMESPACE}.svc",
    f"etcd.{SYSTEM_NAMESPACE}.svc.cluster.local",
    f"*.etcd.{SYSTEM_NAMESPACE}.svc.cluster.local",
)


@dataclass(frozen=True, slots=True)
class Held:
    """The keys of one cluster in memory. names, server: what they were completed for."""

    plane: Mapping[str, bytes]
    join: Mapping[str, bytes]
    admin: bytes
    names: tuple[str, ...]
    server: str
    read_at_s: float
    checked_at_s: float

    @property
    def authority(self) -> KeyPair:
        return KeyPair(self.plane["ca.crt"], self.plane["ca.key"])

    @property
    def token(self) -> str:
        return self.join["token"].decode()


class Vault:
    """Keys of all virtual clusters, by the uid of their Cluster."""

    def __init__(self, writer: Writer, clock: Clock, etcd_endpoint: str) -> None:
        self._writer = writer
        self._etcd_endpoint = etcd_endpoint
        self._clock = clock
        self._held: dict[str, Held] = {}
        self._store: tuple[StoreAccess, KeyPair] | None = None

    def held(self, uid: str) -> Held | None:
        return self._held.get(uid)

    def forget(self, uid: str) -> None:
        self._held.pop(uid, None)

    async def ensure(self, wish: Wish, names: tuple[str, ...], server: str) -> Held:
        """Complete the Secrets of a hosted cluster; costs nothing while they were looked at a moment ago."""
        now_s = self._clock.monotonic_s()
        held = self._held.get(wish.uid)
        asked = held is not None and (held.names, held.server) == (names, server)
        if held is not None and asked and now_s - held.checked_at_s < RE_CHECK_S:
            return held
        namespace = rules.namespace_of(wish.name)
        fresh = held is not None and now_s - held.read_at_s < RE_READ_S
        if held is None or not fresh:
            plane = await self._read(manifests.PKI_SECRET, namespace)
            join = await self._read(manifests.JOIN_SECRET, namespace)
            admin = (await self._read(rules.credentials_of(wish.name), SYSTEM_NAMESPACE)).get(
                "kubeconfig", b""
            )
            read_at_s = now_s
        else:
            plane, join, admin, read_at_s = held.plane, held.join, held.admin, held.read_at_s
        now = self._now()
        new_plane = keys.complete_plane(plane, names, now)
        if wish.store == "shared":
            _, authority = await self.store()
            new_plane = keys.complete_store(new_plane, authority, store_user(wish.uid), now)
        authority = KeyPair(new_plane["ca.crt"], new_plane["ca.key"])
        new_join = keys.complete_join(join, authority, server, now)
        new_admin = keys.admin_kubeconfig(new_plane, server, wish.name)
        await self._write(wish, manifests.PKI_SECRET, namespace, plane, new_plane)
        await self._write(wish, manifests.JOIN_SECRET, namespace, join, new_join)
        credentials = {"kubeconfig": new_admin}
        name = rules.credentials_of(wish.name)
        await self._write(wish, name, SYSTEM_NAMESPACE, {"kubeconfig": admin}, credentials)
        made = Held(new_plane, new_join, new_admin, names, server, read_at_s, now_s)
        self._held[wish.uid] = made
        return made

    async def adopt(self, wish: Wish, secret: str) -> Held | None:
        """Keep the kubeconfig that an engine's chart made; None while there is none."""
        files = await self._read(secret, rules.namespace_of(wish.name))
        config = files.get("config", b"")
        if not config:
            return None
        before = self._held.get(wish.uid)
        if before is None or before.admin != config:
            await self._write(
                wish, rules.credentials_of(wish.name), SYSTEM_NAMESPACE, {}, {"kubeconfig": config}
            )
        now_s = self._clock.monotonic_s()
        self._held[wish.uid] = Held({}, {}, config, (), "", now_s, now_s)
        return self._held[wish.uid]

    async def store(self) -> tuple[StoreAccess, KeyPair]:
        """Access to the platform's etcd, and the authority of its client certificates."""
        if self._store is not None:
            return self._store
        authority = await self._read(ETCD_AUTHORITY, SYSTEM_NAMESPACE)
        client, pair = keys.pair_of(authority, "gateway"), keys.pair_of(authority, "ca")
        if pair is None or client is None or not authority.get("password"):
            raise Waiting("the keys of the platform's etcd are not made yet", 2.0, reason="WaitingForStore")
        access = StoreAccess(self._etcd_endpoint, pair.cert, client, authority["password"].decode())
        self._store = (access, pair)
        return self._store

    def forget_store(self) -> None:
        """Read the etcd's keys again next time: they were refused, so they may have been made anew."""
        self._store = None

    async def ensure_platform_etcd(self) -> None:
        """Secrets of chart etcd: its authority, its certificates, and those of its root user."""
        now = self._now()
        have = await self._read(ETCD_AUTHORITY, SYSTEM_NAMESPACE)
        files = dict(have)
        pair = keys.pair_of(files, "ca")
        if pair is None:
            pair = pki.make_ca("edge-etcd-ca", now=now)
            files["ca.crt"], files["ca.key"] = pair
        files.setdefault("password", secrets.token_urlsafe(32).encode())
        if keys.is_due(keys.pair_of(files, "gateway"), pair.cert, "", (), now):
            files["gateway.crt"], files["gateway.key"] = pki.issue(pair, "", org=("edge-platform",), now=now)
        await self._write_system(ETCD_AUTHORITY, have, files)
        both: tuple[pki.Usage, ...] = ("server", "client")
        for name, leaf, cn, sans, usage in (
            (ETCD_SERVER, "server", "", _ETCD_NAMES, both),
            (ETCD_CLIENT, "client", "root", (), both[1:]),
        ):
            have = await self._read(name, SYSTEM_NAMESPACE)
            files = {**have, "ca.crt": pair.cert}
            if keys.is_due(keys.pair_of(files, leaf), pair.cert, cn, sans, now):
                made = pki.issue(pair, cn, sans=sans, usage=usage, now=now)
                files[f"{leaf}.crt"], files[f"{leaf}.key"] = made
            await self._write_system(name, have, files)

    async def _read(self, name: str, namespace: str) -> dict[str, bytes]:
        found = await self._writer.find(Secret, name, namespace)
        return {key: base64.b64decode(value) for key, value in found.data.items()} if found else {}

    async def _write(
        self,
        wish: Wish,
        name: str,
        namespace: str,
        before: Mapping[str, bytes],
        after: Mapping[str, bytes],
    ) -> None:
        if dict(before) != dict(after):
            manifest = manifests.secret(wish.name, wish.uid, name, namespace, after)
            await self._writer.apply(manifest, manager=MANAGER)

    async def _write_system(self, name: str, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
        if dict(before) != dict(after):
            await self._writer.apply(manifests.system_secret(name, after), manager=MANAGER)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_s(), UTC)
