"""Requests to a gateway: the token, its renewal, and patience where the gateway says "not now"."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec

from edge_kube.once import BrokenOffError, sent_once
from edge_sdk.client.errors import CallError, GatewayError, Unreachable, error_of
from edge_sdk.client.models.shared import EdgeError

T = TypeVar("T")
TokenSource = Callable[[str], Awaitable[str]]
"""From the token that was refused ("" at first) to one that may be tried."""

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
LINE_MAX: Final = 16 * 1024 * 1024
NOT_BEGUN: Final = frozenset(
    {
        "Overloaded",
        "AuthorizationStale",
        "SessionsNotKnown",
        "KubeconfigsNotKnown",
        "ClientsNotKnown",
        "AuditUnavailable",
    }
)
"""Codes of a 503 that comes before anything is done, so that any call may be tried again."""


class Reply(NamedTuple):
    """warnings: sentences of the server for who asks, such as what a change would bring."""

    status: int
    body: bytes
    retry_after_s: float
    warnings: tuple[str, ...]


class Http:
    """One gateway. token: a text, or a source that is asked again when one is refused (401), once a call.

    ca: file of certificates that are trusted instead of the system's. timeout_s: of a call; a watch has none.
    tries: in all, where the gateway says when to come back (429, 503). wait_max_s: longest wait for that.
    """

    def __init__(
        self,
        server: str,
        token: str | TokenSource = "",
        *,
        ca: str | Path = "",
        timeout_s: float = 30.0,
        tries: int = 4,
        wait_max_s: float = 30.0,
    ) -> None:
        self.server = server.rstrip("/")
        self._source = token if callable(token) else None
        self._token = "" if callable(token) else token
        self._ca = str(ca)
        self._timeout_s = timeout_s
        self._tries = tries
        self._wait_max_s = wait_max_s
        self._session: aiohttp.ClientSession | None = None
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, path: str, answer: type[T], **options: Any) -> T:
        """A request whose answer is read as a type; str is the text. Options as for `send`."""
        body = await self.send(method, path, **options)
        if answer is str:
            return body.decode()  # pyright: ignore[reportReturnType]
        try:
            return msgspec.json.decode(body, type=answer)
        except msgspec.MsgspecError as error:
            raise Unreachable(
                f"{self.server} answered {method} {path} with something else: {error}"
            ) from None

    async def send(self, method: str, path: str, **options: Any) -> bytes:
        """The body of the answer. Options as for `exchange`. Raises CallError."""
        return (await self.exchange(method, path, **options)).body

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        body_as: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """A request and its answer. query: None and empty values are left out. Raises CallError."""
        url, data = self._url(path, query), _encoded(body, body_as)
        head = {"Accept": JSON, **({"Content-Type": body_as} if data is not None else {}), **(headers or {})}
        renewed = False
        for left in range(self._tries - 1, -1, -1):
            token = await self._current()
            reply = await self._once(method, url, data, _with(head, token))
            if reply.status == 401 and self._source is not None and not renewed:
                renewed = True
                await self._renew(token)
                reply = await self._once(method, url, data, _with(head, self._token))
            if reply.status < 400:
                return reply
            error, wait_s = error_of(reply.status, reply.body), reply.retry_after_s
            if not left or not _may_repeat(method, reply.status, error) or wait_s > self._wait_max_s:
                raise error
            await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")

    async def lines(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str]
    ) -> AsyncIterator[bytes]:
        """The answer line by line, for as long as it comes. Raises CallError."""
        for again in (True, False):
            token = await self._current()
            try:
                async with self._open().request(
                    "GET", self._url(path, query), headers=_with(headers, token),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s),
                ) as response:  # fmt: skip
                    if response.status == 401 and again and self._source is not None:
                        await self._renew(token)
                        continue
                    if response.status >= 400:
                        raise error_of(response.status, await response.read())
                    async for line in response.content:
                        if line.strip():
                            yield line
                    return
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                raise self._unreachable(error) from error

    async def _once(self, method: str, url: str, data: bytes | None, headers: Mapping[str, str]) -> Reply:
        try:
            async with self._open().request(method, url, data=data, headers=headers) as response:
                wait_s = _seconds(response.headers.get("Retry-After", ""))
                warnings = tuple(map(_warning, response.headers.getall("Warning", ())))
                return Reply(response.status, await response.read(), wait_s, warnings)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> CallError:
        failed = "did not answer" if isinstance(error, BrokenOffError) else "was not reached"
        return Unreachable(f"The gateway at {self.server} {failed}: {error or 'no answer in time'}.")

    async def _current(self) -> str:
        if not self._token and self._source is not None:
            await self._renew("")
        return self._token

    async def _renew(self, refused: str) -> None:
        """Many calls that fail at once ask the source once."""
        async with self._renewing:
            if self._source is not None and self._token == refused:
                self._token = await self._source(refused)

    def _url(self, path: str, query: Mapping[str, Any] | None) -> str:
        pairs = [(key, text) for key, value in (query or {}).items() for text in _texts(value)]
        return f"{self.server}{path}?{urlencode(pairs)}" if pairs else f"{self.server}{path}"

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trust = ssl.create_default_context(cafile=self._ca) if self._ca else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trust),
                middlewares=(sent_once,),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                read_bufsize=LINE_MAX,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def at(template: str, *names: str) -> str:
    """A path with names put in for {}, each as one segment."""
    return template.format(*(quote(name, safe="") for name in names))


def status_in(raw: bytes) -> CallError:
    """The exception for the Status in a watch's ERROR event."""
    error = error_of(500, raw)
    code = error.status.code if isinstance(error, GatewayError) else 0
    return error_of(code or 500, raw)


def _with(headers: Mapping[str, str], token: str) -> dict[str, str]:
    return {**headers, "Authorization": f"Bearer {token}"} if token else dict(headers)


def _may_repeat(method: str, status: int, error: CallError) -> bool:
    if status == 429:
        return True
    edge = getattr(error, "edge", EdgeError())
    return status == 503 and (method in ("GET", "HEAD") or edge.code in NOT_BEGUN)


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdecimal() else 1.0


def _warning(header: str) -> str:
    """The text of `299 - "text"` (RFC 7234 §5.5)."""
    _, quoted, text = header.partition('"')
    return text.rstrip('"').replace('\\"', '"') if quoted else header


def _texts(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, bool):
        return ["true"] if value else []
    if isinstance(value, str | int | float):
        return [str(value)]
    return [str(one) for one in value]


def _encoded(body: Any, body_as: str) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    if body_as == FORM:
        return urlencode(msgspec.to_builtins(body)).encode()
    if isinstance(body, str):
        return json.dumps(body).encode()
    return msgspec.json.encode(body)
