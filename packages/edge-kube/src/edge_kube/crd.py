"""From a type to its CustomResourceDefinition: the decorator `@resource` and the schema generator `crd_of`.

    @resource(group="scope.theriseunion.io", version="v1alpha1", plural="workspaces", scope="Cluster",
              short_names=("ws",), columns=(Column("Phase", ".status.phase"),),
              rules=(Rule("self.spec.manager != ''", "spec.manager names who looks after the workspace"),))
    class Workspace(Resource):
        spec: WorkspaceSpec = WorkspaceSpec()

A field is required when it has no default, or when its Meta says `extra={"required": True}`. A default that
is not empty is written into the schema. `Annotated[Model, PRESERVE]` keeps unknown fields beside known ones.
Descriptions come from Meta(description=…), else from the docstring of the field's type. No I/O.
"""

import inspect as python_inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
from msgspec import Meta
from msgspec import inspect as types

from edge_kube.meta import Condition, Kind, LabelSelector, Manifest, Resource, kind_of, register

T = TypeVar("T", bound=Resource)

PRESERVE = Meta(extra_json_schema={"x-kubernetes-preserve-unknown-fields": True})
AnyMap = Annotated[Mapping[str, Any], PRESERVE]
"""An object of any content, which the API server keeps as it is."""
Int32 = Annotated[int, Meta(extra_json_schema={"format": "int32"})]
Int64 = Annotated[int, Meta(extra_json_schema={"format": "int64"})]
DateTime = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""RFC 3339. An empty string is refused by the API: leave the field at its default or UNSET instead."""
Byte = Annotated[str, Meta(extra_json_schema={"format": "byte"})]
"""Base64."""
IntOrString = Annotated[int | str, Meta(extra_json_schema={"x-kubernetes-int-or-string": True})]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`. priority > 0: shown with -o wide only."""

    name: str
    json_path: str
    type: str = "string"
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule on the whole object; `self` is the object, `oldSelf` makes it a rule on updates."""

    cel: str
    message: str
    field_path: str = ""
    reason: str = ""
    optional_old_self: bool = False

    def to_schema(self) -> Manifest:
        schema: Manifest = {"rule": self.cel, "message": self.message}
        if self.field_path:
            schema["fieldPath"] = self.field_path
        if self.reason:
            schema["reason"] = self.reason
        if self.optional_old_self:
            schema["optionalOldSelf"] = True
        return schema


@dataclass(frozen=True, slots=True)
class Declaration:
    """What @resource was told, besides the Kind."""

    kind: Kind
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    columns: tuple[Column, ...]
    status: bool
    rules: tuple[Rule, ...]


_declarations: dict[type[Resource], Declaration] = {}


def resource(
    *,
    group: str,
    version: str,
    plural: str,
    scope: Literal["Cluster", "Namespaced"],
    kind: str = "",
    short_names: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    columns: tuple[Column, ...] = (),
    status: bool = True,
    rules: tuple[Rule, ...] = (),
) -> Callable[[type[T]], type[T]]:
    """Declare a Resource subclass as an API kind. kind: the class name when empty."""

    def declare(cls: type[T]) -> type[T]:
        where = Kind(group, version, kind or cls.__name__, plural, scope == "Namespaced")
        register(cls, where)
        _declarations[cls] = Declaration(where, short_names, categories, columns, status, rules)
        return cls

    return declare


def printer_columns(cls: type[Resource]) -> tuple[Column, ...]:
    """The columns that a declared type was given. Raises KeyError for a type that is not declared."""
    return _declarations[cls].columns


def declaration_of(cls: type[Resource]) -> Declaration | None:
    """What @resource was told of a type; None for kinds that are not ours, such as Namespace."""
    return _declarations.get(cls)


def crd_of(cls: type[Resource]) -> Manifest:
    """The CustomResourceDefinition of a declared type. Equal types give equal manifests."""
    kind = kind_of(cls)
    declared = _declarations[cls]
    version: Manifest = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root_schema(cls, declared)},
    }
    if declared.status:
        version["subresources"] = {"status": {}}
    if declared.columns:
        version["additionalPrinterColumns"] = [_column(column) for column in declared.columns]
    singular = kind.kind.lower()
    names: Manifest = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": singular,
    }
    if declared.short_names:
        names["shortNames"] = list(declared.short_names)
    if declared.categories:
        names["categories"] = list(declared.categories)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version],
        },
    }


def _column(column: Column) -> Manifest:
    entry: Manifest = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    if column.description:
        entry["description"] = column.description
    if column.priority:
        entry["priority"] = column.priority
    return entry


def _root_schema(cls: type[Resource], declared: Declaration) -> Manifest:
    info = types.type_info(cls)
    if not isinstance(info, types.StructType):  # pragma: no cover - Resource is a Struct
        raise TypeError(f"{cls.__qualname__} is no struct")
    schema = _struct(info, path=declared.kind.kind)
    # The API server owns metadata's schema: anything more than this is refused.
    schema["properties"]["metadata"] = {"type": "object"}
    schema["required"] = [name for name in schema.get("required", ()) if name != "metadata"]
    if not schema["required"]:
        del schema["required"]
    head: Manifest = {
        "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
        "kind": {"type": "string", "description": "The kind of this object."},
    }
    schema["properties"] = head | schema["properties"]
    if declared.rules:
        schema["x-kubernetes-validations"] = [rule.to_schema() for rule in declared.rules]
    return schema


def _struct(info: types.StructType, path: str) -> Manifest:
    schema: Manifest = {"type": "object"}
    if description := _doc(info.cls):
        schema["description"] = description
    properties: Manifest = {}
    required: list[str] = []
    for field in info.fields:
        properties[field.encode_name] = _property(field, f"{path}.{field.encode_name}")
        if field.required or _marked_required(field.type):
            required.append(field.encode_name)
    if properties:
        schema["properties"] = properties
    if required:
        schema["required"] = required
    if info.cls is LabelSelector:
        schema["x-kubernetes-map-type"] = "atomic"
    return schema


def _property(field: types.Field, path: str) -> Manifest:
    schema = _schema(field.type, path)
    default = field.default
    # msgspec marks "no default" with NODEFAULT; empty values are what an absent field means anyway.
    if isinstance(default, str | int | float | bool) and default:
        schema["default"] = default
    return schema


def _marked_required(info: types.Type) -> bool:
    while isinstance(info, types.Metadata):
        if cast("Manifest", info.extra or {}).get("required"):
            return True
        info = info.type
    return False


def _schema(info: types.Type, path: str) -> Manifest:
    match info:
        case types.Metadata():
            extra = dict(cast("Manifest", info.extra_json_schema or {}))
            if "x-kubernetes-int-or-string" in extra:
                return extra
            return _schema(info.type, path) | extra
        case types.StructType():
            return _struct(info, path)
        case types.ListType() | types.SetType() | types.FrozenSetType() | types.VarTupleType():
            return _array(info, path)
        case types.DictType():
            return _map(info, path)
        case types.LiteralType():
            return {"type": _type_of_values(info.values, path), "enum": list(info.values)}
        case types.EnumType():
            values: list[object] = [member.value for member in info.cls]
            return {"type": _type_of_values(values, path), "enum": values}
        case types.UnionType():
            return _union(info, path)
        case types.AnyType() | types.RawType():
            return {"x-kubernetes-preserve-unknown-fields": True}
        case _:
            return _scalar(info, path)


_LIMITS = {
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
    "ge": "minimum",
    "le": "maximum",
    "multiple_of": "multipleOf",
}


def _scalar(info: types.Type, path: str) -> Manifest:
    match info:
        case types.StrType():
            schema: Manifest = {"type": "string"}
        case types.BoolType():
            return {"type": "boolean"}
        case types.IntType():
            schema = {"type": "integer"}
        case types.FloatType():
            schema = {"type": "number"}
        case types.BytesType():
            return {"type": "string", "format": "byte"}
        case types.DateTimeType():
            return {"type": "string", "format": "date-time"}
        case _:
            raise TypeError(f"{path}: a CRD schema cannot hold {type(info).__name__}")
    for name, keyword in _LIMITS.items():
        if (limit := getattr(info, name, None)) is not None:
            schema[keyword] = limit
    for name, keyword in (("gt", "minimum"), ("lt", "maximum")):
        if (limit := getattr(info, name, None)) is not None:
            schema |= {keyword: limit, f"exclusive{keyword.capitalize()}": True}
    return schema


Array = types.ListType | types.SetType | types.FrozenSetType | types.VarTupleType


def _array(info: Array, path: str) -> Manifest:
    item = _bare(info.item_type)
    schema: Manifest = {"type": "array", "items": _schema(info.item_type, f"{path}[]")}
    if info.min_length is not None:
        schema["minItems"] = info.min_length
    if info.max_length is not None:
        schema["maxItems"] = info.max_length
    if isinstance(item, types.StructType) and item.cls is Condition:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    elif isinstance(info, types.SetType | types.FrozenSetType):
        schema["x-kubernetes-list-type"] = "set"
    return schema


def _map(info: types.DictType, path: str) -> Manifest:
    if not isinstance(_bare(info.key_type), types.StrType):
        raise TypeError(f"{path}: keys of a map are strings")
    schema: Manifest = {"type": "object"}
    # A map of Any is what AnyMap marks; additionalProperties beside the mark would be refused.
    if not isinstance(_bare(info.value_type), types.AnyType):
        schema["additionalProperties"] = _schema(info.value_type, f"{path}{{}}")
    else:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    if info.min_length is not None:
        schema["minProperties"] = info.min_length
    if info.max_length is not None:
        schema["maxProperties"] = info.max_length
    return schema


def _union(info: types.UnionType, path: str) -> Manifest:
    members = [member for member in info.types if not isinstance(member, types.NoneType)]
    if len(members) != 1:
        raise TypeError(f"{path}: a CRD field has one type; use IntOrString, or AnyMap for free content")
    schema = _schema(members[0], path)
    return schema | {"nullable": True} if len(members) < len(info.types) else schema


def _bare(info: types.Type) -> types.Type:
    while isinstance(info, types.Metadata):
        info = info.type
    return info


def _type_of_values(values: Iterable[object], path: str) -> str:
    listed = list(values)
    if all(isinstance(value, str) for value in listed):
        return "string"
    if all(isinstance(value, int) for value in listed):
        return "integer"
    raise TypeError(f"{path}: the values of an enumeration are all strings or all integers")


def _doc(cls: type[msgspec.Struct]) -> str:
    """First paragraph of the class's own docstring, on one line."""
    text = cls.__dict__.get("__doc__") or ""
    return " ".join(python_inspect.cleandoc(text).split("\n\n")[0].split())
