"""Questions that callers ask a Kubernetes API about themselves: what is asked, and the rules in force. Pure.

Shapes: authorization.k8s.io/v1, as JSON or as protobuf. Source: I4, I8; decision 022.
"""

from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from edge.audit.protobuf import field, object_in
from edge.iam.accessreview import API_VERSION, PathAttributes, ResourceAttributes
from edge.iam.explain import rules_of
from edge.iam.index import Index, Who
from edge.iam.rules import spoken_of, url_path
from edge.iam.scope import PLATFORM
from edge.iam.types import PolicyRule

ACCESS_KIND: Final = "SelfSubjectAccessReview"
RULES_KIND: Final = "SelfSubjectRulesReview"
SPEC: Final = 2
_RESOURCE_FIELDS: Final = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
_RULES_FIELDS: Final = ("namespace",)
_PATH_FIELDS: Final = ("path", "verb")


class AccessSpec(Struct, rename="camel", omit_defaults=True):
    """Selectors are not read: a question about some of the objects is taken as one about all."""

    resource_attributes: ResourceAttributes | None = None
    non_resource_attributes: PathAttributes | None = None


class AccessReview(Struct, rename="camel"):
    spec: AccessSpec
    api_version: str = API_VERSION
    kind: str = ACCESS_KIND


class RulesSpec(Struct):
    namespace: str = ""


class RulesReview(Struct, rename="camel"):
    spec: RulesSpec
    api_version: str = API_VERSION
    kind: str = RULES_KIND


class ResourceRule(Struct, rename="camel", frozen=True, omit_defaults=True):
    verbs: tuple[str, ...]
    api_groups: tuple[str, ...]
    resources: tuple[str, ...]
    resource_names: tuple[str, ...] = ()


class PathRule(Struct, rename="camel", frozen=True):
    verbs: tuple[str, ...]
    non_resource_urls: tuple[str, ...] = msgspec.field(name="nonResourceURLs")


Review = TypeVar("Review", AccessReview, RulesReview)


def read_access(body: bytes, *, protobuf: bool) -> AccessSpec:
    """Raises ValueError for what is no such question."""
    spec = _access_in_protobuf(body) if protobuf else _decoded(body, AccessReview, ACCESS_KIND).spec
    if (spec.resource_attributes is None) is (spec.non_resource_attributes is None):
        raise ValueError("it has to have spec.resourceAttributes or spec.nonResourceAttributes, and not both")
    return spec


def read_namespace(body: bytes, *, protobuf: bool) -> str:
    """The namespace whose rules are asked for. Raises ValueError."""
    spec = _rules_in_protobuf(body) if protobuf else _decoded(body, RulesReview, RULES_KIND).spec
    found = spec.namespace
    if not found or "/" in found:
        raise ValueError("it has to name a namespace in spec.namespace")
    return found


def _decoded(body: bytes, cls: type[Review], kind: str) -> Review:
    asked = msgspec.json.decode(body, type=cls)
    if (asked.api_version, asked.kind) != (API_VERSION, kind):
        raise ValueError(f"it is a {asked.kind} of {asked.api_version}"[:200])
    return asked


def _access_in_protobuf(body: bytes) -> AccessSpec:
    spec = field(object_in(body), SPEC)
    resource, path = field(spec, 1), field(spec, 2)
    return AccessSpec(
        ResourceAttributes(**_texts(resource, _RESOURCE_FIELDS)) if resource else None,
        PathAttributes(**_texts(path, _PATH_FIELDS)) if path else None,
    )


def _rules_in_protobuf(body: bytes) -> RulesSpec:
    return RulesSpec(**_texts(field(object_in(body), SPEC), _RULES_FIELDS))


def _texts(message: bytes, names: tuple[str, ...]) -> dict[str, str]:
    """The fields of a message that holds texts alone, numbered from 1."""
    return {name: field(message, number).decode() for number, name in enumerate(names, 1)}


def resource_rules(index: Index, who: Who, scope: str) -> list[ResourceRule]:
    """Rules in force at a scope, each once; what a virtual resource stands for is said as well."""
    found = {one: None for source in rules_of(index, who, scope) for one in _spelled_out(source.rule)}
    return list(found)


def path_rules(index: Index, who: Who) -> list[PathRule]:
    """Rules about paths; they hold on the platform alone."""
    rules = (source.rule for source in rules_of(index, who, PLATFORM))
    found = {
        PathRule(rule.verbs, tuple(map(url_path, rule.non_resource_urls))): None
        for rule in rules
        if rule.non_resource_urls
    }
    return list(found)


def _spelled_out(rule: PolicyRule) -> Iterator[ResourceRule]:
    if not rule.resources:
        return
    yield ResourceRule(rule.verbs, rule.api_groups, rule.resources, rule.resource_names)
    for (group, resource), verbs in spoken_of(rule):
        if group not in rule.api_groups or resource not in rule.resources:
            yield ResourceRule(verbs, (group,), (resource,), rule.resource_names)
