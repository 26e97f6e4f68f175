"""What somebody may see of a kind, worked out from their bindings: no check per object, no walk over scopes.

    sight = visible(index, "ann", "list", "", "pods")
    [pod for pod in pods if sight.sees(f"n/host/{pod.metadata.namespace}", pod.metadata.name)]

Source: I5, I15; design §8.3: counts, pages and continuations come after this filter. Pure.
"""

from typing import NamedTuple

from edge.iam.index import Index, Who
from edge.iam.rules import asked_bit
from edge.iam.scope import PLATFORM


class Sight(NamedTuple):
    """everything: no filter is needed. scopes: keys at which every name may be seen; names: by scope key."""

    everything: bool
    scopes: frozenset[str]
    names: dict[str, frozenset[str]]

    def sees(self, scope: str, name: str) -> bool:
        """scope: key of the narrowest scope that holds the object (for a scope's own object, that scope)."""
        return self.everything or scope in self.scopes or name in self.names.get(scope, frozenset())


def visible(index: Index, who: Who, verb: str, group: str, resource: str) -> Sight:
    """Every scope at which `who` may do `verb` on `resource`.

    Only scopes with a binding of the caller are looked at, and what lies below those that grant it.
    """
    if index.check(who, PLATFORM, verb, group, resource):
        return Sight(True, frozenset(), {})
    asked = asked_bit(verb)
    whole: set[str] = set()
    names: dict[str, set[str]] = {}
    subjects = index.subjects_of(who)
    for binding in index.bound(subjects):
        role = index.role_of(binding)
        if role is None or (binding.scope in whole and binding.scope not in names):
            continue
        for table in role.tables():
            verbs, by_name = table.match((group, resource))
            if verbs & asked:
                whole.add(binding.scope)
            elif found := [name for name, extra in by_name.items() if extra & asked]:
                names.setdefault(binding.scope, set()).update(found)
    reached = {scope for root in whole for scope in index.scopes.below(root)}
    named: dict[str, set[str]] = {}
    for root, found in names.items():
        for scope in index.scopes.below(root) - reached:
            named.setdefault(scope, set()).update(found)
    return Sight(False, frozenset(reached), {scope: frozenset(found) for scope, found in named.items()})
