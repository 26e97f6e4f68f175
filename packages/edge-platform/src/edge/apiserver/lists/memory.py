"""Lists and watches of the kinds that are known by heart, for exactly what the caller may see (G3, I15).

Who may see all of a kind gets the ready-made list; who may see a part gets that part, counted and paged as if
there were nothing else. Which part is one walk over the caller's bindings, not a question per object (I5).
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aiohttp import web

from edge.apiserver.answers import is_known, json_answer, unchanged
from edge.apiserver.lists.kinds import known
from edge.apiserver.lists.listing import Sealed, Shown, answer, read_query
from edge.apiserver.lists.partwatch import PartWatch
from edge.apiserver.mirrors.store import Collection, Served, Stored
from edge.apiserver.paths import Resource, native_segments
from edge.apiserver.rights.picture import Rights
from edge.apiserver.rights.places import place_of
from edge.apiserver.rows.cursors import Cursors
from edge.iam.ofscope import may
from edge.iam.patterns import path_of
from edge.iam.turns import finish
from edge.iam.visible import visible
from edge_kube.meta import Key
from edge_sdk.access import Action

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler


class Memory:
    def __init__(
        self, rights: Rights, collections: Mapping[tuple[str, str], Collection], cursors: Cursors
    ) -> None:
        self._access = rights.access
        self._index = rights.index
        self._collections = collections
        self._cursors = cursors

    def holds(self, resource: Resource) -> Collection | None:
        """The objects that a path is about, if they are here and may be shown as they are."""
        collection = self._collections.get((resource.group, resource.resource))
        if collection is None or not collection.synced or resource.subresource:
            return None
        return collection if resource.version == collection.served.version else None

    def list(self, exchange: "Exchange", resource: Resource, action: Action) -> "Handler | None":
        """A list; None when the caller may see none of the kind. Raises Unavailable."""
        collection = self.holds(resource)
        if collection is None:
            return None
        caller = exchange.caller.caller
        if self._access.may(caller, action).allowed:
            return self._listing(resource, collection, None)
        if action.namespace:
            return None
        shown = self.part_of(caller.name, action.verb, collection.served)
        return None if shown is None else self._listing(resource, collection, shown)

    def part(self, exchange: "Exchange", resource: Resource, action: Action) -> "Handler | None":
        """A list or watch for who may see a part; None for everything and everybody else. Raises Unavailable.

        What is asked for as a table comes as objects too: kubectl prints names and ages itself.
        """
        collection = self.holds(resource)
        if collection is None or action.verb not in ("list", "watch") or resource.name or action.namespace:
            return None
        caller = exchange.caller.caller
        if exchange.request.method != "GET" or self._access.may(caller, action).allowed:
            return None
        shown = self.part_of(caller.name, action.verb, collection.served)
        if shown is None:
            return None
        if action.verb == "list":
            return self._listing(resource, collection, shown)
        return self._watch(exchange, resource, collection)

    def part_of(self, user: str, verb: str, served: Served) -> Shown | None:
        """What of a kind a user may see, who may not see all of it; None for nothing."""
        sight = visible(self._index, user, verb, served.group, served.resource)
        if sight.everything:
            return lambda _: True
        if not (sight.scopes or sight.names):
            return None
        place = place_of(served.group, served.resource, self._index.scopes.homes)
        if not self._index.scopes.registered.about(served.group, served.resource):
            return lambda item: sight.sees(place(item.key, item.labels), item.key.name)
        chain = self._index.scopes.chain

        def sees(item: Stored) -> bool:
            named = self._named(served, item.key)
            levels = (place(item.key, item.labels), *(chain(named) if named else ()))
            return any(sight.sees(level, item.key.name) for level in levels)

        return sees

    def scopes_of(self, served: Served) -> Callable[[Key, Mapping[str, str]], tuple[str, ...]]:
        """From key and labels to the scopes at which a right reaches an object: the narrowest one first."""
        place = place_of(served.group, served.resource, self._index.scopes.homes)
        if not self._index.scopes.registered.about(served.group, served.resource):
            return lambda key, labels: (place(key, labels),)

        def scopes(key: Key, labels: Mapping[str, str]) -> tuple[str, ...]:
            named = self._named(served, key)
            return (place(key, labels), named) if named else (place(key, labels),)

        return scopes

    def _named(self, served: Served, key: Key) -> str | None:
        """The scope that a ScopePattern names for an object; a right there shows it as well (I9)."""
        about = (served.group, served.resource)
        one = Resource(served.group, served.version, served.resource, key.namespace, key.name)
        return self._index.scopes.registered.scope(*about, path_of("", native_segments(one)))

    def _listing(self, resource: Resource, collection: Collection, shown: Shown | None) -> "Handler":
        async def handle(exchange: "Exchange") -> web.StreamResponse:
            query = read_query(exchange.target, resource.namespace, known(resource.group, resource.resource))
            tag = self._tag(exchange, collection, shown) if query.is_plain else ""
            if tag and is_known(exchange.request, tag):
                return unchanged(tag)
            if query.needs_rows and query.kind is not None:
                await finish(query.kind.prepare(collection.ordered()))
            sealed = Sealed(self._cursors, exchange.caller.caller.name)
            response = json_answer(answer(collection, query, shown, sealed))
            if tag:
                response.headers["ETag"] = tag
            return response

        return handle

    def _tag(self, exchange: "Exchange", collection: Collection, shown: Shown | None) -> str:
        """Changes with the objects, and for who sees a part of them with their rights."""
        rights = f"-{self._index.generation(exchange.caller.caller.name)}" if shown is not None else ""
        return f'W/"{collection.epoch}-{collection.version}{rights}"'

    def _watch(self, exchange: "Exchange", resource: Resource, collection: Collection) -> "Handler":
        user, served, index = exchange.caller.caller.name, collection.served, self._index
        place = place_of(served.group, served.resource, index.scopes.homes)

        def sees(item: Stored) -> bool:
            where = (place(item.key, item.labels), self._named(served, item.key))
            asked = ("watch", served.group, served.resource, item.key.name)
            return any(may(index, user, scope, *asked) for scope in where if scope)

        query = read_query(exchange.target, resource.namespace, known(resource.group, resource.resource))
        watch = PartWatch(collection, query, lambda: self.part_of(user, "watch", served), sees)
        exchange.goes_on = watch.look_again

        async def handle(exchange: "Exchange") -> web.StreamResponse:
            return await watch.send(exchange.request, exchange.target)

        return handle
