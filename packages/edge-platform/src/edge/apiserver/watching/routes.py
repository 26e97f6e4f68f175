"""`GET …/console.theriseunion.io/v1alpha1/watch` and `…/operations`: who gets a socket, how all end."""

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from edge.apiserver.answers import document
from edge.apiserver.listening.limits import Limiter
from edge.apiserver.lists.listing import number
from edge.apiserver.openapi.operation import CONSOLE, Operation, Param
from edge.apiserver.overview.routes import answer_overview
from edge.apiserver.paths import Resource
from edge.apiserver.sessions.credential import is_own_origin
from edge.apiserver.upstreams.splice import wanted_protocol
from edge.apiserver.watching import operations, protocol
from edge.apiserver.watching.desk import World
from edge.apiserver.watching.measures import WatchMeasures
from edge.apiserver.watching.protocol import ROWS_MAX
from edge.apiserver.watching.socket import Channel, WatchSocket
from edge.apiserver.watching.sources import OFFSET_MAX, OperationsFeed
from edge_sdk.clock import Clock
from edge_sdk.problem import Problem, TooMuch
from edge_sdk.scopes import CONSOLE_GROUP

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

SOCKETS_PER_USER: Final = 8
SPREAD_S: Final = 5.0
LEAVES_WITHIN_S: Final = 5.0


class OperationList(msgspec.Struct):
    """Long work that is going on, newest first. total: in all pages."""

    kind: str
    total: int
    offset: int
    items: list[operations.Operation]


OPERATIONS: Final = (
    Operation(
        "GET", f"{CONSOLE}/watch", "A WebSocket that tells of changes", "console", status=101,
        about=f"Subprotocol {protocol.PROTOCOL}: docs/watch.md.", name="watch", refuses=(400,),
    ),
    Operation(
        "GET", f"{CONSOLE}/operations", "Long work that is going on", "console", answer=OperationList,
        name="listOperations",
        params=(
            Param("scope", "What is there and below."),
            Param("limit", "Of items.", int),
            Param("offset", "Items to pass over.", int),
        ),
    ),
)  # fmt: skip


class WatchRoutes:
    def __init__(
        self,
        world: World,
        registry: CollectorRegistry,
        clock: Clock,
        *,
        limiter: Limiter | None,
        origins: Sequence[str] = (),
    ) -> None:
        """limiter: what subscriptions count against. origins: of pages, beside the own host."""
        self._world = world
        self._clock = clock
        self._limiter = limiter
        self._origins = frozenset(origins)
        self._sockets: dict[str, set[WatchSocket]] = {}
        self._measures = WatchMeasures(registry, self._count, self._count_subs)

    def handler(self, exchange: "Exchange", resource: Resource) -> "Handler | None":
        """The handler of a path of these; None for all others. Raises Problem (400, 405)."""
        if resource.group != CONSOLE_GROUP or resource.version != "v1alpha1" or resource.name:
            return None
        if resource.resource == "watch":
            _check_upgrade(exchange)
            exchange.verb, exchange.stream = "watch", True
            # Before the handler runs there is nothing open that could outlive a right.
            exchange.goes_on = lambda: True
            return self._watch
        if resource.resource == "operations":
            if exchange.request.method not in ("GET", "HEAD"):
                raise _only_get("operations")
            exchange.verb = "list"
            return self._operations
        if resource.resource == "overview":
            if exchange.request.method not in ("GET", "HEAD"):
                raise _only_get("the overview")
            exchange.verb = "list"
            return self._overview
        return None

    async def leave(self) -> None:
        """The gateway stops: every client is told when to come back, at different times."""
        sockets = [socket for mine in self._sockets.values() for socket in mine]
        for socket in sockets:
            socket.leave(int(random.uniform(0, SPREAD_S) * 1000))  # noqa: S311 - spreads reconnects
        if sockets:
            waiting = [asyncio.ensure_future(socket.closed.wait()) for socket in sockets]
            _, late = await asyncio.wait(waiting, timeout=LEAVES_WITHIN_S)
            for one in late:
                one.cancel()
        await self._world.fleets.close()

    def _count(self) -> int:
        return sum(map(len, self._sockets.values()))

    def _count_subs(self) -> int:
        return sum(len(socket.talk.subs) for mine in self._sockets.values() for socket in mine)

    async def _watch(self, exchange: "Exchange") -> web.StreamResponse:
        user, sender = exchange.caller.caller.name, exchange.sender.caller.name
        request = exchange.request
        socket = WatchSocket(self._world, user, self._measures, lambda: self._wait(sender))
        if not self._is_welcome(request):
            return await socket.refuse(request, protocol.BAD_ORIGIN, "this page may not open a socket here")
        mine = self._sockets.setdefault(sender, set())
        if len(mine) >= SOCKETS_PER_USER:
            why = f"a user has {SOCKETS_PER_USER} sockets at most"
            return await socket.refuse(request, protocol.TOO_MANY, why)
        mine.add(socket)
        exchange.goes_on = socket.rights_changed
        try:
            return await socket.run(request)
        finally:
            mine.discard(socket)
            if not mine:
                self._sockets.pop(sender, None)

    def _is_welcome(self, request: web.BaseRequest) -> bool:
        """Browsers say from which page they come; who comes with a cookie must say it."""
        if "Origin" not in request.headers:
            return "Authorization" in request.headers
        return is_own_origin(request, self._origins)

    async def _wait(self, user: str) -> None:
        """Subscriptions count like requests: one who asks too fast is served late."""
        while self._limiter is not None:
            try:
                delay_s = self._limiter.delay(user, self._clock.monotonic_s())
            except TooMuch as problem:
                await asyncio.sleep(problem.retry_after_s)
                continue
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            return

    async def _overview(self, exchange: "Exchange") -> web.StreamResponse:
        return await answer_overview(exchange, self._world.eyes, self._world.collections)

    async def _operations(self, exchange: "Exchange") -> web.StreamResponse:
        target = exchange.target
        start = number(target, "offset", OFFSET_MAX)
        size = number(target, "limit", ROWS_MAX, least=1, default=100)
        user = exchange.caller.caller.name
        feed = OperationsFeed(self._world.eyes, user, self._world.collections, target.first("scope"))
        found = feed.all()
        return document(
            {
                "kind": "OperationList",
                "total": len(found),
                "offset": start,
                "items": found[start : start + size],
            }
        )


def _check_upgrade(exchange: "Exchange") -> None:
    """Raises Problem (400) unless the request is for this WebSocket."""
    request = exchange.request
    offered = [part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    is_upgrade = request.method == "GET" and wanted_protocol(request.headers.items()).lower() == "websocket"
    if is_upgrade and protocol.PROTOCOL in offered and Channel().can_prepare(request).ok:
        return
    raise Problem(
        "bad-upgrade",
        what="The watch socket was asked for in another way than as one",
        why=f"it is a WebSocket of version 13 with the subprotocol {protocol.PROTOCOL}",
        do=f"connect with Sec-WebSocket-Protocol: {protocol.PROTOCOL}",
    )


def _only_get(what: str) -> Problem:
    return Problem("method-not-allowed", what=f"{what} can only be read", do="use GET", status=405)
