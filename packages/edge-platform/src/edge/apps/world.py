"""What the topologies of deployments may name, read from a cache; and admission that looks at it (I18)."""

from collections.abc import Awaitable, Callable, Sequence

from edge.apps.placement import NOT_GRANTED, Placement, World, expand
from edge.apps.types import ApplicationDeployment
from edge.clusters.types import Cluster
from edge.nodes.types import NodeGroup
from edge.tenancy.plan import owner_of
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace
from edge_kube.runtime import Author, Reader

_Spot = tuple[str, str, str]
Known = Callable[[], Reader | None]
"""The cache of this process; None until it is complete."""


def world_of(cache: Reader, namespace: str) -> World:
    """namespace: of the deployment."""
    return World(
        groups={one.metadata.name: one for one in cache.list(NodeGroup)},
        clusters={one.metadata.name: one for one in cache.list(Cluster)},
        workspace=workspace_of(cache, namespace),
    )


def workspace_of(cache: Reader, namespace: str) -> str:
    """The workspace of a namespace of the host; "" for a label that names none: it means nothing."""
    found = cache.get(Namespace, namespace)
    owner = owner_of(found) if found is not None else ""
    return owner if owner and cache.get(Workspace, owner) is not None else ""


def grants_guard(
    known: Known,
) -> Callable[[ApplicationDeployment, ApplicationDeployment | None, Author], Awaitable[Sequence[str]]]:
    """An `authorize` of a webhook: topologies that are new and name a group which was not granted.

    A copy that is not complete yet lets everything through: the reconciler asks again.
    """

    async def authorize(
        new: ApplicationDeployment, old: ApplicationDeployment | None, author: Author
    ) -> Sequence[str]:
        del author  # it is the workspace that is granted, whoever acts for it
        cache = known()
        if cache is None or (old is not None and old.spec.topologies == new.spec.topologies):
            return ()
        world = world_of(cache, new.metadata.namespace)
        before = {_spot(place) for place in expand(old, world)} if old is not None else set[_Spot]()
        return [
            place.message
            for place in expand(new, world)
            if place.reason == NOT_GRANTED and _spot(place) not in before
        ]

    return authorize


def _spot(place: Placement) -> _Spot:
    return (place.topology.cluster, place.topology.node_group, place.topology.node_name)
