"""Grants that deserve a second look: dangling, unused, too wide (I19). Pure.

Known here is what the index knows. When somebody last signed in or used a right is not, and is not guessed.
"""

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from typing import Final, NamedTuple

from msgspec import Struct

from edge.iam.explain import why_nothing
from edge.iam.facts import subject_of
from edge.iam.index import Binding, Index
from edge.iam.rolebook import Role
from edge.iam.scope import HOST, HOST_SCOPE, PLATFORM, cluster_of_scope, scope_text
from edge.iam.types import PolicyRule

KINDS: Final = ("dangling", "unused", "tooWide")
SORTED_AT_ONCE: Final = 5_000
Sees = Callable[[Binding], bool]


class Finding(Struct):
    """One reason to look at a grant again. subject "" concerns all of it.

    binding, role: "" where a node group is granted to workspaces: its scope says which.
    """

    kind: str
    binding: str
    role: str
    scope: str
    subject: str
    reason: str
    remedy: str


class Given(NamedTuple):
    """What a role comes to. The role is kept, so that its id stays its own."""

    role: Role
    rights: frozenset[PolicyRule | str]
    is_everything: bool


class Review:
    """One review of many bindings. sees: whether the asker may read a binding that is compared with."""

    def __init__(self, index: Index, sees: Sees) -> None:
        self._index = index
        self._sees = sees
        self._filled = {group for groups in index.users.values() for group in groups}
        self._given: dict[int, Given] = {}
        self._within: dict[tuple[int, int], bool] = {}

    def all(self) -> Iterator[Finding | None]:
        """What is wrong with each binding that the asker sees, by name; in short steps, as `of`."""
        for name in _in_order(tuple(self._index.bindings)):
            binding = None if name is None else self._index.bindings.get(name)
            if binding is not None and self._sees(binding):
                yield from self.of(binding)
            else:
                yield None

    def of(self, binding: Binding) -> Iterator[Finding | None]:
        """What is wrong with a binding, in short steps; None is a step that found nothing."""
        role = self._index.role_of(binding)
        if role is None:
            yield _finding("dangling", binding, why_nothing(self._index, binding), _delete(binding))
        elif _is_gone(self._index, binding.scope):
            why = f"{scope_text(binding.scope)} does not exist"
            yield _finding("dangling", binding, why, _delete(binding))
        else:
            yield _about_role(binding, self._gives(role))
            for subject in binding.subjects:
                yield from self._about_subject(binding, subject)
                yield self._covered(binding, role, subject)

    def _about_subject(self, binding: Binding, subject: str) -> Iterator[Finding]:
        kind, name = subject_of(subject)
        if name.startswith("system:"):
            return
        if kind == "User" and name not in self._index.users:
            why = f"the user {name} does not exist or is disabled"
            yield _finding("dangling", binding, why, _take_out(subject, binding), subject)
        if kind == "Group" and name not in self._filled:
            why = f"no active user is in the group {name}"
            yield _finding("unused", binding, why, _take_out(subject, binding), subject)
        if kind == "Group" and binding.scope == PLATFORM:
            why = f"everybody in the group {name} has it on the whole platform"
            yield _finding("tooWide", binding, why, "bind the group at a narrower scope", subject)

    def _covered(self, binding: Binding, role: Role, subject: str) -> Finding | None:
        """A grant that another of the same subject gives already; of two equal ones, the later by name."""
        index = self._index
        for level in index.scopes.chain(binding.scope) if self._gives(role).rights else ():
            for other in index.bound_at(subject, level):
                if other.name == binding.name or (wider := index.role_of(other)) is None:
                    continue
                if not self._is_within(role, wider):
                    continue
                twin = level == binding.scope and self._is_within(wider, role)
                if (not twin or other.name < binding.name) and self._sees(other):
                    why = f"binding {other.name} (role {other.role} at {scope_text(level)}) gives it already"
                    return _finding("tooWide", binding, why, _take_out(subject, binding), subject)
        return None

    def _is_within(self, role: Role, wider: Role) -> bool:
        """Whether a role gives nothing that the other does not; many bindings have the same two roles."""
        if role is wider:
            return True
        pair = (id(role), id(wider))
        known = self._within.get(pair)
        if known is None:
            known = self._within[pair] = self._gives(role).rights <= self._gives(wider).rights
        return known

    def _gives(self, role: Role) -> Given:
        known = self._given.get(id(role))
        if known is None:
            tables = tuple(role.tables())
            rules = [source.rule for table in tables for source in table.sources]
            rights = frozenset({*rules, *(ui for table in tables for ui in table.ui)})
            known = self._given[id(role)] = Given(role, rights, any(map(_is_everything, rules)))
        return known


def _in_order(names: Sequence[str]) -> Iterator[str | None]:
    """Sorted in slices, with a None after each: to sort a hundred thousand at once would take too long."""
    slices: list[list[str]] = []
    for start in range(0, len(names), SORTED_AT_ONCE):
        slices.append(sorted(names[start : start + SORTED_AT_ONCE]))
        yield None
    yield from merge(*slices)


def _about_role(binding: Binding, given: Given) -> Finding | None:
    if not given.rights:
        return _finding("unused", binding, f"the role {binding.role} gives nothing", _delete(binding))
    if given.is_everything:
        why = f"the role {binding.role} allows every verb on every resource at {scope_text(binding.scope)}"
        return _finding("tooWide", binding, why, f"bind a narrower role, then {_delete(binding)}")
    return None


def _is_gone(index: Index, scope: str) -> bool:
    """What lies in a member cluster may only be out of reach, so it counts as gone with its cluster alone."""
    cluster = cluster_of_scope(scope)
    away = cluster != HOST and index.scopes.knows(f"c/{cluster}")
    return scope not in (PLATFORM, HOST_SCOPE) and not away and not index.scopes.knows(scope)


def _is_everything(rule: PolicyRule) -> bool:
    whole = "*" in rule.verbs and "*" in rule.api_groups and "*" in rule.resources
    return whole and not rule.resource_names


def _delete(binding: Binding) -> str:
    return f"kubectl delete iamrolebinding {binding.name}"


def _take_out(subject: str, binding: Binding) -> str:
    if len(binding.subjects) == 1:
        return _delete(binding)
    return f"take {' '.join(subject_of(subject))} out of iamrolebinding {binding.name}"


def _finding(kind: str, binding: Binding, reason: str, remedy: str, subject: str = "") -> Finding:
    shown = " ".join(subject_of(subject)) if subject else ""
    return Finding(kind, binding.name, binding.role, scope_text(binding.scope), shown, reason, remedy)
