"""The index as it would be after one change, laid over the index itself, which is only read. Pure.

    after = Overlay(index)
    after.drop_binding("team")
    after.tables(index.subjects_of("ann"), "w/host/press")

An overlay without changes is the index as it is, so both sides of a comparison take the same way. It holds
what has changed and nothing else, whatever the size of the index. Source: design §6 (impact).
"""

from collections.abc import Iterable, Iterator, Mapping

from edge.iam.aggregation import Template, resolve
from edge.iam.graph import Place, ScopeGraph
from edge.iam.index import EVERYONE, Binding, Index
from edge.iam.rolebook import ANONYMOUS_ROLE, Bundle, Role, RoleFacts, compiled
from edge.iam.rules import Source, Table
from edge.iam.scope import kind_of_scope


class _Places(dict[str, Place]):
    """Places that have changed; the others are read from the graph underneath. gone: those that would go."""

    def __init__(self, under: ScopeGraph) -> None:
        super().__init__()
        self._under = under
        self.gone: set[str] = set()

    def get(self, key: str, default: Place | None = None) -> Place | None:  # type: ignore[override]
        if key in self.gone:
            return default
        return super().get(key) or self._under.place(key) or default

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None


class ScopeOverlay(ScopeGraph):
    """Scopes as they would be. Only what is asked about a single scope is answered."""

    def __init__(self, under: ScopeGraph) -> None:
        super().__init__()
        self._places = _Places(under)
        self._known = self._places
        self._inside = under.inside()
        self.homes = under.homes
        self.registered = under.registered

    def lay(self, key: str, place: Place | None) -> None:
        """A scope as it would be; None: gone."""
        self._chains.clear()
        if place is None:
            self._places.gone.add(key)
        else:
            self._places.gone.discard(key)
            self._places[key] = place


class Overlay:
    def __init__(self, index: Index) -> None:
        self.index = index
        self.scopes: ScopeGraph = index.scopes
        self._laid: ScopeOverlay | None = None
        self._roles: dict[str, Role | None] = {}
        self._bindings: dict[str, Binding | None] = {}
        self._users: dict[str, tuple[str, ...] | None] = {}
        self._extra: dict[tuple[str, str], list[Binding]] = {}

    # -- changes ---------------------------------------------------------------------------------------------

    def put_binding(self, binding: Binding) -> None:
        self._bindings[binding.name] = binding
        for subject in dict.fromkeys(binding.subjects):
            self._extra.setdefault((subject, binding.scope), []).append(binding)

    def drop_binding(self, name: str) -> None:
        self._bindings[name] = None

    def put_role(self, facts: RoleFacts) -> None:
        book = self.index.book
        bundle: Bundle | None = None
        if facts.recipe is not None:
            old = book.roles.get(facts.name)
            if old is not None and old.bundle is not None and old.bundle.recipe == facts.recipe:
                bundle = old.bundle
            else:
                bundle = _bundle(facts, book.templates)
        own = Table([Source("", n, rule) for n, rule in enumerate(facts.rules)], facts.ui)
        self._roles[facts.name] = Role(facts, own, bundle)

    def drop_role(self, name: str) -> None:
        self._roles[name] = None

    def put_template(self, name: str, template: Template | None) -> list[str]:
        """The template as it would be; returns the roles that it would change."""
        book = self.index.book
        if book.templates.get(name) == template:
            return []
        templates = {one: found for one, found in book.templates.items() if one != name}
        if template is not None:
            templates[name] = template
        changed: list[str] = []
        for bundle in book.bundles():
            resolved = resolve(bundle.recipe, templates)
            if resolved == bundle.resolved and name not in resolved.templates:
                continue
            new = Bundle(bundle.recipe)
            new.resolved, new.table = resolved, compiled(resolved, templates)
            for role in sorted(bundle.users):
                old = book.roles[role]
                self._roles[role] = Role(old.facts, old.own, new)
                changed.append(role)
        return changed

    def put_user(self, name: str, groups: Iterable[str] | None) -> None:
        """A user's groups as they would be; None: gone or disabled."""
        kept = None if groups is None else tuple(one for one in groups if not one.startswith("system:"))
        self._users[name] = kept

    def put_scope(self, key: str, place: Place | None) -> None:
        if self._laid is None:
            self._laid = ScopeOverlay(self.index.scopes)
            self.scopes = self._laid
        self._laid.lay(key, place)

    # -- questions -------------------------------------------------------------------------------------------

    def subjects_of(self, user: str) -> tuple[str, ...]:
        if user not in self._users:
            return self.index.subjects_of(user)
        groups = self._users[user]
        if groups is None:
            return (EVERYONE,)
        named = ("system:authenticated", *groups)
        return (f"User:{user}", *(f"Group:{group}" for group in named), EVERYONE)

    def bound_among(self, subjects: Iterable[str]) -> tuple[str, ...]:
        """Those of the subjects that some binding names: the others give nothing at any scope."""
        added = {subject for subject, _ in self._extra}
        return tuple(one for one in subjects if one in added or self.index.is_bound(one))

    def role(self, name: str) -> Role | None:
        return self._roles[name] if name in self._roles else self.index.book.roles.get(name)

    def role_of(self, binding: Binding) -> Role | None:
        """As `Index.role_of`."""
        role = self.role(binding.role)
        if role is None or not role.fits(binding.scope, kind_of_scope(binding.scope)):
            return None
        return role if self.scopes.admits(binding.scope, binding.uid, binding.born) else None

    def bound_at(self, subject: str, scope: str) -> Iterator[Binding]:
        for binding in self.index.bound_at(subject, scope):
            if binding.name not in self._bindings:
                yield binding
        if self._extra:
            yield from self._extra.get((subject, scope), ())

    def added_at(self, scope: str) -> Iterator[Binding]:
        """Bindings at a scope that the change would bring or alter."""
        return (one for one in self._bindings.values() if one is not None and one.scope == scope)

    def tables(self, subjects: Iterable[str], scope: str) -> dict[Table, None]:
        """The tables in force at a scope, each once: what `Index.view` gives."""
        found: dict[Table, None] = {}
        mine = tuple(subjects)
        for level in self.scopes.chain(scope):
            for subject in mine:
                for binding in self.bound_at(subject, level):
                    if role := self.role_of(binding):
                        found |= dict.fromkeys(role.tables())
        if (role := self.role(ANONYMOUS_ROLE)) and role.facts.scope == "platform":
            found |= dict.fromkeys(role.tables())
        return found


def _bundle(facts: RoleFacts, templates: Mapping[str, Template]) -> Bundle | None:
    if facts.recipe is None:
        return None
    made = Bundle(facts.recipe)
    made.resolved = resolve(facts.recipe, templates)
    made.table = compiled(made.resolved, templates)
    return made
