"""Rows as they go out: {"k": uid, "n": [name, namespace, cluster], "v": [values], "a": letters}. Pure.

Source: console §5.3.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from edge.apiserver.rows.columns import NAME, RowColumn
from edge.apiserver.rows.project import Cell, Item


class ShownColumn(Struct):
    """of: the kind that a reference leads to. wide: shown when there is room."""

    id: str
    type: str
    title: str = ""
    wide: bool = False
    of: str = ""


class ShownRow(Struct):
    """k: uid. n: name, namespace, cluster. v: values of the columns after the name. a: letters of actions."""

    k: str
    n: list[str]
    v: list[Any]
    a: str


class StaleCluster(Struct):
    """One that gave no rows. since: epoch seconds. code: why."""

    cluster: str
    since: int
    code: str


class RowList(Struct, rename="camel"):
    """A window of rows. facets: column → value → rows. cursor: of the next page, absent on the last."""

    kind: str
    rv: str
    total: int
    total_is_exact: bool
    offset: int
    columns: list[ShownColumn]
    rows: list[ShownRow]
    facets: dict[str, dict[str, int]]
    stale: list[StaleCluster]
    cursor: str = ""


class RowColumns(Struct):
    """cached: known by heart: exact, sorted and counted. actions: letter → action."""

    kind: str
    namespaced: bool
    cached: bool
    columns: list[ShownColumn]
    actions: dict[str, str]


def positions(chosen: Iterable[RowColumn], columns: Sequence[RowColumn]) -> tuple[int, ...]:
    """Where the cells of the chosen columns are, without the name: that one is in `n`."""
    return tuple(columns.index(column) for column in chosen if column.id != NAME.id)


def values(item: Item, places: Sequence[int]) -> list[Cell]:
    return [item.cells[place] for place in places]


def row(item: Item, places: Sequence[int], actions: str = "") -> dict[str, Any]:
    """places: as `positions` gives them. actions: letters of what the caller may do with it."""
    return {
        "k": item.uid,
        "n": [item.name, item.namespace, item.cluster],
        "v": values(item, places),
        "a": actions,
    }
