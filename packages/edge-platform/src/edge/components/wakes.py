"""Which Component is concerned when something else changes. Filled by the reconciles, only ever a short cut:
what is missing here is noticed by the next resync."""

from collections.abc import Iterable

from edge.components.effective import release_of
from edge.components.graph import upstreams
from edge.components.types import Component
from edge_kube.core import ConfigMap, DaemonSet, Deployment, Service, StatefulSet
from edge_kube.meta import Key, Resource, key_of
from edge_kube.reconcile import Request

WATCHED: tuple[type[Resource], ...] = (Deployment, StatefulSet, DaemonSet, Service, ConfigMap)
"""Kinds whose loss or change is noticed at once; others are looked at every few minutes."""
INDEX = "helm-release"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_RELEASE_NAME = "meta.helm.sh/release-name"
_RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"


def release_key(obj: Resource) -> Key | None:
    """Namespace and name of the release that Helm wrote on the object."""
    metadata = obj.metadata
    if metadata.labels.get(_MANAGED_BY) != "Helm" or _RELEASE_NAME not in metadata.annotations:
        return None
    return Key(metadata.annotations.get(_RELEASE_NAMESPACE, ""), metadata.annotations[_RELEASE_NAME])


def index_of(obj: Resource) -> Iterable[Key]:
    key = release_key(obj)
    return [key] if key else []


class Wakes:
    def __init__(self) -> None:
        self._by_release: dict[Key, Key] = {}
        self._dependents: dict[Key, set[Key]] = {}

    def learn(self, component: Component) -> None:
        key, release = key_of(component), release_of(component)
        if not release.cluster:
            self._by_release[Key(release.namespace, release.name)] = key
        for upstream in upstreams(component):
            self._dependents.setdefault(upstream, set()).add(key)

    def forget(self, key: Key) -> None:
        self._by_release = {release: who for release, who in self._by_release.items() if who != key}
        for dependents in self._dependents.values():
            dependents.discard(key)

    def of_object(self, obj: Resource) -> list[Request]:
        release = release_key(obj)
        key = self._by_release.get(release) if release else None
        return [Request(key.name, key.namespace)] if key else []

    def of_component(self, component: Component) -> list[Request]:
        """Its dependents wait for it to be Ready, its upstreams for it to be gone."""
        keys = {*self._dependents.get(key_of(component), ()), *upstreams(component)}
        return [Request(key.name, key.namespace) for key in sorted(keys)]


def fingerprint(objects: Iterable[Resource]) -> tuple[tuple[str, str], ...]:
    """Changes when an object of the release is made, deleted or changed, or a workload's readiness turns.

    A workload's generation moves with its spec only, so that counting pods during a roll-out costs nothing.
    """
    return tuple(sorted((obj.metadata.uid, _state(obj)) for obj in objects))


def _state(obj: Resource) -> str:
    metadata = obj.metadata
    if isinstance(obj, (Deployment, StatefulSet)):
        is_ready = obj.status.ready_replicas >= obj.spec.replicas
        return f"{metadata.generation}/{is_ready}/{metadata.labels}"
    if isinstance(obj, DaemonSet):
        is_ready = obj.status.number_ready >= obj.status.desired_number_scheduled
        return f"{metadata.generation}/{is_ready}/{metadata.labels}"
    return metadata.resource_version
