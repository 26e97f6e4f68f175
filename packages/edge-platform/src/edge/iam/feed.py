"""Feeds the index from watched objects, one change at a time, in any order of kinds.

Each call takes the old and the new state of one object (None: not there) and returns when the index holds
it; nothing in between is ever visible. Source: I6; design §4.4 (X3, X4), §5.
"""

from typing import TypeVar

from edge.iam.accounts import is_disabled
from edge.iam.aggregation import template_of
from edge.iam.facts import (
    MOVABLE,
    binding_facts,
    home_of,
    label_of,
    namespace_wants,
    node_wants,
    role_facts,
)
from edge.iam.index import Index
from edge.iam.patternbook import Entry
from edge.iam.registration import is_registered, owner_of, pattern_of
from edge.iam.scope import HOST, LETTERS
from edge.iam.types import IAMRole, IAMRoleBinding, RoleTemplate, ScopePattern, User
from edge_kube.core import Namespace, Node
from edge_kube.meta import ObjectMeta, Resource

T = TypeVar("T", bound=Resource)


class Feed:
    """One per index. It remembers only what it needs to place roles and bindings of scopes yet unseen."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._roles: dict[tuple[str, str], dict[str, IAMRole]] = {}
        self._bindings: dict[tuple[str, str], dict[str, IAMRoleBinding]] = {}

    def changed(self, old: Resource | None, new: Resource | None, cluster: str = "") -> None:
        """One object of the host ("") or of a member cluster came, changed or went.

        Of a member cluster only namespaces and nodes count. Kinds that confer nothing are ignored.
        """
        obj = new if new is not None else old
        if isinstance(obj, Namespace | Node):
            self._place_changed(obj, new is None, cluster or HOST)
        elif cluster:
            return
        elif isinstance(obj, IAMRoleBinding):
            self._binding_changed(_as(IAMRoleBinding, old), _as(IAMRoleBinding, new))
        elif isinstance(obj, IAMRole):
            self._role_changed(_as(IAMRole, old), _as(IAMRole, new))
        elif isinstance(obj, RoleTemplate):
            # One that is being deleted is admitted unasked, so that its finalizers can go: it gives nothing.
            gone = new is None or bool(new.metadata.deletion_timestamp)
            self.index.put_template(obj.metadata.name, None if gone else template_of(obj))
        elif isinstance(obj, User):
            if new is None or is_disabled(obj):
                self.index.drop_user(obj.metadata.name)
            else:
                self.index.put_user(obj.metadata.name, obj.spec.groups)
        elif isinstance(obj, ScopePattern):
            self._pattern_changed(obj, new is None)

    def scope_changed(self, kind: str, meta: ObjectMeta, *, gone: bool = False) -> None:
        """A Cluster, Workspace or NodeGroup (`kind` in lower case) came, changed or went."""
        name = meta.name
        if kind == "cluster":
            key = f"c/{name}"
        else:
            home = home_of(meta)
            before = self.index.scopes.homes.get((kind, name))
            if before is not None and (gone or before != home):
                self.index.drop_scope(f"{LETTERS[kind]}/{before}/{name}")
                del self.index.scopes.homes[kind, name]
            if not gone:
                self.index.scopes.homes[kind, name] = home
            key = f"{LETTERS[kind]}/{home}/{name}"
        if gone:
            self.index.drop_scope(key)
        else:
            self.index.put_scope(key, (), meta.uid, meta.creation_timestamp)
        for role in tuple(self._roles.get((kind, name), {}).values()):
            self._put_role(role)
        for binding in tuple(self._bindings.get((kind, name), {}).values()):
            self._put_binding(binding)

    def _place_changed(self, obj: Namespace | Node, gone: bool, cluster: str) -> None:
        meta = obj.metadata
        letter = "n" if isinstance(obj, Namespace) else "d"
        key = f"{letter}/{cluster}/{meta.name}"
        if gone:
            self.index.drop_scope(key)
            return
        wants = namespace_wants(meta, cluster) if letter == "n" else node_wants(meta, cluster)
        self.index.put_scope(key, wants, meta.uid, meta.creation_timestamp)

    def _pattern_changed(self, obj: ScopePattern, gone: bool) -> None:
        """What the controller has not judged yet is in force only where it says the same as before."""
        owner = owner_of(obj.metadata)
        pattern = None if gone else pattern_of(obj)
        unchanged = pattern is not None and self.index.scopes.registered.get(owner) == pattern
        if pattern is None or not (is_registered(obj) or unchanged):
            self.index.put_pattern(owner, None)
        else:
            self.index.put_pattern(owner, Entry(pattern, obj.metadata.creation_timestamp))

    def _role_changed(self, old: IAMRole | None, new: IAMRole | None) -> None:
        if old is not None and (place := self._movable(old.metadata)) is not None:
            self._roles.get(place, {}).pop(old.metadata.name, None)
        if new is None or new.metadata.deletion_timestamp:
            self.index.drop_role(_name(old, new))
            return
        if (place := self._movable(new.metadata)) is not None:
            self._roles.setdefault(place, {})[new.metadata.name] = new
        self._put_role(new)

    def _binding_changed(self, old: IAMRoleBinding | None, new: IAMRoleBinding | None) -> None:
        if old is not None and (place := self._movable(old.metadata)) is not None:
            self._bindings.get(place, {}).pop(old.metadata.name, None)
        if new is None or new.metadata.deletion_timestamp:
            self.index.drop_binding(_name(old, new))
            return
        if (place := self._movable(new.metadata)) is not None:
            self._bindings.setdefault(place, {})[new.metadata.name] = new
        self._put_binding(new)

    def _put_role(self, role: IAMRole) -> None:
        facts = role_facts(role, self._home(role.metadata))
        if facts is None:
            self.index.drop_role(role.metadata.name)
        else:
            self.index.put_role(facts)

    def _put_binding(self, binding: IAMRoleBinding) -> None:
        facts = binding_facts(binding, self._home(binding.metadata))
        if facts is None:
            self.index.drop_binding(binding.metadata.name)
        else:
            self.index.put_binding(facts)

    def _movable(self, meta: ObjectMeta) -> tuple[str, str] | None:
        """Where the object waits to be told its scope's cluster; None when its own labels say it all."""
        label = label_of(meta)
        return (label.kind, label.value) if label.kind in MOVABLE and not label.cluster else None

    def _home(self, meta: ObjectMeta) -> str:
        label = label_of(meta)
        return self.index.scopes.homes.get((label.kind, label.value), HOST)


def _as(kind: type[T], obj: Resource | None) -> T | None:
    return obj if isinstance(obj, kind) else None


def _name(old: Resource | None, new: Resource | None) -> str:
    obj = new if new is not None else old
    return obj.metadata.name if obj is not None else ""
