"""Rows as they go out: {"k": uid, "n": [name, namespace, cluster], "v": [values], "a": letters}. Pure.

Source: console §5.3.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from edge.apiserver.rows.columns import NAME, RowColumn
from edge.apiserver.rows.project import Cell, Item


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
