"""The platform's rooms, in the order of their imports: the only list of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edge.apps import room as apps
from edge.apps.settings import AppsSettings
from edge.clusters import room as clusters
from edge.clusters.ports import Members, Stores
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import Cluster
from edge.components import room as components
from edge.components.operations import Operations
from edge.components.ports import Charts, Releases, ValueSources
from edge.components.settings import ComponentSettings
from edge.iam import room as iam
from edge.iam.granting import Grants
from edge.iam.projection import Projection
from edge.nodes import room as nodes
from edge.nodes.types import NodeGroup
from edge.operate import room as operate
from edge.projection import room as projection
from edge.tenancy import room as tenancy
from edge.tenancy.types import Workspace
from edge_kube.meta import Resource
from edge_kube.runtime import MemberWatch, Reader
from edge_sdk.room import Room
from edge_sdk.secret import Secret
from edge_sdk.sites import Sites


@dataclass(frozen=True, slots=True)
class Adapters:
    """The outside world, as the rooms' ports want it.

    sites: for a room's member watches, the members in which it may work.
    grants: judges what the authors of changes give away. rights: the index that they are judged by.
    known: for admission, the cache of this process once it is complete.
    """

    charts: Charts
    releases: Releases
    sources: ValueSources
    operations: Operations
    members: Members
    stores: Stores
    sites: Callable[[Sequence[MemberWatch[Any]]], Sites]
    grants: Grants
    rights: Projection
    known: Callable[[], Reader | None]


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """admin_password: of the first administrator; the documented one when empty."""

    admin_username: str = ""
    admin_password: Secret | None = None
    components: ComponentSettings = field(default_factory=ComponentSettings)
    clusters: ClusterSettings = field(default_factory=ClusterSettings)
    apps: AppsSettings = field(default_factory=AppsSettings)


SCOPES: Final[Mapping[str, type[Resource]]] = {
    "workspace": Workspace,
    "nodegroup": NodeGroup,
    "cluster": Cluster,
}
"""Scope types with objects of their own on the host, for the rooms below those that have them."""


def build_rooms(settings: RoomSettings, adapters: Adapters) -> tuple[Room, ...]:
    """Registers only: nothing is opened, so tools and tests build the same rooms with other adapters."""
    return (
        iam.room(settings.admin_username, settings.admin_password, adapters.grants, SCOPES),
        tenancy.room(adapters.grants, adapters.sites(tenancy.MEMBER_WATCHES)),
        components.room(
            adapters.charts,
            adapters.releases,
            adapters.sources,
            settings.components,
            adapters.operations,
            adapters.grants,
        ),
        clusters.room(adapters.members, adapters.stores, settings.clusters, grants=adapters.grants),
        nodes.room(adapters.sites(nodes.MEMBER_WATCHES), adapters.grants),
        projection.room(adapters.rights, adapters.sites(projection.MEMBER_WATCHES)),
        apps.room(adapters.sites(apps.MEMBER_WATCHES), settings.apps, known=adapters.known),
        operate.room(adapters.grants),
    )
