"""Which objects a list call asks for: selectors, search, order and pages (G3). Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from edge.apiserver.lists.kinds import RowKind
from edge.apiserver.mirrors.store import Collection, Stored
from edge.apiserver.paths import Target
from edge.apiserver.rows.columns import by_id
from edge.apiserver.rows.cursors import Cursors, expired
from edge.apiserver.rows.parameters import bad_parameter, number
from edge.apiserver.rows.selectors import FieldTest, LabelTest, read_fields, read_labels
from edge.apiserver.rows.window import ORDERS_MAX, Order, folded, key_of, read_search
from edge_kube.meta import Key

__all__ = ["Query", "Sealed", "Shown", "answer", "fits", "number", "read_query"]

LIMIT_MAX: Final = 10_000
PAGE_DEFAULT: Final = 10
ORDERS: Final[Mapping[str, Callable[[Stored], Any]]] = {
    "name": lambda item: item.key.name,
    "creationTime": lambda item: item.created,
    "createTime": lambda item: item.created,
    "creationTimestamp": lambda item: item.created,
    "displayName": lambda item: folded(item.display_name),
}
"""What every kind can be sorted by; beside it the columns of its rows, by their ids."""

Shown = Callable[[Stored], bool]


class Sorting(NamedTuple):
    key: Callable[[Stored], Any]
    descending: bool


class Sealed(NamedTuple):
    """Whose pages these are, and what seals their `continue`."""

    cursors: Cursors
    user: str


@dataclass(frozen=True, slots=True)
class Query:
    """A list call after reading. page counts from 1; 0 means Kubernetes paging with `continue`.

    fields: of those that only a row tells. question: what a `continue` is good for.
    """

    labels: tuple[LabelTest, ...] = ()
    fields: tuple[FieldTest, ...] = ()
    name: str = ""
    namespace: str = ""
    text: str = ""
    order: tuple[Sorting, ...] = ()
    limit: int = 0
    page: int = 0
    token: str = ""
    kind: RowKind | None = None
    needs_rows: bool = False
    question: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether it asks for everything, in the usual order."""
        chosen = self.labels or self.fields or self.name or self.namespace or self.text
        return not (chosen or self.order or self.limit or self.page or self.token)


def read_query(target: Target, namespace: str = "", kind: RowKind | None = None) -> Query:
    """kind: whose columns may be sorted and selected by. Raises Problem (400) that says what is accepted."""
    exact, rest = _exact_fields(target.first("fieldSelector"))
    fields = read_fields(rest, kind.columns if kind is not None else ())
    order, by_row = _order(target, kind)
    return Query(
        labels=read_labels(target.first("labelSelector")),
        fields=fields,
        name=exact.get("metadata.name", ""),
        namespace=namespace or exact.get("metadata.namespace", ""),
        text=read_search(target.first("q") or target.first("name")),
        order=order,
        limit=number(target, "limit", LIMIT_MAX),
        page=number(target, "page", 1_000_000),
        token=target.first("continue"),
        kind=kind,
        needs_rows=by_row or bool(fields),
        question=_question(target),
    )


def answer(
    collection: Collection, query: Query, shown: Shown | None = None, sealed: Sealed | None = None
) -> bytes:
    """The body of the list. shown: what the caller may see, None for all; the rest is not counted either.

    sealed: absent, no page is followed by another. Raises Problem (400), Expired.
    """
    if query.is_plain and shown is None:
        return collection.whole()
    version, after, objects = collection.resource_version, None, collection.ordered()
    if query.token and not query.page:
        version, after, objects = _snapshot(collection, query, sealed)
    found = [item for item in objects if (shown is None or shown(item)) and fits(item, query)]
    total = len(found)
    for one in reversed(query.order):
        found.sort(key=one.key, reverse=one.descending)
    if query.page:
        size = query.limit or PAGE_DEFAULT
        return collection.body(found[(query.page - 1) * size : query.page * size], total=total)
    if after is not None:
        found = _behind(found, after, is_sorted=bool(query.order))
    if not query.limit or len(found) <= query.limit or sealed is None:
        return collection.body(found, total=total, version=version)
    page = found[: query.limit]
    last = (version, *page[-1].key)
    token = sealed.cursors.seal(sealed.user, query.question, last)
    return collection.body(
        page, total=total, after=token, remaining=len(found) - query.limit, version=version
    )


def _snapshot(
    collection: Collection, query: Query, sealed: Sealed | None
) -> tuple[str, Key, Sequence[Stored]]:
    """The list that the first page was of: later pages neither repeat nor miss what has changed since."""
    cursors, user = sealed or (Cursors(b""), "")
    version, namespace, name = cursors.open(
        user, query.question, query.token, tuple[str, str, str], "continue"
    )
    objects = collection.as_of(int(version)) if version.isdecimal() else None
    if objects is None:
        raise expired()
    return version, Key(namespace, name), objects


def _behind(found: list[Stored], after: Key, *, is_sorted: bool) -> list[Stored]:
    if not is_sorted:
        return [item for item in found if item.key > after]
    for number_, item in enumerate(found):
        if item.key == after:
            return found[number_ + 1 :]
    raise expired()  # it may not be seen any more: where the page would begin is not known


def fits(item: Stored, query: Query) -> bool:
    """Whether selectors and search let an object through."""
    if query.namespace and item.key.namespace != query.namespace:
        return False
    if query.name and item.key.name != query.name:
        return False
    if query.text and query.text not in item.key.name and query.text not in item.display_name.casefold():
        return False
    if not all(test(item.labels) for test in query.labels):
        return False
    if not query.fields or query.kind is None:
        return True
    row = query.kind.item(item)
    return all(test(row) for test in query.fields)


def _question(target: Target) -> str:
    pairs = sorted(pair for pair in target.query if pair[0] not in ("continue", "limit"))
    return repr((target.segments, pairs))


def _order(target: Target, kind: RowKind | None) -> tuple[tuple[Sorting, ...], bool]:
    """By what is sorted, and whether rows are needed for it: `sort=-age,name`, or sortBy with ascending."""
    named, listed = target.first("sortBy"), target.first("sort")
    turned = target.first("ascending").lower() == "false"
    parts = [named] if named else [part.strip() for part in listed.split(",") if part.strip()]
    if len(parts) > ORDERS_MAX:
        raise bad_parameter("sort", listed, "it names too many columns", f"{ORDERS_MAX} at most")
    found = [_sorting(part, kind, turned=turned, parameter="sortBy" if named else "sort") for part in parts]
    return tuple(sorting for sorting, _ in found), any(by_row for _, by_row in found)


def _sorting(part: str, kind: RowKind | None, *, turned: bool, parameter: str) -> tuple[Sorting, bool]:
    name = part.removeprefix("-")
    descending = part.startswith("-") or turned
    if name in ORDERS:
        return Sorting(_nothing_last(ORDERS[name], descending=descending), descending), False
    if kind is None:
        raise bad_parameter(parameter, name, "there is no such column", ", ".join(sorted(ORDERS)))
    column = by_id(kind.columns, name, parameter)
    key = key_of(Order(kind.columns.index(column), column.type, descending))

    def by_row(item: Stored) -> Any:
        return key(kind.item(item))

    return Sorting(by_row, descending), True


def _nothing_last(read: Callable[[Stored], Any], *, descending: bool) -> Callable[[Stored], Any]:
    """As rows are sorted: what has no value comes last in either direction."""

    def key(item: Stored) -> tuple[bool, Any]:
        value = read(item)
        return (descending, value) if value else (not descending, 0)

    return key


def _exact_fields(selector: str) -> tuple[dict[str, str], str]:
    """Name and namespace, which need no row, and the rest of the selector."""
    found: dict[str, str] = {}
    rest: list[str] = []
    for part in filter(None, selector.split(",")):
        key, _, value = part.replace("==", "=").partition("=")
        if key in ("metadata.name", "metadata.namespace") and value and key not in found:
            found[key] = value
        else:
            rest.append(part)
    return found, ",".join(rest)
