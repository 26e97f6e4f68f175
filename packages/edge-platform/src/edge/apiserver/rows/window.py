"""The part of many rows that somebody looks at: filtered, counted, sorted, cut out. Pure.

    window = pick(items, WindowQuery(q="east", order=read_order("-age,name", columns), limit=50), columns)
    window.rows, window.total, window.facets

items must hold what the caller may see and nothing else: all that is counted here is told. Sorting is stable,
ties go by name, then uid; what has no value comes last in either direction. Source: G3; console §5.3.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from edge.apiserver.rows.columns import ColumnType, RowColumn, by_id
from edge.apiserver.rows.project import Cell, Item
from edge.apiserver.rows.selectors import FieldTest, LabelTest
from edge.tenancy.quantity import BadQuantity, parse
from edge_sdk.problem import Problem

ORDERS_MAX: Final = 4
FACETS_MAX: Final = 6
FACET_VALUES_MAX: Final = 100


class Order(NamedTuple):
    """One key to sort by. position: of the column among all columns of the kind."""

    position: int
    type: ColumnType
    descending: bool


@dataclass(frozen=True, slots=True)
class WindowQuery:
    """namespace, labels, fields, q: what goes in; offset, limit: which part; facets: columns counted."""

    namespace: str = ""
    labels: tuple[LabelTest, ...] = ()
    fields: tuple[FieldTest, ...] = ()
    q: str = ""
    order: tuple[Order, ...] = ()
    offset: int = 0
    limit: int = 100
    facets: tuple[str, ...] = ()


class Window(NamedTuple):
    """total: rows found, before the cut. facets: column id → value → rows that have it."""

    rows: list[Item]
    total: int
    facets: dict[str, dict[str, int]]


def pick(items: Iterable[Item], query: WindowQuery, columns: Sequence[RowColumn]) -> Window:
    """columns: all columns of the kind, in the order of the items' cells."""
    found = [item for item in items if fits(item, query)]
    sort(found, query.order)
    rows = found[query.offset : query.offset + query.limit]
    return Window(rows, len(found), count(found, query.facets, columns))


def fits(item: Item, query: WindowQuery) -> bool:
    """Whether namespace, selectors and search let an object through."""
    if query.namespace and item.namespace != query.namespace:
        return False
    if query.q and query.q not in item.text:
        return False
    return all(test(item.labels) for test in query.labels) and all(test(item) for test in query.fields)


def read_search(text: str) -> str:
    """`q` as it is compared: case-folded, on one line."""
    return " ".join(text.casefold().split())


def read_order(text: str, columns: Sequence[RowColumn], parameter: str = "sort") -> tuple[Order, ...]:
    """`-age,name`: column ids, the first counts most; a dash turns one round.

    Raises Problem (400, UnknownColumn; BadParameter for too many).
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > ORDERS_MAX:
        raise Problem(
            "bad-parameter",
            what=f"The parameter {parameter} names {len(parts)} columns",
            why=f"rows are sorted by {ORDERS_MAX} columns at most",
            do="leave out the last ones",
        )
    found: list[Order] = []
    for part in parts:
        column = by_id(columns, part.removeprefix("-"), parameter)
        found.append(Order(columns.index(column), column.type, part.startswith("-")))
    return tuple(found)


def read_facets(text: str, columns: Sequence[RowColumn]) -> tuple[str, ...]:
    """Raises Problem (400, UnknownColumn; BadParameter for too many)."""
    ids = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if len(ids) > FACETS_MAX:
        raise Problem(
            "bad-parameter",
            what=f"The parameter facets names {len(ids)} columns",
            why=f"{FACETS_MAX} are counted at most",
            do="leave out some",
        )
    for one in ids:
        by_id(columns, one, "facets")
    return ids


def sort(items: list[Item], order: Sequence[Order]) -> None:
    """In place."""
    items.sort(key=lambda item: (item.name, item.uid))
    for one in reversed(order):  # sorts are stable: the key that counts most comes last
        items.sort(key=key_of(one), reverse=one.descending)


def key_of(order: Order) -> Callable[[Item], tuple[bool, Any]]:
    """What `sort` compares; reversed where the order is descending, which leaves ties as they are."""
    position, read, last = order.position, _KEYS[order.type], not order.descending

    def key(item: Item) -> tuple[bool, Any]:
        cell = item.cells[position]
        value = None if cell is None else read(cell)
        return (last, 0) if value is None else (not last, value)

    return key


def folded(cell: Cell) -> tuple[str, str] | None:
    """How texts are compared: without regard to case, the empty one as none."""
    text = str(cell)
    return (text.casefold(), text) if text else None


def _status(cell: Cell) -> Any:
    return (cell[0], cell[1], cell[2])


def _age(cell: Cell) -> Any:
    return -cell  # the younger, the smaller


def _same(cell: Cell) -> Any:
    return cell


@lru_cache(maxsize=8192)
def _quantity(cell: str) -> Fraction | None:
    try:
        return parse(cell)
    except BadQuantity:
        return None


def _labels(cell: Cell) -> Any:
    return sorted(cast("Mapping[str, str]", cell).items()) or None


def _images(cell: Cell) -> Any:
    return cell or None


_KEYS: Final[Mapping[ColumnType, Callable[[Cell], Any]]] = {
    "name": str,
    "status": _status,
    "text": folded,
    "ref": folded,
    "number": _same,
    "percent": _same,
    "bool": _same,
    "time": _same,
    "age": _age,
    "quantity": _quantity,
    "labels": _labels,
    "image": _images,
}


def count(
    found: Sequence[Item], facets: Iterable[str], columns: Sequence[RowColumn]
) -> dict[str, dict[str, int]]:
    """How many rows have which value, the most frequent hundred of each column; rows without one as ""."""
    out: dict[str, dict[str, int]] = {}
    for id_ in facets:
        position = next(number for number, column in enumerate(columns) if column.id == id_)
        values = Counter[str]()
        for item in found:
            values.update(_values(columns[position].type, item.cells[position]))
        out[id_] = dict(sorted(values.most_common(FACET_VALUES_MAX), key=lambda pair: (-pair[1], pair[0])))
    return out


def _values(type_: ColumnType, cell: Cell) -> Iterable[str]:
    if cell is None:
        return ("",)
    if type_ == "status":
        return (cell[0],)
    if type_ == "image":
        return set(map(str, cell))
    if type_ == "labels":
        return {f"{key}={value}" for key, value in cell.items()}
    return (("true" if cell else "false") if isinstance(cell, bool) else str(cell),)
