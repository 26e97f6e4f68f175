"""What the built-in objects, roles and bindings should look like. Pure; equal input gives equal plans."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from msgspec import structs

from edge.iam.aggregation import Resolved, Template, cycle_among, recipe_of, resolve, strays
from edge.iam.facts import is_known_type, label_of, role_facts
from edge.iam.native import left_out
from edge.iam.scope import HOST
from edge.iam.types import (
    Category,
    IAMRole,
    IAMRoleBinding,
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
        return condition_of(ACCEPTED, True, "RegisteredType", message, generation)
    else:
        return condition_of(ACCEPTED, True, "ScopeKnown", "", generation)
    return condition_of(ACCEPTED, False, "ScopeUnknown", message, generation)


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
        return condition_of(RESOLVED, True, "AllFound", "", generation)
    return condition_of(RESOLVED, False, reason, f"{message} The other templates are in force.", generation)


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
    return (condition_of(NOT_PROJECTED, True, "NotExpressible", message, role.metadata.generation),)


def condition_of(kind: str, holds: bool, reason: str, message: str, generation: int) -> Condition:
    status = "True" if holds else "False"
    return Condition(type=kind, status=status, reason=reason, message=message, observed_generation=generation)
