"""From what a client asks for, and what the caller may see, to a query that lives (console §5.3, §5.4)."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import msgspec

from edge.apiserver.lists.asked import check_kind
from edge.apiserver.lists.cached import not_namespaced
from edge.apiserver.lists.kinds import RowKind, known
from edge.apiserver.lists.shape import positions, values
from edge.apiserver.mirrors.store import Collection, Served, Stored
from edge.apiserver.paths import OWN_SUFFIX, Resource, full_group
from edge.apiserver.rights.sight import EVERYTHING, Eyes, Sight
from edge.apiserver.rows.columns import choose, columns_of
from edge.apiserver.rows.project import Item
from edge.apiserver.rows.selectors import read_fields, read_labels
from edge.apiserver.rows.window import (
    WindowQuery,
    count,
    fits,
    key_of,
    read_facets,
    read_order,
    read_search,
)
from edge.apiserver.upstreams.members import HOST
from edge.apiserver.watching import operations
from edge.apiserver.watching.protocol import ROWS_MAX, Events, Obj, Ops, Rows, names
from edge.apiserver.watching.ranking import Descending
from edge.apiserver.watching.views import Growing, Source
from edge.apiserver.watching.window import Row
from edge_kube.meta import Key, kind_of
from edge_kube.wire import ObjectDecoder, UndecodableError
from edge_sdk.problem import Forbidden, Missing, Problem

OFFSET_MAX: Final = 10_000_000
LIST_VERBS: Final = ("list", "watch")
GET_VERBS: Final = ("get", "watch")
Collections = Mapping[tuple[str, str], Collection]


class Query(NamedTuple):
    """key: equal for queries that find the same for the same rights."""

    key: Hashable
    source: Source
    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where objects are watched. cluster "": in memory; else the cluster that an upstream watch is in."""

    collection: Collection
    kind: RowKind
    cluster: str = ""

    def item(self, stored: Stored) -> Item:
        """The row of an object, worked out once per version."""
        if not self.cluster:
            return self.kind.item(stored)
        if not stored.memo:
            obj = msgspec.json.decode(stored.raw)
            stored.memo.append(self.kind.fetched(obj, "" if self.cluster == HOST else self.cluster))
        return stored.memo[0]


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the rows of a window come from, and what of them the caller may see; by place among collections.

    key: equal for equal extents. whose: added to uids, which are unique in one cluster only.
    """

    key: Hashable
    collections: Sequence[Collection]
    kind: RowKind
    item: Callable[[int, Stored], Item]
    sees: Callable[[int, Stored], bool]
    actions: Callable[[int, Stored], str]
    within: Callable[[int, Stored], bool]
    namespaces: frozenset[str] | None = None
    whose: Callable[[Item], str] = lambda _: ""
    growing: Growing | None = None


def full(group: str, version: str, resource: str) -> tuple[str, str, str]:
    """Short groups spelled out. Raises Missing."""
    check_kind(group, version, resource)
    found = full_group(Resource(group, version, resource))
    return found.group, found.version, found.resource


def in_memory(collections: Collections, group: str, version: str, resource: str) -> Place | None:
    """Where a kind of the host is known by heart; None for one that is not."""
    collection, kind = collections.get((group, resource)), known(group, resource)
    if collection is None or kind is None or collection.served.version != version:
        return None
    return Place(collection, kind)


def is_of_host_alone(group: str, version: str, resource: str) -> bool:
    """The platform's own kinds are the host's, whichever cluster is meant, as in rows. Raises Missing."""
    group, _, resource = full(group, version, resource)
    return group.endswith(OWN_SUFFIX) and known(group, resource) is not None


def kind_of_rows(group: str, resource: str, *, namespaced: bool) -> RowKind:
    """Of objects that come from upstream."""
    return RowKind(group, resource, columns_of(group, resource, namespaced=namespaced), namespaced)


def upstream_place(collection: Collection, cluster: str, *, namespaced: bool) -> Place:
    served = collection.served
    return Place(collection, kind_of_rows(served.group, served.resource, namespaced=namespaced), cluster)


def rows(eyes: Eyes, user: str, place: Place, asked: Rows) -> Query:
    """Raises Forbidden, Problem (400), Unavailable."""
    served = place.collection.served
    sight = see(eyes, user, LIST_VERBS, served, place.cluster)
    allowed = eyes.actions(user, served, place.cluster)
    within = eyes.within(asked.scope, served, place.cluster)
    extent = Extent(
        key=(id(place.collection), sight.key, allowed.key),
        collections=(place.collection,),
        kind=place.kind,
        item=lambda _, stored: place.item(stored),
        sees=lambda _, stored: sight.sees(stored),
        actions=lambda _, stored: allowed.of(stored),
        within=lambda _, stored: within is None or within(stored),
        namespaces=_namespaces(asked.namespace, sight),
    )
    return rows_of(extent, asked)


def rows_of(extent: Extent, asked: Rows) -> Query:
    """Raises Problem (400)."""
    kind = extent.kind
    if asked.namespace and not kind.namespaced:
        raise not_namespaced(asked.namespace)
    part_of(asked.offset, asked.limit)
    order = read_order(asked.sort, kind.columns)
    query = WindowQuery(
        namespace=asked.namespace,
        labels=read_labels(asked.label_selector),
        fields=read_fields(asked.field_selector, kind.columns),
        q=read_search(asked.q),
        facets=read_facets(names(asked.facets), kind.columns),
    )
    chosen = choose(kind.columns, names(asked.columns))
    at = positions(chosen, kind.columns)
    keys = [(key_of(one), one.descending) for one in order]

    def placed(which: int, stored: Stored) -> Any:
        item = extent.item(which, stored)
        if not fits(item, query) or not extent.within(which, stored):
            return None
        parts = [Descending(key(item)) if descending else key(item) for key, descending in keys]
        return (*parts, item.name, item.uid, item.cluster)

    def row(which: int, stored: Stored) -> Row:
        item = extent.item(which, stored)
        named = (item.name, item.namespace, item.cluster)
        k = item.uid + extent.whose(item)
        return Row(k, named, tuple(values(item, at)), extent.actions(which, stored))

    def facets(found: Iterable[tuple[int, Stored]]) -> Mapping[str, Any]:
        return count([extent.item(*one) for one in found], query.facets, kind.columns)

    source = Source(
        collections=extent.collections,
        columns=tuple(column.id for column in chosen[1:]),
        sees=extent.sees,
        place=placed,
        row=row,
        namespaces=extent.namespaces,
        facets=facets if query.facets else None,
        growing=extent.growing,
        is_bounded=bool(asked.scope),
    )
    same = msgspec.structs.replace(asked, offset=0, limit=0, columns=source.columns, facets=query.facets)
    return Query(("rows", same, extent.key), source, asked.offset, asked.limit)


def events(eyes: Eyes, user: str, place: Place, asked: Events) -> Query:
    """The Kubernetes Events about one object, newest first. Raises Forbidden, Unavailable."""
    of = asked.of
    selector = f"metadata.namespace={of.namespace}" if of.namespace else ""
    served = place.collection.served
    wanted = Rows(
        served.group,
        served.version,
        served.resource,
        field_selector=selector,
        sort="-lastSeen",
        limit=asked.limit,
    )
    query = rows(eyes, user, place, wanted)
    placed = query.source.place

    def about(kind: int, stored: Stored) -> Any:
        found = msgspec.json.decode(stored.raw, type=_Event).involved_object
        same = found.name == of.name and (not of.namespace or found.namespace in ("", of.namespace))
        is_kind = plural_of(found.kind) == of.resource and found.api_version.rpartition("/")[0] == of.group
        return placed(kind, stored) if same and is_kind else None

    source = replace(query.source, place=about)
    return Query(("events", id(place.collection), of, query.key), source, 0, asked.limit)


class _Involved(msgspec.Struct, rename="camel"):
    kind: str = ""
    name: str = ""
    namespace: str = ""
    api_version: str = ""


class _Event(msgspec.Struct, rename="camel"):
    involved_object: _Involved = msgspec.field(default_factory=_Involved)


def plural_of(kind: str) -> str:
    """The resource of a kind, as Kubernetes derives it: enough to compare with."""
    low = kind.lower()
    if low.endswith(("s", "x", "ch")):
        return f"{low}es"
    return f"{low[:-1]}ies" if low.endswith("y") and low[-2:-1] not in "aeiou" else f"{low}s"


def ops(eyes: Eyes, user: str, collections: Collections, asked: Ops) -> Query:
    """The operations feed: newest first, of what the caller may list. Raises Forbidden, Problem (400)."""
    part_of(asked.offset, asked.limit)
    feed = OperationsFeed(eyes, user, collections, asked.scope)

    source = Source(
        feed.collections,
        operations.COLUMNS,
        feed.goes_on,
        feed.place,
        feed.row,
        is_bounded=bool(asked.scope),
    )
    return Query(("ops", asked.scope, feed.key), source, asked.offset, asked.limit)


class OperationsFeed:
    """What is going on among the objects that one caller may list."""

    def __init__(self, eyes: Eyes, user: str, collections: Collections, scope: str = "") -> None:
        """Raises Forbidden for who may see none of the kinds, Problem (400), Unavailable."""
        found: list[tuple[Collection, Sight, ObjectDecoder[Any]]] = []
        for cls in operations.KINDS:
            kind = kind_of(cls)
            collection = collections[kind.group, kind.plural]
            sight = eyes.of(user, LIST_VERBS, collection.served)
            if sight is not None:
                found.append((collection, sight, ObjectDecoder(cls)))
        if not found:
            raise forbidden(user, LIST_VERBS, "components, clusters or applicationdeployments")
        self.collections = tuple(collection for collection, _, _ in found)
        self._sights = [sight for _, sight, _ in found]
        self._decoders = [decoder for _, _, decoder in found]
        self._within = [eyes.within(scope, collection.served) for collection in self.collections]
        self.key = tuple((collection.served, sight.key) for collection, sight, _ in found)

    def sees(self, kind: int, stored: Stored) -> bool:
        return self._sights[kind].sees(stored)

    def place(self, kind: int, stored: Stored) -> Any:
        within = self._within[kind]
        found = self.operation(kind, stored)
        if found is None or (within is not None and not within(stored)):
            return None
        return (-found.since, kind, stored.key)

    def goes_on(self, kind: int, stored: Stored) -> bool:
        """An operation that has ended is gone from the window of those who watch it."""
        return self.sees(kind, stored) and self.operation(kind, stored) is not None

    def row(self, kind: int, stored: Stored) -> Row:
        found = self.operation(kind, stored)
        if found is None:
            raise LookupError(f"{stored.key} has no operation")
        return Row(found.ref.uid, (stored.key.name, stored.key.namespace, ""), found.values())

    def operation(self, kind: int, stored: Stored) -> operations.Operation | None:
        try:
            return operations.operation_of(self._decoders[kind].decode(stored.raw))
        except UndecodableError:
            return None

    def all(self) -> list[operations.Operation]:
        """Newest first."""
        found: list[tuple[Any, operations.Operation]] = []
        for kind, collection in enumerate(self.collections):
            for stored in collection.ordered():
                if self.sees(kind, stored) and (place := self.place(kind, stored)) is not None:
                    operation = self.operation(kind, stored)
                    if operation is not None:
                        found.append((place, operation))
        return [operation for _, operation in sorted(found, key=lambda pair: pair[0])]


def see(eyes: Eyes, user: str, verbs: tuple[str, ...], served: Served, cluster: str = "") -> Sight:
    """Raises Forbidden, Unavailable."""
    sight = eyes.of(user, verbs, served, cluster)
    if sight is None:
        raise forbidden(user, verbs, served.resource)
    return sight


def find(sight: Sight, user: str, collection: Collection, asked: Obj) -> Stored:
    """An object that may be seen. Raises Missing where absence is the caller's business, else Forbidden."""
    key = Key(asked.namespace, asked.name)
    stored = collection.get(key)
    if sight.sees(stored or Stored(key, "", "", {}, "", b"")):
        if stored is not None:
            return stored
        raise gone(asked)
    raise forbidden(user, GET_VERBS, f"{asked.resource}/{asked.name}")


def gone(asked: Obj) -> Missing:
    return Missing("not-found", what=f'There is no {asked.resource} "{asked.name}"')


def part_of(offset: int, limit: int) -> None:
    """Raises Problem (400)."""
    if not (0 <= offset <= OFFSET_MAX and 1 <= limit <= ROWS_MAX):
        raise Problem(
            "bad-window",
            what=f"The window begins at {offset} and has {limit} rows",
            do=f"use an offset of 0 or more and a limit of 1 to {ROWS_MAX}",
        )


def _namespaces(asked: str, sight: Sight) -> frozenset[str] | None:
    if not asked:
        return sight.namespaces
    return (
        frozenset({asked})
        if sight.key == EVERYTHING or sight.namespaces is None
        else (sight.namespaces & {asked})
    )


def forbidden(user: str, verbs: Sequence[str], what: str) -> Forbidden:
    return Forbidden(
        "forbidden",
        what=f'User "{user}" cannot {" and ".join(verbs)} {what} here',
        why="no role that is bound to you gives that",
        do="ask whoever administers that scope for a role that has this right",
    )
