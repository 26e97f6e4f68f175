"""A change that is thought of: what it would make of the index, and whom it could touch. Pure.

Roles, templates, bindings, users, namespaces, nodes, and the scopes that other rooms bring (workspace, node
group, cluster). Only the new state is given; the old one is what the index knows. Source: design §6 (impact).
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final, NamedTuple

from edge.iam.accounts import is_disabled
from edge.iam.aggregation import template_of
from edge.iam.facts import (
    binding_facts,
    home_of,
    label_of,
    namespace_wants,
    node_wants,
    role_facts,
)
from edge.iam.graph import Place
from edge.iam.index import EVERYONE, Binding, Index
from edge.iam.overlay import Overlay
from edge.iam.rolebook import ANONYMOUS_ROLE, ANYWHERE
from edge.iam.scope import HOST, HOST_SCOPE, LETTERS, PLATFORM
from edge.iam.types import IAMRole, IAMRoleBinding, RoleTemplate, User
from edge_kube.meta import ObjectMeta, Resource

STEP: Final = 256
"""Bindings that are looked at between two turns of others."""
NOT_BORN_YET: Final = "9999"
"""Stands for the creation time of what is not made yet: later than everything that there is."""


class Proposal(NamedTuple):
    """kind: as in its manifest. new: the object as it would be, None when it would be deleted."""

    kind: str
    name: str
    new: Resource | None
    cluster: str = HOST


class Touched(NamedTuple):
    """Somebody whose rights at a scope may change, for the sake of what is bound at some levels.

    subjects: keys, as bindings name them; everyone else has at the scope what they had.
    """

    scope: str
    levels: frozenset[str]
    subjects: tuple[str, ...]


class Laid(NamedTuple):
    """after: the index as it would be. touched: None is a step that found nobody.

    changes: whether it would differ at all from the index as it is.
    """

    after: Overlay
    touched: Iterator[Touched | None]
    changes: bool


def lay(index: Index, proposal: Proposal) -> Laid:
    """The change, laid over the index."""
    after = Overlay(index)
    kind, name, new, cluster = proposal
    is_gone = new is None or bool(new.metadata.deletion_timestamp)
    if kind == "IAMRoleBinding":
        return _binding(index, after, name, new if isinstance(new, IAMRoleBinding) and not is_gone else None)
    if kind == "IAMRole":
        role = new if isinstance(new, IAMRole) and not is_gone else None
        return _role(index, after, name, role)
    if kind == "RoleTemplate":
        template = template_of(new) if isinstance(new, RoleTemplate) and not is_gone else None
        is_same = index.book.templates.get(name) == template
        return Laid(after, _holders(index, after.put_template(name, template)), not is_same)
    if kind == "User":
        return _user(index, after, name, new if isinstance(new, User) else None)
    meta = new.metadata if new is not None else None
    if kind in ("Namespace", "Node"):
        key = f"{'n' if kind == 'Namespace' else 'd'}/{cluster}/{name}"
        wants = None if meta is None else _wants(kind, meta, cluster)
        return _place(index, after, key, wants)
    return _scope(index, after, kind.lower(), name, meta)


def is_known(index: Index, proposal: Proposal) -> bool:
    """Whether the object is there already."""
    kind, name = proposal.kind, proposal.name
    held: Mapping[str, Mapping[str, object]] = {
        "IAMRoleBinding": index.bindings,
        "IAMRole": index.book.roles,
        "RoleTemplate": index.book.templates,
        "User": index.users,
    }
    if kind in held:
        return name in held[kind]
    return all(index.scopes.place(key) is not None for key in scopes_named(index, proposal))


def scopes_named(index: Index, proposal: Proposal) -> set[str]:
    """The scopes that the object is about, as it is and as it would be."""
    kind, name, new, cluster = proposal
    found: set[str] = set()
    if kind == "IAMRoleBinding":
        if old := index.bindings.get(name):
            found.add(old.scope)
        if isinstance(new, IAMRoleBinding) and (facts := binding_facts(new, _home(index, new.metadata))):
            found.add(facts.scope)
    elif kind == "IAMRole":
        if role := index.book.roles.get(name):
            found.add(role.facts.anchor or PLATFORM)
        if isinstance(new, IAMRole) and (role_is := role_facts(new, _home(index, new.metadata))):
            found.add(role_is.anchor or PLATFORM)
    elif kind in ("Namespace", "Node"):
        found.add(f"{'n' if kind == 'Namespace' else 'd'}/{cluster}/{name}")
    elif kind == "Cluster":
        found.add(f"c/{name}")
    elif letter := LETTERS.get(kind.lower()):
        home = index.scopes.homes.get((kind.lower(), name))
        homes = {home} if home else {home_of(new.metadata) if new is not None else HOST}
        if new is not None:
            homes.add(home_of(new.metadata))
        found |= {f"{letter}/{one}/{name}" for one in homes}
    return found or {PLATFORM}


def _binding(index: Index, after: Overlay, name: str, new: IAMRoleBinding | None) -> Laid:
    old = index.bindings.get(name)
    facts = binding_facts(new, _home(index, new.metadata)) if new is not None else None
    if facts is not None and not facts.born:
        facts = facts._replace(born=old.born if old is not None else NOT_BORN_YET)
    if facts == old:
        return _nothing(after)
    if facts is None:
        after.drop_binding(name)
    else:
        after.put_binding(facts)
    return Laid(after, _bound(one for one in (old, facts) if one is not None), changes=True)


def _role(index: Index, after: Overlay, name: str, new: IAMRole | None) -> Laid:
    facts = role_facts(new, _home(index, new.metadata)) if new is not None else None
    old = index.book.roles.get(name)
    if (old.facts if old is not None else None) == facts:
        return _nothing(after)
    if facts is None:
        after.drop_role(name)
    else:
        after.put_role(facts)
    return Laid(after, _holders(index, [name]), changes=True)


def _user(index: Index, after: Overlay, name: str, new: User | None) -> Laid:
    before = set(index.subjects_of(name))
    after.put_user(name, None if new is None or is_disabled(new) else new.spec.groups)
    moved = before ^ set(after.subjects_of(name))
    scopes = sorted({binding.scope for binding in index.bound(sorted(moved))})
    touched = (Touched(one, frozenset({one}), (f"User:{name}",)) for one in scopes)
    return Laid(after, touched, changes=bool(moved))


def _scope(index: Index, after: Overlay, kind: str, name: str, meta: ObjectMeta | None) -> Laid:
    """A workspace, node group or cluster; one that goes to another cluster takes its bindings along."""
    if kind == "cluster":
        key = f"c/{name}"
        if key == HOST_SCOPE:
            return _nothing(after)
        return _place(index, after, key, None if meta is None else ())
    letter = LETTERS[kind]
    before = index.scopes.homes.get((kind, name))
    now = home_of(meta) if meta is not None else None
    if before is None or now is None or before == now:
        key = f"{letter}/{before or now or HOST}/{name}"
        return _place(index, after, key, None if now is None else ())
    old_key, new_key = f"{letter}/{before}/{name}", f"{letter}/{now}/{name}"
    place = index.scopes.place(old_key)
    for role in index.book.at(old_key, kind):
        if role.facts.anchor != ANYWHERE and not role.facts.pinned:
            after.put_role(role.facts._replace(anchor=new_key))
    for one in index.by_scope.get(old_key, ()):
        if not (binding := index.bindings[one]).pinned:
            after.put_binding(binding._replace(scope=new_key))
    after.put_scope(old_key, None)
    after.put_scope(new_key, place)
    around = (_around(index, after, key) for key in (old_key, new_key))
    return Laid(after, chain.from_iterable(around), changes=True)


def _place(index: Index, after: Overlay, key: str, wants: tuple[str, ...] | None) -> Laid:
    """A scope that comes, changes its parents or goes (None)."""
    old = index.scopes.place(key)
    if wants is None:
        if old is None:
            return _nothing(after)
        after.put_scope(key, None)
    else:
        new = Place(wants, "", NOT_BORN_YET) if old is None else old._replace(wants=wants)
        if new == old:
            return _nothing(after)
        after.put_scope(key, new)
    return Laid(after, _around(index, after, key), changes=True)


def _nothing(after: Overlay) -> Laid:
    return Laid(after, iter(()), changes=False)


def _around(index: Index, after: Overlay, key: str) -> Iterator[Touched | None]:
    """The scope and those in it: whoever is bound at a level that they lose or gain."""
    for scope in index.scopes.below(key) | after.scopes.below(key):
        levels = set(index.scopes.chain(scope)) ^ set(after.scopes.chain(scope))
        subjects: dict[str, None] = {}
        for level in levels:
            for name in tuple(index.by_scope.get(level, ())):
                if binding := index.bindings.get(name):
                    subjects.update(dict.fromkeys(binding.subjects))
            for binding in after.added_at(level):
                subjects.update(dict.fromkeys(binding.subjects))
        yield Touched(scope, frozenset(levels), tuple(subjects)) if subjects else None


def _holders(index: Index, roles: Iterable[str]) -> Iterator[Touched | None]:
    """Whoever is bound to one of the roles, where they are."""
    names = [name for role in roles for name in index.of_role.get(role, ())]
    if ANONYMOUS_ROLE in roles:
        yield Touched(PLATFORM, frozenset({PLATFORM}), (EVERYONE,))
    yield from _bound(found for name in names if (found := index.bindings.get(name)))


def _bound(bindings: Iterable[Binding]) -> Iterator[Touched | None]:
    by_scope: dict[str, dict[str, None]] = {}
    for n, binding in enumerate(bindings):
        by_scope.setdefault(binding.scope, {}).update(dict.fromkeys(binding.subjects))
        if n % STEP == 0:
            yield None
    for scope, found in by_scope.items():
        yield Touched(scope, frozenset({scope}), tuple(found))


def _wants(kind: str, meta: ObjectMeta, cluster: str) -> tuple[str, ...]:
    return namespace_wants(meta, cluster) if kind == "Namespace" else node_wants(meta, cluster)


def _home(index: Index, meta: ObjectMeta) -> str:
    label = label_of(meta)
    return index.scopes.homes.get((label.kind, label.value), HOST)
