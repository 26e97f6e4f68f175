"""Which native RBAC objects a cluster should hold, unit by unit, and what a change touches. Pure.

    projection = Projection()                    # an index, fed by `Watching` like any other
    projection.on_touch = lambda units: …        # called with the event that touched them
    projection.wanted(Unit("plant-a", "n/plant-a/press"))

A unit is a scope in one cluster: its bindings are made, changed and removed together, and a changed binding
touches only the units that it reaches. Names come from the content: equal rules are one ClusterRole, and a
changed rule is another object, so a binding's roleRef never has to change. Source: I3; design §7.2.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from edge.iam.index import Binding, Index
from edge.iam.native import (
    Native,
    digest,
    everywhere,
    in_host_cluster,
    in_namespace,
    on_nodes,
    on_own_objects,
    only_urls,
)
from edge.iam.rolebook import ANONYMOUS_ROLE
from edge.iam.scope import (
    ANONYMOUS,
    HOST,
    HOST_SCOPE,
    PLATFORM,
    cluster_of_scope,
    kind_of_scope,
    name_of_scope,
)
from edge.iam.types import PolicyRule
from edge_kube.core import RbacRule
from edge_kube.meta import Key

SUBJECTS_MAX: Final = 500
"""Subjects of one binding object; more are spread over several."""

_ACCOUNT: Final = "User:system:serviceaccount:"
_EVERYBODY: Final = ("Group:system:authenticated", "Group:system:unauthenticated")
_OWN_PLURAL: Final = {"c": "clusters", "w": "workspaces", "g": "nodegroups"}


class Unit(NamedTuple):
    """What is brought in order at once: the objects of one scope in one cluster ("host" or a member)."""

    cluster: str
    scope: str


class Bound(NamedTuple):
    """A wanted binding. source: the scope whose bindings it carries. subjects: User:<name> and the like."""

    role: str
    source: str
    subjects: tuple[str, ...]


class Wanted(NamedTuple):
    """roles: ClusterRoles by name. bindings: by namespace and name; namespace "" is all of the cluster."""

    roles: dict[str, tuple[RbacRule, ...]]
    bindings: dict[Key, Bound]


class Projection(Index):
    def __init__(self) -> None:
        super().__init__()
        self.on_touch: Callable[[Iterable[Unit]], None] = _nobody
        self._clusters: set[str] = {HOST_SCOPE}
        self._users_in: dict[str, set[str]] = {}
        self._held: dict[str, dict[str, frozenset[str]]] = {}
        self._native: dict[tuple[str, str], tuple[str, Native]] = {}

    # -- what a change touches -------------------------------------------------------------------------------

    def put_binding(self, binding: Binding) -> None:
        old = self.bindings.get(binding.name)
        super().put_binding(binding)
        if old != binding:
            self._touch({binding.scope, *((old.scope,) if old else ())})

    def drop_binding(self, name: str) -> None:
        old = self.bindings.get(name)
        super().drop_binding(name)
        if old is not None:
            self._touch({old.scope})

    def put_user(self, name: str, groups: Iterable[str]) -> None:
        old = self.users.get(name)
        super().put_user(name, groups)
        self._user_changed(name, old)

    def drop_user(self, name: str) -> None:
        old = self.users.get(name)
        super().drop_user(name)
        self._user_changed(name, old)

    def put_scope(self, key: str, wants: Iterable[str] = (), uid: str = "", born: str = "") -> None:
        if key.startswith("c/"):
            self._clusters.add(key)
        before = self.scopes.place(key)
        super().put_scope(key, wants, uid, born)
        if self.scopes.place(key) != before:
            self._touch({key})
            self._cluster_objects_changed(key)

    def drop_scope(self, key: str) -> None:
        reached = set(self.units_of(key))
        if key.startswith("c/") and key != HOST_SCOPE:
            self._clusters.discard(key)
            for inner in [one for one in self.scopes.below(key) if one[0] in "nd"]:
                super().drop_scope(inner)
        super().drop_scope(key)
        self._held.pop(key, None)
        self.on_touch(reached)
        self._cluster_objects_changed(key)

    def _roles_changed(self, names: Iterable[str]) -> None:
        names = tuple(names)
        super()._roles_changed(names)
        touched: set[str] = set()
        for name in names:
            for place in _PLACES:
                self._native.pop((name, place), None)
            touched |= {self.bindings[one].scope for one in self.of_role.get(name, ())}
            if name == ANONYMOUS_ROLE:
                touched.add(PLATFORM)
        self._touch(touched)

    def _scopes_changed(self, keys: Iterable[str]) -> None:
        keys = tuple(keys)
        super()._scopes_changed(keys)
        self._touch(keys)

    def _user_changed(self, name: str, old: tuple[str, ...] | None) -> None:
        new = self.users.get(name)
        if old == new:
            return
        for group in old or ():
            self._users_in[group].discard(name)
            if not self._users_in[group]:
                del self._users_in[group]
        for group in new or ():
            self._users_in.setdefault(group, set()).add(name)
        subjects = (f"User:{name}", *(f"Group:{group}" for group in {*(old or ()), *(new or ())}))
        self._touch({binding.scope for binding in self.bound(subjects)})

    def _cluster_objects_changed(self, key: str) -> None:
        """A right at a cluster reaches the workspaces and node groups in it, which are named one by one."""
        above = f"c/{cluster_of_scope(key)}"
        if key[0] in "wg" and above in self.by_scope:
            self._touch({above})

    def _touch(self, scopes: Iterable[str]) -> None:
        units: set[Unit] = set()
        for scope in scopes:
            self._held.pop(scope, None)
            units.update(self.units_of(scope))
        if units:
            self.on_touch(units)

    def units_of(self, scope: str) -> Iterator[Unit]:
        """The units in which a right at the scope shows."""
        cluster = cluster_of_scope(scope)
        if scope == PLATFORM:
            yield from (Unit(name_of_scope(one), one) for one in self._clusters)
        elif scope[0] in "nd":
            yield Unit(cluster, scope)
        elif scope[0] in "cg":
            yield from {Unit(cluster, scope), Unit(HOST, scope)}
        elif scope[0] == "w":
            yield Unit(HOST, scope)
            yield from (Unit(cluster, one) for one in self.scopes.below(scope) if one[0] == "n")

    def units_in(self, cluster: str) -> Iterator[Unit]:
        """Every unit of a cluster that may want something, for a look at all of it."""
        yield Unit(cluster, f"c/{cluster}")
        yield from (Unit(cluster, key) for key in self.scopes.all("n") if cluster_of_scope(key) == cluster)
        for scope in self.by_scope:
            if scope[0] in "gd" and cluster_of_scope(scope) == cluster:
                yield Unit(cluster, scope)
            elif scope[0] in "cwg" and cluster == HOST:
                yield Unit(HOST, scope)

    # -- what a unit wants -----------------------------------------------------------------------------------

    def sources(self, unit: Unit) -> tuple[str, ...]:
        """The scopes whose bindings show in a unit, as things stand."""
        if unit.scope[0] == "n":
            return tuple(one for one in self.scopes.chain(unit.scope) if one[0] in "nw")
        if unit.scope == f"c/{unit.cluster}":
            return (unit.scope, PLATFORM, ANONYMOUS)
        return (unit.scope,)

    def wanted(self, unit: Unit) -> Wanted:
        wanted = _Draft(unit)
        if unit.scope[0] == "n":
            for source in self.sources(unit):
                for role, subjects in self._subjects(source).items():
                    wanted.add(source, *self._rules(role, "namespace"), subjects)
            return wanted.finish()
        if unit.scope == f"c/{unit.cluster}":
            self._cluster_wide(unit, wanted)
        for role, subjects in self._subjects(unit.scope).items():
            for native in self._named(unit, tuple(one.rule for one in self.book.roles[role].rules())):
                wanted.add(unit.scope, digest(native.rules), native, subjects)
        return wanted.finish()

    def _cluster_wide(self, unit: Unit, wanted: "_Draft") -> None:
        for role, subjects in self._subjects(PLATFORM).items():
            wanted.add(PLATFORM, *self._rules(role, "platform"), subjects)
        place = "host" if unit.cluster == HOST else "cluster"
        for role, subjects in self._subjects(unit.scope).items():
            wanted.add(unit.scope, *self._rules(role, place), subjects)
        anonymous = self.book.roles.get(ANONYMOUS_ROLE)
        if anonymous is not None and anonymous.facts.scope == "platform":
            wanted.add(ANONYMOUS, *self._rules(ANONYMOUS_ROLE, "anonymous"), frozenset(_EVERYBODY))

    def _named(self, unit: Unit, rules: tuple[PolicyRule, ...]) -> Iterator[Native]:
        """Rights on objects that RBAC must be told one by one: nodes, and on the host the scopes' objects."""
        letter, inside = unit.scope[0], self.scopes.below(unit.scope)
        if letter in "gd" and cluster_of_scope(unit.scope) == unit.cluster:
            yield on_nodes(rules, (name_of_scope(one) for one in inside if one[0] == "d"))
        if unit.cluster == HOST:
            for other, plural in _OWN_PLURAL.items():
                names = [name_of_scope(one) for one in inside if one[0] == other]
                yield on_own_objects(rules, plural, names)

    def _rules(self, role: str, place: str) -> tuple[str, Native]:
        """Digest and rules of a role in a place; worked out once for all its bindings."""
        found = self._native.get((role, place))
        if found is None:
            native = _PLACES[place](tuple(one.rule for one in self.book.roles[role].rules()))
            found = self._native[role, place] = (digest(native.rules), native)
        return found

    def _subjects(self, scope: str) -> dict[str, frozenset[str]]:
        """Role → who holds it at the scope, groups told by their users; only what counts today."""
        found = self._held.get(scope)
        if found is None:
            by_role: dict[str, set[str]] = {}
            if self.scopes.knows(scope):
                for name in self.by_scope.get(scope, ()):
                    binding = self.bindings[name]
                    if self.role_of(binding) is not None:
                        by_role.setdefault(binding.role, set()).update(self._expanded(binding.subjects))
            found = {role: frozenset(subjects) for role, subjects in sorted(by_role.items()) if subjects}
            self._held[scope] = found
        return found

    def _expanded(self, subjects: Iterable[str]) -> Iterator[str]:
        """Nothing for `system:` names but service accounts: those are for Kubernetes itself to give."""
        for subject in subjects:
            kind, _, name = subject.partition(":")
            if subject.startswith(_ACCOUNT) or (kind == "User" and name in self.users):
                yield subject
            elif kind == "Group" and not name.startswith("system:"):
                yield from (f"User:{user}" for user in self._users_in.get(name, ()))


class _Draft:
    """Collects what a unit wants; equal rules of several roles end in one binding with all subjects."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._namespace = name_of_scope(unit.scope) if unit.scope[0] == "n" else ""
        self._roles: dict[str, tuple[RbacRule, ...]] = {}
        self._subjects: dict[tuple[str, str], frozenset[str]] = {}

    def add(self, source: str, hashed: str, native: Native, subjects: frozenset[str]) -> None:
        if self._unit.cluster != HOST:  # a service account of the host is nobody in a member
            subjects = frozenset(one for one in subjects if not one.startswith(_ACCOUNT))
        if native.rules and subjects:
            name = f"edge:{kind_of_scope(source)}:{hashed}"
            self._roles[name] = native.rules
            self._subjects[name, source] = self._subjects.get((name, source), frozenset()) | subjects

    def finish(self) -> Wanted:
        bindings: dict[Key, Bound] = {}
        for (role, source), subjects in sorted(self._subjects.items()):
            name = role if self._namespace else f"{role}:{short(source)}"
            for number, part in enumerate(_spread(subjects)):
                if part:
                    key = Key(self._namespace, f"{name}:{number}" if number else name)
                    bindings[key] = Bound(role, source, part)
        return Wanted(self._roles, bindings)


def short(scope: str) -> str:
    """A scope in a name or a label, which cannot hold its slashes and its length."""
    return sha256(scope.encode()).hexdigest()[:16]


def native_subject(subject: str) -> tuple[str, str, str]:
    """Kind, name and namespace in the words of RBAC."""
    if subject.startswith(_ACCOUNT):
        namespace, _, name = subject.removeprefix(_ACCOUNT).partition(":")
        return "ServiceAccount", name, namespace
    kind, _, name = subject.partition(":")
    return kind, name, ""


def _spread(subjects: frozenset[str]) -> list[tuple[str, ...]]:
    """Parts of at most SUBJECTS_MAX. Each subject has its own place, so that one more moves few others."""
    parts = 1
    while True:
        spread: list[list[str]] = [[] for _ in range(parts)]
        for one in sorted(subjects):
            spread[zlib.crc32(one.encode()) % parts].append(one)
        if max(map(len, spread)) <= SUBJECTS_MAX:
            return [tuple(part) for part in spread]
        parts *= 2


_PLACES: Final[dict[str, Callable[[tuple[PolicyRule, ...]], Native]]] = {
    "platform": lambda rules: everywhere(rules, urls=True),
    "cluster": lambda rules: everywhere(rules, urls=False),
    "host": in_host_cluster,
    "namespace": in_namespace,
    "anonymous": only_urls,
}


def _nobody(_: Iterable[Unit]) -> None:
    return None
