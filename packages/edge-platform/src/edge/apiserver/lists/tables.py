"""Objects that came from an API server as rows. Pure.

The columns of a kind that nobody here knows are those of the table that the API server makes of it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from edge.apiserver.lists.kinds import RowKind, known
from edge.apiserver.lists.upstream import Fetched
from edge.apiserver.masking import Json
from edge.apiserver.paths import Resource
from edge.apiserver.rows.columns import DEFINED, ColumnType, RowColumn, column_id, columns_of
from edge.apiserver.rows.project import TEXT_MAX, Item

_TYPES: Final[Mapping[str, ColumnType]] = {"integer": "number", "number": "number", "boolean": "bool"}
_WORKED_OUT: Final = frozenset({"name", "namespace", "cluster", "status"})


def needs_table(resource: Resource) -> bool:
    about = (resource.group, resource.resource)
    return about not in DEFINED and known(*about) is None


def kind_of_fetched(resource: Resource, fetched: Fetched, *, namespaced: bool) -> RowKind:
    """The kind with all columns: ours, or the defaults and those of the table that came."""
    found = known(resource.group, resource.resource)
    if found is not None:
        return found
    columns = list(columns_of(resource.group, resource.resource, namespaced=namespaced))
    have = {column.id for column in columns}
    for column in _printed(fetched):
        if column.id not in have:
            have.add(column.id)
            columns.append(column)
    return RowKind(resource.group, resource.resource, tuple(columns), namespaced)


def items_of(kind: RowKind, fetched: Fetched, cluster: str) -> list[Item]:
    items = [kind.fetched(obj, cluster) for obj in fetched.objects]
    if not fetched.cells:
        return items
    places = {column.id: place for place, column in enumerate(kind.columns) if not column.path}
    wanted: list[tuple[int, int, ColumnType]] = [
        (number, places[column.id], column.type)
        for number, column in enumerate(map(_column, fetched.columns))
        if column.id in places and column.id not in _WORKED_OUT
    ]
    return [_filled(item, cells, wanted) for item, cells in zip(items, fetched.cells, strict=True)]


def _filled(item: Item, cells: list[Any], wanted: list[tuple[int, int, ColumnType]]) -> Item:
    found = list(item.cells)
    for number, place, type_ in wanted:
        found[place] = _value(cells[number], type_) if number < len(cells) else None
    return replace(item, cells=tuple(found))


def _value(cell: Any, type_: ColumnType) -> Any:
    """Of the type that the column says, or nothing: rows are compared with one another."""
    if type_ == "bool":
        return cell if isinstance(cell, bool) else None
    if type_ == "number":
        return cell if isinstance(cell, int | float) and not isinstance(cell, bool) else None
    return None if cell is None else str(cell)[:TEXT_MAX]


def _printed(fetched: Fetched) -> list[RowColumn]:
    return [_column(one) for one in fetched.columns if one.get("format") != "name"]


def _column(one: Json) -> RowColumn:
    name = str(one.get("name", ""))
    type_: ColumnType = _TYPES.get(str(one.get("type")), "text")
    return RowColumn(column_id(name), type_, "", name, wide=bool(one.get("priority")))
