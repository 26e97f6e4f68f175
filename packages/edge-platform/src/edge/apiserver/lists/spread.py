"""A list over all namespaces for who may list in some of them: asked one by one, answered as one list.

As in the resource API: Kubernetes lists, and tables where kubectl asks for one. At most fifty namespaces,
eight at a time; beyond that the answer is 403 and says so. Source: design §8.3.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from aiohttp import web

from edge.apiserver.answers import document
from edge.apiserver.headers import in_the_name_of
from edge.apiserver.lists.reach import forbidden, reach_of
from edge.apiserver.lists.upstream import AT_ONCE, PAGE, PLAIN, Lists
from edge.apiserver.masking import Json, as_map
from edge.apiserver.paths import Resource, Target, native_segments
from edge.apiserver.rights.picture import Rights
from edge.apiserver.rows.cursors import Cursors
from edge.apiserver.rows.parameters import number
from edge_sdk.access import Action
from edge_sdk.problem import TooLarge

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

OBJECTS_MAX: Final = 10_000
LIMIT_MAX: Final = 10_000
WITHIN_S: Final = 25.0
_PAGING: Final = frozenset({"limit", "continue", "page"})


class Spread:
    def __init__(self, rights: Rights, lists: Lists, cursors: Cursors) -> None:
        self._rights = rights
        self._lists = lists
        self._cursors = cursors

    def handler(
        self, exchange: "Exchange", resource: Resource, action: Action, cluster: str
    ) -> "Handler | None":
        """None: the list is allowed as it is, or not at all. Raises Forbidden, Unavailable."""
        if action.verb != "list" or resource.namespace or resource.name or exchange.request.method != "GET":
            return None
        caller = exchange.caller.caller
        if self._rights.access.may(caller, action).allowed:
            return None
        reach = reach_of(self._rights, caller, resource, cluster, namespaced=True)
        if reach is None or not reach.namespaces:
            return None
        namespaces = reach.namespaces

        async def handle(exchange: "Exchange") -> web.StreamResponse:
            session = exchange.caller
            identity = in_the_name_of(session.caller, is_admin=session.is_admin)
            if not await self._lists.is_namespaced(resource, cluster, identity):
                raise forbidden(self._rights, caller, resource, cluster)
            accept = exchange.request.headers.get("Accept", PLAIN)
            accept = accept if "as=Table" in accept and "json" in accept else PLAIN
            work = Merging(self._lists, resource, cluster, identity, _json_only(accept), exchange.target)
            return document(self._paged(exchange, await work.all(namespaces)))

        return handle

    def _paged(self, exchange: "Exchange", found: Json) -> Json:
        """The part that is asked for. Pages are not of one moment: each says what is there then."""
        target, user = exchange.target, exchange.caller.caller.name
        limit, page = number(target, "limit", LIMIT_MAX), number(target, "page", 1_000_000)
        items: list[Any] = found[_listed(found)]
        question = repr((target.segments, sorted(pair for pair in target.query if pair[0] not in _PAGING)))
        meta: Json = {"resourceVersion": ""}
        total, rest = len(items), 0
        if page:
            size = limit or 10
            items = items[(page - 1) * size : page * size]
        elif token := target.first("continue"):
            after = self._cursors.open(user, question, token, tuple[str, str], "continue")
            items = [one for one in items if _key(one) > after]
        if limit and not page and len(items) > limit:
            rest, items = len(items) - limit, items[:limit]
            meta["continue"] = self._cursors.seal(user, question, _key(items[-1]))
            meta["remainingItemCount"] = rest
        return {**found, "metadata": meta, "totalItems": total, _listed(found): items}


class Merging:
    """The lists of some namespaces as one, by namespace, then name."""

    def __init__(
        self,
        lists: Lists,
        resource: Resource,
        cluster: str,
        identity: list[tuple[str, str]],
        accept: str,
        target: Target,
    ) -> None:
        self._lists = lists
        self._resource = resource
        self._cluster = cluster
        self._identity = identity
        self._accept = accept
        self._query = [pair for pair in target.query if pair[0] not in _PAGING]

    async def all(self, namespaces: tuple[str, ...]) -> Json:
        """Raises as `Lists.page`, and TooLarge."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(namespace: str) -> list[Json]:
            async with gate:
                return await self._one(namespace)

        tasks = [asyncio.ensure_future(one(namespace)) for namespace in namespaces]
        try:
            # Of several refusals always the same one is told: that of the first namespace.
            found = [await task for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        documents = [document_ for documents in found for document_ in documents]
        listed = _listed(documents[0])
        items = [item for one in documents for item in one.get(listed) or ()]
        return {**documents[0], listed: sorted(items, key=_key)}

    async def _one(self, namespace: str) -> list[Json]:
        about = self._resource
        inside = Resource(about.group, about.version, about.resource, namespace)
        path = Target(native_segments(inside), ()).rebuilt()
        found: list[Json] = []
        more = ""
        while more or not found:
            query = [*self._query, ("limit", str(PAGE)), *([("continue", more)] if more else [])]
            address = f"{path}?{urlencode(query)}"
            page = await self._lists.get(address, self._cluster, self._identity, self._accept, WITHIN_S)
            found.append(page)
            more = str(as_map(page.get("metadata")).get("continue") or "")
            if more and len(found) * PAGE >= OBJECTS_MAX:
                raise _too_long(namespace)
        return found


def _json_only(accept: str) -> str:
    """What is put together here has to be read here."""
    kinds = [part.strip() for part in accept.split(",") if "protobuf" not in part]
    return ",".join(kinds) or PLAIN


def _listed(found: Json) -> str:
    return "rows" if "columnDefinitions" in found or "rows" in found else "items"


def _key(item: Any) -> tuple[str, str]:
    found = as_map(item)
    meta = as_map((as_map(found.get("object")) or found).get("metadata"))
    return str(meta.get("namespace", "")), str(meta.get("name", ""))


def _too_long(namespace: str) -> TooLarge:
    return TooLarge(
        "too-many-objects",
        what=f'Namespace "{namespace}" holds more than {OBJECTS_MAX} of these objects',
        why="lists over several namespaces are put together in memory",
        do="list that namespace by itself, with limit and continue, or narrow it by a labelSelector",
    )
