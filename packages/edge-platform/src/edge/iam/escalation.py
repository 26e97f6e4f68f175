"""Nobody gives away a right that they do not hold: what a change would give, and what its author lacks. Pure.

Rights flow through more than bindings: through the rules of a role that is bound somewhere, a template that
such a role takes in, a group somebody is put into, a user's password, the workspace that a namespace is in,
the nodes that a group selects. Each is asked about here. As in Kubernetes, `escalate` and `bind` on the role
are the way round it. Source: I2, I15; design §6.1, S6–S8.
"""

from collections.abc import Generator, Iterator, Mapping
from typing import Final, NamedTuple

from edge.iam.aggregation import Recipe, Template, resolve, template_of
from edge.iam.facts import binding_facts, home_of, label_of, node_wants, role_facts
from edge.iam.federated import link_of
from edge.iam.index import Index, Who
from edge.iam.rolebook import Role
from edge.iam.scope import (
    HOST,
    HOST_SCOPE,
    LETTERS,
    PLATFORM,
    SYSTEM_NAMESPACES,
    kind_of_scope,
    name_of_scope,
    scope_text,
)
from edge.iam.types import IAMRole, IAMRoleBinding, PolicyRule, RoleTemplate, ScopePattern, User
from edge_kube.meta import ObjectMeta
from edge_sdk.scopes import CLUSTER_LABEL, EXT_GROUP, HOST_ROLE, IAM_GROUP, SCOPE_GROUP, WORKSPACE_LABEL

SHOWN: Final = 5
MISSING_MAX: Final = 100
"""A change is refused for one right that its author lacks; beyond so many, no more are looked for."""
ROLES: Final = "iamroles"


class Lack(NamedTuple):
    """What an author lacks. verb: on `roles` of the platform, is the way round it; "" where there is none."""

    text: str
    verb: str = ""
    role: str = ""


class Rights(NamedTuple):
    """What is given: rules, and console rights."""

    rules: tuple[PolicyRule, ...]
    ui: tuple[str, ...]


Steps = Iterator[Lack | None]
"""What is lacked, in short steps. None: a step that found nothing. Between two, others may have a turn."""


def role_lacks(index: Index, who: Who, new: IAMRole, old: IAMRole | None) -> Steps:
    """The rules of a role are given at the scope it is for, and wherever it is bound already."""
    home = _home(index, new.metadata)
    facts = role_facts(new, home)
    if facts is None or (old is not None and facts == role_facts(old, home)):
        return
    templates = index.book.templates
    chosen = resolve(facts.recipe, templates).templates if facts.recipe else ()
    rules = (*facts.rules, *(rule for name in chosen for rule in templates[name].rules))
    ui = (*facts.ui, *(one for name in chosen for one in templates[name].ui))
    rights, scopes = Rights(rules, ui), {facts.anchor or PLATFORM, *_bound_at(index, facts.name)}
    if len(scopes) == 1 or not (yield from _holds_everywhere(index, who, rights)):
        yield from _role_lacks(index, who, scopes, rights, facts.name)


def template_lacks(index: Index, who: Who, new: RoleTemplate, old: RoleTemplate | None) -> Steps:
    """A template counts for every role that takes it in, also through others, wherever that role counts."""
    template = template_of(new)
    if old is not None and template == template_of(old):
        return
    after: Mapping[str, Template] = {**index.book.templates, template.name: template}
    gains: dict[Recipe, Rights | None] = {}  # thousands of roles have the same recipe
    for role in tuple(index.book.roles.values()):
        recipe = role.facts.recipe
        if recipe is None:
            continue
        if recipe not in gains:
            rights = _gained(recipe, index.book.templates, after, template.name)
            is_free = not rights.rules and not rights.ui
            is_free = is_free or (yield from _holds_everywhere(index, who, rights))
            gains[recipe] = None if is_free else rights
        if (rights := gains[recipe]) is not None:
            name = role.facts.name
            scopes = {role.facts.anchor or PLATFORM, *_bound_at(index, name)}
            yield from _role_lacks(index, who, scopes, rights, name)


def _gained(
    recipe: Recipe, before: Mapping[str, Template], after: Mapping[str, Template], changed: str
) -> Rights:
    """What a recipe comes to by a changed template beyond what it was."""
    had = set(resolve(recipe, before).templates)
    now = resolve(recipe, after).templates
    gained = [after[name] for name in now if name not in had or name == changed]
    rules = tuple(rule for one in gained for rule in one.rules)
    ui = tuple(right for one in gained for right in one.ui)
    return Rights(rules, ui)


def binding_lacks(index: Index, who: Who, new: IAMRoleBinding, old: IAMRoleBinding | None) -> Steps:
    """The role's rights at the binding's scope; a role that is not there yet may become anything."""
    home = _home(index, new.metadata)
    facts = binding_facts(new, home)
    if facts is None or (old is not None and facts == binding_facts(old, home)):
        return
    role = index.book.roles.get(facts.role)
    if role is None:
        if not index.check(who, facts.scope, "bind", IAM_GROUP, ROLES, facts.role):
            text = f"there is no role {facts.role} yet, and binding it needs the verb bind on it"
            yield Lack(text, "bind", facts.role)
    elif role.fits(facts.scope, kind_of_scope(facts.scope)):
        yield from _bound_lack(index, who, facts.scope, role)


def user_lacks(index: Index, who: Who, new: User, old: User | None) -> Steps:
    """Groups bring what they are bound to; a new user, or another's password or link, what the user is."""
    name, author = new.metadata.name, who if isinstance(who, str) else who[0]
    before = set(old.spec.groups) if old is not None else set[str]()
    gained = {f"Group:{group}" for group in new.spec.groups if group not in before}
    is_taken_over = old is not None and author != name and _opened_by(old) != _opened_by(new)
    if old is None or is_taken_over:
        gained |= _is(new)
    return _subjects_lack(index, who, gained)


def takeover_lacks(index: Index, who: Who, user: User) -> Steps:
    """Who can be somebody else, by a password set for them or by acting as them, must hold what they hold."""
    return _subjects_lack(index, who, _is(user))


def namesakes_lack(index: Index, who: Who, namespace: str) -> Steps:
    """A namespace that is made anew has service accounts of its own, whom old bindings may name."""
    if index.scopes.knows(f"n/{HOST}/{namespace}"):
        return
    accounts = index.subjects_from(f"User:system:serviceaccount:{namespace}:")
    yield from _bound_to(index, who, {*accounts, f"Group:system:serviceaccounts:{namespace}"})


def _is(user: User) -> set[str]:
    return {f"User:{user.metadata.name}", *(f"Group:{group}" for group in user.spec.groups)}


def _subjects_lack(index: Index, who: Who, subjects: set[str]) -> Steps:
    return _bound_to(index, who, {one for one in subjects if not one.startswith("Group:system:")})


def _bound_to(index: Index, who: Who, subjects: set[str]) -> Steps:
    for binding in tuple(index.bound(sorted(subjects))):
        role = index.role_of(binding)
        if role is not None:
            yield from _bound_lack(index, who, binding.scope, role)


def pattern_lacks(index: Index, who: Who, new: ScopePattern, old: ScopePattern | None) -> Iterator[Lack]:
    """A pattern says for the whole platform where requests are decided, whichever namespace it is in."""
    if old is not None and old.spec == new.spec:
        return
    verb = "create" if old is None else "update"
    if not index.check(who, PLATFORM, verb, IAM_GROUP, "scopepatterns", new.metadata.name):
        text = f"it registers a scope type for the whole platform, which needs {verb} on scopepatterns there"
        yield Lack(text, "escalate")


def namespace_lacks(index: Index, who: Who, new: ObjectMeta, old: ObjectMeta | None) -> Iterator[Lack]:
    """Into and out of a workspace: both must let the author do it. System namespaces join none.

    Out of all of them, or from none into one, the cluster must: it alone is above what is in none.
    """
    there, was = new.labels.get(WORKSPACE_LABEL, ""), old.labels.get(WORKSPACE_LABEL, "") if old else ""
    if there == was:
        return
    if new.name in SYSTEM_NAMESPACES or new.name.startswith("kube-"):
        yield Lack(f"{new.name} is a namespace of the cluster itself and belongs to no tenant")
        return
    for workspace in filter(None, (was, there)):
        scope = f"w/{HOST}/{workspace}"
        may = index.check(who, scope, "update", SCOPE_GROUP, "workspaces", workspace)
        if old is None:
            may = may or index.check(who, scope, "create", "", "namespaces")
        if not may:
            needed = "update on the workspace" + (", or create on namespaces there" if old is None else "")
            yield Lack(f"the label {WORKSPACE_LABEL} moves rights at {scope_text(scope)}; it needs {needed}")
    if not there:
        why = "a namespace that leaves its workspace leaves its quota too"
        yield from cluster_lacks(index, who, "workspaces", ObjectMeta(name=was), why)
    elif old is not None and not was:
        why = "a namespace that is in no workspace falls to the administrators of the one that it joins"
        yield from cluster_lacks(index, who, "workspaces", ObjectMeta(name=there), why)


def node_lacks(index: Index, who: Who, new: ObjectMeta, old: ObjectMeta) -> Iterator[Lack]:
    """Into and out of node groups by a label: each group must let the author do it, those that the node stays
    in too. One that is in none is the cluster's to give away."""
    before, after = set(node_wants(old, HOST)), set(node_wants(new, HOST))
    joined = after - before
    for scope in sorted(before ^ after | (before if joined else set())):
        group = name_of_scope(scope)
        if not index.check(who, scope, "update", SCOPE_GROUP, "nodegroups", group):
            moved = f"its labels move rights at {scope_text(scope)}; it needs update on the node group"
            yield Lack(moved, "escalate")
    if joined and not before:
        why = "a node that is in no group falls to the administrators of the one that it joins"
        yield from cluster_lacks(index, who, "nodegroups", ObjectMeta(name=name_of_scope(min(joined))), why)


def moved_lacks(index: Index, who: Who, kind: str, new: ObjectMeta, old: ObjectMeta | None) -> Iterator[Lack]:
    """A workspace or node group that goes to another cluster: rights come to count there."""
    if old is None or new.labels.get(CLUSTER_LABEL, "") == old.labels.get(CLUSTER_LABEL, ""):
        return
    for cluster in (home_of(old), home_of(new)):
        if not index.check(who, f"c/{cluster}", "update", SCOPE_GROUP, f"{kind}s", new.name):
            yield Lack(
                f"the label {CLUSTER_LABEL} moves rights; it needs update on {kind}s at cluster/{cluster}"
            )


def waiting_lacks(index: Index, who: Who, kind: str, meta: ObjectMeta) -> Iterator[Lack]:
    """A new workspace or node group: what was put into one of that name before there was one, or was left
    behind by one that is gone, must not fall to whoever makes the name their own."""
    if index.scopes.inside().get(f"{LETTERS[kind]}/{home_of(meta)}/{meta.name}"):
        what = "namespaces" if kind == "workspace" else "nodes"
        why = (
            f"there are {what} labelled for a {kind} {meta.name} already, and its maker would administer them"
        )
        yield from cluster_lacks(index, who, f"{kind}s", meta, why)


def stands_for_host_lacks(index: Index, who: Who, new: ObjectMeta, old: ObjectMeta | None) -> Iterator[Lack]:
    """What is done in a Cluster that stands for the host, such as tainting its nodes, is done in the host."""
    key, value = HOST_ROLE
    if new.labels.get(key) != value or (old is not None and old.labels.get(key) == value):
        return
    if not index.check(who, HOST_SCOPE, "update", SCOPE_GROUP, "clusters", HOST):
        yield Lack(
            f"the label {key}={value} makes it stand for the host; it needs update on clusters at "
            f"{scope_text(HOST_SCOPE)}",
            "escalate",
        )


def installation_lacks(index: Index, who: Who, verb: str, cluster: str) -> Iterator[Lack]:
    """A chart is installed with every right in its cluster, whichever namespace its Component is in."""
    scope = f"c/{cluster}"
    if not index.check(who, scope, verb, EXT_GROUP, "components"):
        yield Lack(
            f"its chart is installed with every right in the cluster; it needs {verb} on components at "
            f"{scope_text(scope)}",
            "escalate",
        )


def selection_lacks(index: Index, who: Who, meta: ObjectMeta) -> Iterator[Lack]:
    """Which nodes a group selects is decided by who may update groups in the whole cluster."""
    why = "spec.selector takes nodes into the group, and with them the rights on them"
    return cluster_lacks(index, who, "nodegroups", meta, why, verb="")


def cluster_lacks(
    index: Index, who: Who, plural: str, meta: ObjectMeta, why: str, verb: str = "escalate"
) -> Iterator[Lack]:
    """What bounds a workspace or node group is not its own administrators' to change. verb: of the `Lack`."""
    cluster = home_of(meta)
    if not index.check(who, f"c/{cluster}", "update", SCOPE_GROUP, plural, meta.name):
        yield Lack(f"{why}; it needs update on {plural} at cluster/{cluster}", verb)


def manager_lacks(index: Index, who: Who, meta: ObjectMeta) -> Steps:
    """A workspace's manager is bound to its admin role."""
    role = index.book.roles.get("workspace-admin")
    if role is not None:
        yield from _bound_lack(index, who, f"w/{home_of(meta)}/{meta.name}", role)


def _bound_lack(index: Index, who: Who, scope: str, role: Role) -> Steps:
    name = role.facts.name
    if index.check(who, scope, "bind", IAM_GROUP, ROLES, name):
        return
    rights = Rights(tuple(source.rule for source in role.rules()), tuple(role.ui()))
    if missing := (yield from _missing(index, who, scope, rights)):
        yield Lack(f"it gives the role {name} at {scope_text(scope)}, {_held(missing)}", "bind", name)


def _holds_everywhere(index: Index, who: Who, rights: Rights) -> Generator[None, None, bool]:
    """Whether the author holds all of it on the platform, and so at every scope: thousands need no look."""
    return not (yield from _missing(index, who, PLATFORM, rights))


def _role_lacks(index: Index, who: Who, scopes: set[str], rights: Rights, name: str) -> Steps:
    """What the author lacks to give the rights through the role of this name at the scopes."""
    for scope in sorted(scopes):
        yield None
        if index.check(who, scope, "escalate", IAM_GROUP, ROLES, name):
            continue
        if missing := (yield from _missing(index, who, scope, rights)):
            at = scope_text(scope)
            yield Lack(f"it gives rights through the role {name} at {at}, {_held(missing)}", "escalate", name)


def _missing(index: Index, who: Who, scope: str, rights: Rights) -> Generator[None, None, list[str]]:
    """As `Index.missing`, a rule a step; of very much that is missing, some."""
    found: dict[str, None] = {}
    for rule in rights.rules:
        for one in index.missing_of(who, scope, rule):
            found[one] = None
        yield None
        if len(found) > MISSING_MAX:
            break
    return list(found | dict.fromkeys(index.missing_ui(who, scope, rights.ui)))


def _held(missing: list[str]) -> str:
    left = "many" if len(missing) > MISSING_MAX else str(len(missing) - SHOWN)
    more = f" and {left} more" if len(missing) > SHOWN else ""
    return f"and its author does not hold there: {', '.join(missing[:SHOWN])}{more}"


def _bound_at(index: Index, role: str) -> set[str]:
    return {index.bindings[name].scope for name in index.of_role.get(role, ())}


def _home(index: Index, meta: ObjectMeta) -> str:
    label = label_of(meta)
    return index.scopes.homes.get((label.kind, label.value), HOST)


def _opened_by(user: User) -> tuple[str, str]:
    """What lets somebody sign in as the user: a password, or being who they are at a directory."""
    return user.spec.encrypted_password, link_of(user)
