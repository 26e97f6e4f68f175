"""An object as the values of its columns: all that a table needs, and nothing that is secret. Pure.

    item = project(msgspec.json.decode(stored.raw), columns)
    item.cells[position]        # value of columns[position]

Values by type: status [state, reason, message, since, next]; number and percent int or float; age and time
epoch seconds; quantity as written ("500m"); ref, text and name text; labels a map; image a list; bool. None
where the object has no value. managedFields, last-applied and the data of Secrets never come in.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from edge.apiserver.masking import LAST_APPLIED, Json, as_map, mask_object
from edge.apiserver.rows.columns import AGE, CLUSTER, NAME, NAMESPACE, ColumnType, RowColumn
from edge.apiserver.rows.jsonpath import compile_path
from edge.apiserver.rows.status import status_of, unix
from edge_sdk.scopes import DISPLAY_NAME_ANNOTATION

Cell = Any
TEXT_MAX: Final = 512
LIST_MAX: Final = 20
DIGITS_MAX: Final = 40
WHOLE_MAX: Final = 2**53


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a table. cells: in the order of all columns of the kind. text: what `q` looks in."""

    uid: str
    name: str
    namespace: str
    cluster: str
    labels: Mapping[str, str]
    display_name: str
    text: str
    cells: tuple[Cell, ...]


def project(obj: Json, columns: Sequence[RowColumn], cluster: str = "") -> Item:
    """obj: a decoded object that has gone through `clean`, or comes from a Collection."""
    metadata = as_map(obj.get("metadata"))
    labels: Mapping[str, str] = as_map(metadata.get("labels"))
    display_name = display_name_of(obj)
    name, namespace = str(metadata.get("name", "")), str(metadata.get("namespace", ""))
    known: dict[str, Cell] = {NAME.id: name, NAMESPACE.id: namespace, CLUSTER.id: cluster or None}
    cells = tuple(
        known[one.id] if one.id in known and not one.path else _cell(one, obj, metadata) for one in columns
    )
    return Item(
        uid=str(metadata.get("uid", "")),
        name=name,
        namespace=namespace,
        cluster=cluster,
        labels=labels,
        display_name=display_name,
        text="\n".join((name, display_name, *map(str, labels.values()))).casefold(),
        cells=cells,
    )


def clean(group: str, resource: str, obj: Json) -> Json:
    """Take out, in place, what no row may show; for objects that come straight from an API server."""
    metadata = as_map(obj.get("metadata"))
    metadata.pop("managedFields", None)
    as_map(metadata.get("annotations")).pop(LAST_APPLIED, None)
    if (group, resource) == ("", "secrets"):
        obj.pop("data", None)
        obj.pop("stringData", None)
    return mask_object(group, resource, obj)


def display_name_of(obj: Json) -> str:
    """The annotation, or spec.displayName: a text, or texts by language."""
    annotations = as_map(as_map(obj.get("metadata")).get("annotations"))
    annotated = annotations.get(DISPLAY_NAME_ANNOTATION, "")
    if annotated:
        return str(annotated)
    name = as_map(obj.get("spec")).get("displayName", "")
    return name if isinstance(name, str) else " ".join(str(text) for text in as_map(name).values())


def _cell(column: RowColumn, obj: Json, metadata: Json) -> Cell:
    if column.type == "status" and not column.path:
        return status_of(obj)
    if column.path == AGE.path:  # the one that every kind has
        return unix(metadata.get("creationTimestamp"))
    found = compile_path(column.path)(obj) if column.path else []
    return _READ[column.type](found)


def _text(found: list[Any]) -> Cell:
    texts = [_word(one) for one in found[:LIST_MAX]]
    return ", ".join(texts)[:TEXT_MAX] if texts else None


def _word(one: Any) -> str:
    if isinstance(one, bool):
        return "true" if one else "false"
    if isinstance(one, dict):  # a subject, a reference: its name says enough
        return str(cast("Json", one).get("name", "…"))
    return str(one)


def _number(found: list[Any]) -> Cell:
    """Several values are added up: the restarts of all containers."""
    numbers = [number for one in found if (number := _as_number(one)) is not None]
    return sum(numbers) if numbers else None


def _as_number(one: Any) -> int | float | None:
    if isinstance(one, bool):
        return None
    text = str(one).strip().removesuffix("%")[:DIGITS_MAX]
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < WHOLE_MAX else number


def _bool(found: list[Any]) -> Cell:
    one = found[0] if found else None
    return one if isinstance(one, bool) else {"true": True, "false": False}.get(str(one).lower())


def _labels(found: list[Any]) -> Cell:
    return as_map(found[0]) if found else {}


def _images(found: list[Any]) -> Cell:
    return [str(one)[:TEXT_MAX] for one in found[:LIST_MAX]]


def _time(found: list[Any]) -> Cell:
    return unix(found[0]) if found else None


_READ: Final[Mapping[ColumnType, Callable[[list[Any]], Cell]]] = {
    "name": _text,
    "status": _text,
    "text": _text,
    "ref": _text,
    "quantity": _text,
    "number": _number,
    "percent": _number,
    "age": _time,
    "time": _time,
    "labels": _labels,
    "image": _images,
    "bool": _bool,
}
