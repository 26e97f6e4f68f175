"""What a sink answers: append and sign for gateways, the same things to read for its peers (design §4.1).

No route changes or drops a record; what has aged goes when its gateway has signed that it may.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from edge.apiserver.sinks.access import Doorkeeper
from edge.apiserver.sinks.client import Aged, Refusal
from edge.audit.query import BadQueryError, Query, search
from edge.audit.received import NotTakenError, Received, State
from edge.audit.verdict import Verdict
from edge.audit.verifier import Verifier
from edge_kube.errors import KubeError

BODY_MAX: Final = 4 * 2**20
SILENT_S: Final = 60.0
CLAIM_S: Final = 300.0
FOR_PEERS: Final = frozenset(
    {("GET", "/chains"), ("GET", "/chains/{chain}/records"), ("GET", "/chains/{chain}/statements")}
)
"""What another sink may ask, to have what it missed. All else is for gateways."""

log = structlog.stdlib.get_logger("edge.audit")
Answer = Callable[[web.Request], Awaitable[Any]]


class SinkServer:
    """silent_s: when a writer that is not heard counts as gone."""

    def __init__(
        self, received: Received, door: Doorkeeper, verifier: Verifier, *, silent_s: float = SILENT_S
    ) -> None:
        self._received = received
        self._verifier = verifier
        self._door = door
        self.silent_s = silent_s
        self._claims: dict[str, tuple[str, float]] = {}
        self._ended = False

    def end(self) -> None:
        """Take nothing from here on: closing the listener closes the connections that it knows, and one whose
        handshake is under way is not among them."""
        self._ended = True

    def application(self) -> web.Application:
        made = web.Application(client_max_size=BODY_MAX)
        made.router.add_get("/healthz", self._healthz)
        for method, path, answer in (
            ("GET", "/chains", self._states),
            ("GET", "/chains/{chain}", self._state),
            ("POST", "/chains/{chain}/records", self._append),
            ("GET", "/chains/{chain}/records", self._records),
            ("POST", "/chains/{chain}/statements", self._sign),
            ("GET", "/chains/{chain}/statements", self._statements),
            ("GET", "/chains/{chain}/open", self._open),
            ("POST", "/left", self._left),
            ("GET", "/aged", self._aged),
            ("GET", "/search", self._search),
            ("POST", "/verification", self._verify),
            ("GET", "/verification", self._verdict),
        ):
            guarded = self._guarded(answer, peers_may=(method, path) in FOR_PEERS)
            made.router.add_route(method, f"/v1{path}", guarded)
        return made

    def _guarded(
        self, answer: Answer, *, peers_may: bool
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if self._ended:
                refused = web.Response(status=503, text="this sink is being stopped\n")
                refused.force_close()
                return refused
            try:
                await self._door.check(request, peers_may=peers_may)
                found = await answer(request)
            except NotTakenError as error:
                status = 507 if error.reason == "full" else 409
                return _json(Refusal(error.reason, str(error)), status)
            except (BadQueryError, ValueError) as error:
                return web.Response(status=400, text=f"{error}\n")
            except KubeError as error:
                return web.Response(status=503, text=f"the API server was not asked: {error}\n")
            except OSError as error:
                log.error("audit_sink_storage", error=str(error))
                return web.Response(status=500, text=f"{error.strerror or error}\n")
            return web.Response(body=found) if isinstance(found, bytes) else _json(found)

        return handle

    async def _healthz(self, _: web.Request) -> web.StreamResponse:
        await asyncio.to_thread(self._received.folder.space)
        return web.Response(text="ok\n")

    async def _states(self, request: web.Request) -> dict[str, State]:
        return await asyncio.to_thread(self._received.states, request.query.get("chain", ""))

    async def _state(self, request: web.Request) -> State:
        chain = request.match_info["chain"]
        state = await asyncio.to_thread(self._received.state, chain)
        self._received.heard(chain)
        return state

    async def _append(self, request: web.Request) -> State:
        chain, data = request.match_info["chain"], await request.read()
        state = await asyncio.to_thread(self._received.append, chain, data)
        self._received.heard(chain)
        return state

    async def _sign(self, request: web.Request) -> State:
        chain, data = request.match_info["chain"], await request.read()
        return await asyncio.to_thread(self._received.sign, chain, _number(request, "first"), data)

    async def _records(self, request: web.Request) -> bytes:
        chain = request.match_info["chain"]
        return await asyncio.to_thread(self._received.records, chain, _number(request, "after"))

    async def _statements(self, request: web.Request) -> bytes:
        chain = request.match_info["chain"]
        return await asyncio.to_thread(self._received.statements, chain, _number(request, "first"))

    async def _open(self, request: web.Request) -> Any:
        return await asyncio.to_thread(self._received.open_intents, request.match_info["chain"])

    async def _left(self, request: web.Request) -> dict[str, State]:
        by, now_s = request.query.get("by", ""), time.monotonic()
        found: dict[str, State] = {}
        for chain, state in (await asyncio.to_thread(self._received.states)).items():
            if state.closed or state.silent_s < self.silent_s or chain == by:
                continue
            owner, until_s = self._claims.get(chain, ("", 0.0))
            if owner in ("", by) or until_s < now_s:
                self._claims[chain] = (by, now_s + CLAIM_S)
                found[chain] = state
        return found

    async def _aged(self, _: web.Request) -> list[Aged]:
        found = await asyncio.to_thread(self._received.aged)
        return [Aged(chain, last.seq, digest.hex(), last.time) for chain, last, digest in found]

    async def _search(self, request: web.Request) -> Any:
        query = msgspec.convert(dict(request.query), dict[str, str])
        numbers = {key: int(query.pop(key)) for key in ("from_ms", "to_ms", "limit") if key in query}
        if unknown := query.keys() - set(Query._fields):
            raise ValueError(f"unknown parameters: {', '.join(sorted(unknown))}")
        asked = Query(**query, **numbers)  # pyright: ignore[reportArgumentType] - checked just above
        return await asyncio.to_thread(search, self._received.folder, asked, lambda _user, _scope: True)

    async def _verify(self, request: web.Request) -> Any:
        """Body: signed lines that were kept elsewhere."""
        return await self._verifier.verify((await request.read()).splitlines())

    async def _verdict(self, _: web.Request) -> Verdict:
        return self._verifier.last


def _number(request: web.Request, name: str) -> int:
    """Raises ValueError."""
    text = request.query.get(name, "0")
    if not text.isdecimal() or len(text) > 15:
        raise ValueError(f"{name} is no number")
    return int(text)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
