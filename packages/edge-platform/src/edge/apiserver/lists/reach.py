"""Where a caller may list a kind: everywhere in a cluster, or in some of its namespaces. Pure but for rights.

    reach = reach_of(rights, caller, resource, cluster="", within=None)
    reach.namespaces    # None: one list over all of them; else one list for each

Who has no right for a whole cluster is asked upstream namespace by namespace, at most fifty. Source: §8.3.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from edge.apiserver.paths import Resource, Target, action_of
from edge.apiserver.rights.picture import Rights
from edge.iam.scope import HOST
from edge.iam.visible import visible
from edge_sdk.access import Caller
from edge_sdk.problem import Forbidden

NAMESPACES_MAX: Final = 50
TOO_MANY: Final = "too-many-namespaces"


class Reach(NamedTuple):
    """cluster: "" is the host. namespaces: None for all at once."""

    cluster: str
    namespaces: tuple[str, ...] | None

    def holds(self, namespace: str) -> bool:
        return self.namespaces is None or namespace in self.namespaces


def reach_of(
    rights: Rights,
    caller: Caller,
    resource: Resource,
    cluster: str,
    *,
    namespaced: bool,
    within: Collection[str] | None = None,
    target: Target | None = None,
) -> Reach | None:
    """None: the caller may list nothing there. within: keys of the scopes asked about.

    Raises Forbidden (more namespaces than are asked one by one), Unavailable (rights may be out of date).
    """
    action = action_of("GET", resource, target or Target((), ()), cluster)
    allowed = rights.access.may(caller, action).allowed
    if resource.namespace:
        return Reach(cluster, (resource.namespace,)) if allowed else None
    if allowed and (within is None or not namespaced):
        return Reach(cluster, None)
    if not namespaced:
        return None
    prefix = f"n/{cluster or HOST}/"
    if allowed:
        keys = within or ()
    else:
        sight = visible(rights.index, caller.name, action.verb, resource.group, resource.resource)
        keys = sight.scopes if within is None else sight.scopes & set(within)
    found = sorted(key.removeprefix(prefix) for key in keys if key.startswith(prefix))
    if len(found) > NAMESPACES_MAX:
        if allowed:
            return Reach(cluster, tuple(found))  # one list over all, and the rest left out of it
        raise _too_many(resource, len(found))
    return Reach(cluster, tuple(found)) if found or allowed else None


def _too_many(resource: Resource, count: int) -> Forbidden:
    return Forbidden(
        TOO_MANY,
        what=f"You may list {resource.resource} in {count} namespaces, and not in the cluster as a whole",
        why=f"such lists are put together from {NAMESPACES_MAX} namespaces at most",
        do="ask for one namespace or workspace, or ask for a right to list at the cluster",
    )


def forbidden(rights: Rights, caller: Caller, resource: Resource, cluster: str) -> Forbidden:
    """The sentence that says which right is missing."""
    decision = rights.access.may(caller, action_of("GET", resource, Target((), ()), cluster))
    return Forbidden(
        "forbidden",
        what=decision.reason,
        do="ask in a namespace where you have it, or ask whoever administers that scope for a role",
    )
