"""A client of the watch socket, as a console is one: it keeps windows, applies deltas, acknowledges."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from tests.support.gateway import PATIENCE_S, RunningGateway

WATCH = "/oapis/console.theriseunion.io/v1alpha1/watch"
OPERATIONS = "/oapis/console.theriseunion.io/v1alpha1/operations"
PROTOCOL = "edge.watch.v1"
SCOPE = {"group": "scope.theriseunion.io", "version": "v1alpha1"}


def rows(resource: str, columns: str = "name", **more: Any) -> dict[str, Any]:
    """`what` of a window over a kind of the group scope, or another that `more` names."""
    return {"rows": {**SCOPE, "resource": resource, "columns": columns, "offset": 0, "limit": 100, **more}}


@dataclass
class Model:
    """What a client knows of one subscription, from frames alone."""

    rv: str = ""
    hash: str = ""
    total: int = 0
    columns: Sequence[str] = ()
    rows: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """k → {"n": …, "a": …, and a value by column}, in order."""
    gone: set[str] = field(default_factory=set[str])
    pending: dict[str, Any] = field(default_factory=dict[str, Any])
    object: Any = None
    overview: Any = None
    ended: str = ""
    cut_off: dict[str, str] = field(default_factory=dict[str, str])
    """cluster → code."""

    def take(self, frame: dict[str, Any]) -> None:
        match frame["t"]:
            case "snap" if "object" in frame or "overview" in frame:
                self.rv, self.hash = frame["rv"], frame["hash"]
                self.object, self.overview = frame.get("object"), frame.get("overview")
            case "snap":
                self.rv, self.hash, self.total = frame["rv"], frame["hash"], frame["total"]
                self.columns, self.gone, self.pending = frame["columns"], set(), {}
                self.rows = {
                    row["k"]: {"n": row["n"], "a": row["a"], **dict(zip(self.columns, row["v"], strict=True))}
                    for row in frame["rows"]
                }
            case "delta":
                self.rv, self.total, self.pending = frame["rv"], frame["total"], frame["pending"]
                for k, news in frame["set"]:
                    self.gone.discard(k)
                    self.rows[k].update(news)
                self.gone.update(frame["gone"])
            case "end":
                self.ended = frame["code"]
            case "stale":
                self.cut_off[frame["cluster"]] = frame["code"]
            case "fresh":
                del self.cut_off[frame["cluster"]]
            case _:
                pass

    @property
    def stale(self) -> str:
        """The clusters that are cut off."""
        return ",".join(sorted(self.cut_off))

    @property
    def names(self) -> list[str]:
        """Of the rows that are there, in order."""
        return [row["n"][0] for k, row in self.rows.items() if k not in self.gone]

    def row(self, name: str) -> dict[str, Any]:
        return next(row for row in self.rows.values() if row["n"][0] == name)


class Watcher:
    """One socket. Read by `until`; `frames` keeps all that came."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.acks = True
        self.pongs = True
        self.frames: list[dict[str, Any]] = []
        self.models: dict[int, Model] = {}
        self._next = 1

    async def send(self, t: str, **fields: Any) -> None:
        await self.socket.send_str(json.dumps({"t": t, **fields}))

    async def sub(self, what: dict[str, Any], have: Model | None = None, id_: int = 0) -> Model:
        """Subscribe; the model fills as frames are read. have: where it begins, as after a reconnect."""
        id_ = id_ or self._next
        self._next = max(self._next, id_) + 1
        more = {} if have is None else {"have": {"rv": have.rv, "hash": have.hash}}
        model = self.models[id_] = Model() if have is None else deepcopy(have)
        await self.send("sub", id=id_, what=what, **more)
        return model

    def id_of(self, model: Model) -> int:
        return next(id_ for id_, one in self.models.items() if one is model)

    async def read(self, within_s: float = PATIENCE_S) -> dict[str, Any] | None:
        """The next frame, applied and acknowledged; None when the socket is closed."""
        message = await self.socket.receive(timeout=within_s)
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        frame: dict[str, Any] = json.loads(message.data)
        self.frames.append(frame)
        if frame.get("id") in self.models:
            self.models[frame["id"]].take(frame)
        if frame["t"] == "ping" and self.pongs:
            await self.send("pong", ts=frame["ts"])
        if "seq" in frame and self.acks:
            await self.send("ack", seq=frame["seq"])
        return frame

    async def until(self, is_true: Callable[[], object], within_s: float = PATIENCE_S) -> None:
        """Read until this is true. Raises TimeoutError, AssertionError when the socket closes before."""
        async with asyncio.timeout(within_s):
            while not is_true():
                assert await self.read(within_s) is not None, f"closed with {self.socket.close_code}"

    async def code(self, within_s: float = PATIENCE_S) -> int | None:
        """Read until the socket is closed, and return why."""
        async with asyncio.timeout(within_s):
            while await self.read(within_s) is not None:
                pass
        return self.socket.close_code

    def seen(self, t: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["t"] == t]


@asynccontextmanager
async def watching(
    gateway: RunningGateway, token: str, headers: dict[str, str] | None = None, **options: Any
) -> AsyncGenerator[Watcher]:
    """A socket in the name of whom the token is for; it has said hello."""
    signed = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{gateway.url.replace('http', 'ws', 1)}{WATCH}"
    async with gateway.session.ws_connect(
        url, headers={**signed, **(headers or {})}, protocols=(PROTOCOL,), max_msg_size=0, **options
    ) as socket:
        watcher = Watcher(socket)
        await watcher.send("hello", lang="en", pace="visible")
        yield watcher
