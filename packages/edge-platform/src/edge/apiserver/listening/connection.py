"""HTTP/1.x connections with bounds: a head has 10 s, 32 KiB and 64 headers (design §8.1, step 1).

What breaks a bound is answered as everything else is, with a Status that says what would be accepted, and the
connection is closed. HTTP/1.0 is served without chunks and kept alive where it is asked for (`ab -k`; G9).
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final, cast
from weakref import WeakSet

import structlog
from aiohttp import web
from aiohttp.http_exceptions import BadStatusLine, LineTooLong
from aiohttp.web_protocol import RequestHandler

from edge.apiserver.answers import bug_answer, new_request_id, problem_answer
from edge.apiserver.listening.doors import ALWAYS, Doors
from edge_sdk.problem import Problem

HEAD_MAX_BYTES: Final = 32 * 1024
HEADERS_MAX: Final = 64
HEAD_WITHIN_S: Final = 10.0
IDLE_S: Final = 75.0
LINGERING_S: Final = 2.0
TAKEN_EVERY_S: Final = 30.0
TAKEN_BYTES: Final = 64 * 1024
"""What a client takes of an answer in that time at the least, which is held in memory until it is taken."""

log = structlog.stdlib.get_logger("edge.apiserver")


class Request(web.BaseRequest):
    """Every answer passes `Doors` on its way out, also one that a handler prepares itself."""

    doors: Doors
    answer: web.StreamResponse | None = None
    """What was begun to be sent."""
    edge_request_id: str = ""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        self.answer = response
        self.doors.dress(self, response, self.edge_request_id)


class Connection(RequestHandler):
    """Counts the bytes and the time of a head while it comes; aiohttp bounds single lines only."""

    def __init__(self, server: "HttpServer", **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_within_s = server.head_within_s
        self._untaken_timer: asyncio.TimerHandle | None = None
        self.latest: Request | None = None
        """What is handled, or was; aiohttp forgets it before its answer is written."""
        self._of = server

    def data_received(self, data: bytes) -> None:
        # No request is in hand: what comes is (a part of) a head. Bodies pass by.
        waits = self._waiter is not None or not self._request_count
        if not waits:
            super().data_received(data)
            return
        before, self._head_bytes = self._head_bytes, self._head_bytes + len(data)
        super().data_received(data)
        if self._messages:
            self._head_ended()
            if self._head_bytes > HEAD_MAX_BYTES and _head_size(self._messages[0][0]) > HEAD_MAX_BYTES:
                self._give_up(_head_too_large(f"the head is longer than {HEAD_MAX_BYTES // 1024} KiB"))
            self._head_bytes = 0
        elif self._head_bytes > HEAD_MAX_BYTES:
            self._give_up(_head_too_large(f"the head is longer than {HEAD_MAX_BYTES // 1024} KiB"))
        elif not before:
            self._head_timer = self._loop.call_later(self._head_within_s, self._late)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if isinstance(transport, asyncio.WriteTransport):
            self._of.transports.add(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_ended()
        self._is_taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_again(None)

    def resume_writing(self) -> None:
        self._is_taken()
        super().resume_writing()

    def _look_again(self, left: int | None) -> None:
        """Whether the client takes the answer. left: bytes that were waiting at the last look."""
        if self.transport is None:
            return
        now = self.transport.get_write_buffer_size()
        answer = self.latest.answer if self.latest is not None else None
        # A stream waits for its client with little in memory: somebody reads a log page by page.
        if left is not None and left - now < TAKEN_BYTES and isinstance(answer, web.Response):
            self.transport.abort()
            return
        self._untaken_timer = self._loop.call_later(TAKEN_EVERY_S, self._look_again, now)

    def _is_taken(self) -> None:
        if self._untaken_timer is not None:
            self._untaken_timer.cancel()
            self._untaken_timer = None

    def _head_ended(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        self._head_timer = None
        self._give_up(
            Problem(
                "request-timeout",
                what="The request was given up",
                why=f"its head did not come within {self._head_within_s:g} s",
                do="send the whole head at once; a slow network may need smaller headers",
                status=408,
            )
        )

    def _give_up(self, problem: Problem) -> None:
        """Answer before any handler runs, and close. Nothing was sent yet: no request is in hand."""
        self._head_ended()
        self._messages.clear()
        if self.transport is not None:
            self.transport.write(_plain(problem))
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What the parser did not understand, and handlers that broke beyond the gateway's own care."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer broke off")
        request_id = new_request_id()
        if isinstance(request, Request):
            request.edge_request_id = request_id
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("connection_failed", request_id=request_id, error=repr(exc))
            response = bug_answer(request_id)
        else:
            response = problem_answer(_not_understood(exc, message or ""), request_id)
        response.force_close()
        return response


class HttpServer(web.Server):
    """`handler` serves all connections; `doors` dresses all answers."""

    def __init__(
        self, handler: Any, doors: Doors, *, head_within_s: float | None = None, idle_s: float = IDLE_S
    ) -> None:
        super().__init__(handler, handler_cancellation=True)
        self.head_within_s = HEAD_WITHIN_S if head_within_s is None else head_within_s
        self._doors = doors
        self.transports: WeakSet[asyncio.WriteTransport] = WeakSet()
        self.request_factory = self._request
        self._options = {
            "access_log": None,
            "auto_decompress": False,
            "keepalive_timeout": idle_s,
            "max_line_size": HEAD_MAX_BYTES,
            "max_field_size": HEAD_MAX_BYTES,
            "max_headers": HEADERS_MAX,
            "lingering_time": LINGERING_S,
        }

    def abort_rest(self) -> None:
        """Cut what is still open after the end: clients that do not take the answer they were sent."""
        for transport in tuple(self.transports):
            transport.abort()

    def __call__(self) -> RequestHandler:
        return Connection(self, **self._options)

    def _request(
        self, message: Any, payload: Any, protocol: Any, writer: Any, task: "asyncio.Task[None]"
    ) -> Request:
        request = Request(message, payload, protocol, writer, task, self._loop)
        request.doors = self._doors
        protocol.latest = request
        return request


def _head_size(message: object) -> int:
    """0 for what could not be parsed: that is refused anyway."""
    raw = cast("tuple[tuple[bytes, bytes], ...]", getattr(message, "raw_headers", ()))
    return len(getattr(message, "path", "")) + sum(len(name) + len(value) + 4 for name, value in raw)


def _not_understood(error: BaseException | None, message: str) -> Problem:
    first = message.splitlines()[0][:200] if message else ""
    if "Too many headers" in message:
        return _head_too_large(f"it has more than {HEADERS_MAX} headers")
    if isinstance(error, LineTooLong):
        return _head_too_large(f"a line of its head is longer than {HEAD_MAX_BYTES // 1024} KiB")
    why = "its first line is no HTTP" if isinstance(error, BadStatusLine) else first
    return Problem(
        "bad-request",
        what="The request was not understood",
        why=why,
        do="speak HTTP/1.1 or HTTP/1.0; for TLS use the https port",
    )


def _head_too_large(why: str) -> Problem:
    return Problem(
        "header-too-large",
        what="The request was refused",
        why=why,
        do=f"send at most {HEADERS_MAX} headers and {HEAD_MAX_BYTES // 1024} KiB; clear large cookies",
        status=431,
        reason="RequestHeaderFieldsTooLarge",
    )


def _plain(problem: Problem) -> bytes:
    """The answer as bytes, for a connection on which there is no request to answer."""
    request_id = new_request_id()
    answer = problem_answer(problem, request_id)
    body = cast("bytes", answer.body)
    headers = {**dict(ALWAYS), **answer.headers, "X-Request-Id": request_id}
    lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name != "Content-Length"]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
