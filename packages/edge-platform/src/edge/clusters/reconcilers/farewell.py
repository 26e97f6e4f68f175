"""Deleting a virtual cluster: everything it made and nothing else, whether it is alive or dead.

Nothing here talks to the cluster itself. Each step is one write with the uid of what it is meant for.
"""

from datetime import datetime

import structlog

from edge.clusters import plan, rules
from edge.clusters.engines import store_prefix, store_user
from edge.clusters.ports import Stores, StoreUnavailableError
from edge.clusters.reconcilers.credentials import Vault
from edge.clusters.types import (
    CLUSTER_UID_ANNOTATION,
    FINALIZER,
    FORCE_DELETE_ANNOTATION,
    SYSTEM_NAMESPACE,
    Cluster,
)
from edge.components.types import Component
from edge_kube.core import Namespace, Secret
from edge_kube.errors import Conflict, NotFound
from edge_kube.meta import Manifest, key_of
from edge_kube.ownership import drop_finalizer
from edge_kube.runtime import Reader, Waiting, Writer
from edge_sdk.clock import Clock

log = structlog.stdlib.get_logger("edge.clusters")


class Farewell:
    """Takes the next steps of a deletion."""

    def __init__(self, reader: Reader, writer: Writer, vault: Vault, stores: Stores, clock: Clock) -> None:
        self._reader = reader
        self._writer = writer
        self._vault = vault
        self._stores = stores
        self._clock = clock

    async def take(self, cluster: Cluster, seen: plan.Seen) -> str:
        """What is still waited for; "" when the cluster has gone."""
        if FINALIZER not in cluster.metadata.finalizers:
            return ""
        if cluster.spec.deletion_policy == "Orphan":
            await drop_finalizer(self._writer, cluster, FINALIZER)
            return ""
        waited_s = self._clock.now_s() - _since(cluster)
        message = ""
        for step in plan.plan_farewell(cluster, seen, waited_s):
            match step:
                case plan.DeleteComponent(component, abandon):
                    message = await self._delete_component(component, abandon=abandon)
                case plan.DeleteNamespace(namespace):
                    message = await self._delete_namespace(namespace)
                case plan.Finish(left_over):
                    return await self._finish(cluster, left_over)
        return message

    async def _delete_component(self, component: Component, *, abandon: bool) -> str:
        key, uid = key_of(component), component.metadata.uid
        try:
            await self._writer.delete(Component, key.name, key.namespace, uid=uid)
            if abandon and component.metadata.finalizers:
                patch: Manifest = {"metadata": {"finalizers": [], "uid": uid}}
                await self._writer.merge(Component, key, patch)
        except (Conflict, NotFound):
            pass  # gone, or made anew by somebody else
        return f"Component {key} is being deleted."

    async def _delete_namespace(self, namespace: Namespace) -> str:
        name = namespace.metadata.name
        if not namespace.metadata.deletion_timestamp:
            try:
                await self._writer.delete(Namespace, name, uid=namespace.metadata.uid)
            except Conflict:
                return f"Namespace {name} was made anew; looking again."
        stuck = [one.message for one in namespace.status.conditions if one.status == "True"]
        return f"Namespace {name} is being deleted. {' '.join(stuck)}".strip()

    async def _finish(self, cluster: Cluster, left_over: str) -> str:
        """The cache may be older than our last write, so what it does not show is looked for once more."""
        name, uid = cluster.metadata.name, cluster.metadata.uid
        component = await self._writer.find(Component, rules.component_of(name), SYSTEM_NAMESPACE)
        namespace = await self._writer.find(Namespace, rules.namespace_of(name))
        for one in (component, namespace):
            if (
                one is not None
                and not left_over
                and one.metadata.annotations.get(CLUSTER_UID_ANNOTATION) == uid
            ):
                return f"{type(one).__name__} {key_of(one)} is being deleted."
        forced = cluster.metadata.annotations.get(FORCE_DELETE_ANNOTATION) == uid
        if cluster.status.datastore == "shared" and (message := await self._expel(cluster, forced=forced)):
            return message
        secret = await self._writer.find(Secret, rules.credentials_of(name), SYSTEM_NAMESPACE)
        if secret is not None and secret.metadata.annotations.get(CLUSTER_UID_ANNOTATION) == uid:
            await self._writer.delete(Secret, secret.metadata.name, SYSTEM_NAMESPACE, uid=secret.metadata.uid)
        if left_over:
            log.warning("cluster deleted by force", cluster=name, left_over=left_over)
        await drop_finalizer(self._writer, cluster, FINALIZER)
        return ""

    async def _expel(self, cluster: Cluster, *, forced: bool) -> str:
        uid = cluster.metadata.uid
        try:
            access, _ = await self._vault.store()
            left = await self._stores.expel(access, store_user(uid), store_prefix(uid))
        except (StoreUnavailableError, Waiting) as error:
            self._vault.forget_store()
            if not forced:
                return (
                    f"Its keys in the platform's etcd are not deleted yet: {error}. To leave them there, set "
                    f"annotation {FORCE_DELETE_ANNOTATION}: {uid}."
                )
            log.warning("keys left in the platform's etcd", cluster=cluster.metadata.name, why=str(error))
            return ""
        return f"{left} keys are left in the platform's etcd." if left else ""


def _since(cluster: Cluster) -> float:
    stamp = cluster.metadata.deletion_timestamp
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0
