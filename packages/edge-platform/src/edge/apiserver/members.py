"""Member clusters behind the gateway: one upstream each, from Cluster.spec.connection.kubeconfig (§8.6).

A member that does not take connections is answered for at once with 503 and its name, and asked again a few
seconds later; it never holds a request of another cluster up. Its credential never leaves this process.
"""

import asyncio
import base64
import binascii
import ipaddress
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from edge.apiserver.masking import as_map
from edge.apiserver.upstream import Unreachable, Upstream
from edge_kube.config import ConfigError, Connection, load_kubeconfig
from edge_kube.meta import Key
from edge_sdk.problem import Missing, Unavailable

HOST: Final = "host"
RETRY_AFTER_S: Final = 5.0
T = TypeVar("T")


class Member:
    """One member cluster: its upstream, and since when it does not answer."""

    def __init__(self, name: str, upstream: Upstream) -> None:
        self.name = name
        self._upstream = upstream
        self._down_since = ""
        self._ask_again_s = 0.0

    async def call(self, send: Callable[[Upstream], Awaitable[T]]) -> T:
        """Raises Unavailable (503) at once while the cluster is known not to answer."""
        if self._down_since and time.monotonic() < self._ask_again_s:
            raise self._unavailable("it does not take connections")
        # One request asks again; those beside it are answered at once, not after a time-out each.
        self._ask_again_s = time.monotonic() + RETRY_AFTER_S
        try:
            answer = await send(self._upstream)
        except Unreachable as error:
            self._down_since = self._down_since or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            raise self._unavailable(str(error)) from error
        self._down_since = ""
        return answer

    async def close(self) -> None:
        await self._upstream.close()

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(
            "cluster-unreachable",
            what=f'Cluster "{self.name}" does not answer since {self._down_since}',
            why=why,
            do=f"read its conditions (kubectl describe cluster {self.name}); others are not affected",
        )


class Members:
    """All member clusters, as the watch of Cluster objects brings them."""

    def __init__(self, *, loopback_allowed: bool = False) -> None:
        """loopback_allowed: for installations whose members listen on this very machine (embedded, tests)."""
        self._loopback_allowed = loopback_allowed
        self._kubeconfigs: dict[str, str] = {}
        self._members: dict[str, Member] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def cluster_changed(self, key: Key, raw: bytes | None) -> bool:
        """Take in a Cluster as it came. False when it is reached as before."""
        kubeconfig = "" if raw is None else _kubeconfig_of(raw)
        if raw is not None and self._kubeconfigs.get(key.name) == kubeconfig:
            return False
        if raw is None:
            self._kubeconfigs.pop(key.name, None)
        else:
            self._kubeconfigs[key.name] = kubeconfig
        member = self._members.pop(key.name, None)
        if member is not None:
            task = asyncio.get_running_loop().create_task(member.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return True

    def member(self, name: str) -> Member:
        """Raises Missing (404) for no such cluster, Unavailable (503) for one that cannot be reached yet."""
        member = self._members.get(name)
        if member is not None:
            return member
        self.require(name)
        return self._members.setdefault(name, Member(name, self._upstream(name)))

    def require(self, name: str) -> None:
        """Raises Missing (404) unless there is such a cluster, be it reachable or not."""
        if name not in self._kubeconfigs:
            raise Missing(
                "unknown-cluster",
                what=f'There is no cluster "{name[:80]}"',
                do=f'use "{HOST}" for the platform\'s own, or a name from /oapis/tenant/v1alpha1/clusters',
            )

    async def close(self) -> None:
        for member in self._members.values():
            await member.close()

    def _upstream(self, name: str) -> Upstream:
        return Upstream(self.connection(name))

    def connection(self, name: str) -> Connection:
        """How the cluster is reached, with our credential for it. Raises Unavailable."""
        kubeconfig = self._kubeconfigs.get(name)
        if not kubeconfig:
            raise _not_connected(name, "it has no kubeconfig yet", "wait until its condition Ready is True")
        try:
            content = base64.b64decode(kubeconfig, validate=True)
            connection = load_kubeconfig(content)
            self._check_address(connection.server)
            connection.ssl_context()
        except binascii.Error:
            raise _not_connected(name, "its kubeconfig is no base64", "encode it with base64 -w0") from None
        except ConfigError as error:
            raise _not_connected(name, str(error), "correct spec.connection.kubeconfig") from error
        return connection

    def _check_address(self, server: str) -> None:
        """Whoever writes a Cluster must not reach this pod's own ports or the cloud's metadata through us."""
        try:
            address = ipaddress.ip_address(urlsplit(server).hostname or "")
        except ValueError:
            return
        loopback = address.is_loopback and not self._loopback_allowed
        if address.is_link_local or address.is_unspecified or address.is_multicast or loopback:
            raise ConfigError(f"its server {server} is an address that no cluster has")


def _kubeconfig_of(raw: bytes) -> str:
    connection = as_map(as_map(as_map(msgspec.json.decode(raw)).get("spec")).get("connection"))
    kubeconfig = connection.get("kubeconfig", "")
    return kubeconfig if isinstance(kubeconfig, str) else ""


def _not_connected(name: str, why: str, do: str) -> Unavailable:
    return Unavailable("cluster-unreachable", what=f'Cluster "{name}" cannot be reached', why=why, do=do)
