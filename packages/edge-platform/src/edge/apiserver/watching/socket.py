"""The WebSocket of one client: reads what it asks for, sends what is due, says why it ends (§5.4)."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any, Final

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from edge.apiserver.watching import protocol
from edge.apiserver.watching.conversation import Conversation
from edge.apiserver.watching.desk import Desk, World
from edge.apiserver.watching.measures import WatchMeasures
from edge.apiserver.watching.protocol import Ack, BadMessage, Hello, Mod, Pong, SetPace, Sub

CLOSES_WITHIN_S: Final = 2.0
JOINED_MAX_BYTES: Final = 64 * 1024
_CODES: Final = {
    WSCloseCode.MESSAGE_TOO_BIG: protocol.TOO_BIG,
    WSCloseCode.PROTOCOL_ERROR: protocol.BAD_MESSAGE,
    WSCloseCode.INVALID_TEXT: protocol.BAD_MESSAGE,
}
_GONE: Final = (ConnectionResetError, aiohttp.ClientConnectionResetError)
Wait = Callable[[], Awaitable[None]]


class Close(Exception):
    """The socket is to be closed with this code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


class Joined(asyncio.Transport):
    """Hands on what is written as one piece while `joining`: a write to a socket costs more than a frame."""

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__()
        self._inner = inner
        self._joining = False
        self._parts: list[bytes] = []
        self._size = 0

    @contextlib.contextmanager
    def joining(self) -> Generator[None]:
        self._joining = True
        try:
            yield
        finally:
            self._joining = False
            self._flush()

    def is_closing(self) -> bool:
        return self._inner.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._joining:
            self._inner.write(data)
            return
        self._parts.append(bytes(data))
        self._size += len(data)
        if self._size > JOINED_MAX_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            self._inner.write(data)


class Channel(web.WebSocketResponse):
    """A WebSocket whose violations are closed with the codes of this protocol."""

    _joined: Joined | None = None

    def __init__(self) -> None:
        super().__init__(
            protocols=(protocol.PROTOCOL,),
            max_msg_size=protocol.MESSAGE_MAX_BYTES,
            timeout=CLOSES_WITHIN_S,
            compress=True,
        )

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        prepared = await super().prepare(request)
        if self._writer is not None and self._joined is None:
            self._writer.transport = self._joined = Joined(self._writer.transport)
        return prepared

    def joining(self) -> contextlib.AbstractContextManager[None]:
        """Frames that are sent meanwhile go out together."""
        return contextlib.nullcontext() if self._joined is None else self._joined.joining()

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        found = next((mine for theirs, mine in _CODES.items() if theirs == code), code)
        return await super().close(code=found, message=message, drain=drain)


class WatchSocket:
    """`run` from the request's task. Ends by the client, by a code, or by cancellation: the token is over."""

    def __init__(self, world: World, user: str, measures: WatchMeasures, limit: Wait) -> None:
        """limit: waits until the caller may ask for one thing more."""
        self._measures = measures
        self._limit = limit
        self._channel = Channel()
        self._wake = asyncio.Event()
        self.talk = Conversation(time.monotonic())
        self._desk = Desk(world, user, self.talk, self._wake.set)
        self._ends: Close | None = None
        self._retry_after_ms = 0
        self._patience: asyncio.Timeout | None = None
        self.closed = asyncio.Event()

    def rights_changed(self) -> bool:
        """Told in the turn in which they change. Always goes on: what has to be said is said in frames."""
        self._desk.rights_changed()
        return True

    def leave(self, retry_after_ms: int) -> None:
        """The gateway stops: say when to come back, then close."""
        self._retry_after_ms = retry_after_ms
        self._ends = Close(protocol.RESTART, "the gateway restarts")
        self._wake.set()

    async def refuse(self, request: web.BaseRequest, code: int, why: str) -> web.StreamResponse:
        """Browsers learn the reason from a close code only, so the upgrade is taken up first."""
        await self._channel.prepare(request)
        await self._close(request, code, why)
        await self._desk.close()
        return self._channel

    async def run(self, request: web.BaseRequest) -> web.StreamResponse:
        await self._channel.prepare(request)
        try:
            ends = await self._talk()
            if ends is not None:
                await _to_its_end(self._close(request, ends.code, ends.why))
        finally:
            self.closed.set()
        return self._channel

    async def _talk(self) -> Close | None:
        """Until it ends; what to tell the client then. Nobody reads or sends afterwards."""
        tasks = [asyncio.ensure_future(self._send_all()), asyncio.ensure_future(self._read_all())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return self._why(tasks)
        except asyncio.CancelledError:
            # Whoever cancels a stream has ended its token or its user; or the client has left.
            return Close(protocol.UNAUTHENTICATED, "the token is over")
        finally:
            await _to_its_end(self._put_away(tasks))

    async def _put_away(self, tasks: "Sequence[asyncio.Future[None]]") -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._desk.close()
        self._measures.coalesced.inc(self.talk.coalesced)

    def _why(self, tasks: "Sequence[asyncio.Future[None]]") -> Close | None:
        """What to tell the client; None when it has left. Raises what a task has failed with."""
        for task in tasks:
            error = task.exception() if task.done() else None
            if isinstance(error, Close):
                if error.code == protocol.SLOW:
                    self._measures.slow_closed.inc()
                return error
            if error is not None and not isinstance(error, _GONE):
                raise error
        return None

    async def _close(self, request: web.BaseRequest, code: int, why: str) -> None:
        """Within a time: who does not read cannot be told.

        Nobody else reads then, or the channel would not wait for the client's answer: a connection that is
        closed with something of the client unread is reset, and the reason is lost on its way.
        """
        with contextlib.suppress(*_GONE, TimeoutError):
            async with asyncio.timeout(2 * CLOSES_WITHIN_S):
                await self._channel.close(code=code, message=why.encode()[:120])
                return
        if request.transport is not None:
            request.transport.abort()

    # -- from the client -------------------------------------------------------------------------------------

    async def _read_all(self) -> None:
        """Until the client has left. Raises Close."""
        while True:
            message = await self._channel.receive()
            if message.type is WSMsgType.TEXT:
                await self._take(str(message.data))
            elif message.type is WSMsgType.BINARY:
                raise Close(protocol.BAD_MESSAGE, "messages are text")
            elif message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return

    async def _take(self, data: str) -> None:
        """One message. Raises Close."""
        try:
            message = protocol.read_message(data)
            if isinstance(message, Sub | Mod):
                await self._limit()
            self._do(message)
        except BadMessage as error:
            raise Close(protocol.BAD_MESSAGE, str(error)) from None
        if not isinstance(message, Ack | Pong):
            self._wake.set()
        while self.talk.owes_much:  # noqa: ASYNC110 - it asks faster than it reads
            await asyncio.sleep(0.1)

    def _do(self, message: protocol.C2S) -> None:
        """Raises BadMessage."""
        now_s, flow = time.monotonic(), self.talk.flow
        if isinstance(message, Ack):
            had_room = flow.has_room
            if not flow.acked(message.seq, now_s):
                raise BadMessage(f"seq {message.seq} was never sent")
            self._heard()
            if not had_room:
                self._wake.set()
        elif isinstance(message, Pong):
            flow.pong(now_s)
            self._heard()
        elif isinstance(message, Hello | SetPace):
            flow.pace = message.pace
        elif isinstance(message, Sub):
            self._desk.sub(message)
        elif isinstance(message, Mod):
            self._desk.mod(message)
        else:
            self._desk.unsub(message.id)

    # -- to the client ---------------------------------------------------------------------------------------

    async def _send_all(self) -> None:
        """Until it raises Close."""
        await self._send(protocol.welcome(time.time()))
        while True:
            self._wake.clear()
            await self._send_due()
            if self._ends is not None:
                await self._send(protocol.bye(self._ends.code, self._retry_after_ms))
                raise self._ends
            now_s = time.monotonic()
            rest_s = self.talk.next_at_s(now_s) - now_s
            if rest_s > 0:
                await self._rest(rest_s)

    async def _rest(self, rest_s: float) -> None:
        """Until something happens, or this time is over."""
        timer = asyncio.get_running_loop().call_later(rest_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    async def _send_due(self) -> None:
        """All frames that may go out now. Raises Close when the client is slow or dead.

        What is under way when the time is over is lost, so each sign of life puts the end off (`_heard`).
        """
        talk = self.talk
        now_s = time.monotonic()
        if talk.flow.gives_up_at_s() <= now_s:
            raise Close(protocol.SLOW, "no ack or pong in time")
        try:
            async with asyncio.timeout_at(talk.flow.gives_up_at_s()) as self._patience:
                if talk.flow.wants_ping(now_s):
                    await self._send(protocol.ping(int(time.time() * 1000)))
                with self._channel.joining():
                    for frame in talk.frames(now_s):
                        await self._send(frame)
        except TimeoutError:
            raise Close(protocol.SLOW, "no ack or pong in time") from None
        finally:
            self._patience = None

    def _heard(self) -> None:
        """Of the client: what is being sent to it has time again."""
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(self.talk.flow.gives_up_at_s())

    async def _send(self, frame: bytes) -> None:
        await self._channel.send_frame(frame, WSMsgType.TEXT)
        self._measures.sent(frame)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Whoever cancels meanwhile has to wait: the client is told why, and what the socket held is given back.

    A request is cancelled by each event about its user, and once more when its client has left.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
