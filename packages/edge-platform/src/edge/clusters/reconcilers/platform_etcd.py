"""Keys of the platform's own etcd: made as soon as its Component is there, renewed in time (R23).

The chart cannot make them: a template has no memory, and the authority's key must not lie in a release.
"""

from edge.clusters.manifests import PLATFORM_ETCD
from edge.clusters.reconcilers.credentials import Vault
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import SYSTEM_NAMESPACE
from edge.components.types import Component
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.clock import Clock

AGAIN_S = 3600.0


class PlatformEtcdReconciler:
    """Looks at Component edge-system/etcd only, and never writes to it."""

    def __init__(self, reader: Reader, writer: Writer, *, settings: ClusterSettings, clock: Clock) -> None:
        self._reader = reader
        self._vault = Vault(writer, clock, settings.etcd_endpoint)
        self._clock = clock
        self._done: tuple[str, float] = ("", 0.0)

    async def reconcile(self, request: Request) -> Result:
        if (request.namespace, request.name) != (SYSTEM_NAMESPACE, PLATFORM_ETCD):
            return DONE
        component = self._reader.get(Component, request.name, request.namespace)
        if component is None or component.metadata.deletion_timestamp:
            return DONE
        uid, at_s = self._done
        if uid == component.metadata.uid and self._clock.monotonic_s() - at_s < AGAIN_S:
            return DONE
        await self._vault.ensure_platform_etcd()
        self._done = (component.metadata.uid, self._clock.monotonic_s())
        return Result(after_s=AGAIN_S)
