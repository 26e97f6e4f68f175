"""The clusters room, put together."""

from functools import partial

from edge.clusters.manifests import PLANE
from edge.clusters.measures import FAMILIES, measures
from edge.clusters.ports import Members, Stores
from edge.clusters.reconcilers.cluster import ClusterReconciler
from edge.clusters.reconcilers.platform_etcd import PlatformEtcdReconciler
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import CLUSTER_LABEL, Cluster
from edge.clusters.webhooks import checker, cluster_author_lacks, fill
from edge.components.types import Component
from edge.iam.granting import Grants
from edge.iam.reconcilers.scoperoles import ScopeRoles, nobody, scope_named
from edge.iam.types import IAMRole, IAMRoleBinding
from edge_kube.core import Namespace, Node, Service
from edge_kube.meta import Resource
from edge_kube.runtime import Request, Watch
from edge_sdk.cel import changes
from edge_sdk.clock import Clock, SystemClock
from edge_sdk.room import Loop, Rights, Room, Webhook
from edge_sdk.scopes import HOST_ROLE, IAM_GROUP

_ALL = ("get", "list", "watch", "create", "patch", "delete")


def room(
    members: Members,
    stores: Stores,
    settings: ClusterSettings | None = None,
    clock: Clock | None = None,
    grants: Grants | None = None,
) -> Room:
    """members and stores do the room's calls outside; settings and clock have defaults.

    grants: judges who makes a cluster stand for the host, and notes who makes one.
    """
    known, time = settings or ClusterSettings(), clock or SystemClock()
    clusters = Loop(
        Cluster,
        partial(ClusterReconciler, settings=known, members=members, stores=stores, clock=time),
        watches=(
            Watch(Component, _cluster_of),
            Watch(Namespace, _cluster_of),
            Watch(Service, _cluster_of_plane),
        ),
        reads=(Node,),
    )
    etcd = Loop(
        Component,
        partial(PlatformEtcdReconciler, settings=known, clock=time),
        name="platform-etcd",
        workers=1,
    )
    roles = Loop(
        Cluster,
        partial(ScopeRoles, Cluster, "cluster", _every, nobody),
        name="clusterroles",
        watches=(Watch(IAMRole, partial(scope_named, "cluster")),),
        reads=(IAMRoleBinding,),
        resync_s=300,
    )
    return Room(
        name="clusters",
        kinds=(Cluster,),
        loops=(clusters, etcd, roles),
        webhooks=(
            Webhook(
                Cluster,
                default=fill,
                validate=checker(known),
                stamp=grants and grants.creator,
                authorize=grants and grants.guard(cluster_author_lacks),
                going=changes("labels", HOST_ROLE[0]),
            ),
        ),
        rights=(
            Rights("scope.theriseunion.io", "clusters", ("get", "list", "watch", "patch")),
            Rights("scope.theriseunion.io", "clusters/status", ("get", "patch")),
            Rights("scope.theriseunion.io", "clusters/finalizers", ("update",)),
            Rights("ext.theriseunion.io", "components", _ALL),
            Rights("", "namespaces", _ALL),
            Rights("", "services", _ALL),
            Rights("", "secrets", ("get", "create", "patch", "delete")),
            Rights("", "nodes", ("get", "list", "watch")),
            Rights(IAM_GROUP, "iamroles", ("get", "list", "watch", "create", "patch")),
            Rights(IAM_GROUP, "iamrolebindings", ("get", "list", "watch", "create", "patch", "delete")),
        ),
        settings=ClusterSettings,
        measures=(measures,),
        metrics=FAMILIES,
    )


def _every(_: Cluster) -> bool:
    return True


def _cluster_of(obj: Resource) -> tuple[Request, ...]:
    """The Cluster that an object was made for."""
    name = obj.metadata.labels.get(CLUSTER_LABEL, "")
    return (Request(name),) if name else ()


def _cluster_of_plane(service: Service) -> tuple[Request, ...]:
    return _cluster_of(service) if service.metadata.name == PLANE else ()
