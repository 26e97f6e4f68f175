"""Every kind of the field contract is generated as the contract says: nothing is removed, nothing changes
type, nothing that was optional is required, and no value that was accepted is refused. Additions are allowed.

Requirements: the 18 kinds of tests/contract/crd-contract.txt; C1, A1, N1, I2, K1.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge.apps import types as apps
from edge.clusters import types as clusters
from edge.components import types as components
from edge.iam import types as iam
from edge.nodes import types as nodes
from edge.operate import types as operate
from edge.security import types as security
from edge.tenancy import types as tenancy
from edge_kube.crd import crd_of
from edge_kube.meta import Resource

CONTRACT = Path(__file__).parents[1] / "contract" / "crd-contract.txt"
HEADER = re.compile(r"===== (\S+) (\w+) \((\w+); short: (\S+)\) (\w+)")
META = re.compile(r"version (\w+) \| status subresource: (yes|no) \| columns: (.*)")
FIELD = re.compile(r"^( *)(\w+)(\*?): ?(.*)$")
KINDS: tuple[type[Resource], ...] = (
    apps.AppCategory,
    apps.ApplicationDeployment,
    apps.Application,
    apps.ApplicationVersion,
    components.Component,
    iam.Category,
    iam.IAMRoleBinding,
    iam.IAMRole,
    iam.LoginRecord,
    operate.ReverseProxy,
    iam.RoleTemplate,
    iam.ScopePattern,
    iam.User,
    security.ImageRepository,
    security.RegistryRepository,
    clusters.Cluster,
    nodes.NodeGroup,
    tenancy.Workspace,
)
# Keywords that refuse values; the contract writes each one it has.
LIMITS = ("enum", "pattern", "maxLength", "minLength", "minimum", "maximum", "maxItems", "minItems")


@dataclass
class Field:
    """One line of the contract. type: as written, without attributes such as format=int32."""

    type: str
    required: bool
    attributes: dict[str, str]
    fields: dict[str, "Field"] = field(default_factory=dict[str, "Field"])


@dataclass
class Promise:
    """One kind of the contract."""

    group: str
    kind: str
    plural: str
    short: str
    scope: str
    status: bool
    version: str
    columns: list[tuple[str, str]]
    fields: dict[str, Field]


def contract() -> dict[str, Promise]:
    """group/kind → what was promised, read from the contract's text."""
    found: dict[str, Promise] = {}
    for block in CONTRACT.read_text().strip().split("\n\n"):
        lines = block.strip().splitlines()
        head = HEADER.match(lines[0])
        if head is None:
            continue
        meta = META.match(lines[1])
        assert meta is not None, lines[1]
        group, kind, plural, short, scope = head.groups()
        columns = [(name, path) for name, _, path in (part.partition("=") for part in meta[3].split(", "))]
        found[f"{group}/{kind}"] = Promise(
            group, kind, plural, short, scope, meta[2] == "yes", meta[1], columns, fields_of(lines[2:])
        )
    return found


def fields_of(lines: list[str]) -> dict[str, Field]:
    root = Field("object", required=False, attributes={})
    path: list[tuple[int, Field]] = [(-1, root)]
    for line in lines:
        match = FIELD.match(line)
        assert match is not None, line
        indent, name, star, rest = match.groups()
        words = [word for word in rest.split() if word != "+any" and "=" not in word]
        attributes = dict(word.split("=", 1) for word in rest.split() if "=" in word)
        if "+any" in rest.split():
            attributes["any"] = "true"
        item = Field(words[0] if words else "object", bool(star), attributes)
        while path[-1][0] >= len(indent):
            path.pop()
        path[-1][1].fields[name] = item
        path.append((len(indent), item))
    return root.fields


def differences(path: str, promised: Field, schema: dict[str, Any]) -> list[str]:
    """What a generated schema breaks of a promised field, one sentence each."""
    kind = promised.type
    if kind.startswith("[]"):
        if schema.get("type") != "array":
            return [f"{path}: promised a list, generated {schema.get('type')}"]
        if "Condition" in kind:
            keys = schema.get("x-kubernetes-list-map-keys")
            return [] if keys == ["type"] else [f"{path}: conditions are merged by type"]
        inner = Field(kind[2:], required=False, attributes=promised.attributes, fields=promised.fields)
        return differences(f"{path}[]", inner, schema["items"])
    if kind.startswith("{"):
        value = schema.get("additionalProperties", {}).get("type")
        return [] if value == kind[1:-1] else [f"{path}: promised a map of {kind}, generated {value}"]
    if "LabelSelectorRequirement" in kind:
        return [] if set(schema["properties"]) == {"key", "operator", "values"} else [f"{path}: wrong fields"]
    return scalar_differences(path, promised, schema) + field_differences(path, promised, schema)


def scalar_differences(path: str, promised: Field, schema: dict[str, Any]) -> list[str]:
    found: list[str] = []
    if schema.get("type") != promised.type:
        found.append(f"{path}: promised {promised.type}, generated {schema.get('type')}")
    wanted = promised.attributes
    if (schema.get("format") or None) != wanted.get("format"):
        found.append(f"{path}: promised format {wanted.get('format')}, generated {schema.get('format')}")
    if ("any" in wanted) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        found.append(f"{path}: unknown fields must be preserved")
    default = schema.get("default")
    if (str(default) if default is not None else None) != wanted.get("default"):
        found.append(f"{path}: promised default {wanted.get('default')}, generated {default}")
    found += [
        f"{path}: {limit} {schema[limit]} refuses what the contract accepts"
        for limit in LIMITS
        if limit in schema and str(schema[limit]) != wanted.get(limit)
    ]
    if "maxLength" in wanted and "maxLength" not in schema:
        found.append(f"{path}: promised maxLength {wanted['maxLength']}")
    return found


def field_differences(path: str, promised: Field, schema: dict[str, Any]) -> list[str]:
    properties: dict[str, Any] = schema.get("properties", {})
    found = [f"{path}.{name}: is missing" for name in promised.fields if name not in properties]
    required = {name for name, item in promised.fields.items() if item.required}
    if set(schema.get("required", ())) != required:
        found.append(f"{path}: promised {sorted(required)} required, generated {schema.get('required')}")
    for name, item in promised.fields.items():
        if name in properties:
            found += differences(f"{path}.{name}", item, properties[name])
    return found


def crds() -> dict[str, dict[str, Any]]:
    made = [crd_of(cls) for cls in KINDS]
    return {f"{crd['spec']['group']}/{crd['spec']['names']['kind']}": crd for crd in made}


def test_the_contract_is_read_whole() -> None:
    promised = contract()
    assert len(promised) == 18
    deployment = promised["app.theriseunion.io/ApplicationDeployment"].fields["spec"].fields
    assert deployment["version"] == Field("string", required=True, attributes={})
    override = deployment["topologies"].fields["workloadOverride"]
    assert override.attributes == {"any": "true"}
    replicas = override.fields["deployments"].fields["spec"].fields["replicas"]
    assert replicas == Field("integer", required=False, attributes={"format": "int32"})


def test_a_broken_promise_is_found() -> None:
    crd = crd_of(nodes.NodeGroup)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    template = schema["properties"]["spec"]["properties"]["template"]["properties"]
    template["taints"]["type"] = "string"
    del template["labels"]
    schema["required"] = ["spec"]
    promise = contract()["scope.theriseunion.io/NodeGroup"]
    found = field_differences("", Field("object", False, {}, promise.fields), schema)
    assert found == [
        ": promised [] required, generated ['spec']",
        ".spec.template.labels: is missing",
        ".spec.template.taints: promised a list, generated string",
    ]


def test_exactly_the_promised_kinds_are_generated() -> None:
    assert set(crds()) == set(contract())


@pytest.mark.parametrize("name", sorted(contract()))
def test_a_kind_keeps_its_fields_types_and_requirements(name: str) -> None:
    promise, crd = contract()[name], crds()[name]
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert field_differences("", Field("object", False, {}, promise.fields), schema) == []


@pytest.mark.parametrize("name", sorted(contract()))
def test_a_kind_keeps_its_names_scope_columns_and_status(name: str) -> None:
    promise, crd = contract()[name], crds()[name]
    spec = crd["spec"]
    version = spec["versions"][0]
    columns = [(column["name"], column["jsonPath"]) for column in version["additionalPrinterColumns"]]
    assert spec["names"]["plural"] == promise.plural
    assert spec["names"].get("shortNames", ["-"]) == [promise.short]
    assert spec["scope"] == promise.scope
    assert version["name"] == promise.version
    assert ("subresources" in version) == promise.status
    assert columns == promise.columns
    assert "edge" in spec["names"]["categories"]


@pytest.mark.parametrize("cls", KINDS, ids=lambda cls: cls.__name__)
def test_every_field_has_a_description_for_kubectl_explain(cls: type[Resource]) -> None:
    schema = crd_of(cls)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert undescribed("", {**schema, "properties": {**schema["properties"], "metadata": None}}) == []


def undescribed(path: str, schema: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for name, inner in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        if inner is None or "status" in where.split("."):
            continue
        if "description" not in inner and not inner.get("items", {}).get("description") and path:
            found.append(where)
        found += undescribed(where, inner) + undescribed(f"{where}[]", inner.get("items", {}))
    return found
