"""Why somebody may or may not, and who else may: the same walk as a check, keeping its steps. Pure.

Promise: `explain` says allowed exactly when `Index.check` does, and exactly when the caller is among
`who_can` (X2). Shapes as in design/console.md §5.2 (R36); I2–I4, I8.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from msgspec import UNSET, Struct, UnsetType

from edge.iam.facts import subject_of
from edge.iam.index import Binding, Grant, Index, Who
from edge.iam.ofscope import also_called
from edge.iam.rolebook import ANONYMOUS_ROLE, Role
from edge.iam.rules import (
    ALL,
    BITS,
    Source,
    Table,
    asked_bit,
    covers,
    ui_held,
    url_covers,
    url_path,
    url_verb,
)
from edge.iam.scope import ANONYMOUS, PLATFORM, kind_of_scope, scope_text
from edge_sdk.scopes import IAM_GROUP

BINDINGS: Final = "iamrolebindings"
SHOWN_GRANTS: Final = 5
SHOWN_GRANTORS: Final = 5
SHOWN_OTHERS: Final = 5


class Question(NamedTuple):
    """What is asked about: a verb on a resource, or on a path outside the resources, or a console right."""

    verb: str = ""
    group: str = ""
    resource: str = ""
    name: str = ""
    path: str = ""
    ui: str = ""

    def allowed_by(self, table: Table) -> bool:
        if self.ui:
            return ui_held(self.ui, table.ui)
        if self.path:
            return table.grants_url(self.path, self.verb)
        return table.grants((self.group, self.resource), self.name, self.verb)

    def rule_in(self, table: Table) -> Source | None:
        """The first rule that allows it; None for a console right, which no rule gives."""
        return next((one for one in table.sources if self._covered_by(one)), None)

    def _covered_by(self, source: Source) -> bool:
        rule = source.rule
        if self.path:
            verbs = {url_verb(verb) for verb in rule.verbs}
            given = bool(verbs & {"*", url_verb(self.verb)})
            return given and any(url_covers(url_path(url), self.path) for url in rule.non_resource_urls)
        return covers(rule, (self.group, self.resource), self.name, self.verb)


class Verdicts:
    """Whether each role allows a question; many bindings share a role, so each is asked once."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._known: dict[str, bool] = {}

    def allow(self, role: Role | None) -> bool:
        if role is None:
            return False
        known = self._known.get(role.facts.name)
        if known is None:
            known = any(map(self._question.allowed_by, role.tables()))
            self._known[role.facts.name] = known
        return known


class By(Struct, rename="camel", omit_defaults=True):
    """What decided. ruleIndex is the rule's place in the template, or in the role without a template."""

    role: str
    binding: str = ""
    template: str = ""
    rule_index: int | UnsetType = UNSET


class Checked(Struct, rename="camel", omit_defaults=True):
    """One binding that was looked at. hidden: the asker may not see it, and nothing more is said."""

    outcome: str
    binding: str = ""
    role: str = ""
    missing: str = ""
    hidden: bool = False


class Step(Struct, rename="camel"):
    scope: str
    checked: list[Checked]


class Way(Struct, rename="camel"):
    """A grant that would allow it: a role at a scope, and who may bind it there."""

    role: str
    scope: str
    grantors: list[str]


class Explanation(Struct, rename="camel", omit_defaults=True):
    allowed: bool
    trace: list[Step]
    decided_at: str = ""
    by: By | UnsetType = UNSET
    grant: list[Way] = []


def nearest(index: Index, who: Who, scope: str, question: Question) -> Grant | None:
    """The first grant of the cascade that allows it."""
    found = index.visit(index.identity(who).subjects, scope)
    return next((grant for grant in found if question.allowed_by(grant.table)), None)


def in_words(grant: Grant) -> str:
    if not grant.binding:
        return f'IAMRole "{grant.role}" allows it to everyone'
    return f'IAMRoleBinding "{grant.binding}" gives IAMRole "{grant.role}" at {scope_text(grant.scope)}'


Sees = Callable[[Binding], bool]


def explain(
    index: Index, who: Who, scope: str, question: Question, sees: Sees = lambda _: True
) -> Explanation:
    """The cascade, scope by scope, down to the rule. sees: whether the asker may read a binding."""
    mine = set(index.subjects_of(who))
    verdicts = Verdicts(question)
    trace: list[Step] = []
    by: By | None = None
    decided_at = ""
    for level in _levels(index, scope, question):
        step = Step(scope_text(level), [])
        for binding, role in _at_level(index, level):
            allowed = verdicts.allow(role)
            named = level == ANONYMOUS or not mine.isdisjoint(binding.subjects)
            if named:
                step.checked.append(_checked(index, binding, role, question, allowed, sees))
                if allowed and by is None and role is not None:
                    by, decided_at = _by(binding, role, question, sees), scope_text(level)
            elif allowed and len(step.checked) < SHOWN_OTHERS:
                step.checked.append(_other(binding, sees))
        trace.append(step)
    if by is not None:
        return Explanation(allowed=True, trace=trace, decided_at=decided_at, by=by)
    return Explanation(allowed=False, trace=trace, grant=ways_to(index, scope, question, verdicts))


def _levels(index: Index, scope: str, question: Question) -> tuple[str, ...]:
    """Rules about paths hold at the platform only."""
    return index.scopes.chain(PLATFORM if question.path else scope)


def _at_level(index: Index, level: str) -> Iterator[tuple[Binding, Role | None]]:
    if level == ANONYMOUS:
        role = index.book.roles.get(ANONYMOUS_ROLE)
        if role is not None and role.facts.scope == "platform":
            yield Binding("", ANONYMOUS_ROLE, ANONYMOUS, ()), role
        return
    for name in sorted(index.by_scope.get(level, ())):
        binding = index.bindings[name]
        yield binding, index.role_of(binding)


def _checked(
    index: Index, binding: Binding, role: Role | None, question: Question, allowed: bool, sees: Sees
) -> Checked:
    if binding.name and not sees(binding):
        return Checked("match" if allowed else "noRule", hidden=True)
    if allowed:
        return Checked("match", binding.name, binding.role)
    why = why_nothing(index, binding) if role is None else _nearest_miss(role, question)
    return Checked("noRule", binding.name, binding.role, why)


def _other(binding: Binding, sees: Sees) -> Checked:
    if not sees(binding):
        return Checked("noSubject", hidden=True)
    return Checked("noSubject", binding.name, binding.role)


def _by(binding: Binding, role: Role, question: Question, sees: Sees) -> By:
    if binding.name and not sees(binding):
        return By(role="a role outside your view")
    for table in role.tables():
        if question.allowed_by(table):
            source = question.rule_in(table)
            if source is None:
                return By(role=role.facts.name, binding=binding.name)
            return By(role.facts.name, binding.name, source.template, source.position)
    raise AssertionError("only roles that allow the question are shown as the reason")


def why_nothing(index: Index, binding: Binding) -> str:
    """Why a binding gives nothing at all."""
    role = index.book.roles.get(binding.role)
    if role is None:
        return f"the role {binding.role} does not exist"
    if not role.fits(binding.scope, kind_of_scope(binding.scope)):
        return f"the role {binding.role} is for another scope ({role.facts.scope})"
    return "the scope was deleted and made again since; bind anew"


def verb_names(verbs: int) -> list[str]:
    return ["*"] if verbs == ALL else [verb for verb, one in BITS.items() if one != ALL and verbs & one]


def _nearest_miss(role: Role, question: Question) -> str:
    """How close the role comes: other verbs, or other names."""
    if question.ui or question.path:
        return "none of its rules is about it"
    verbs, names = 0, set[str]()
    for table in role.tables():
        match = table.match((question.group, question.resource))
        verbs |= match.verbs
        names |= {name for name, one in match.names.items() if one & asked_bit(question.verb)}
    if names:
        return f"it allows {question.verb} only for {', '.join(sorted(names)[:SHOWN_OTHERS])}"
    if verbs:
        return f"it allows {', '.join(verb_names(verbs))}, not {question.verb}"
    return f"none of its rules is about {question.resource}"


def ways_to(index: Index, scope: str, question: Question, verdicts: Verdicts) -> list[Way]:
    """Roles that would allow it, nearest scope first and the narrowest role first, with who may bind them."""
    found: list[Way] = []
    for level in _levels(index, scope, question):
        kind = kind_of_scope(level)
        roles = [
            role
            for role in index.book.at(level, kind)
            if role.facts.name != ANONYMOUS_ROLE and verdicts.allow(role)
        ]
        roles.sort(key=lambda role: (role.size, role.facts.name))
        if roles:
            grantors = grantors_at(index, level)
            found += [Way(role.facts.name, scope_text(level), grantors) for role in roles[:SHOWN_GRANTS]]
        if len(found) >= SHOWN_GRANTS:
            break
    return found[:SHOWN_GRANTS]


def grantors_at(index: Index, scope: str) -> list[str]:
    """A few of those who may bind roles at a scope, nearest first."""
    asked = [Question("create", IAM_GROUP, BINDINGS)]
    if other := also_called(scope, IAM_GROUP, BINDINGS):
        asked.insert(0, Question("create", IAM_GROUP, other))
    found = {subject: None for one in asked for subject in who_can(index, scope, one)}
    return [" ".join(subject_of(subject)) for subject in list(found)[:SHOWN_GRANTORS]]


class Via(Struct, rename="camel", omit_defaults=True):
    scope: str
    binding: str
    role: str


def who_can(index: Index, scope: str, question: Question) -> dict[str, list[Via]]:
    """Subject keys that may do it at `scope`, nearest grant first, each with the grants that allow it.

    Groups are not expanded. "any" stands for everyone, signed in or not.
    """
    found: dict[str, list[Via]] = {}
    verdicts = Verdicts(question)
    for level in _levels(index, scope, question):
        for binding, role in _at_level(index, level):
            if verdicts.allow(role):
                via = Via(scope_text(level), binding.name, binding.role)
                for subject in binding.subjects or (("any",) if level == ANONYMOUS else ()):
                    found.setdefault(subject, []).append(via)
    return found


def rules_of(index: Index, who: Who, scope: str) -> list[Source]:
    """Every rule in force for a caller at a scope, each once: what `me/access` and a rules review show."""
    view = index.view(index.identity(who), scope)
    return [source for table in view for source in table.sources]
