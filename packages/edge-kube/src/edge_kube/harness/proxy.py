"""FaultProxy: stands between a client and a real API server and plays what networks and servers do.

    async with FaultProxy(cluster.connection) as proxy:
        cache = Cache(Client(proxy.connection))
        proxy.cut("middle of a line")

It speaks plain HTTP to the client, acts upstream as the connection it was given, and knows where the lines of
a watch begin and end. `counts` tells what went through it.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import aiohttp
import msgspec
from aiohttp import web
from multidict import CIMultiDict

from edge_kube.client import Client
from edge_kube.config import Connection
from edge_kube.errors import ConnectionFailed
from edge_kube.wire import LineSplitter

Cut = Literal["reset", "end", "middle of a line"]

_GONE: dict[str, Any] = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": "too old resource version",
    "reason": "Expired",
    "code": 410,
}
GONE_BODY = msgspec.json.encode(_GONE)
GONE_EVENT = msgspec.json.encode({"type": "ERROR", "object": _GONE})
_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "upgrade", "host"}


@dataclass(frozen=True, slots=True)
class Canned:
    """An answer given instead of the server's."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])


def _all(_: web.BaseRequest) -> bool:
    return True


class _Watch:
    """One watch that is open through the proxy."""

    def __init__(self, request: web.BaseRequest, transport: asyncio.Transport) -> None:
        self.request = request
        self.transport = transport
        self.cut: Cut | None = None
        self.wake = asyncio.Event()
        self.injected: deque[bytes] = deque()


class FaultProxy:
    """Settings may be changed at any time; they hold for watches that are open too.

    duplicate, reorder: probability per event. lose: events that never arrive. delay_s: up to so long before
    each event. drip: a byte a write.
    watch_list False: the server is too old to know sendInitialEvents. silent: nothing comes through.
    """

    def __init__(self, upstream: Connection, *, seed: int = 0) -> None:
        self._upstream = Client(upstream)
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._runner: web.ServerRunner | None = None
        self._port = 0
        self._watches: set[_Watch] = set()
        self._canned: deque[tuple[Callable[[web.BaseRequest], bool], Canned]] = deque()
        self._speak = asyncio.Event()
        self._speak.set()
        self._stalled: Callable[[web.BaseRequest], bool] = _all
        self.duplicate = 0.0
        self.reorder = 0.0
        self.lose: Callable[[bytes], bool] = lambda line: False
        self.delay_s = 0.0
        self.drip = False
        self.watch_list = True
        self.counts: Counter[str] = Counter()
        """Requests by kind: "watch", "list" or the method."""

    async def __aenter__(self) -> Self:
        server = web.Server(self._handle)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.resume()
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._upstream.close()

    @property
    def connection(self) -> Connection:
        return Connection(server=f"http://127.0.0.1:{self._port}")

    # -- faults ----------------------------------------------------------------------------------------------

    def cut(self, how: Cut = "reset") -> int:
        """Break all open watches; returns how many."""
        for watch in self._watches:
            watch.cut = how
            watch.wake.set()
        return len(self._watches)

    def stall(self, only: Callable[[web.BaseRequest], bool] | None = None) -> None:
        """Keep connections open and send nothing, not even bookmarks. only: to requests that it picks."""
        self._stalled = only or _all
        self._speak.clear()

    def resume(self) -> None:
        self._speak.set()

    def inject(self, line: bytes) -> None:
        """Send a line into all open watches."""
        for watch in self._watches:
            watch.injected.append(line)
            watch.wake.set()

    def expire(self) -> None:
        """In all open watches: 410 in the stream, then its end."""
        self.inject(GONE_EVENT)
        self.cut("end")

    def answer(
        self, canned: Canned, *, times: int = 1, to: Callable[[web.BaseRequest], bool] = lambda request: True
    ) -> None:
        """Give this answer to the next requests that `to` picks."""
        self._canned.extend([(to, canned)] * times)

    @property
    def watches(self) -> int:
        return len(self._watches)

    # -- inside ----------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        is_watch = "watch" in request.query
        is_list = request.method == "GET" and "limit" in request.query
        self.counts["watch" if is_watch else "list" if is_list else request.method] += 1
        for entry in self._canned:
            if entry[0](request):
                self._canned.remove(entry)
                return web.Response(status=entry[1].status, body=entry[1].body, headers=entry[1].headers)
        await self._may_speak(request)
        if not self.watch_list and "sendInitialEvents" in request.query:
            body = msgspec.json.encode({"code": 422, "message": "sendInitialEvents is forbidden"})
            return web.Response(status=422, body=body)
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _HOP
        )
        sent = await request.read() or None
        try:
            answer = await self._upstream.raw(
                request.method, request.raw_path, headers=headers, data=sent, deadline_s=60
            )
        except ConnectionFailed as error:
            return web.Response(status=502, text=str(error))
        async with answer:
            if is_watch and answer.status == 200:
                return await self._relay_watch(request, answer)
            response_headers = {
                name: value for name, value in answer.headers.items() if name.lower() not in _HOP
            }
            return web.Response(status=answer.status, body=await answer.read(), headers=response_headers)

    async def _may_speak(self, request: web.BaseRequest) -> None:
        if self._stalled(request):
            await self._speak.wait()

    async def _relay_watch(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            return response
        watch = _Watch(request, transport)
        self._watches.add(watch)
        reading = asyncio.create_task(self._lines(answer, response, watch))
        waking = asyncio.create_task(self._wait_cut(watch, response))
        try:
            await asyncio.wait({reading, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watches.discard(watch)
            for task in (reading, waking):
                task.cancel()
            await asyncio.gather(reading, waking, return_exceptions=True)
            if answer.connection is not None and answer.connection.transport is not None:
                answer.connection.transport.abort()
        return response

    async def _wait_cut(self, watch: _Watch, response: web.StreamResponse) -> None:
        while True:
            await watch.wake.wait()
            watch.wake.clear()
            while watch.injected:
                await response.write(watch.injected.popleft() + b"\n")
            if watch.cut is None:
                continue
            if watch.cut == "middle of a line":
                await response.write(b'{"type":"MODIFIED","object":{"kind":"')
                watch.transport.close()
            elif watch.cut == "reset":
                watch.transport.abort()
            return

    async def _lines(
        self, answer: aiohttp.ClientResponse, response: web.StreamResponse, watch: _Watch
    ) -> None:
        splitter = LineSplitter()
        held: bytes | None = None
        try:
            async for chunk in answer.content.iter_any():
                for line in splitter.feed(chunk):
                    await self._may_speak(watch.request)
                    if self.lose(line):
                        continue
                    if self.delay_s:
                        await asyncio.sleep(self._random.uniform(0, self.delay_s))
                    if held is not None:
                        await self._send(response, line)
                        line, held = held, None
                    elif self._random.random() < self.reorder:
                        held = line
                        continue
                    await self._send(response, line)
                    if self._random.random() < self.duplicate:
                        await self._send(response, line)
        except (aiohttp.ClientError, ConnectionError):
            watch.transport.abort()

    async def _send(self, response: web.StreamResponse, line: bytes) -> None:
        data = line + b"\n"
        if not self.drip:
            await response.write(data)
            return
        for byte in data:
            await response.write(bytes((byte,)))
            await asyncio.sleep(0)
