"""5,000 subscriptions over 500 sockets at 1,000 changes a second: time to the client, memory, CPU.

    python tests/perf/bench_watch.py [SECONDS [SOCKETS [RATE]]]

The serving side is a process of its own: the real socket, views and rights of the gateway, before a
collection of 10,000 Components in 500 namespaces that is changed as the watch of an API server changes it.
An API server is left out, since none writes 1,000 objects a second on this machine. The clients are this
process; each socket has ten windows of twenty rows. The time runs from the change until the client has the
frame in hand, on one clock.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.figures import at, figure, memory_mb

from edge.apiserver.callers.identity import Session
from edge.apiserver.gateway import Exchange
from edge.apiserver.listening.connection import HttpServer, Request
from edge.apiserver.listening.doors import Doors
from edge.apiserver.mirrors.kinds import collection_of
from edge.apiserver.paths import Resource
from edge.apiserver.rights.picture import Rights
from edge.apiserver.rights.sight import Eyes
from edge.apiserver.rights.streams import Streams
from edge.apiserver.upstreams.members import Members
from edge.apiserver.watching.desk import World
from edge.apiserver.watching.fleet import Fleets
from edge.apiserver.watching.protocol import PROTOCOL
from edge.apiserver.watching.routes import WatchRoutes
from edge.apiserver.watching.upstreams import Upstreams
from edge.apiserver.watching.views import Views
from edge.components.types import Component
from edge_kube.client import Client
from edge_kube.config import Connection
from edge_kube.meta import kind_of
from edge_sdk.access import Caller
from edge_sdk.clock import SystemClock
from edge_sdk.scopes import CONSOLE_GROUP

SUBS_EACH, NAMESPACES, OBJECTS = 10, 500, 10_000
WARM_UP_S: Final = 5.0
SLICE_S: Final = 0.01
SERVE: Final = (__file__, "serve")
STAMP: Final = '"version":"'


def raw(number: int, version: int) -> bytes:
    """A Component of usual size; spec.version is the moment of the change."""
    meta = {
        "name": f"c-{number}",
        "namespace": f"ns-{number % NAMESPACES}",
        "uid": f"uid-{number}",
        "resourceVersion": str(version),
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "labels": {"app": f"a-{number % 10}"},
    }
    spec = {"enabled": True, "version": str(time.monotonic_ns()), "chart": {"name": "chart"}}
    status = {
        "phase": "Running",
        "message": "It runs." * 10,
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return json.dumps({"metadata": meta, "spec": spec, "status": status}).encode()


# -- the serving process -----------------------------------------------------------------------------------


async def serve() -> None:
    """Prints its port; then obeys lines: `go RATE SECONDS` changes objects and answers with its CPU."""
    collection = collection_of(kind_of(Component))
    for number in range(OBJECTS):
        collection.put(raw(number, number + 1))
    collection.keep_only({item.key for item in collection}, str(OBJECTS))
    client, clock = Client(Connection("http://127.0.0.1:9")), SystemClock()
    rights = Rights(client, cache_size=1000, streams=Streams(), silence_s=lambda: 0.0, allow_all=True)
    served = collection.served
    collections = {(served.group, served.resource): collection}
    upstreams = Upstreams(client, Members(left=lambda _: None), clock)
    world = World(Eyes(rights), collections, Views(), upstreams, Fleets(upstreams, collections))
    routes = WatchRoutes(world, CollectorRegistry(), clock, limiter=None)

    async def handle(request: Request) -> web.StreamResponse:
        exchange = Exchange(request, "bench", 0.0)
        caller = Caller(name=request.headers["X-User"], uid="u", groups=())
        exchange.session = Session(caller, restricted=False, is_admin=True, expires_s=2e9)
        handler = routes.handler(exchange, Resource(CONSOLE_GROUP, "v1alpha1", "watch"))
        assert handler is not None
        return await handler(exchange)

    runner = web.ServerRunner(HttpServer(handle, Doors()))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while (line := (await lines.readline()).decode().split()) and line[0] == "go":
        cpu_s, wall_s = time.process_time(), time.monotonic()
        await change(collection.put, rate=int(line[1]), seconds=float(line[2]))
        print((time.process_time() - cpu_s) / (time.monotonic() - wall_s), flush=True)
    await client.close()


async def change(put: Callable[[bytes], None], *, rate: int, seconds: float) -> None:
    """At an even pace, however late the loop is."""
    started = time.monotonic()
    done, version, pick = 0, int(started * 1000), random.Random(7)
    while (passed := time.monotonic() - started) < seconds:
        while done < passed * rate:
            done += 1
            put(raw(pick.randrange(OBJECTS), version + done))
        await asyncio.sleep(SLICE_S)


# -- the clients -------------------------------------------------------------------------------------------


class Clients:
    """All sockets. late_ms: of every change that came while `measuring`."""

    def __init__(self, port: int, compress: int) -> None:
        self._url = f"ws://127.0.0.1:{port}/"
        self._compress = compress
        self.snaps = self.frames = 0
        self.late_ms: list[float] = []
        self.measuring = False

    async def run(self, session: aiohttp.ClientSession, number: int) -> None:
        headers = {"X-User": f"user-{number // 8}", "Authorization": "Bearer bench"}
        pick = random.Random(number)
        async with session.ws_connect(
            self._url, headers=headers, protocols=(PROTOCOL,), compress=self._compress, max_msg_size=0
        ) as socket:
            for id_ in range(SUBS_EACH):
                await socket.send_str(subscription(id_, f"ns-{pick.randrange(NAMESPACES)}"))
            unacked = 0
            async for message in socket:
                unacked += 1
                seq = self._read(message.data, time.monotonic_ns())
                if unacked >= 8 and seq:
                    await socket.send_str(f'{{"t":"ack","seq":{seq}}}')
                    unacked = 0

    def _read(self, text: str, now_ns: int) -> str:
        """A number to acknowledge; "" for frames without one. Read by hand: the clients share the machine."""
        if text.startswith('{"t":"snap"'):
            self.snaps += 1
        elif text.startswith('{"t":"delta"'):
            self.frames += 1
            if self.measuring:
                for part in text.split(STAMP)[1:]:
                    self.late_ms.append((now_ns - int(part[: part.index('"')])) / 1e6)
        elif not text.startswith('{"t":"same"'):
            return ""
        at_ = text.index('"seq":') + 6
        return text[at_ : text.index(",", at_)]


def subscription(id_: int, namespace: str) -> str:
    rows: dict[str, Any] = {
        "group": "ext.theriseunion.io",
        "version": "v1alpha1",
        "resource": "components",
        "namespace": namespace,
        "columns": "name,status,version",
        "limit": 50,
    }
    return json.dumps({"t": "sub", "id": id_, "what": {"rows": rows}})


async def measure(seconds: float, sockets: int, rate: int, *, compress: int) -> None:
    name = f"{sockets} sockets{', deflate' if compress else ''}"
    command = [sys.executable, *SERVE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        empty_mb = memory_mb(server.pid)
        clients = Clients(port, compress)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            tasks = [asyncio.create_task(clients.run(session, number)) for number in range(sockets)]
            while clients.snaps < sockets * SUBS_EACH:
                await asyncio.sleep(0.1)
                for task in tasks:
                    if task.done():
                        task.result()
            open_mb = memory_mb(server.pid)
            answered = asyncio.get_running_loop().run_in_executor(None, server.stdout.readline)
            server.stdin.write(f"go {rate} {WARM_UP_S + seconds}\n")
            server.stdin.flush()
            await asyncio.sleep(WARM_UP_S)
            clients.measuring, frames = True, clients.frames
            await asyncio.sleep(seconds - 1)
            clients.measuring, frames = False, clients.frames - frames
            cpu = float(await answered)
            busy_mb = memory_mb(server.pid)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        server.stdin.close()
    late = sorted(clients.late_ms)
    figure(f"{name}: change to client, P50", at(late, 0.5), "ms")
    figure(f"{name}: change to client, P99", at(late, 0.99), "ms", "< 300")
    figure(f"{name}: deltas sent", frames / (seconds - 1), "1/s")
    figure(f"{name}: CPU of the gateway", cpu * 100, "% of a core")
    figure(f"{name}: memory a socket, 10 windows open", (open_mb - empty_mb) * 1024 / sockets, "KiB")
    figure(f"{name}: memory a socket, after the load", (busy_mb - empty_mb) * 1024 / sockets, "KiB")


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
        return
    given = [float(one) for one in sys.argv[1:]]
    seconds, sockets, rate = (*given, *(20.0, 500.0, 1000.0)[len(given) :])
    for compress in (0, 15):
        asyncio.run(measure(seconds, int(sockets), int(rate), compress=compress))


if __name__ == "__main__":
    main()
