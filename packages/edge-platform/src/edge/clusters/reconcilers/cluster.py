"""The Cluster reconciler: reads what is there, has the next steps planned, takes them, tells the status.

No step waits for readiness: a pass takes milliseconds, and the next one is asked for by a watch or after a
moment, so that three workers carry any number of clusters (C13).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec
from msgspec import structs

from edge.clusters import inside, intake, keys, manifests, plan, rules, status
from edge.clusters.engines import Wish, store_prefix, store_user
from edge.clusters.ports import Members, MemberView, Stores, StoreUnavailableError
from edge.clusters.reconcilers.credentials import MANAGER, Vault
from edge.clusters.reconcilers.farewell import Farewell
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import (
    ACCEPT_UID_ANNOTATION,
    CLUSTER_LABEL,
    FINALIZER,
    SYSTEM_NAMESPACE,
    Cluster,
    Endpoints,
    NetworkStatus,
)
from edge.components.types import Component
from edge_kube.config import ConfigError
from edge_kube.core import Namespace, Node, Service
from edge_kube.errors import KubeError
from edge_kube.meta import ObjectMeta
from edge_kube.ownership import ensure_finalizer
from edge_kube.reconcile import advance_fence
from edge_kube.runtime import DONE, Reader, Request, Result, Waiting, Writer
from edge_sdk.clock import Clock

QUICK_S, SLOW_S = 0.5, 3.0
LOSS_OF_HASTE = 0.03  # seconds later for each second of a cluster's age
FURNISH_AGAIN_S = 300.0


@dataclass(slots=True)
class _Furnished:
    digest: str
    at_s: float


class ClusterReconciler:
    """One instance serves all Clusters; what it remembers only saves work and may be lost at any time."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        *,
        settings: ClusterSettings,
        members: Members,
        stores: Stores,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._settings = settings
        self._members = members
        self._stores = stores
        self._clock = clock
        self._vault = Vault(writer, clock, settings.etcd_endpoint)
        self._farewell = Farewell(reader, writer, self._vault, stores, clock)
        # Ranges promised in this process; the cache may not show them yet.
        self._promised: dict[str, NetworkStatus] = {}
        self._admitted: set[str] = set()
        self._furnished: dict[str, _Furnished] = {}

    async def reconcile(self, request: Request) -> Result:
        cluster = self._reader.get(Cluster, request.name)
        if cluster is None:
            self._members.forget(request.name)
            return DONE
        if rules.type_of(cluster) == "physical":
            return self._physical(cluster)
        if cluster.metadata.deletion_timestamp:
            return await self._leave(cluster)
        return await self._virtual(cluster)

    # -- virtual ---------------------------------------------------------------------------------------------

    async def _virtual(self, cluster: Cluster) -> Result:
        if cluster.spec.deletion_policy != "Orphan":
            cluster = await ensure_finalizer(self._writer, cluster, FINALIZER)
        network = cluster.status.network
        if not network.service_cidr:
            return self._allocate(cluster)
        wish, choice, obstacle = plan.wish_of(cluster, network, self._settings)
        if wish is None or obstacle is not None:
            found = obstacle or plan.Obstacle("EngineUnavailable", "No engine serves this cluster.")
            return Result(status=status.stopped_status(cluster, found))
        seen = self._observe(cluster)
        if seen.namespace is None:
            self._vault.forget(cluster.metadata.uid)  # its Secrets went with it
        todo = plan.plan(wish, cluster, seen)
        try:
            seen, todo = await self._carry_out(cluster, wish, seen, todo)
        except (StoreUnavailableError, Waiting) as error:
            reason = error.reason if isinstance(error, Waiting) else "StoreUnavailable"
            todo = replace(todo, obstacle=plan.Obstacle(reason, str(error)))
        now_s = self._clock.now_s()
        look = status.outlook(seen.member, now_s, self._settings.probe_period_s)
        endpoints = Endpoints(
            external=plan.external_server(seen) if seen.service and seen.host_address else "",
            internal=plan.internal_server(seen.service),
        )
        told = status.virtual_status(cluster, wish, choice, seen, todo, look, endpoints)
        return Result(status=told, after_s=self._pace(cluster, told.phase, now_s))

    def _allocate(self, cluster: Cluster) -> Result:
        """Ranges are written to the status before anything is made with them (R24)."""
        uid = cluster.metadata.uid
        found = self._promised.get(uid) or self._free_ranges(cluster)
        if isinstance(found, plan.Obstacle):
            return Result(status=status.stopped_status(cluster, found), after_s=SLOW_S * 10)
        self._promised[uid] = found
        engine, choice = plan.engine_and_version(cluster, self._settings)
        extra = status.exactness(engine, rules.distribution_of(cluster), choice) if engine else ()
        begun = plan.Obstacle("Allocating", "Address ranges are allocated.")
        told = status.stopped_status(cluster, begun, extra)
        return Result(status=structs.replace(told, network=found), after_s=QUICK_S)

    def _free_ranges(self, cluster: Cluster) -> NetworkStatus | plan.Obstacle:
        others = [one for one in self._reader.list(Cluster) if one.metadata.uid != cluster.metadata.uid]
        alive = {one.metadata.uid for one in others}
        self._promised = {uid: promise for uid, promise in self._promised.items() if uid in alive}
        taken = [one.status.network for one in others]
        taken += [_asked(one) for one in others]
        taken += list(self._promised.values())
        return plan.allocate(cluster, taken, self._reader.list(Node), self._settings)

    def _observe(self, cluster: Cluster) -> plan.Seen:
        name = cluster.metadata.name
        namespace = rules.namespace_of(name)
        children = {
            one.metadata.name: one
            for one in self._reader.list(Component, SYSTEM_NAMESPACE)
            if one.metadata.labels.get(CLUSTER_LABEL) == name and one.spec.target_cluster == name
        }
        return plan.Seen(
            namespace=self._reader.get(Namespace, namespace),
            service=self._reader.get(Service, manifests.PLANE, namespace),
            component=self._reader.get(Component, rules.component_of(name), SYSTEM_NAMESPACE),
            children=children,
            host_address=self._settings.external_address or _first_address(self._reader.list(Node)),
            member=self._view(cluster),
        )

    def _view(self, cluster: Cluster) -> MemberView | None:
        held = self._vault.held(cluster.metadata.uid)
        if held is None:
            return None
        before = cluster.status.phase
        period = self._settings.probe_period_s if before in ("Ready", "Offline") else QUICK_S
        return self._members.view(cluster.metadata.name, held.admin, period)

    async def _carry_out(
        self, cluster: Cluster, wish: Wish, seen: plan.Seen, todo: plan.Plan
    ) -> tuple[plan.Seen, plan.Plan]:
        """Take the steps; a new Service or a new answer of the cluster opens further ones at once."""
        done = 0
        while True:
            for step in todo.steps[done:]:
                seen = await self._take(cluster, wish, seen, step)
            done = len(todo.steps)
            if seen.member is None:
                seen = replace(seen, member=self._view(cluster))
            further = plan.plan(wish, cluster, seen)
            if further.steps[:done] != todo.steps or len(further.steps) == done:
                return seen, further
            todo = further

    async def _take(self, cluster: Cluster, wish: Wish, seen: plan.Seen, step: plan.Step) -> plan.Seen:
        match step:
            case plan.Apply(manifest):
                applied = await self._writer.apply(manifest, manager=MANAGER)
                if manifest["kind"] == "Service" and seen.service is None:
                    return replace(seen, service=_service(applied.obj))
            case plan.AdmitToStore():
                await self._admit(wish)
            case plan.EnsureKeys(names, server):
                await self._vault.ensure(wish, names, server)
            case plan.AdoptKubeconfig(secret):
                await self._adopt(cluster, wish, secret)
            case plan.Furnish():
                await self._furnish(wish)
            case plan.Connect(server):
                await self._connect(cluster, server)
            case plan.RemoveNode(name):
                await self._remove_node(wish, name)
        return seen

    async def _admit(self, wish: Wish) -> None:
        if wish.uid in self._admitted:
            return
        access, _ = await self._vault.store()
        try:
            await self._stores.admit(access, store_user(wish.uid), store_prefix(wish.uid))
        except StoreUnavailableError:
            self._vault.forget_store()
            raise
        self._admitted.add(wish.uid)

    async def _furnish(self, wish: Wish) -> None:
        """Repeated every five minutes, so that what was taken away inside comes back."""
        held = self._vault.held(wish.uid)
        if held is None or not held.join:
            return
        objects = inside.furniture(
            token=held.token,
            connection_role=self._settings.connection_role,
            dns_ip=wish.dns_ip,
            dns_domain=wish.network.dns_domain,
            dns_image=wish.images.coredns,
            pull_policy=wish.images.pull_policy,
        )
        digest = hashlib.sha256(json.dumps(objects, sort_keys=True).encode()).hexdigest()
        before, now_s = self._furnished.get(wish.uid), self._clock.monotonic_s()
        if before is not None and before.digest == digest and now_s - before.at_s < FURNISH_AGAIN_S:
            return
        try:
            await self._members.apply(wish.name, held.admin, objects)
        except KubeError as error:
            raise Waiting(f"the cluster's own objects were not applied: {error}", QUICK_S) from error
        self._furnished[wish.uid] = _Furnished(digest, now_s)

    async def _remove_node(self, wish: Wish, node: str) -> None:
        held = self._vault.held(wish.uid)
        if held is None:
            return
        try:
            await self._members.remove_node(wish.name, held.admin, node)
        except KubeError as error:
            raise Waiting(f"node {node} was not removed: {error}", QUICK_S) from error

    async def _adopt(self, cluster: Cluster, wish: Wish, secret: str) -> None:
        held = await self._vault.adopt(wish, secret)
        if held is not None:
            await self._write_connection(cluster, held.admin)

    async def _connect(self, cluster: Cluster, server: str) -> None:
        held = self._vault.held(cluster.metadata.uid)
        if held is None:
            return
        now = datetime.fromtimestamp(self._clock.now_s(), UTC)
        if not intake.connection_is_good(
            cluster.spec.connection.kubeconfig, held.authority.cert, server, now
        ):
            made = keys.connection_kubeconfig(held.authority, server, cluster.metadata.name, now)
            await self._write_connection(cluster, made)

    async def _write_connection(self, cluster: Cluster, kubeconfig: bytes) -> None:
        text = intake.encode(kubeconfig)
        if text == cluster.spec.connection.kubeconfig:
            return
        # With the uid, a cluster that was deleted meanwhile is not made anew by this.
        manifest = {
            "apiVersion": "scope.theriseunion.io/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": cluster.metadata.name, "uid": cluster.metadata.uid},
            "spec": {"connection": {"kubeconfig": text}},
        }
        applied = await self._writer.apply(manifest, manager=MANAGER)
        metadata = applied.obj["metadata"]
        advance_fence(
            Cluster(
                metadata=ObjectMeta(
                    name=metadata["name"],
                    uid=metadata["uid"],
                    resource_version=metadata["resourceVersion"],
                )
            )
        )

    def _pace(self, cluster: Cluster, phase: str, now_s: float) -> float:
        if phase == "Ready":
            return self._settings.probe_period_s
        # A young cluster is looked at often; with many at once, looking must not slow down their start.
        return min(SLOW_S, QUICK_S + LOSS_OF_HASTE * max(0.0, now_s - _created(cluster)))

    # -- deletion --------------------------------------------------------------------------------------------

    async def _leave(self, cluster: Cluster) -> Result:
        name, uid = cluster.metadata.name, cluster.metadata.uid
        self._members.forget(name)
        message = await self._farewell.take(cluster, self._observe_rest(cluster))
        if message:
            return Result(status=status.leaving_status(cluster, message), after_s=1.0)
        for memory in (self._promised, self._furnished):
            memory.pop(uid, None)
        self._admitted.discard(uid)
        self._vault.forget(uid)
        return DONE

    def _observe_rest(self, cluster: Cluster) -> plan.Seen:
        """As `_observe`, without asking the cluster."""
        self._vault.forget(cluster.metadata.uid)
        return self._observe(cluster)

    # -- physical --------------------------------------------------------------------------------------------

    def _physical(self, cluster: Cluster) -> Result:
        name = cluster.metadata.name
        if cluster.metadata.deletion_timestamp:
            self._members.forget(name)
            return DONE
        period = self._settings.probe_period_s
        obstacle, view = self._ask(cluster, period)
        look = status.outlook(view, self._clock.now_s(), period)
        if obstacle is None and look.alive and view is not None and view.uid:
            obstacle = _identity(cluster, view.uid)
        told = status.physical_status(cluster, look, obstacle)
        waiting = view is None and obstacle is None
        return Result(status=told, after_s=QUICK_S if waiting else period)

    def _ask(self, cluster: Cluster, period: float) -> tuple[plan.Obstacle | None, MemberView | None]:
        name, text = cluster.metadata.name, cluster.spec.connection.kubeconfig
        if cluster.spec.enable is False:
            self._members.forget(name)
            return plan.Obstacle("Disabled", "spec.enable is false; the cluster is not asked."), None
        if not text:
            message = "spec.connection.kubeconfig is empty; put a kubeconfig there, base64-encoded."
            return plan.Obstacle("AwaitingKubeconfig", message), None
        try:
            content = intake.decode(text)
            connection = intake.take_in(content, allow_loopback=self._settings.allow_loopback)
            end = intake.expired(connection, datetime.fromtimestamp(self._clock.now_s(), UTC))
            if end is not None:
                message = (
                    f"The client certificate in the kubeconfig ran out on {end:%Y-%m-%d %H:%M} UTC; renew it."
                )
                return plan.Obstacle("CredentialsExpired", message), None
            return None, self._members.view(name, content, period)
        except ConfigError as error:
            return plan.Obstacle("KubeconfigInvalid", f"{error}"), None


def _identity(cluster: Cluster, uid: str) -> plan.Obstacle | None:
    """A cluster made anew under the same address is another one; a person has to agree first."""
    known = cluster.status.uid
    if not known or known == uid or cluster.metadata.annotations.get(ACCEPT_UID_ANNOTATION) == uid:
        return None
    message = (
        f"The cluster behind this address has uid {uid}, but {known} was joined: it was installed anew, or "
        f"the address leads elsewhere. To go on with it, set annotation {ACCEPT_UID_ANNOTATION}: {uid}."
    )
    return plan.Obstacle("IdentityChanged", message, stalled=True)


def _asked(cluster: Cluster) -> NetworkStatus:
    network = cluster.spec.network
    return NetworkStatus(service_cidr=network.service_cidr, pod_cidr=network.pod_cidr)


def _service(manifest: dict[str, object]) -> Service:
    return msgspec.convert(manifest, Service)


def _first_address(nodes: Sequence[Node]) -> str:
    """Internal address of the first node by name, ready ones first."""

    def rank(node: Node) -> tuple[bool, str]:
        ready = any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
        return (not ready, node.metadata.name)

    for node in sorted(nodes, key=rank):
        for address in node.status.addresses:
            if address.type == "InternalIP":
                return address.address
    return ""


def _created(cluster: Cluster) -> float:
    stamp = cluster.metadata.creation_timestamp
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0
