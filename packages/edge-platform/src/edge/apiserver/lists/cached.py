"""Rows of the kinds that are known by heart: exact, and without a call (G3; design §8.3)."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from edge.apiserver.lists.asked import Asked, bad_scope
from edge.apiserver.lists.kinds import RowKind
from edge.apiserver.lists.memory import Memory
from edge.apiserver.lists.reach import forbidden
from edge.apiserver.lists.shape import positions, row
from edge.apiserver.mirrors.store import Collection, Stored
from edge.apiserver.paths import action_of
from edge.apiserver.rights.actions import Letters
from edge.apiserver.rights.picture import Rights
from edge.apiserver.rows.project import Item
from edge.apiserver.rows.window import pick
from edge.iam.turns import in_turns
from edge_kube.meta import Key
from edge_sdk.access import Caller
from edge_sdk.problem import Problem

Shown = Callable[[Stored], bool]


class CachedRows:
    """The rows of one kind for one caller."""

    def __init__(self, rights: Rights, memory: Memory, collection: Collection, kind: RowKind) -> None:
        self._rights = rights
        self._memory = memory
        self.collection = collection
        self.kind = kind

    def sight(self, caller: Caller, asked: Asked) -> Shown | None:
        """What the caller may see of what is asked for; None for all of it.

        Raises Forbidden, Problem (400), Unavailable.
        """
        if asked.resource.namespace and not self.kind.namespaced:
            raise not_namespaced(asked.resource.namespace)
        action = action_of("GET", asked.resource, asked.target)
        shown: Shown | None = None
        if not self._rights.access.may(caller, action).allowed:
            if not asked.resource.namespace:
                shown = self._memory.part_of(caller.name, action.verb, self.collection.served)
            if shown is None:
                raise forbidden(self._rights, caller, asked.resource, "")
        return shown if asked.within is None else self._inside(shown, asked.within)

    def _inside(self, shown: Shown | None, within: frozenset[str]) -> Shown:
        scopes = self._memory.scopes_of(self.collection.served)

        def inside(item: Stored) -> bool:
            return not within.isdisjoint(scopes(item.key, item.labels)) and (shown is None or shown(item))

        return inside

    def tag(self, caller: Caller) -> str:
        """Changes with the objects, and with the caller's rights."""
        collection = self.collection
        return f"{collection.epoch}-{collection.version}-{self._rights.index.generation(caller.name)}"

    async def items(self, shown: Shown | None) -> list[Item]:
        """What may be seen, as rows; others get their turn while it is worked out for the first time."""
        return [item async for item in in_turns(self._items(self.collection.ordered(), shown))]

    def _items(self, objects: Iterable[Stored], shown: Shown | None) -> Iterator[Item | None]:
        for stored in objects:
            yield self.kind.item(stored) if shown is None or shown(stored) else None

    async def answer(self, caller: Caller, asked: Asked) -> dict[str, Any]:
        """A RowList. Raises as `sight`, and Problem (400) for each parameter."""
        shown = self.sight(caller, asked)
        query, chosen = asked.window(self.kind.columns), asked.chosen(self.kind.columns)
        version = f"{self.collection.epoch}.{self.collection.version}"
        window = pick(await self.items(shown), query, self.kind.columns)
        letters = self.letters(caller)
        places = positions(chosen, self.kind.columns)
        return {
            "kind": "RowList",
            "rv": version,
            "total": window.total,
            "totalIsExact": True,
            "offset": query.offset,
            "columns": [column.shown() for column in chosen],
            "rows": [row(item, places, letters(item)) for item in window.rows],
            "facets": window.facets,
            "stale": [],
        }

    def letters(self, caller: Caller) -> Callable[[Item], str]:
        """From a row to the letters of its actions."""
        served = self.collection.served
        letters = Letters(self._rights, caller.name, served.group, served.resource)
        scopes = self._memory.scopes_of(served)
        return lambda item: letters.of(scopes(Key(item.namespace, item.name), item.labels), item.name)


def not_namespaced(namespace: str) -> Problem:
    return bad_scope("namespace", namespace, "objects of this kind are in no namespace", "none")
