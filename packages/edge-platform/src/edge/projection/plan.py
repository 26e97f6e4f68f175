"""What to write and what to delete so that a cluster holds what a unit wants. Pure.

    steps = plan_unit(wanted, sources, role, there)
    steps.first_gone → steps.roles → steps.new, steps.changed → steps.then_gone

A namespace that has left its workspace loses the workspace's bindings before it gets others; a changed right
is bound anew before the old binding goes, so that nobody is without a right that they keep (design §7.2).
"""

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from edge.iam.projection import Unit, Wanted
from edge.projection.objects import SOURCE, Binding, binding, cluster_role, stands
from edge_kube.core import ClusterRole
from edge_kube.meta import Key, key_of


class Steps(NamedTuple):
    """In the order in which they are carried out."""

    first_gone: tuple[Binding, ...]
    roles: tuple[ClusterRole, ...]
    new: tuple[Binding, ...]
    changed: tuple[Binding, ...]
    then_gone: tuple[Binding, ...]


def plan_unit(
    unit: Unit,
    wanted: Wanted,
    sources: Collection[str],
    role: Callable[[str], ClusterRole | None],
    there: Iterable[Binding],
) -> Steps:
    """sources: scopes whose bindings show in the unit today. role: of the cluster, by name.

    there: our bindings of this unit.
    """
    found: dict[Key, Binding] = {key_of(one): one for one in there}
    roles = [
        cluster_role(name, rules)
        for name, rules in wanted.roles.items()
        if (live := role(name)) is None or live.rules != rules
    ]
    missing: list[Binding] = []
    changed: list[Binding] = []
    replaced: list[Binding] = []
    for key, bound in wanted.bindings.items():
        new, old = binding(unit, key, bound), found.pop(key, None)
        if old is not None and old.role_ref != new.role_ref:
            replaced.append(old)  # roleRef cannot be changed: somebody has made it anew by hand
            old = None
        if old is None:
            missing.append(new)
        elif not stands(new, old):
            changed.append(new)
    left = [one for one in found.values() if one.metadata.annotations.get(SOURCE) not in sources]
    stale = [one for one in found.values() if one not in left]
    return Steps((*replaced, *left), tuple(roles), tuple(missing), tuple(changed), tuple(stale))


def unused_roles(roles: Iterable[ClusterRole], bindings: Iterable[Binding]) -> list[ClusterRole]:
    """Of our roles, those that no binding refers to."""
    referred = {one.role_ref.name for one in bindings}
    return [one for one in roles if one.metadata.name not in referred]
