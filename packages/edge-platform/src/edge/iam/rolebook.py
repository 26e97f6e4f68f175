"""Templates and roles, compiled. A template that many roles take in is compiled once for all of them. Pure.

Source: I2; design §2, §4.1.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from edge.iam.aggregation import Recipe, Resolved, Template, resolve
from edge.iam.rules import Source, Table
from edge.iam.types import PolicyRule

ANONYMOUS_ROLE: Final = "anonymous"
ANYWHERE: Final = ""


class Bundle:
    """What a recipe comes to at the moment; shared by the roles that have the recipe."""

    __slots__ = ("recipe", "resolved", "table", "users")

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.users: set[str] = set()
        self.resolved = Resolved((), (), ())
        self.table = Table(())


def compiled(resolved: Resolved, templates: Mapping[str, Template]) -> Table:
    """The rules of all templates in force, as one table."""
    chosen = [templates[name] for name in resolved.templates]
    sources = [Source(one.name, n, rule) for one in chosen for n, rule in enumerate(one.rules)]
    return Table(sources, [ui for one in chosen for ui in one.ui])


class RoleFacts(NamedTuple):
    """What the engine keeps of an IAMRole. anchor: scope key it is for, or "" for any of its type.

    pinned: as of a `Binding`.
    """

    name: str
    scope: str
    anchor: str
    rules: tuple[PolicyRule, ...]
    ui: tuple[str, ...]
    recipe: Recipe | None
    pinned: bool = False


class Role:
    """A role ready for use: its own rules, and the bundle of its templates."""

    __slots__ = ("bundle", "facts", "own")

    def __init__(self, facts: RoleFacts, own: Table, bundle: Bundle | None) -> None:
        self.facts = facts
        self.own = own
        self.bundle = bundle

    def fits(self, scope: str, scope_type: str) -> bool:
        """Whether it may be bound there: of the scope's type, and for this one or for any."""
        facts = self.facts
        return facts.scope == scope_type and (facts.anchor in (ANYWHERE, scope))

    def tables(self) -> Iterator[Table]:
        if self.own.sources or self.own.ui:
            yield self.own
        if self.bundle is not None and (self.bundle.table.sources or self.bundle.table.ui):
            yield self.bundle.table

    @property
    def size(self) -> int:
        """How many rules it has: a measure of how narrow it is."""
        return sum(len(table.sources) for table in self.tables())

    def rules(self) -> Iterator[Source]:
        for table in self.tables():
            yield from table.sources

    def ui(self) -> frozenset[str]:
        return frozenset[str]().union(*(table.ui for table in self.tables()))


class RoleBook:
    def __init__(self) -> None:
        self.templates: dict[str, Template] = {}
        self.roles: dict[str, Role] = {}
        self._bundles: dict[Recipe, Bundle] = {}
        self._at: dict[tuple[str, str], set[str]] = {}

    def put_role(self, facts: RoleFacts) -> bool:
        """Learn of a role. False when nothing that matters has changed."""
        old = self.roles.get(facts.name)
        if old is not None:
            if old.facts == facts:
                return False
            self._leave(old)
        bundle = self._bundle(facts.recipe) if facts.recipe else None
        if bundle is not None:
            bundle.users.add(facts.name)
        own = Table([Source("", n, rule) for n, rule in enumerate(facts.rules)], facts.ui)
        self.roles[facts.name] = Role(facts, own, bundle)
        self._at.setdefault((facts.scope, facts.anchor), set()).add(facts.name)
        return True

    def drop_role(self, name: str) -> bool:
        old = self.roles.pop(name, None)
        if old is not None:
            self._leave(old)
        return old is not None

    def put_template(self, name: str, template: Template | None) -> list[str]:
        """Learn of a template, or that it is gone (None); returns the roles whose rights may have changed."""
        if self.templates.get(name) == template:
            return []
        if template is None:
            del self.templates[name]
        else:
            self.templates[name] = template
        changed: list[str] = []
        for bundle in self._bundles.values():
            before = bundle.resolved
            bundle.resolved = resolve(bundle.recipe, self.templates)
            if bundle.resolved != before or name in bundle.resolved.templates:
                bundle.table = compiled(bundle.resolved, self.templates)
                changed += bundle.users
        return changed

    def at(self, scope: str, scope_type: str) -> list[Role]:
        """Every role that may be bound at a scope, by name."""
        names = self._at.get((scope_type, scope), set()) | self._at.get((scope_type, ANYWHERE), set())
        return [self.roles[name] for name in sorted(names)]

    def bundles(self) -> tuple[Bundle, ...]:
        """Every recipe that some role has, with what it comes to."""
        return tuple(self._bundles.values())

    def _leave(self, role: Role) -> None:
        facts = role.facts
        there = self._at[facts.scope, facts.anchor]
        there.discard(facts.name)
        if not there:
            del self._at[facts.scope, facts.anchor]
        if role.bundle is not None:
            role.bundle.users.discard(facts.name)
            if not role.bundle.users:
                del self._bundles[role.bundle.recipe]

    def _bundle(self, recipe: Recipe) -> Bundle:
        bundle = self._bundles.get(recipe)
        if bundle is None:
            bundle = self._bundles[recipe] = Bundle(recipe)
            bundle.resolved = resolve(recipe, self.templates)
            bundle.table = compiled(bundle.resolved, self.templates)
        return bundle
