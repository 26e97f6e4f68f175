"""Which role templates make up a role: by name, by label, and by what those depend on. Pure.

A role takes in templates of its own scope type or a narrower one; what its selector or a dependency names
beyond that is dropped and reported, because a tenant who could label a template would otherwise widen every
role that selects the label. Source: I2; design §2 (aggregation), spec/upstream-contract §3.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from msgspec import UNSET

from edge.iam.scope import HOLDS
from edge.iam.types import IAMRole, PolicyRule, RoleTemplate
from edge_kube.meta import LabelSelector, Manifest, ObjectMeta
from edge_sdk.scopes import IAM_SCOPE_LABEL

AGGREGATE_PREFIX: Final = "iam.theriseunion.io/aggregate-to-"
DEPENDENCIES_ANNOTATION: Final = "iam.theriseunion.io/dependencies"
IGNORE_AGGREGATE_ANNOTATION: Final = "iam.theriseunion.io/ignore-aggregate"


class Template(NamedTuple):
    """What the engine keeps of a RoleTemplate."""

    name: str
    scope: str
    labels: Mapping[str, str]
    needs: tuple[str, ...]
    rules: tuple[PolicyRule, ...]
    ui: tuple[str, ...]


class Selector(NamedTuple):
    """A label selector that can be a dictionary key."""

    labels: tuple[tuple[str, str], ...]
    needs: tuple[tuple[str, str, tuple[str, ...]], ...]


class Recipe(NamedTuple):
    """What a role asks for. Roles with equal recipes share one result: the instance roles of a kind do."""

    scope: str
    names: tuple[str, ...]
    selector: Selector | None


class Resolved(NamedTuple):
    """templates: in force, sorted. missing: named and not there. dropped: of a scope the role cannot hold."""

    templates: tuple[str, ...]
    missing: tuple[str, ...]
    dropped: tuple[str, ...]


def template_of(obj: RoleTemplate) -> Template:
    meta = obj.metadata
    needs = meta.annotations.get(DEPENDENCIES_ANNOTATION, "")
    return Template(
        name=meta.name,
        scope=meta.labels.get(IAM_SCOPE_LABEL, ""),
        labels=meta.labels,
        needs=tuple(name for part in needs.split(",") if (name := part.strip())),
        rules=obj.spec.rules,
        ui=obj.spec.ui_permissions,
    )


def strays(wanted: ObjectMeta, found: ObjectMeta) -> Manifest:
    """Labels and annotations that mean rights and that somebody added to an object of ours, as the merge
    patch that takes them off; empty when there are none. Other additions are people's own."""
    labels = {
        key: None for key in found.labels if key.startswith(AGGREGATE_PREFIX) and key not in wanted.labels
    }
    marks = (DEPENDENCIES_ANNOTATION, IGNORE_AGGREGATE_ANNOTATION)
    annotations = {key: None for key in marks if key in found.annotations and key not in wanted.annotations}
    if not labels and not annotations:
        return {}
    return {"metadata": {"labels": labels, "annotations": annotations}}


def recipe_of(role: IAMRole) -> Recipe | None:
    """What the role aggregates, or None. `spec.aggregatedRoleTemplates` is output and never read."""
    asked = role.spec.aggregation_role_templates
    ignored = role.metadata.annotations.get(IGNORE_AGGREGATE_ANNOTATION) == "true"
    if asked is UNSET or ignored:
        return None
    selector = None if asked.role_selector is UNSET else selector_of(asked.role_selector)
    return Recipe(role.metadata.labels.get(IAM_SCOPE_LABEL, ""), asked.template_names, selector)


def selector_of(asked: LabelSelector) -> Selector:
    return Selector(
        labels=tuple(sorted(asked.match_labels.items())),
        needs=tuple(sorted((one.key, one.operator, one.values) for one in asked.match_expressions)),
    )


def selects(selector: Selector | None, labels: Mapping[str, str]) -> bool:
    """Kubernetes semantics, but for an empty selector: it selects nothing, so a slip gives nothing away."""
    if selector is None or not (selector.labels or selector.needs):
        return False
    if any(labels.get(key) != value for key, value in selector.labels):
        return False
    return all(_holds(labels, *need) for need in selector.needs)


def _holds(labels: Mapping[str, str], key: str, operator: str, values: tuple[str, ...]) -> bool:
    match operator:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return False


def resolve(recipe: Recipe, templates: Mapping[str, Template]) -> Resolved:
    """The templates of a recipe. Cycles of dependencies are harmless: each template is visited once."""
    holds = HOLDS.get(recipe.scope) or frozenset({recipe.scope} - {""})
    chosen: set[str] = set()
    missing: set[str] = set()
    dropped: set[str] = set()
    todo = [*recipe.names]
    todo += [name for name, template in templates.items() if selects(recipe.selector, template.labels)]
    while todo:
        name = todo.pop()
        template = templates.get(name)
        if template is None:
            missing.add(name)
        elif template.scope not in holds:
            dropped.add(name)
        elif name not in chosen:
            chosen.add(name)
            todo += template.needs
    return Resolved(tuple(sorted(chosen)), tuple(sorted(missing)), tuple(sorted(dropped)))


def cycle_among(names: Iterable[str], templates: Mapping[str, Template]) -> tuple[str, ...]:
    """The first cycle of dependencies that starts from one of the names: a path that ends where it began."""
    done: set[str] = set()
    for start in sorted(names):
        if path := _cycle_from(start, templates, done):
            return path
    return ()


def _cycle_from(start: str, templates: Mapping[str, Template], done: set[str]) -> tuple[str, ...]:
    path: list[str] = []
    todo: list[tuple[str, bool]] = [(start, False)]
    while todo:
        name, leaving = todo.pop()
        if leaving:
            done.add(path.pop())
        elif name in path:
            return (*path[path.index(name) :], name)
        elif name not in done:
            path.append(name)
            todo.append((name, True))
            todo += [(need, False) for need in templates[name].needs] if name in templates else []
    return ()
