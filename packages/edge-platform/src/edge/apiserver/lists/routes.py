"""`rows/{group}/{version}/{resource}` and `…/columns` of the console's API (console §5.3; G1–G3).

Each call acts as the caller, and what they may not see is not counted either. Answers have an ETag; 304 for a
kind that is known by heart costs no work.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from edge.apiserver.answers import document, is_known, json_answer, tag_of, unchanged
from edge.apiserver.lists.asked import EVERY, Asked, read_asked
from edge.apiserver.lists.cached import CachedRows
from edge.apiserver.lists.kinds import RowKind, known
from edge.apiserver.lists.live import LiveRows
from edge.apiserver.lists.memory import Memory
from edge.apiserver.lists.shape import RowColumns, RowList
from edge.apiserver.mirrors.store import Collection
from edge.apiserver.openapi.operation import CONSOLE, Operation, Param
from edge.apiserver.paths import OWN_SUFFIX, Resource, action_of
from edge.apiserver.rights.actions import actions_of
from edge.apiserver.rights.picture import Rights
from edge.apiserver.rows.cursors import Cursors
from edge_sdk.problem import Problem
from edge_sdk.scopes import CONSOLE_GROUP, SCOPE_GROUP, is_host

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

VERSION: Final = "v1alpha1"
GZIP_ABOVE_BYTES: Final = 1024
_ROWS: Final = f"{CONSOLE}/rows/{{group}}/{{version}}/{{resource}}"
_WHERE: Final = (
    Param("cluster", "Its name, host, or * for all; the host without one."),
    Param("namespace", "Of a kind that is in namespaces."),
    Param("scope", "What is there and below: platform, workspace/W, cluster/C/namespace/N, …"),
)
OPERATIONS: Final = (
    Operation(
        "GET", _ROWS, "Rows of a kind, of one cluster or of all", "console", answer=RowList, name="listRows",
        about="group core: that of pods. What the caller may not see is not counted either.",
        params=(
            *_WHERE,
            Param("columns", "Ids of columns, with commas."),
            Param("labelSelector", "Kubernetes label selector."),
            Param("fieldSelector", "Columns with = or !=, and commas."),
            Param("q", "Text in the name, the display name or a label's value."),
            Param("sort", "Ids of columns, with commas; a minus for the other direction."),
            Param("limit", "Rows, 1 to 500.", int),
            Param("offset", "Rows to pass over.", int),
            Param("facets", "Ids of columns whose values are counted, with commas."),
            Param("cursor", "Of the page before."),
        ),
        refuses=(410,),
    ),
    Operation(
        "GET", f"{_ROWS}/columns", "Columns and actions of a kind", "console", answer=RowColumns,
        name="listColumns", params=_WHERE,
    ),
)  # fmt: skip


class RowRoutes:
    def __init__(
        self,
        rights: Rights,
        collections: Mapping[tuple[str, str], Collection],
        live: LiveRows,
        cursors: Cursors,
    ) -> None:
        self._rights = rights
        self._memory = Memory(rights, collections, cursors)
        self._collections = collections
        self._live = live

    def handler(self, exchange: "Exchange", resource: Resource) -> "Handler | None":
        """The handler of a path about rows; None when the path is an ordinary one."""
        if (resource.group, resource.version, resource.resource) != (CONSOLE_GROUP, VERSION, "rows"):
            return None
        if exchange.request.method not in ("GET", "HEAD"):
            raise Problem("method-not-allowed", what="Rows can only be read", do="use GET", status=405)
        if (
            resource.namespace
            or not 1 <= len(resource.rest) <= 2
            or resource.rest[1:] not in ((), ("columns",))
        ):
            return None
        exchange.verb = "list"
        return self._columns if len(resource.rest) == 2 else self._rows_of(resource)

    def _rows_of(self, path: Resource) -> "Handler":
        async def handle(exchange: "Exchange") -> web.StreamResponse:
            asked = self._asked(exchange, path)
            cached = self._cached(asked)
            session = exchange.caller
            if cached is None:
                host = self._host_rows(asked)
                clusters = self._clusters(asked, with_host=host is None)
                return _answer(exchange, await self._live.answer(session, asked, clusters, host))
            cached.sight(session.caller, asked)  # the right comes first, then whether anything has changed
            tag = f'W/"{cached.tag(session.caller)}"' if asked.within is None else ""
            if tag and is_known(exchange.request, tag):
                return unchanged(tag)
            return _answer(exchange, await cached.answer(session.caller, asked), tag)

        return handle

    async def _columns(self, exchange: "Exchange") -> web.StreamResponse:
        asked = self._asked(exchange, _path_of(exchange))
        cached = self._cached(asked)
        if cached is not None:
            cached.sight(exchange.caller.caller, asked)
            kind = cached.kind
        else:
            kind = await self._live.kind(exchange.caller, asked)
        return document(_shown(kind, cached=cached is not None))

    def _asked(self, exchange: "Exchange", path: Resource) -> Asked:
        asked = read_asked(self._rights.index, path, exchange.target)
        cluster = "" if asked.cluster == EVERY else asked.cluster
        exchange.action = action_of("GET", asked.resource, exchange.target, cluster)
        return asked

    def _cached(self, asked: Asked) -> CachedRows | None:
        """The platform's own kinds are the host's, whichever cluster is meant; of others, only the host's."""
        resource = asked.resource
        kind, collection = known(resource.group, resource.resource), self._memory.holds(resource)
        if kind is None or collection is None:
            return None
        if asked.cluster and not resource.group.endswith(OWN_SUFFIX):
            return None
        return CachedRows(self._rights, self._memory, collection, kind)

    def _host_rows(self, asked: Asked) -> CachedRows | None:
        """Of many clusters, the host's rows where they are known by heart."""
        return self._cached(replace(asked, cluster="")) if asked.cluster == EVERY else None

    def _clusters(self, asked: Asked, *, with_host: bool) -> list[str] | None:
        if asked.cluster != EVERY:
            return None
        found = self._collections.get((SCOPE_GROUP, "clusters"))
        names = [one.key.name for one in found or () if not is_host(one.key.name, one.labels)]
        return ["", *names] if with_host else names


def _path_of(exchange: "Exchange") -> Resource:
    if exchange.resource is None:
        raise RuntimeError("a route was reached without its path")
    return exchange.resource


def _shown(kind: RowKind, *, cached: bool) -> dict[str, Any]:
    return {
        "kind": "RowColumns",
        "namespaced": kind.namespaced,
        "cached": cached,
        "columns": [column.shown() for column in kind.columns],
        "actions": {one.letter: one.action for one in actions_of(kind.group, kind.resource)},
    }


def _answer(exchange: "Exchange", found: dict[str, Any], tag: str = "") -> web.StreamResponse:
    body = msgspec.json.encode(found) + b"\n"
    tag = tag or tag_of(body)
    if is_known(exchange.request, tag):
        return unchanged(tag)
    response = json_answer(body)
    response.headers["ETag"] = tag
    response.headers["Vary"] = "Accept-Encoding"
    accepted = exchange.request.headers.get("Accept-Encoding", "").replace(" ", "")
    if len(body) > GZIP_ABOVE_BYTES and "gzip" in accepted and "gzip;q=0" not in accepted:
        response.enable_compression(web.ContentCoding.gzip)
    return response
