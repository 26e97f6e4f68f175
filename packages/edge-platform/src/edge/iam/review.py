"""Grants that deserve a second look: dangling, unused, too wide (I19). Pure.

Known here is what the index knows. When somebody last signed in or used a right is not, and is not guessed.
"""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from edge.iam.facts import subject_of
from edge.iam.index import Binding, Index
from edge.iam.rolebook import Role
from edge.iam.scope import ANONYMOUS, HOST, HOST_SCOPE, PLATFORM, cluster_of_scope, kind_of_scope, scope_text
from edge.iam.types import PolicyRule

KINDS: Final = ("dangling", "unused", "tooWide")
Sees = Callable[[Binding], bool]


class Finding(Struct):
    """One reason to look at a binding again. subject "" concerns the whole binding."""

    kind: str
    binding: str
    role: str
    scope: str
    subject: str
    reason: str
    remedy: str


def filled_groups(index: Index) -> frozenset[str]:
    """Groups with at least one active user."""
    return frozenset(group for groups in index.users.values() for group in groups)


def review(index: Index, binding: Binding, filled: frozenset[str], sees: Sees) -> list[Finding]:
    """What is wrong with one binding. sees: whether the asker may read a binding it is compared with."""
    role = index.role_of(binding)
    if role is None or _is_gone(index, binding.scope):
        return [_finding("dangling", binding, _why_nothing(index, binding), _delete(binding))]
    found = list(_about_subjects(index, binding, filled))
    if not _given(role):
        found.append(_finding("unused", binding, f"the role {binding.role} gives nothing", _delete(binding)))
        return found
    if any(_is_everything(rule) for rule in _rules(role)):
        why = f"the role {binding.role} allows every verb on every resource at {scope_text(binding.scope)}"
        found.append(_finding("tooWide", binding, why, f"bind a narrower role, then {_delete(binding)}"))
    found += _covered(index, binding, role, sees)
    return found


def _about_subjects(index: Index, binding: Binding, filled: frozenset[str]) -> Iterator[Finding]:
    for subject in binding.subjects:
        kind, name = subject_of(subject)
        if kind == "User" and not name.startswith("system:") and name not in index.users:
            why = f"the user {name} does not exist or is disabled"
            yield _finding("dangling", binding, why, _take_out(subject, binding), subject)
        if kind == "Group" and not name.startswith("system:"):
            if name not in filled:
                why = f"no active user is in the group {name}"
                yield _finding("unused", binding, why, _take_out(subject, binding), subject)
            if binding.scope == PLATFORM:
                why = f"everybody in the group {name} has it on the whole platform"
                yield _finding("tooWide", binding, why, "bind the group at a narrower scope", subject)


def _covered(index: Index, binding: Binding, role: Role, sees: Sees) -> Iterator[Finding]:
    """Grants that another grant of the same subject gives already; of two equal ones, the later by name."""
    levels = [level for level in index.scopes.chain(binding.scope) if level != ANONYMOUS]
    given = _given(role)
    for subject in binding.subjects:
        for other in sorted(index.bound((subject,))):
            if other.name == binding.name or other.scope not in levels or not sees(other):
                continue
            wider = index.role_of(other)
            if wider is None or not given <= _given(wider):
                continue
            same = other.scope == binding.scope and _given(wider) == given
            if not same or other.name < binding.name:
                why = (
                    f"binding {other.name} (role {other.role} at {scope_text(other.scope)}) gives it already"
                )
                yield _finding("tooWide", binding, why, _take_out(subject, binding), subject)
                break


def _why_nothing(index: Index, binding: Binding) -> str:
    role = index.book.roles.get(binding.role)
    if role is None:
        return f"the role {binding.role} does not exist"
    if not role.fits(binding.scope, kind_of_scope(binding.scope)):
        return f"the role {binding.role} is for another scope"
    if _is_gone(index, binding.scope):
        return f"{scope_text(binding.scope)} does not exist"
    return f"{scope_text(binding.scope)} was deleted and made again since"


def _is_gone(index: Index, scope: str) -> bool:
    """What lies in a member cluster may only be out of reach, so it counts as gone with its cluster alone."""
    cluster = cluster_of_scope(scope)
    away = cluster != HOST and index.scopes.knows(f"c/{cluster}")
    return scope not in (PLATFORM, HOST_SCOPE) and not away and not index.scopes.knows(scope)


def _rules(role: Role) -> Iterator[PolicyRule]:
    return (source.rule for table in role.tables() for source in table.sources)


def _given(role: Role) -> set[PolicyRule | str]:
    return {*_rules(role), *(ui for table in role.tables() for ui in table.ui)}


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
