"""What the loop is asked, as requests, and which change asks it. Pure.

A request is the scope of a unit (`n/plant-a/press`), `*` for every unit of a cluster, `role NAME` for the
units that use a role which somebody has changed or deleted, or `unused` things. All are in one queue, so that
the same is never done twice at once, and a member that is down holds up its own requests only.
"""

from collections.abc import Iterable
from typing import Final

from edge.iam.projection import Unit
from edge.iam.scope import HOST
from edge.projection.objects import Binding, is_ours, unit_of
from edge_kube.core import ClusterRole
from edge_kube.runtime import Request

SURVEY: Final = "*"
SWEEP: Final = "unused things"
_ROLE: Final = "role "


def request_of(unit: Unit) -> Request:
    return Request(unit.scope, cluster=in_requests(unit.cluster))


def unit_in(request: Request) -> Unit:
    return Unit(request.cluster or HOST, request.name)


def in_requests(cluster: str) -> str:
    """The host is "" in requests: its work is in no lane of a member."""
    return "" if cluster == HOST else cluster


def is_of_object(request: Request) -> bool:
    """Whether it is about an object of the host, not about a unit, a role or all of a cluster."""
    return not request.cluster and not {"/", " ", "*"} & set(request.name)


def for_role(name: str, cluster: str) -> Request:
    """Look after the bindings of a role that is not as it should be."""
    return Request(_ROLE + name, cluster=cluster)


def role_in(request: Request) -> str:
    """The role that a request is about; "" when it is about none."""
    return request.name.removeprefix(_ROLE) if request.name.startswith(_ROLE) else ""


def woken_by_binding(there: Binding, cluster: str = "") -> Iterable[Request]:
    if not is_ours(there):
        return ()
    return (Request(unit_of(there, cluster or HOST) or SWEEP, cluster=cluster),)


def woken_by_role(there: ClusterRole, cluster: str = "") -> Iterable[Request]:
    """Told of a deleted role too, as it was: whether bindings miss it is looked up then."""
    return (for_role(there.metadata.name, cluster),) if is_ours(there) else ()
