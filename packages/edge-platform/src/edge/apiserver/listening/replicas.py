"""How many gateways serve: limits are meant for all of them together, so each gives its part (design §8.5).

replicas = Replicas(client, "edge-system", "edge-apiserver", changed=lambda count: …)
await replicas.mirror.run()
"""

from collections.abc import Callable, Iterable
from typing import Final

import structlog

from edge.apiserver.mirrors.kinds import collection_of
from edge.apiserver.mirrors.mirror import Mirror
from edge_kube.client import Client
from edge_kube.crd import resource
from edge_kube.meta import Key, Model, Resource, kind_of
from edge_kube.wire import ObjectDecoder, UndecodableError

SERVICE_LABEL: Final = "kubernetes.io/service-name"

log = structlog.stdlib.get_logger("edge.apiserver")


class EndpointConditions(Model):
    ready: bool | None = None
    """None is unknown, which counts as ready."""


class Endpoint(Model):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()


@resource(group="discovery.k8s.io", version="v1", plural="endpointslices", scope="Namespaced")
class EndpointSlice(Resource):
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = None


class Replicas:
    """changed: told the number of ready endpoints of the Service, at least 1, when it is another one."""

    def __init__(
        self, client: Client, namespace: str, service: str, *, changed: Callable[[int], None]
    ) -> None:
        self._service = service
        self._changed = changed
        self._slices: dict[Key, EndpointSlice] = {}
        self._decoder = ObjectDecoder(EndpointSlice)
        self.count = 1
        kind = kind_of(EndpointSlice)
        self.mirror = Mirror(client, kind, collection_of(kind, self._slice_changed), namespace=namespace)

    def _slice_changed(self, key: Key, _: bytes | None, new: bytes | None) -> None:
        self._slices.pop(key, None)
        if new is not None:
            try:
                found = self._decoder.decode(new)
            except UndecodableError as error:
                log.warning("object_not_understood", name=key.name, error=str(error))
                return
            if found.metadata.labels.get(SERVICE_LABEL) == self._service:
                self._slices[key] = found
        count = ready_endpoints(self._slices.values())
        if count != self.count:
            self.count = count
            log.info("replicas_changed", ready=count)
            self._changed(count)


def ready_endpoints(slices: Iterable[EndpointSlice]) -> int:
    """Of one Service; 1 when none is known: at least this process serves. Pure.

    A Service of two address families has a slice for each, with the same endpoints: they are not added up.
    """
    by_family: dict[str, set[str]] = {}
    for one in slices:
        ready = by_family.setdefault(one.address_type, set())
        for endpoint in one.endpoints or ():
            if endpoint.conditions.ready is not False:
                ready.update(endpoint.addresses[:1])
    return max(1, *map(len, by_family.values())) if by_family else 1
