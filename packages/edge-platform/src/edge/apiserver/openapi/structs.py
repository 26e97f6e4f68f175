"""What JSON Schema cannot say of a msgspec struct, for generators of clients. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect as types

ABSENT: Final = "x-edge-absent"
"""On a property: leaving it out means something else than its zero."""
LIST: Final = "x-edge-list"
"""On a schema: the list of a kind."""
PYTHON: Final = "x-edge-python"
"""On a schema: a Python type that clients may import, as module:name."""

Json = dict[str, Any]


def marked(schemas: Json, roots: Iterable[type]) -> Json:
    """The same schemas, by name, with ABSENT and PYTHON where they hold."""
    found = dict(schemas)
    for info in _structs(roots):
        name = info.cls.__name__
        schema = found.get(name)
        if schema is None:
            continue
        if info.cls.__module__.startswith("edge_kube."):
            schema = schema | {PYTHON: f"{info.cls.__module__}:{name}"}
        absent = {one.encode_name for one in info.fields if _may_be_absent(one)}
        if absent:
            fields: Json = {
                key: value | {ABSENT: True} if key in absent else value
                for key, value in schema["properties"].items()
            }
            schema = schema | {"properties": fields}
        found[name] = schema
    return found


def _may_be_absent(field: types.Field) -> bool:
    """Its default is UNSET, which msgspec tells as no default on a field that is not required."""
    defaults = (field.default, field.default_factory)
    return not field.required and all(one is msgspec.NODEFAULT for one in defaults)


def _structs(roots: Iterable[type]) -> Iterator[types.StructType]:
    seen: set[type] = set()
    waiting: list[types.Type] = list(types.multi_type_info(roots))
    while waiting:
        info = waiting.pop()
        if isinstance(info, types.StructType):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            yield info
            waiting += [field.type for field in info.fields]
            continue
        for part in ("type", "item_type", "key_type", "value_type"):
            if isinstance(inner := getattr(info, part, None), types.Type):
                waiting.append(inner)
        waiting += getattr(info, "types", ())
        waiting += getattr(info, "item_types", ())
