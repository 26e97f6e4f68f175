"""The application store: what can be deployed, and what is deployed where."""

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from edge.apps.measures import FAMILIES, measures
from edge.apps.provisioning import Plugins
from edge.apps.reconcilers.catalogue import ApplicationReconciler, VersionReconciler
from edge.apps.reconcilers.deployment import DeploymentReconciler
from edge.apps.reconcilers.sweep import AppSweep
from edge.apps.render import DEPLOYMENT_LABEL, PLACEMENT_LABEL
from edge.apps.settings import AppsSettings
from edge.apps.sitework import KINDS
from edge.apps.types import GROUP, AppCategory, Application, ApplicationDeployment, ApplicationVersion
from edge.apps.webhooks import check_application, check_deployment, version_check
from edge.apps.world import Known, grants_guard
from edge.clusters.types import Cluster
from edge.nodes.types import NodeGroup
from edge.tenancy.types import Workspace
from edge_kube.core import ConfigMap, Namespace, Node, Pod
from edge_kube.meta import Resource
from edge_kube.runtime import MemberWatch, Request, Watch
from edge_sdk.plugins import Registry
from edge_sdk.room import Loop, Rights, Room, Webhook
from edge_sdk.sites import Sites

READ: Final = ("get", "list", "watch")
WRITE: Final = (*READ, "create", "patch", "delete")


def deployment_of(obj: Resource) -> Iterable[Request]:
    """The deployment that an object of a place belongs to; nothing for objects of others."""
    labels = obj.metadata.labels
    if PLACEMENT_LABEL not in labels or DEPLOYMENT_LABEL not in labels:
        return ()
    return (Request(labels[DEPLOYMENT_LABEL], obj.metadata.namespace),)


def _in_member(obj: Resource, cluster: str) -> Iterable[Request]:
    del cluster
    return deployment_of(obj)


def _cluster(obj: Resource, cluster: str) -> Iterable[Request]:
    del obj
    return (Request(cluster),)


def _nobody(obj: Resource, cluster: str) -> Iterable[Request]:
    """Nodes are read, and wake nobody: their heartbeats would."""
    del obj, cluster
    return ()


def _application_of(version: ApplicationVersion) -> Iterable[Request]:
    return (Request(version.spec.application_ref),)


MEMBER_WATCHES: Final[tuple[MemberWatch[Any], ...]] = (
    *(MemberWatch(kind, _in_member, labels=PLACEMENT_LABEL) for kind in (*KINDS, Pod)),
    MemberWatch(Node, _nobody),
)
"""What this room copies from members: what it made there; its `Sites` reads the same copies."""


def room(
    sites: Sites, settings: AppsSettings, registry: Registry | None = None, known: Known = lambda: None
) -> Room:
    """sites: the member clusters. registry: plugins; by default those of all installed packages.

    known: for admission, which knows nothing of other objects without it.
    """
    registry = registry or Registry()
    registry.refresh()
    plugins = Plugins(registry)
    return Room(
        name="apps",
        kinds=(AppCategory, Application, ApplicationVersion, ApplicationDeployment),
        loops=(
            Loop(
                ApplicationDeployment,
                partial(DeploymentReconciler, sites, plugins, settings),
                watches=tuple(Watch(kind, deployment_of) for kind in (*KINDS, Pod)),
                member_watches=MEMBER_WATCHES,
                reads=(Application, ApplicationVersion, NodeGroup, Cluster, Namespace, Node, Workspace),
                workers=5,
            ),
            Loop(
                Application,
                partial(ApplicationReconciler, settings),
                watches=(Watch(ApplicationVersion, _application_of),),
            ),
            Loop(ApplicationVersion, partial(VersionReconciler, plugins), reads=(Application,)),
            Loop(
                Cluster,
                partial(AppSweep, sites),
                name="appsweep",
                member_watches=(MemberWatch(ConfigMap, _cluster, labels=PLACEMENT_LABEL),),
                reads=(ApplicationDeployment,),
            ),
        ),
        webhooks=(
            Webhook(Application, validate=check_application),
            Webhook(ApplicationVersion, validate=version_check(registry)),
            Webhook(ApplicationDeployment, validate=check_deployment, authorize=grants_guard(known)),
        ),
        rights=(
            Rights(GROUP, "appcategories", READ),
            Rights(GROUP, "applications", READ),
            Rights(GROUP, "applications/status", ("get", "patch")),
            Rights(GROUP, "applicationversions", READ),
            Rights(GROUP, "applicationversions/status", ("get", "patch")),
            Rights(GROUP, "applicationdeployments", (*READ, "patch")),
            Rights(GROUP, "applicationdeployments/status", ("get", "patch")),
            Rights("scope.theriseunion.io", "nodegroups", READ),
            Rights("scope.theriseunion.io", "clusters", READ),
            Rights("scope.theriseunion.io", "workspaces", READ),
            Rights("", "nodes", READ),
            Rights("apps", "deployments", WRITE),
            Rights("apps", "statefulsets", WRITE),
            Rights("apps", "daemonsets", WRITE),
            Rights("", "services", WRITE),
            Rights("", "configmaps", WRITE),
            Rights("", "pods", READ),
            Rights("", "namespaces", (*READ, "create")),
        ),
        settings=AppsSettings,
        measures=(measures,),
        metrics=FAMILIES,
    )
