"""The components room: Components become Helm releases (K1-K6, K8-K10)."""

from functools import partial

from edge.components.operations import Operations
from edge.components.ports import Charts, Releases, ValueSources
from edge.components.reconcilers.component import ComponentReconciler
from edge.components.settings import ComponentSettings
from edge.components.types import Component
from edge.components.wakes import INDEX, WATCHED, Wakes, index_of
from edge.components.webhooks import component_author_lacks, validate
from edge.iam.granting import Grants
from edge_kube.reconcile import Index, Watch
from edge_sdk.room import Loop, Rights, Room, Webhook


def room(
    charts: Charts,
    releases: Releases,
    sources: ValueSources,
    settings: ComponentSettings | None = None,
    operations: Operations | None = None,
    grants: Grants | None = None,
) -> Room:
    """operations: shared with whoever stops them at the end, or measures them.

    grants: judges authors; without it whoever may write a Component may have any chart installed.
    """
    settings = settings or ComponentSettings()
    wakes = Wakes()
    reconciler = partial(
        ComponentReconciler,
        charts=charts,
        releases=releases,
        sources=sources,
        operations=operations or Operations(settings.at_once),
        wakes=wakes,
        settings=settings,
    )
    return Room(
        name="components",
        kinds=(Component,),
        loops=(
            Loop(
                Component,
                reconciler,
                watches=(
                    *(Watch(kind, wakes.of_object) for kind in WATCHED),
                    Watch(Component, wakes.of_component),
                ),
                workers=3,
            ),
        ),
        webhooks=(
            Webhook(Component, validate=validate, authorize=grants and grants.guard(component_author_lacks)),
        ),
        indexes=tuple(Index(kind, INDEX, index_of) for kind in WATCHED),
        rights=(
            Rights(
                "ext.theriseunion.io",
                "components",
                ("get", "list", "watch", "create", "update", "patch", "delete"),
            ),
            Rights("ext.theriseunion.io", "components/status", ("get", "update", "patch")),
            Rights("ext.theriseunion.io", "components/finalizers", ("update",)),
            Rights("", "secrets", ("get", "list")),
            Rights("", "configmaps", ("get", "list", "watch")),
            Rights("", "services", ("get", "list", "watch")),
            Rights("apps", "deployments", ("get", "list", "watch")),
            Rights("apps", "statefulsets", ("get", "list", "watch")),
            Rights("apps", "daemonsets", ("get", "list", "watch")),
            Rights("", "namespaces", ("get", "create")),
            Rights("", "pods", ("get",)),
            Rights("coordination.k8s.io", "leases", ("get", "create", "patch", "delete")),
            Rights("scope.theriseunion.io", "clusters", ("get",)),
        ),
        metrics={"component_install_duration_seconds": "Time of one Helm install or upgrade, by Component."},
    )
