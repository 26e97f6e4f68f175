"""HTTP to one API server: sessions, credentials that rotate, limits, retries, deadlines, the write gate.

Promises: every request ends within its deadline, retries included; a request that may have been carried out
is repeated only when repeating it is harmless; the gate is asked again when a write's body goes out, so that
a deposed leader that was frozen in between writes nothing. Redirects are never followed.
Not promised: order between requests. Source: design kube-runtime §4.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import aiohttp
import structlog
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from multidict import CIMultiDict
from yarl import URL

from edge_kube.backoff import Backoff, TokenBucket
from edge_kube.config import Connection
from edge_kube.errors import ConnectionFailed, DeadlineExceeded, NotLeader, Throttled
from edge_kube.metrics import Metrics
from edge_kube.sockets import CONNECT_TIMEOUT_S, Sockets
from edge_kube.wire import error_of_body

log = structlog.stdlib.get_logger("edge_kube.transport")

REQUEST_DEADLINE_S = 10.0
TOKEN_MAX_AGE_S = 60.0
RETRY_AFTER_CAP_S = 30.0
RETRY_AFTER_TRIES_MAX = 5
TRIES_MAX = 3
WARNING_SILENCE_S = 3600.0
_BACKOFF = Backoff(base_s=0.2, cap_s=2.0)
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class Guard(Protocol):
    """Told how a member's connection fares; may refuse a request before it is dialled."""

    def check(self) -> None:
        """Raises ClusterUnavailable."""
        ...

    def succeeded(self) -> None: ...
    def failed(self, error: BaseException) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one API server is asked at once. body_bytes_max: largest answer that is read into memory."""

    in_flight: int = 32
    rate_per_s: float = 50.0
    burst: float = 100.0
    body_bytes_max: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """One request. idempotent: may be sent again after a failure that leaves its outcome open.

    limited: counts against the rate and the seats; leases and probes do not, they must never wait.
    """

    method: str
    path: str
    params: Mapping[str, str] | None = None
    headers: Mapping[str, str] | CIMultiDict[str] | None = None
    body: bytes | AsyncIterable[bytes] | None = None
    content_type: str = "application/json"
    deadline_s: float = REQUEST_DEADLINE_S
    idempotent: bool = False
    limited: bool = True
    gate: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """All requests of this process to one API server. Close it when done."""

    def __init__(
        self,
        connection: Connection,
        *,
        limits: Limits | None = None,
        guard: Guard | None = None,
        metrics: Metrics | None = None,
        host_label: str = "",
        user_agent: str = "edge-kube",
    ) -> None:
        """Opens nothing yet. host_label: label `host` of the request metrics; default the server's host."""
        self.connection = connection
        self._limits = limits or Limits()
        self._base = URL(connection.server)
        self._guard = guard
        self._metrics = metrics
        self._host = host_label or str(self._base.host)
        self._agent = user_agent
        self._bucket = TokenBucket(self._limits.rate_per_s, self._limits.burst)
        self._sockets: Sockets | None = None
        self._checked_at = 0.0
        self._token = ""
        self._warned_at: dict[str, float] = {}
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        if self._sockets is not None:
            await self._sockets.close()
            self._sockets = None

    async def request(self, call: Call) -> Answer:
        """Send, retry as the table of design §4 says, and read the whole answer.

        Raises ApiError for any answer of 400 and above, ConnectionFailed, DeadlineExceeded, NotLeader,
        ClusterUnavailable.
        """
        ends_at = time.monotonic() + call.deadline_s
        throttled = failed = 0
        may_renew_token = True
        while True:
            try:
                answer = await self._once(call, ends_at)
            except ConnectionFailed as error:
                failed += 1
                if failed >= TRIES_MAX or (error.sent and not call.idempotent):
                    raise
                await self._pause(_BACKOFF.delay_s(failed - 1), ends_at, error)
                continue
            if answer.status < 400:
                return answer
            error = error_of_body(answer.status, answer.body)
            error.retry_after_s = _retry_after(answer.headers)
            if answer.status == 401 and may_renew_token and self.connection.token_file:
                may_renew_token = False
                self._checked_at = 0.0
                continue
            if error.retry_after_s is not None and (answer.status == 429 or answer.status >= 500):
                throttled += 1
                if throttled > RETRY_AFTER_TRIES_MAX:
                    raise error
                _log_throttled(error, answer.headers)
                wait_s = error.retry_after_s * (1 + 0.2 * random.random())  # noqa: S311 - spread, no secret
                await self._pause(min(wait_s, RETRY_AFTER_CAP_S), ends_at, error)
                continue
            if answer.status in {429, 500, 502, 503, 504} and (call.idempotent or answer.status == 429):
                failed += 1
                if failed < TRIES_MAX:
                    await self._pause(_BACKOFF.delay_s(failed - 1), ends_at, error)
                    continue
            raise error

    async def _pause(self, wait_s: float, ends_at: float, error: Exception) -> None:
        """Wait before a retry; when the deadline comes first, the error itself is the answer."""
        if time.monotonic() + wait_s >= ends_at:
            raise error
        await asyncio.sleep(wait_s)

    async def _once(self, call: Call, ends_at: float) -> Answer:
        if self._guard is not None:
            self._guard.check()
        if call.limited and (wait_s := self._bucket.reserve()) > 0:
            await self._pause(wait_s, ends_at, DeadlineExceeded("too many requests are waiting", sent=False))
        started = time.monotonic()
        code = "<error>"
        try:
            async with asyncio.timeout(max(0.01, ends_at - started)), self._open(call) as response:
                body = await _read(response, self._limits.body_bytes_max)
            code = str(response.status)
        except TimeoutError as error:
            failure = DeadlineExceeded(
                f"{self._base} did not answer {call.method} within {call.deadline_s:g} s"
            )
            self._report(failure)
            raise failure from error
        except ConnectionFailed as error:
            self._report(error)
            raise
        finally:
            self._count(call.method, code, time.monotonic() - started)
        if response.status < 500:  # a proxy in front of a dead server answers too
            self._report(None)
        return Answer(response.status, response.headers, body)

    def _report(self, error: BaseException | None) -> None:
        if self._guard is None:
            return
        if error is None:
            self._guard.succeeded()
        else:
            self._guard.failed(error)

    def _count(self, method: str, code: str, took_s: float) -> None:
        if self._metrics is not None:
            self._metrics.client_requests.labels(code, method, self._host).inc()
            self._metrics.client_seconds.labels(method, self._host).observe(took_s)

    @contextlib.asynccontextmanager
    async def stream(
        self, call: Call, *, sock_read_s: float | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Open an answer that is read piece by piece; no retry, and the deadline covers the head only.

        Raises ApiError for an answer of 400 and above. Leaving the block closes the connection.
        """
        if self._guard is not None:
            self._guard.check()
        code = "<error>"
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(call.deadline_s):
                    response = await stack.enter_async_context(
                        self._open(call, streaming=True, sock_read_s=sock_read_s)
                    )
                    code = str(response.status)
                    if response.status >= 400:
                        error = error_of_body(response.status, await _read(response, 1 << 20))
                        error.retry_after_s = _retry_after(response.headers)
                        if response.status == 401:
                            self._checked_at = 0.0
                        raise error
            except TimeoutError as error:
                failure = DeadlineExceeded(f"{self._base} did not answer within {call.deadline_s:g} s")
                self._report(failure)
                raise failure from error
            except ConnectionFailed as error:
                self._report(error)
                raise
            finally:
                self._count(call.method if call.method != "GET" else "WATCH", code, 0.0)
            self._report(None)
            try:
                yield response
            finally:
                # Not close(): over TLS that waits for the other side, which may be gone.
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()
                response.close()

    async def raw(self, call: Call, *, sock_read_s: float | None = None) -> aiohttp.ClientResponse:
        """Send once and hand back the answer as it is, whatever its code; the caller reads and closes it."""
        if self._guard is not None:
            self._guard.check()
        sockets = await self._current()
        try:
            async with asyncio.timeout(call.deadline_s):
                response = await self._send(sockets, call, streaming=True, sock_read_s=sock_read_s)
        except TimeoutError as error:
            failure = DeadlineExceeded(f"{self._base} did not answer within {call.deadline_s:g} s")
            self._report(failure)
            raise failure from error
        except ConnectionFailed as error:
            self._report(error)
            raise
        self._report(None)
        self._count(call.method, str(response.status), 0.0)
        sockets.keep_for(response)
        return response

    @contextlib.asynccontextmanager
    async def _open(
        self, call: Call, *, streaming: bool = False, sock_read_s: float | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        sockets = await self._current()
        async with sockets.use():
            response = await self._send(sockets, call, streaming=streaming, sock_read_s=sock_read_s)
            try:
                yield response
            except aiohttp.ClientError as error:
                raise ConnectionFailed(_say(self._base, error)) from error
            finally:
                response.release()

    async def _send(
        self, sockets: Sockets, call: Call, *, streaming: bool, sock_read_s: float | None
    ) -> aiohttp.ClientResponse:
        self._ask_gate(call)
        session = sockets.streams if streaming or not call.limited else sockets.requests
        url = URL(self.connection.server + call.path, encoded=True)
        body = call.body
        if isinstance(body, bytes):
            body = GatedBody(body, lambda: self._ask_gate(call))
        try:
            response = await session.request(
                call.method,
                url.update_query(call.params) if call.params else url,
                headers=self._headers(call),
                data=body,
                allow_redirects=False,
                server_hostname=sockets.server_name,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=sock_read_s
                ),
            )
        except (aiohttp.ClientError, OSError) as error:
            self._ask_gate(call)  # a body held back by the gate shows as a broken connection
            raise ConnectionFailed(_say(self._base, error), sent=not isinstance(error, _NOT_SENT)) from error
        self._note_warnings(response)
        return response

    def _ask_gate(self, call: Call) -> None:
        if call.gate is not None and call.method in _WRITES and not call.gate():
            if self._metrics is not None:
                self._metrics.writes_gated.inc()
            raise NotLeader(f"{call.method} {call.path} was stopped: this process is not the leader any more")

    def _headers(self, call: Call) -> CIMultiDict[str]:
        headers = CIMultiDict[str]({"User-Agent": self._agent, "Accept": "application/json"})
        headers["Accept-Encoding"] = "identity"  # inflating costs more than a local network saves
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        if call.headers:
            given = CIMultiDict(call.headers)
            for name in set(given):
                headers.popall(name, None)
            headers.extend(given)
        if authorization := self.authorization():
            headers["Authorization"] = authorization
        return headers

    def authorization(self) -> str:
        """Value of the Authorization header of this moment; "" when the certificate says who we are."""
        if self.connection.basic is not None:
            return aiohttp.encode_basic_auth(*self.connection.basic)
        return f"Bearer {self._token}" if self._token else ""

    async def _current(self) -> Sockets:
        """The sessions, after a look at the files behind them when a minute has passed or a 401 came."""
        if self._closed:
            raise ConnectionFailed(f"the client of {self._base} is closed", sent=False)
        now = time.monotonic()
        if self._sockets is not None and now - self._checked_at < TOKEN_MAX_AGE_S and self._checked_at:
            return self._sockets
        self._checked_at = now
        try:
            self._token = self.connection.bearer_token()
            if self._sockets is None or self._sockets.stamp != self.connection.stamp():
                old, self._sockets = self._sockets, Sockets(self.connection, self._limits.in_flight)
                if old is not None:
                    await old.retire()
        except OSError as error:
            if self._sockets is None:
                raise ConnectionFailed(
                    f"credentials for {self._base} cannot be read: {error}", sent=False
                ) from error
            log.warning("credentials_unreadable", server=str(self._base), error=str(error))
        return self._sockets

    def _note_warnings(self, response: aiohttp.ClientResponse) -> None:
        for warning in response.headers.getall("Warning", ()):
            now = time.monotonic()
            if now - self._warned_at.get(warning, -WARNING_SILENCE_S) < WARNING_SILENCE_S:
                continue
            if len(self._warned_at) > 1000:
                self._warned_at.clear()
            self._warned_at[warning] = now
            log.warning("server_warned", server=str(self._base), warning=warning[:500])


class GatedBody(Payload):
    """A request body that is held back when the gate closes while the connection is being made."""

    _value: bytes

    def __init__(self, value: bytes, ask: Callable[[], None]) -> None:
        super().__init__(value, content_type="application/json")
        self._size = len(value)
        self._ask = ask

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._ask()
        await writer.write(self._value)


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > bytes_max:
            response.close()
            raise ConnectionFailed(f"the answer is larger than {bytes_max} bytes and was not read")
    return b"".join(pieces)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _log_throttled(error: Throttled | Exception, headers: Mapping[str, str]) -> None:
    if isinstance(error, Throttled):
        log.info("request_throttled", flow_schema=headers.get("X-Kubernetes-PF-FlowSchema-UID", ""))


def _say(base: URL, error: BaseException) -> str:
    return f"{base} cannot be reached: {str(error) or type(error).__name__}"
