"""What to do next about a cluster (C3): ensureVCluster → ensureEdgeRuntime → ensureComponents. Pure.

A plan is worked out anew on every pass from what is there, and holds all steps that can be taken now; no
step waits for readiness. Each step may be repeated: carried out twice, it changes nothing the second time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge.clusters import manifests, rules
from edge.clusters.engines import HOSTED_CHART, Engine, Wish, engine_for
from edge.clusters.manifests import Child
from edge.clusters.ports import MemberView
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import (
    CLUSTER_UID_ANNOTATION,
    FORCE_DELETE_ANNOTATION,
    Cluster,
    NetworkStatus,
)
from edge.components.types import Component
from edge_kube.core import Namespace, Node, Service
from edge_kube.meta import Manifest

FORCE_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply in the host cluster."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class AdmitToStore:
    """Let the tenant into the platform's etcd, below its prefix."""


@dataclass(frozen=True, slots=True)
class EnsureKeys:
    """Secrets plane-pki, worker-join and the platform's own kubeconfig. names: in the server certificate."""

    names: tuple[str, ...]
    server: str


@dataclass(frozen=True, slots=True)
class AdoptKubeconfig:
    """Take the kubeconfig that the engine's chart made over from its Secret."""

    secret: str


@dataclass(frozen=True, slots=True)
class Furnish:
    """Rights, bootstrap token and DNS inside the cluster."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Keep spec.connection.kubeconfig valid and leading to `server`."""

    server: str


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """A nested worker that is not wanted any more leaves its node behind."""

    name: str


Step = Apply | AdmitToStore | EnsureKeys | AdoptKubeconfig | Furnish | Connect | RemoveNode


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there. host_address: where NodePorts are reached from outside, "" when no node has one."""

    namespace: Namespace | None = None
    service: Service | None = None
    component: Component | None = None
    children: Mapping[str, Component] | None = None
    host_address: str = ""
    member: MemberView | None = None


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a step cannot be taken yet, or ever. stalled: a person must act."""

    reason: str
    message: str
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    steps: tuple[Step, ...]
    obstacle: Obstacle | None = None


def wish_of(
    cluster: Cluster, network: NetworkStatus, settings: ClusterSettings
) -> tuple[Wish | None, rules.VersionChoice, Obstacle | None]:
    """The virtual cluster as it shall be, or why there can be none."""
    engine, choice = engine_and_version(cluster, settings)
    if engine is None:
        distribution = rules.distribution_of(cluster)
        message = f"Engine {rules.engine_of(cluster, settings)} has no distribution {distribution}."
        return None, choice, Obstacle("EngineUnavailable", message, stalled=True)
    if not choice.served:
        return None, choice, Obstacle(choice.reason, choice.message, stalled=True)
    pools = (settings.network.service_pool, settings.network.pod_pool)
    wish = Wish(
        name=cluster.metadata.name,
        uid=cluster.metadata.uid,
        engine=engine,
        distribution=rules.distribution_of(cluster),
        kubernetes=choice.served,
        images=settings.images,
        network=network,
        dns_ip=rules.address_in(network.service_cidr, 10),
        store=rules.datastore_of(cluster, settings),
        store_endpoint=settings.etcd_endpoint,
        store_size=cluster.spec.datastore.size or settings.own_etcd_size,
        workers=rules.workers_of(cluster, settings) if engine.chart == HOSTED_CHART else 0,
        worker_resources=cluster.spec.worker.resources,
        quota=cluster.spec.quota or settings.default_quota,
        pools=pools,
    )
    return wish, choice, None


def engine_and_version(
    cluster: Cluster, settings: ClusterSettings
) -> tuple[Engine | None, rules.VersionChoice]:
    engine = engine_for(rules.engine_of(cluster, settings), rules.distribution_of(cluster))
    shipped: Sequence[str] = ()
    if engine is not None:
        shipped = (engine.kubernetes,) if engine.kubernetes else tuple(settings.images.kube)
    wanted = cluster.spec.version
    if wanted and not rules.is_version(wanted):
        message = f'spec.version "{wanted}" is no version; write for example v1.30 or 1.30.7.'
        return engine, rules.VersionChoice("", False, "VersionMalformed", message)
    return engine, rules.choose_version(wanted, shipped, cluster.spec.version_policy)


def allocate(
    cluster: Cluster, others: Sequence[NetworkStatus], nodes: Sequence[Node], settings: ClusterSettings
) -> NetworkStatus | Obstacle:
    """Ranges for a new virtual cluster: those of its spec, else free ones of the pools (R24).

    others: ranges of all other clusters, also those promised a moment ago.
    """
    asked, pools = cluster.spec.network, settings.network
    taken = [*pools.reserved, *(one.service_cidr for one in others), *(one.pod_cidr for one in others)]
    for node in nodes:
        taken += [node.spec.pod_cidr, *(address.address for address in node.status.addresses)]
    ranges: list[str] = []
    wanted = (("serviceCIDR", asked.service_cidr), ("podCIDR", asked.pod_cidr))
    for (field, text), pool in zip(wanted, (pools.service_pool, pools.pod_pool), strict=True):
        clash = next((one for one in taken if text and rules.overlap(text, one)), "")
        if clash:
            message = f"spec.network.{field} {text} overlaps {clash}, which is in use; choose another."
            return Obstacle("RangeTaken", message, stalled=True)
        found = text or rules.allocate(pool, taken)
        if not found:
            message = f"No range is left in {pool}; delete a cluster, or widen the pool in the settings."
            return Obstacle("PoolExhausted", message)
        taken.append(found)
        ranges.append(found)
    dns_domain = asked.dns_domain or rules.DEFAULT_DNS_DOMAIN
    return NetworkStatus(service_cidr=ranges[0], pod_cidr=ranges[1], dns_domain=dns_domain)


def plan(wish: Wish, cluster: Cluster, seen: Seen) -> Plan:
    """All steps that can be taken now towards `wish`."""
    if (obstacle := _namespace_obstacle(wish, seen.namespace)) is not None:
        return Plan((), obstacle)
    steps: list[Step] = [Apply(manifests.namespace(wish))]
    if wish.engine.chart != HOSTED_CHART:
        steps += [Apply(manifests.component(wish, ""))]
        steps += [AdoptKubeconfig(wish.engine.secret.format(name=wish.name))]
        return Plan((*steps, *_inside(wish, cluster, seen)))
    steps.append(Apply(manifests.service(wish.name, wish.uid)))
    address = seen.service.spec.cluster_ip if seen.service else ""
    if not address or not node_port(seen.service):
        return Plan(tuple(steps))
    if not seen.host_address:
        message = "No node of the host cluster has an address; set clusters.externalAddress."
        return Plan(tuple(steps), Obstacle("NoHostAddress", message))
    if wish.store == "shared":
        steps.append(AdmitToStore())
    names = manifests.server_names(
        wish.name, wish.network.dns_domain, address, _addresses(wish, cluster, seen)
    )
    steps.append(EnsureKeys(names, internal_server(seen.service)))
    steps.append(Apply(manifests.component(wish, address)))
    return Plan((*steps, *_inside(wish, cluster, seen)))


def _inside(wish: Wish, cluster: Cluster, seen: Seen) -> Iterator[Step]:
    member = seen.member
    if member is None or not member.ok:
        return
    if wish.engine.chart == HOSTED_CHART:
        yield Furnish()
        yield Connect(external_server(seen))
        for node in member.nodes:
            if node.nested and _ordinal(node.name) >= wish.workers:
                yield RemoveNode(node.name)
    for child in (*runtime_children(cluster), *component_children(cluster)):
        yield Apply(manifests.child_component(wish, child))


def _namespace_obstacle(wish: Wish, namespace: Namespace | None) -> Obstacle | None:
    if namespace is None:
        return None
    name = namespace.metadata.name
    owner = namespace.metadata.annotations.get(CLUSTER_UID_ANNOTATION, "")
    if namespace.metadata.deletion_timestamp:
        return Obstacle(
            "NamespaceTerminating", f"Namespace {name} of an earlier cluster is still going away."
        )
    if owner == wish.uid:
        return None
    whose = "was made by hand" if not owner else "belongs to another Cluster"
    message = f"Namespace {name} {whose} and is left alone; rename it or choose another cluster name."
    return Obstacle("NamespaceTaken", message, stalled=True)


def _addresses(wish: Wish, cluster: Cluster, seen: Seen) -> tuple[str, ...]:
    runtime = cluster.spec.edge_runtime
    domain = (runtime.domain,) if runtime.domain else ()
    first = rules.address_in(wish.network.service_cidr, 1)
    return (first, seen.host_address, *runtime.advertise_address, *domain)


def _ordinal(node: str) -> int:
    text = node.rpartition("-")[2]
    return int(text) if text.isdigit() else 0


def node_port(service: Service | None) -> int:
    if service is None:
        return 0
    return next((port.node_port for port in service.spec.ports if port.port == manifests.API_PORT), 0)


def internal_server(service: Service | None) -> str:
    """URL of the API server from within the host cluster; the address needs no DNS."""
    return f"https://{service.spec.cluster_ip}:{manifests.API_PORT}" if service else ""


def external_server(seen: Seen) -> str:
    host = seen.host_address
    return f"https://{f'[{host}]' if ':' in host else host}:{node_port(seen.service)}"


_RUNTIMES: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "kubeedge": (("kubeedge", "1.20.0", "kubeedge"),),
    "openyurt": (
        ("yurt-manager", "1.6.0", "kube-system"),
        ("yurthub", "1.6.0", "kube-system"),
        ("openyurt-addition", "0.1.0", "kube-system"),
    ),
}


def runtime_children(cluster: Cluster) -> tuple[Child, ...]:
    """Charts of the edge runtime, each after the one before."""
    runtime = cluster.spec.edge_runtime
    values = {"advertiseAddress": list(runtime.advertise_address)} if runtime.advertise_address else {}
    made: list[Child] = []
    for chart, version, namespace in _RUNTIMES.get(runtime.type, ()):
        after = made[-1].chart if made else ""
        made.append(Child(chart, namespace, runtime.version or version, values, after))
    return tuple(made)


def component_children(cluster: Cluster) -> tuple[Child, ...]:
    """Charts of spec.components, each after the one before and after the edge runtime."""
    runtime = runtime_children(cluster)
    made: list[Child] = []
    for chart in dict.fromkeys(cluster.spec.components):
        before = made or runtime
        made.append(Child(chart, f"{chart}-system", after=before[-1].chart if before else ""))
    return tuple(made)


# --- deletion: never dials the cluster itself -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeleteComponent:
    """abandon: nothing is uninstalled, because the cluster it is in goes away as a whole, or by force."""

    component: Component
    abandon: bool


@dataclass(frozen=True, slots=True)
class DeleteNamespace:
    namespace: Namespace


@dataclass(frozen=True, slots=True)
class Finish:
    """Keys in the shared store, credentials, addresses; then the object itself may go."""

    left_over: str = ""


Farewell = DeleteComponent | DeleteNamespace | Finish


def plan_farewell(cluster: Cluster, seen: Seen, waited_s: float) -> tuple[Farewell, ...]:
    """The next steps of deleting a virtual cluster; waited_s: since its deletion was asked for.

    Order: what is installed inside, the release, the namespace, then what cannot be seen from there.
    """
    uid = cluster.metadata.uid
    forced = cluster.metadata.annotations.get(FORCE_DELETE_ANNOTATION) == uid
    inside = [one for one in (seen.children or {}).values() if _ours(one, uid)]
    if inside:
        return tuple(DeleteComponent(one, abandon=True) for one in inside)
    stuck = forced and waited_s >= FORCE_AFTER_S
    if seen.component is not None and _ours(seen.component, uid):
        return (DeleteComponent(seen.component, abandon=stuck),)
    namespace = seen.namespace
    if namespace is not None and _ours(namespace, uid):
        if stuck:
            left = f"namespace {namespace.metadata.name}, whose own deletion does not end"
            return (DeleteNamespace(namespace), Finish(left_over=left))
        return (DeleteNamespace(namespace),)
    return (Finish(),)


def _ours(obj: Component | Namespace, uid: str) -> bool:
    return obj.metadata.annotations.get(CLUSTER_UID_ANNOTATION) == uid
