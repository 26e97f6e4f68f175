"""What somebody may see of a kind, worked out from their bindings: no check per object, no walk over scopes.

    sight = visible(index, "ann", "list", "", "pods")
    [pod for pod in pods if sight.sees(f"n/host/{pod.metadata.namespace}", pod.metadata.name)]

Source: I5, I15; design §8.3: counts, pages and continuations come after this filter. Pure.
"""

from typing import NamedTuple

from edge.iam.index import Index, Who
from edge.iam.ofscope import names_by_letter
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


_Root = tuple[str, str]
"""A scope at which something is allowed, and the letter of the scopes below it that it is about; "": all."""


def _below(index: Index, root: _Root) -> set[str]:
    scope, letter = root
    return {one for one in index.scopes.below(scope) if one.startswith(letter)}


def visible(index: Index, who: Who, verb: str, group: str, resource: str) -> Sight:
    """Every scope at which `who` may do `verb` on `resource`.

    Only scopes with a binding of the caller are looked at, and what lies below those that grant it.
    """
    if index.check(who, PLATFORM, verb, group, resource):
        return Sight(True, frozenset(), {})
    asked = asked_bit(verb)
    called = {"": resource, **names_by_letter(group, resource)}
    whole: set[_Root] = set()
    names: dict[_Root, set[str]] = {}
    subjects = index.subjects_of(who)
    for binding in index.bound(subjects):
        role = index.role_of(binding)
        if role is None or (binding.scope, "") in whole:
            continue
        for table in role.tables():
            for letter, one in called.items():
                verbs, by_name = table.match((group, one))
                if verbs & asked:
                    whole.add((binding.scope, letter))
                elif found := [name for name, extra in by_name.items() if extra & asked]:
                    names.setdefault((binding.scope, letter), set()).update(found)
    reached = {scope for root in whole for scope in _below(index, root)}
    named: dict[str, set[str]] = {}
    for root, found in names.items():
        for scope in _below(index, root) - reached:
            named.setdefault(scope, set()).update(found)
    return Sight(False, frozenset(reached), {scope: frozenset(found) for scope, found in named.items()})
