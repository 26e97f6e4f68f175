"""The roles, templates and categories that every installation has, from `templates/*.yaml` (R12, I11, I17).

Names and meaning are those of existing installations: what people's own objects bind to keeps working. The
files are data; this module only turns them into objects.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec
import yaml
from msgspec import UNSET, Struct, UnsetType

from edge.iam.aggregation import AGGREGATE_PREFIX, DEPENDENCIES_ANNOTATION, IGNORE_AGGREGATE_ANNOTATION
from edge.iam.heartbeat import heartbeat_objects
from edge.iam.types import (
    Category,
    CategorySpec,
    IAMRole,
    IAMRoleBinding,
    IAMRoleSpec,
    PolicyRule,
    RoleAggregation,
    RoleTemplate,
    RoleTemplateSpec,
    User,
)
from edge_kube.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta
from edge_sdk.scopes import IAM_CATEGORY_LABEL, IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

BUILTIN_LABEL: Final = "iam.theriseunion.io/builtin"
MANAGED_LABEL: Final = "theriseunion.io/managed"
ALIAS_ANNOTATION: Final = "theriseunion.io/alias-name"
CREATOR_ANNOTATION: Final = "theriseunion.io/creator"
Builtin = Category | RoleTemplate | IAMRole | IAMRoleBinding | User
SCOPE_FILES: Final = ("platform", "cluster", "nodegroup", "workspace", "namespace")


class RuleData(Struct, forbid_unknown_fields=True):
    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    def rule(self) -> PolicyRule:
        return PolicyRule(
            verbs=self.verbs, api_groups=self.groups, resources=self.resources, non_resource_urls=self.urls
        )


class Title(Struct, forbid_unknown_fields=True):
    zh: str
    en: str


class TemplateData(Struct, forbid_unknown_fields=True):
    name: str
    title: Title
    rules: tuple[RuleData, ...]
    scope: str = ""
    category: str = ""
    to: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    ui: tuple[str, ...] = ()


class RoleData(Struct, forbid_unknown_fields=True):
    name: str
    scope: str
    title: Title
    value: str = ""
    label: str = ""
    from_: tuple[str, ...] = msgspec.field(default=(), name="from")
    names: tuple[str, ...] = ()
    ui: tuple[str, ...] = ()
    rules: tuple[RuleData, ...] = ()
    alone: bool = False


class CategoryData(Struct, forbid_unknown_fields=True):
    name: str
    scope: str
    icon: str
    title: Title


class ScenarioData(Struct, forbid_unknown_fields=True):
    templates: tuple[TemplateData, ...]
    roles: tuple[RoleData, ...]


@cache
def templates() -> Mapping[str, RoleTemplate]:
    """Built-in RoleTemplates by name."""
    found = [
        _template(data, scope)
        for scope in SCOPE_FILES
        for data in msgspec.convert(_read(scope), tuple[TemplateData, ...])
    ]
    found += [_template(data, data.scope) for data in _scenarios().templates]
    return {one.metadata.name: one for one in found}


@cache
def roles() -> Mapping[str, IAMRole]:
    """Built-in IAMRoles by name: those of the platform, and the pattern roles of each scope type."""
    data = (*msgspec.convert(_read("roles"), tuple[RoleData, ...]), *_scenarios().roles)
    return {one.name: _role(one) for one in data}


@cache
def categories() -> Mapping[str, Category]:
    """Built-in Categories by name."""
    data = msgspec.convert(_read("categories"), tuple[CategoryData, ...])
    return {one.name: _category(one) for one in data}


def everything() -> Iterator[Builtin]:
    """All built-in objects, in the order in which they are best made: a role after its templates.

    First what proofs of freshness are written to: until then nothing that changes something is decided.
    """
    yield from heartbeat_objects()
    yield from categories().values()
    yield from templates().values()
    yield from roles().values()


def _read(name: str) -> Any:
    return yaml.safe_load(files("edge.iam").joinpath("templates", f"{name}.yaml").read_text("utf-8"))


@cache
def _scenarios() -> ScenarioData:
    return msgspec.convert(_read("scenarios"), ScenarioData)


def _title(title: Title) -> dict[str, str]:
    text = json.dumps({"zh": title.zh, "en": title.en}, ensure_ascii=False)
    return {ALIAS_ANNOTATION: text, CREATOR_ANNOTATION: "system"}


def _template(data: TemplateData, scope: str) -> RoleTemplate:
    labels = {MANAGED_LABEL: "true", IAM_SCOPE_LABEL: scope}
    labels |= {f"{AGGREGATE_PREFIX}{role}": "" for role in data.to}
    if data.category:
        labels[IAM_CATEGORY_LABEL] = data.category
    annotations = _title(data.title)
    if data.needs:
        annotations[DEPENDENCIES_ANNOTATION] = ",".join(data.needs)
    return RoleTemplate(
        metadata=ObjectMeta(name=data.name, labels=labels, annotations=annotations),
        spec=RoleTemplateSpec(rules=tuple(one.rule() for one in data.rules), ui_permissions=data.ui),
    )


def _role(data: RoleData) -> IAMRole:
    labels = {MANAGED_LABEL: "true", IAM_SCOPE_LABEL: data.scope}
    if data.value:
        labels[IAM_SCOPE_VALUE_LABEL] = data.value
    else:
        labels[BUILTIN_LABEL] = "true"
    annotations = _title(data.title)
    if data.alone:
        annotations[IGNORE_AGGREGATE_ANNOTATION] = "true"
    spec = IAMRoleSpec(
        aggregation_role_templates=_aggregation(data),
        rules=tuple(one.rule() for one in data.rules),
        ui_permissions=data.ui,
    )
    return IAMRole(metadata=ObjectMeta(name=data.name, labels=labels, annotations=annotations), spec=spec)


def _aggregation(data: RoleData) -> RoleAggregation | UnsetType:
    if not data.label:
        return RoleAggregation(template_names=data.names) if data.names else UNSET
    scopes = (
        (LabelSelectorRequirement(key=IAM_SCOPE_LABEL, operator="In", values=data.from_),)
        if data.from_
        else ()
    )
    selector = LabelSelector(match_labels={f"{AGGREGATE_PREFIX}{data.label}": ""}, match_expressions=scopes)
    return RoleAggregation(role_selector=selector, template_names=data.names)


def _category(data: CategoryData) -> Category:
    return Category(
        metadata=ObjectMeta(
            name=data.name,
            labels={IAM_SCOPE_LABEL: data.scope, MANAGED_LABEL: "true"},
            annotations={CREATOR_ANNOTATION: "system"},
        ),
        spec=CategorySpec(icon=data.icon, display_name={"zh": data.title.zh, "en": data.title.en}),
    )
