"""The kinds that the gateway answers from memory: the platform's own, and namespaces and nodes."""

from typing import Final

from edge.apiserver.mirrors.store import Collection, Listener, Served
from edge.apps.types import AppCategory, Application, ApplicationDeployment, ApplicationVersion
from edge.clusters.types import Cluster
from edge.components.types import Component
from edge.iam import types as iam
from edge.nodes.types import NodeGroup
from edge.operate.types import ReverseProxy
from edge.security.types import ImageRepository, RegistryRepository
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace, Node
from edge_kube.meta import Kind, Resource

SERVED: Final[tuple[type[Resource], ...]] = (
    *iam.KINDS,
    Workspace,
    Cluster,
    NodeGroup,
    AppCategory,
    Application,
    ApplicationVersion,
    ApplicationDeployment,
    Component,
    ReverseProxy,
    ImageRepository,
    RegistryRepository,
    Namespace,
    Node,
)


def collection_of(kind: Kind, listener: Listener | None = None) -> Collection:
    served = Served(group=kind.group, version=kind.version, resource=kind.plural, kind=kind.kind)
    return Collection(served, listener)
