"""Member clusters behind the gateway: one upstream each, from Cluster.spec.connection.kubeconfig (§8.6).

A member that does not take connections is answered for at once with 503 and its name, and asked again a few
seconds later; it never holds a request of another cluster up. Its credential never leaves this process.
"""

import base64
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from edge.apiserver.masking import as_map
from edge.apiserver.upstreams.breaker import Breaker
from edge.apiserver.upstreams.closing import Closing
from edge.apiserver.upstreams.dialing import Dialer, ForbiddenAddress, Lookup, system_lookup
from edge.apiserver.upstreams.upstream import Upstream
from edge_kube.config import ConfigError, Connection, load_kubeconfig
from edge_kube.meta import Key
from edge_sdk.problem import Missing, Unavailable

HOST: Final = "host"
IN_HAND_S: Final = 60.0
"""What requests have to end when their member is reached in another way from now on."""
T = TypeVar("T")


class Member:
    """One member cluster: its upstream, and what is known about its answering."""

    def __init__(self, name: str, upstream: Upstream, breaker: Breaker) -> None:
        self.name = name
        self._upstream = upstream
        self._breaker = breaker

    async def call(self, send: Callable[[Upstream], Awaitable[T]], *, stream: bool = False) -> T:
        """Raises Unavailable (503) at once while the cluster does not answer, or all its seats are taken."""
        return await self._breaker.call(lambda: send(self._upstream), stream=stream)

    async def close(self) -> None:
        await self._upstream.close()


def _breaker(name: str, seats: int, slow_s: float) -> Breaker:
    def down(since: str, why: str) -> Unavailable:
        return Unavailable(
            "cluster-unreachable",
            what=f'Cluster "{name}" does not answer since {since}',
            why=why,
            do=f"read its conditions (kubectl describe cluster {name}); others are not affected",
        )

    def busy(seats: int) -> Unavailable:
        return Unavailable(
            "cluster-busy",
            what=f'Cluster "{name}" is slow',
            why=f"{seats} requests wait for it, and no cluster may have more of the gateway's seats",
            do="try again in a second; others are not affected",
        )

    return Breaker(seats=seats, slow_s=slow_s, down=down, busy=busy)


class Members:
    """All member clusters, as the watch of Cluster objects brings them."""

    def __init__(
        self,
        *,
        loopback_allowed: bool = False,
        seats: int = 200,
        slow_s: float = 25.0,
        lookup: Lookup = system_lookup,
        left: Callable[[str], object],
    ) -> None:
        """loopback_allowed: for installations whose members listen on this very machine (embedded, tests).

        seats: short requests to one member at once. slow_s: a request that was waited for so long counts as
        unanswered. left: told of a member that is none any more, or another server from now on.
        """
        self._loopback_allowed = loopback_allowed
        self._seats = seats
        self._slow_s = slow_s
        self.lookup = lookup
        self._left = left
        self._kubeconfigs: dict[str, str] = {}
        self._revisions: dict[str, int] = {}
        self._changes = 0
        self._members: dict[str, Member] = {}
        self._closing = Closing()

    def cluster_changed(self, key: Key, raw: bytes | None) -> bool:
        """Take in a Cluster as it came. False when it is reached as before."""
        kubeconfig = "" if raw is None else _kubeconfig_of(raw)
        if raw is not None and self._kubeconfigs.get(key.name) == kubeconfig:
            return False
        self._changes += 1
        before = self._kubeconfigs.get(key.name, "")
        if raw is None:
            self._kubeconfigs.pop(key.name, None)
            self._revisions.pop(key.name, None)
        else:
            self._kubeconfigs[key.name] = kubeconfig
            self._revisions[key.name] = self._changes
        member = self._members.pop(key.name, None)
        if member is not None:
            # A credential that is renewed costs no request that is in hand; a cluster that is gone ends them.
            self._closing.later(member.close, 0.0 if raw is None else IN_HAND_S)
        if raw is None or (before and _server_of(before) != _server_of(kubeconfig)):
            self._left(key.name)
        return True

    def member(self, name: str) -> Member:
        """Raises Missing (404) for no such cluster, Unavailable (503) for one that cannot be reached yet."""
        member = self._members.get(name)
        if member is not None:
            return member
        self.require(name)
        connection, breaker = self.connection(name), _breaker(name, self._seats, self._slow_s)
        upstream = Upstream(connection, dialer=self._dialer(connection), on_answer=breaker.answered)
        return self._members.setdefault(name, Member(name, upstream, breaker))

    def revision(self, name: str) -> int:
        """Another number whenever the cluster is reached in another way; 0 while there is none."""
        return self._revisions.get(name, 0)

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
        await self._closing.all_now()

    def connection(self, name: str) -> Connection:
        """How the cluster is reached, with our credential for it. Raises Unavailable."""
        kubeconfig = self._kubeconfigs.get(name)
        if not kubeconfig:
            raise _not_connected(name, "it has no kubeconfig yet", "wait until its condition Ready is True")
        try:
            content = base64.b64decode(kubeconfig, validate=True)
            connection = load_kubeconfig(content)
            self._dialer(connection)
            connection.ssl_context()
        except ValueError:
            raise _not_connected(name, "its kubeconfig is no base64", "encode it with base64 -w0") from None
        except ConfigError as error:
            raise _not_connected(name, str(error), "correct spec.connection.kubeconfig") from error
        return connection

    def _dialer(self, connection: Connection) -> Dialer:
        """Whoever writes a Cluster must not reach this pod's own ports or the cloud's metadata through us."""
        host = urlsplit(connection.server).hostname or ""
        try:
            return Dialer(host, loopback_allowed=self._loopback_allowed, lookup=self.lookup)
        except ForbiddenAddress as error:
            raise ConfigError(
                f"its server {connection.server} is an address that no cluster has: {error}"
            ) from None


def _kubeconfig_of(raw: bytes) -> str:
    connection = as_map(as_map(as_map(msgspec.json.decode(raw)).get("spec")).get("connection"))
    kubeconfig = connection.get("kubeconfig", "")
    return kubeconfig if isinstance(kubeconfig, str) else ""


def _server_of(kubeconfig: str) -> tuple[object, ...]:
    """What makes it the same server, whatever the credential; empty for one that cannot be read.

    Another CA counts: who answers at the address may be another cluster, or was never the right one.
    """
    try:
        found = load_kubeconfig(base64.b64decode(kubeconfig, validate=True))
    except (ValueError, ConfigError):
        return ()
    return found.server, found.server_name, found.ca, found.insecure


def _not_connected(name: str, why: str, do: str) -> Unavailable:
    return Unavailable("cluster-unreachable", what=f'Cluster "{name}" cannot be reached', why=why, do=do)
