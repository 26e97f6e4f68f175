"""What people ask of the permission engine, and the shapes of the answers (I8, R36). Pure.

A scope that the asker has nothing to do with is answered like one that is not there: no answer tells whether
it exists.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from edge.iam.explain import BINDINGS as BINDINGS
from edge.iam.explain import Question, Via, rules_of, who_can
from edge.iam.facts import MOVABLE, subject_of
from edge.iam.index import Binding, Index, Who
from edge.iam.ofscope import also_called, may
from edge.iam.rules import ui_held
from edge.iam.scope import (
    ANONYMOUS,
    HOST,
    LETTERS,
    PLATFORM,
    kind_of_scope,
    name_of_scope,
    parse_scope,
    scope_text,
)
from edge.iam.visible import visible
from edge_sdk.problem import Problem
from edge_sdk.scopes import IAM_GROUP, SCOPE_GROUP

TTL_S: Final = 300
SCOPES_MAX: Final = 20
SUBJECTS_MAX: Final = 200
SCOPES_PAGE_MAX: Final = 500
CURSOR_MAX: Final = 10_000_000
_OBJECTS: Final = {
    "cluster": (SCOPE_GROUP, "clusters"),
    "workspace": (SCOPE_GROUP, "workspaces"),
    "nodegroup": (SCOPE_GROUP, "nodegroups"),
    "namespace": ("", "namespaces"),
    "node": ("", "nodes"),
}


class AskedAction(Struct, rename="camel", forbid_unknown_fields=True):
    """A verb on a resource, or on a path outside the resources, or a console right."""

    verb: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    path: str = ""
    ui: str = ""

    def question(self) -> Question:
        """Raises Problem (400)."""
        if sum(map(bool, (self.resource, self.path, self.ui))) != 1 or bool(self.verb) is bool(self.ui):
            raise Problem(
                "bad-question",
                what="The action was not understood",
                why="it names neither a verb on a resource, nor a verb on a path, nor a console right",
                do='send {"verb": …, "group": …, "resource": …}, {"verb": …, "path": …} or {"ui": …}',
            )
        sub = f"/{self.subresource}" if self.subresource else ""
        return Question(self.verb, self.group, f"{self.resource}{sub}", self.name, self.path, self.ui)


class AskedSubject(Struct, forbid_unknown_fields=True):
    kind: str
    name: str


class ExplainBody(Struct, rename="camel", forbid_unknown_fields=True):
    scope: str
    action: AskedAction
    subject: AskedSubject | UnsetType = UNSET


class WhoCanBody(Struct, rename="camel", forbid_unknown_fields=True):
    scope: str
    action: AskedAction
    limit: int = 50
    cursor: str = ""


class ShownSubject(Struct):
    kind: str
    name: str
    via: list[Via]


class WhoCan(Struct, rename="camel"):
    subjects: list[ShownSubject]
    total: int
    total_is_exact: bool
    cursor: str


class ShownRule(Struct, omit_defaults=True):
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


class ScopeAccess(Struct, rename="camel", omit_defaults=True):
    scope: str
    chain: list[str]
    ui_permissions: list[str]
    rules: list[ShownRule]
    etag: str
    code: str = ""


class ShownScope(Struct):
    scope: str
    title: str
    parent: str
    roles: list[str]


def scope_of(index: Index, text: str) -> str:
    """The key of a scope as people write it; workspaces and node groups are found in their cluster.

    Raises Problem (400).
    """
    kind, _, name = text.partition("/")
    home = index.scopes.homes.get((kind, name), HOST) if kind in MOVABLE else HOST
    full = text if home == HOST else f"cluster/{home}/{text}"
    key = parse_scope(full, index.scopes.registered)
    if key is None:
        types = ", ".join((*(one for one in LETTERS if one != "platform"), *index.scopes.registered))
        raise Problem(
            "bad-scope",
            what=f'"{text[:200]}" names no scope',
            why="it is not written as one, or no ScopePattern has registered its type",
            do=f"use platform, TYPE/NAME or cluster/C/TYPE/NAME; types: {types}",
        )
    return key


def sees_scope(index: Index, who: Who, key: str) -> bool:
    """Whether a scope is the caller's business: a binding there or above, or a right to read its object."""
    if key == PLATFORM:
        return True
    if not index.scopes.knows(key):
        return False
    levels = set(index.scopes.chain(key)) - {PLATFORM, ANONYMOUS}
    if any(binding.scope in levels for binding in index.bound(index.subjects_of(who))):
        return True
    about = _OBJECTS.get(kind_of_scope(key))
    return about is not None and index.check(who, key, "get", *about, name_of_scope(key))


def sees_binding(index: Index, who: Who, binding: Binding) -> bool:
    """One's own, and those at scopes where one may read bindings."""
    if not set(index.subjects_of(who)).isdisjoint(binding.subjects):
        return True
    return may_on_scope(index, who, binding.scope, "get", BINDINGS, binding.name)


def may_on_scope(index: Index, who: Who, scope: str, verb: str, resource: str, name: str = "") -> bool:
    """Whether a verb on the `iamroles` or `iamrolebindings` of a scope is held there."""
    return may(index, who, scope, verb, IAM_GROUP, resource, name)


def as_held(index: Index, who: Who, scope: str, question: Question) -> Question:
    """The question in the words of the rule that allows it: of roles and bindings of one scope there are two.

    Where neither allows it, in those of the scope's own templates: they name the nearest role that would.
    """
    other = also_called(scope, question.group, question.resource)
    if not other or index.check(who, scope, question.verb, question.group, question.resource, question.name):
        return question
    return question._replace(resource=other)


def lists_bindings(index: Index, who: Who) -> Callable[[str], bool]:
    """From the key of a scope to whether the caller may list its bindings; each is looked up once."""

    @cache
    def lists(scope: str) -> bool:
        return may_on_scope(index, who, scope, "list", BINDINGS)

    return lists


class BindingSight:
    """`sees_binding` for one caller and very many bindings: their rights are worked out once, not for each.

    When the caller's rights change meanwhile, they are worked out anew.
    """

    def __init__(self, index: Index, who: Who) -> None:
        self._index = index
        self._who = who
        self._look()

    def __call__(self, binding: Binding) -> bool:
        if self._generation != self._index.generation(self._who):
            self._look()
        if self._sight.everything or not self._mine.isdisjoint(binding.subjects):
            return True
        if self._sight.sees(binding.scope, binding.name):
            return True
        return may_on_scope(self._index, self._who, binding.scope, "get", BINDINGS, binding.name)

    def _look(self) -> None:
        index, who = self._index, self._who
        self._mine = frozenset(index.subjects_of(who))
        self._sight = visible(index, who, "get", IAM_GROUP, BINDINGS)
        self._generation = index.generation(who)


def access_at(index: Index, who: Who, key: str) -> ScopeAccess:
    """What the caller may at a scope: console rights with wildcards spelled out, and the rules in force.

    etag: names the content, so it is the same on every replica, and whatever happened in between.
    """
    found = _access_at(index, who, key)
    found.etag = _etag_of(found)
    return found


def _access_at(index: Index, who: Who, key: str) -> ScopeAccess:
    shown = scope_text(key)
    if not sees_scope(index, who, key):
        return ScopeAccess(shown, [], [], [], "", code="ScopeNotVisible")
    return ScopeAccess(
        scope=shown,
        chain=[scope_text(level) for level in index.scopes.chain(key) if level != ANONYMOUS],
        ui_permissions=_spelled_out(index, index.ui(who, key)),
        rules=[
            ShownRule(
                groups=rule.api_groups,
                resources=rule.resources,
                verbs=rule.verbs,
                names=rule.resource_names,
                urls=rule.non_resource_urls,
            )
            for rule in dict.fromkeys(source.rule for source in rules_of(index, who, key))
        ],
        etag="",
    )


def _etag_of(access: ScopeAccess) -> str:
    """The order of the rules depends on which binding came first; it means nothing."""
    rules = sorted(map(msgspec.json.encode, access.rules))
    told = [access.scope, access.chain, access.ui_permissions, rules, access.code]
    return hashlib.blake2b(msgspec.json.encode(told), digest_size=9).hexdigest()


def _spelled_out(index: Index, held: frozenset[str]) -> list[str]:
    """Every console right that some template names and that is held, and the held ones themselves."""
    named = {ui for template in index.book.templates.values() for ui in template.ui if not ui.endswith("*")}
    return sorted({one for one in named if ui_held(one, held)} | held)


def own_scopes(index: Index, who: Who, title: Callable[[str], str] = lambda _: "") -> list[ShownScope]:
    """Scopes at which the caller is bound, each with the roles; widest first, then by name.

    title: from a scope's key to what people call it, "" for those that have only their name.
    """
    roles: dict[str, set[str]] = {}
    for binding in index.bound(index.subjects_of(who)):
        if index.role_of(binding) is not None and index.scopes.knows(binding.scope):
            roles.setdefault(binding.scope, set()).add(binding.role)
    return [
        ShownScope(scope_text(key), title(key) or name_of_scope(key), _parent(index, key), sorted(roles[key]))
        for key in sorted(roles, key=lambda key: (len(index.scopes.chain(key)), scope_text(key)))
    ]


def _parent(index: Index, key: str) -> str:
    above = [level for level in index.scopes.chain(key) if level not in (key, ANONYMOUS)]
    return scope_text(above[0]) if above else ""


def subjects_that_can(index: Index, scope: str, question: Question, limit: int, cursor: str) -> WhoCan:
    """A page of those who may do it. Groups are not expanded. Raises Problem (400)."""
    start, size = _page(limit, cursor)
    found = list(_who_can(index, scope, question).items())
    page = [ShownSubject(*_named(subject), via) for subject, via in found[start : start + size]]
    more = str(start + size) if start + size < len(found) else ""
    return WhoCan(page, len(found), True, more)


def _who_can(index: Index, scope: str, question: Question) -> dict[str, list[Via]]:
    """By either name of roles and bindings of one scope."""
    found = who_can(index, scope, question)
    if other := also_called(scope, question.group, question.resource):
        for subject, via in who_can(index, scope, question._replace(resource=other)).items():
            known = found.setdefault(subject, [])
            known += [one for one in via if one not in known]
    return found


def _page(limit: int, cursor: str) -> tuple[int, int]:
    is_ours = cursor.isascii() and cursor.isdigit() and len(cursor) <= len(str(CURSOR_MAX))
    if cursor and not is_ours:
        raise _bad("cursor", cursor, "no page has this one", "the cursor of the page before, or none")
    if not 1 <= limit <= SUBJECTS_MAX:
        raise _bad("limit", str(limit), "it is out of range", f"1 to {SUBJECTS_MAX}")
    return int(cursor or 0), limit


def _bad(field: str, value: str, why: str, accepted: str) -> Problem:
    return Problem(
        "bad-parameter", what=f'The field {field} is "{value[:200]}"', why=why, do=f"accepted: {accepted}"
    )


def _named(subject: str) -> tuple[str, str]:
    return subject_of(subject) if ":" in subject else ("Everyone", "*")


def pick(scopes: Iterable[ShownScope], kind: str, text: str) -> list[ShownScope]:
    """Scopes of one type, and with a text in name or title, as the console's switcher searches."""
    wanted = text.casefold()
    return [
        one
        for one in scopes
        if (not kind or one.scope.split("/")[-2:][0] == kind)
        and wanted in f"{name_of_scope(one.scope)}\n{one.title}".casefold()
    ]
