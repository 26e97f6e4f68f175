"""The projection room: the platform's bindings as native RBAC, in the host and in every member cluster."""

from collections.abc import Iterable
from functools import partial
from typing import Final

from edge.clusters.types import Cluster
from edge.iam.projection import Projection, Unit
from edge.projection.ground import BY_UNIT
from edge.projection.objects import MANAGED_SELECTOR, RBAC
from edge.projection.reconcilers.projection import KEPT_S, ProjectionReconciler
from edge.projection.requests import request_of, woken_by_binding, woken_by_role
from edge_kube.core import ClusterRole, ClusterRoleBinding, Namespace, RoleBinding
from edge_kube.runtime import MemberWatch, Watch
from edge_sdk.room import Loop, Rights, Room, Waker
from edge_sdk.sites import Sites

MEMBER_WATCHES: Final = (
    MemberWatch(ClusterRole, woken_by_role, MANAGED_SELECTOR),
    MemberWatch(ClusterRoleBinding, woken_by_binding, MANAGED_SELECTOR),
    MemberWatch(RoleBinding, woken_by_binding, MANAGED_SELECTOR),
)

_VERBS: Final = ("get", "list", "watch", "create", "patch", "delete")


class _Waker(Waker):
    def touched(self, units: Iterable[Unit]) -> None:
        for unit in units:
            self(request_of(unit))


def room(projection: Projection, sites: Sites, *, kept_s: float = KEPT_S) -> Room:
    """projection: the index that the controller feeds; it tells this room what a change touches."""
    waker = _Waker()
    projection.on_touch = waker.touched
    return Room(
        name="projection",
        loops=(
            Loop(
                Namespace,
                partial(ProjectionReconciler, projection, sites, waker, kept_s=kept_s),
                name="projection",
                watches=(
                    Watch(ClusterRole, woken_by_role),
                    Watch(ClusterRoleBinding, woken_by_binding),
                    Watch(RoleBinding, woken_by_binding),
                ),
                member_watches=MEMBER_WATCHES,
                reads=(Cluster,),
                workers=8,
                resync_s=300,
                attach=waker.attach,
            ),
        ),
        indexes=(BY_UNIT,),
        rights=(
            # bind, escalate: what is given here was judged when its binding was admitted (decision 007).
            Rights(RBAC, "clusterroles", (*_VERBS, "bind", "escalate")),
            Rights(RBAC, "clusterrolebindings", _VERBS),
            Rights(RBAC, "rolebindings", _VERBS),
            Rights("", "namespaces", ("get", "list", "watch")),
        ),
    )
