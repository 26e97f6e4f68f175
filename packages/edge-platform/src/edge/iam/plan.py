"""What the built-in objects, roles and bindings should look like. Pure; equal input gives equal plans."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from msgspec import structs

from edge.iam.aggregation import Resolved, Template, cycle_among, recipe_of, resolve, strays
from edge.iam.facts import is_known_type, label_of, role_facts
from edge.iam.native import left_out
from edge.iam.scope import HOST, LETTERS, kind_of_scope
from edge.iam.types import (
    Category,
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingStatus,
    IAMRoleStatus,
    PolicyRule,
    RoleTemplate,
    User,
)
from edge_kube.meta import Condition, Model, Resource
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

T = TypeVar("T", bound=Resource)

ACCEPTED: Final = "Accepted"
RESOLVED: Final = "TemplatesResolved"
NOT_PROJECTED: Final = "NotProjected"
LISTED_MAX: Final = 10

Builtin = Category | RoleTemplate | IAMRole | IAMRoleBinding | User
Find = Callable[[type[Resource], str], Resource | None]


def plan_builtins(wanted: Iterable[Builtin], find: Find) -> tuple[Builtin, ...]:
    """The built-in objects that are missing or changed. find: what there is, by type and name."""
    return tuple(one for one in wanted if not _stands(one, find(type(one), one.metadata.name)))


def _stands(wanted: Builtin, found: Resource | None) -> bool:
    if found is None or found.metadata.deletion_timestamp:
        return found is not None  # one that is being deleted can only be made again when it is gone
    if not _covers(found.metadata.labels, wanted.metadata.labels):
        return False
    if not _covers(found.metadata.annotations, wanted.metadata.annotations):
        return False
    return _spec(found) == _spec(wanted) and not strays(wanted.metadata, found.metadata)


def _covers(found: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return wanted.items() <= found.items()


def _spec(obj: Resource) -> Model | None:
    """The part of an object that people may set; the list of templates in force is output."""
    if isinstance(obj, IAMRole):
        return structs.replace(obj.spec, aggregated_role_templates=())
    return obj.spec if isinstance(obj, Category | RoleTemplate | IAMRoleBinding | User) else None


class RolePlan(Model):
    """templates: to be written to the role when not None. status: the whole of it."""

    templates: tuple[str, ...] | None
    status: IAMRoleStatus


def plan_role(
    role: IAMRole, templates: Mapping[str, Template], bindings: Iterable[IAMRoleBinding]
) -> RolePlan:
    """bindings: those that name the role."""
    recipe = recipe_of(role)
    resolved = resolve(recipe, templates) if recipe else Resolved((), (), ())
    members = {
        (subject.kind, subject.namespace, subject.name)
        for binding in bindings
        for subject in binding.spec.subjects
    }
    rules = (*role.spec.rules, *(rule for name in resolved.templates for rule in templates[name].rules))
    conditions = (
        _role_accepted(role),
        _templates_resolved(role, resolved, templates),
        *_not_projected(role, rules),
    )
    stands = role.spec.aggregated_role_templates == resolved.templates
    return RolePlan(
        templates=None if stands else resolved.templates,
        status=IAMRoleStatus(member_count=len(members), conditions=conditions),
    )


def _role_accepted(role: IAMRole) -> Condition:
    label = label_of(role.metadata)
    generation = role.metadata.generation
    if not label.kind:
        message = (
            f"The role gives nothing: it has no label {IAM_SCOPE_LABEL}. Set it to platform, cluster, "
            "workspace, nodegroup, namespace or node, or to a type that a ScopePattern registers."
        )
    elif role_facts(role) is None:
        message = (
            f"The role gives nothing: its label {IAM_SCOPE_VALUE_LABEL} is {label.value!r}, which is no "
            f"{label.kind}. A platform role is for global; leave it out for a role of any {label.kind}."
        )
    elif not is_known_type(label.kind):
        message = f"The role counts where a ScopePattern registers the scope type {label.kind}."
        return _condition(ACCEPTED, True, "RegisteredType", message, generation)
    else:
        return _condition(ACCEPTED, True, "ScopeKnown", "", generation)
    return _condition(ACCEPTED, False, "ScopeUnknown", message, generation)


def _templates_resolved(role: IAMRole, found: Resolved, templates: Mapping[str, Template]) -> Condition:
    generation = role.metadata.generation
    cycle = cycle_among(found.templates, templates)
    if found.missing:
        reason, message = "TemplatesMissing", f"No RoleTemplate is called {', '.join(found.missing)}."
    elif found.dropped:
        names = ", ".join(found.dropped)
        reason = "TemplatesTooWide"
        message = f"Left out, because they are for a wider or another scope than the role: {names}."
    elif cycle:
        reason, message = "DependencyCycle", f"Templates depend on each other: {' → '.join(cycle)}."
    else:
        return _condition(RESOLVED, True, "AllFound", "", generation)
    return _condition(RESOLVED, False, reason, f"{message} The other templates are in force.", generation)


def _not_projected(role: IAMRole, rules: tuple[PolicyRule, ...]) -> tuple[Condition, ...]:
    """Told only where there is a difference between the gateway and plain kubectl (I3)."""
    label = label_of(role.metadata)
    left = left_out(rules, label.kind, on_host=label.value in ("", HOST))
    if not left:
        return ()
    more = f" and {len(left) - LISTED_MAX} more" if len(left) > LISTED_MAX else ""
    message = (
        f"Native RBAC cannot say {', '.join(left[:LISTED_MAX])}{more} at a {label.kind}: the gateway allows "
        "it, kubectl past the gateway does not. Bind a role at a wider scope where kubectl needs it."
    )
    return (_condition(NOT_PROJECTED, True, "NotExpressible", message, role.metadata.generation),)


def plan_binding(
    binding: IAMRoleBinding, role: IAMRole | None, registered: Iterable[str]
) -> IAMRoleBindingStatus:
    """registered: scope types of ScopePatterns that are in force."""
    return IAMRoleBindingStatus(conditions=(_binding_accepted(binding, role, set(registered)),))


def _binding_accepted(binding: IAMRoleBinding, role: IAMRole | None, registered: set[str]) -> Condition:
    generation, name = binding.metadata.generation, binding.spec.role_ref.name
    label = label_of(binding.metadata)
    key = label.key()
    types = ", ".join((*LETTERS, *sorted(registered)))
    if key is not None and not (is_known_type(label.kind) or label.kind in registered):
        return _condition(
            ACCEPTED, False, "ScopeUnknown",
            f"The binding gives nothing: there is no scope type {label.kind} (label {IAM_SCOPE_LABEL}). It "
            f"counts once a ScopePattern registers it. There are {types}.",
            generation,
        )  # fmt: skip
    if key is None:
        return _condition(
            ACCEPTED, False, "ScopeUnknown",
            f"The binding gives nothing: its labels {IAM_SCOPE_LABEL}={label.kind or '(none)'} and "
            f"{IAM_SCOPE_VALUE_LABEL}={label.value or '(none)'} name no scope. For the platform use "
            "platform and global; else a scope type and the name of its object.", generation,
        )  # fmt: skip
    if role is None:
        message = f"The binding gives nothing: there is no IAMRole {name}. Make it, or bind another one."
        return _condition(ACCEPTED, False, "RoleMissing", message, generation)
    facts = role_facts(role)
    if facts is None or facts.scope != kind_of_scope(key) or facts.anchor not in ("", key):
        theirs = label_of(role.metadata)
        return _condition(
            ACCEPTED, False, "ScopeMismatch",
            f"The binding gives nothing: the role {name} is for {theirs.kind or 'no scope'} "
            f"{theirs.value or '(any)'}, the binding for {label.kind} {label.value}. Bind a role of that "
            "scope, or change the labels of the role.", generation,
        )  # fmt: skip
    if not binding.spec.subjects:
        message = "Nobody is bound: spec.subjects is empty."
        return _condition(ACCEPTED, True, "NoSubjects", message, generation)
    return _condition(ACCEPTED, True, "InForce", "", generation)


def _condition(kind: str, holds: bool, reason: str, message: str, generation: int) -> Condition:
    status = "True" if holds else "False"
    return Condition(type=kind, status=status, reason=reason, message=message, observed_generation=generation)
