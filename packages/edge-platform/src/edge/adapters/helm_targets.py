"""The clusters that releases are installed into: the host, and members by the kubeconfig of their Cluster."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from edge.components.ports import TargetTrouble
from edge_kube.client import Client
from edge_kube.config import ConfigError, load_kubeconfig
from edge_kube.errors import ApiError, KubeError, NotFound

CLUSTER_API = "scope.theriseunion.io/v1alpha1"
AGAIN_WITH_CLUSTER = "Look at the conditions of the Cluster."


class _Connection(msgspec.Struct, frozen=True):
    kubeconfig: str = ""


class _Spec(msgspec.Struct, frozen=True):
    connection: _Connection = _Connection()


class _Cluster(msgspec.Struct, frozen=True):
    """What is read of a Cluster, whose room lies above this one's."""

    spec: _Spec = _Spec()


class Target(NamedTuple):
    """uid: of the target, so that a cluster made anew under an old name is another one; "" for the host."""

    client: Client
    uid: str


class Targets:
    """Clients are kept while the kubeconfig stays the same; call close at the end."""

    def __init__(self, host: Client) -> None:
        self._host = host
        self._members: dict[str, tuple[str, Client]] = {}

    async def get(self, cluster: str) -> Target:
        """Raises TargetTrouble."""
        if not cluster:
            return Target(self._host, "")
        found = await self._read(cluster)
        metadata: Mapping[str, Any] = found["metadata"]
        if metadata.get("deletionTimestamp"):
            raise TargetTrouble("TargetDeleting", f"Cluster {cluster} is being deleted.", is_gone=True)
        encoded = msgspec.convert(found, _Cluster).spec.connection.kubeconfig
        if not encoded:
            raise TargetTrouble(
                "TargetNotReady",
                f"Cluster {cluster} has no spec.connection.kubeconfig yet. {AGAIN_WITH_CLUSTER}",
            )
        return Target(await self._client(cluster, encoded), metadata.get("uid", ""))

    async def close(self) -> None:
        for _, client in self._members.values():
            await client.close()
        self._members.clear()

    async def _read(self, cluster: str) -> Mapping[str, Any]:
        try:
            kind = await self._host.kind_for(CLUSTER_API, "Cluster")
            return await self._host.read(kind, cluster)
        except NotFound:
            raise TargetTrouble(
                "TargetMissing",
                f"Cluster {cluster} of spec.targetCluster does not exist. Create it, or leave it empty.",
                is_gone=True,
            ) from None
        except KubeError as error:
            raise TargetTrouble("HostUnavailable", f"Cluster {cluster} was not read: {error}") from error

    async def _client(self, cluster: str, encoded: str) -> Client:
        digest = hashlib.sha256(encoded.encode()).hexdigest()
        have = self._members.get(cluster)
        if have and have[0] == digest:
            return have[1]
        try:
            connection = load_kubeconfig(base64.b64decode(encoded, validate=True))
        except (binascii.Error, ConfigError) as error:
            raise TargetTrouble(
                "TargetNotReady", f"spec.connection.kubeconfig of Cluster {cluster}: {error}"
            ) from error
        if have:
            await have[1].close()
        client = Client(connection)
        self._members[cluster] = (digest, client)
        return client


def unreachable(cluster: str, error: KubeError) -> TargetTrouble:
    """What a failed call to a target means for the Component."""
    where = f"Cluster {cluster}" if cluster else "The cluster's API server"
    said = "refused" if isinstance(error, ApiError) else "does not answer"
    return TargetTrouble("TargetUnreachable", f"{where} {said}: {error}. It is tried again.")
