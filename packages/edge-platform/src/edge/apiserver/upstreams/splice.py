"""Upgrades: after both sides agreed to leave HTTP, bytes go through untouched (exec, attach, port-forward).

The client is told 101 only after the upstream said 101. Any other answer is copied and both connections are
closed, never used again: an upgrade that failed half-way must not leave a connection that is signed in as
somebody (CVE-2018-1002105, CVE-2020-8559).
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from edge.apiserver.upstreams.pings import CHUNK_MAX_BYTES, are_pings
from edge_kube.lifesigns import ask_for_signs
from edge_sdk.problem import Problem, Unavailable

Headers = Sequence[tuple[str, str]]
PROTOCOLS: Final = frozenset({"websocket", "spdy/3.1"})
HEAD_MAX_BYTES: Final = 64 * 1024
BODY_MAX_BYTES: Final = 64 * 1024
BODY_WITHIN_S: Final = 5.0
ANSWER_WITHIN_S: Final = 30.0
ADDRESS_WITHIN_S: Final = 2.0
"""Of a name with several addresses: the next one is tried after it."""
CLOSE_WITHIN_S: Final = 10.0
NO_CONTENT: Final = frozenset({"", "0"})
HEX: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")
LAST_CHUNK: Final = b"0\r\n\r\n"


def wanted_protocol(headers: Iterable[tuple[str, str]]) -> str:
    """The protocol that the client wants to switch to, "" for none. Raises Problem (400) for odd ones."""
    pairs = [(name.lower(), value.strip()) for name, value in headers]
    upgrade = [value for name, value in pairs if name == "upgrade"]
    tokens = {
        part.strip().lower() for name, value in pairs if name == "connection" for part in value.split(",")
    }
    if not upgrade or "upgrade" not in tokens:
        return ""
    length = next((value for name, value in pairs if name == "content-length"), "")
    chunked = any(name == "transfer-encoding" for name, _ in pairs)
    if len(upgrade) > 1 or upgrade[0].lower() not in PROTOCOLS or length not in NO_CONTENT or chunked:
        raise Problem(
            "bad-upgrade",
            what=f'The upgrade to "{", ".join(upgrade)[:80]}" was refused',
            why="a request may only switch to one protocol, and has no body",
            do="use websocket or SPDY/3.1, as kubectl does",
        )
    return upgrade[0]


class Side(asyncio.Protocol):
    """One end of a splice. Bytes that come before the other end is there are kept, in order."""

    def __init__(self) -> None:
        self.other: Side | None = None
        self.transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.Event()
        self.early = bytearray()
        self._now_s = asyncio.get_running_loop().time
        self.used_s = self._now_s()
        """When something came last that is no ping, by the loop's clock."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            ask_for_signs(sock)

    def data_received(self, data: bytes) -> None:
        if len(data) > CHUNK_MAX_BYTES or not are_pings(data):
            self.used_s = self._now_s()
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)
            return
        self.early += data
        self.arrived.set()
        if len(self.early) > HEAD_MAX_BYTES + BODY_MAX_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.arrived.set()
        own = self.transport
        other = self.other.transport if self.other is not None else None
        if own is None or own.get_extra_info("ssl_object") or other is None or not other.can_write_eof():
            return False  # TLS has no half-close: the transport closes, and connection_lost ends the splice
        other.write_eof()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        self.arrived.set()
        if not self.closed.done():
            self.closed.set_result(None)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def join(self, other: "Side") -> None:
        """From now on, what arrives here leaves there."""
        self.other = other
        if self.early and other.transport is not None:
            other.transport.write(bytes(self.early))
            self.early.clear()
        if self.transport is not None:
            self.transport.resume_reading()


async def dial(addresses: Sequence[str], port: int, context: ssl.SSLContext | None, name: str | None) -> Side:
    """A connection to the first address that takes one. name: in the certificate. Raises OSError."""
    *others, last = addresses
    loop = asyncio.get_running_loop()
    for address in others:
        try:
            async with asyncio.timeout(ADDRESS_WITHIN_S):
                _, side = await loop.create_connection(Side, address, port, ssl=context, server_hostname=name)
            return side
        except OSError:  # a time-out is one
            continue
    _, side = await loop.create_connection(Side, last, port, ssl=context, server_hostname=name)
    return side


class ClientSide(Side):
    """The end that aiohttp had before; its handler must learn when the connection ends."""

    def __init__(self, handler: RequestHandler) -> None:
        super().__init__()
        self._handler = handler

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._handler.connection_lost(exc)


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers of the upstream's answer."""

    status: int
    headers: tuple[tuple[str, str], ...]

    def first(self, name: str) -> str:
        """name: in lower case. "" when it is not there."""
        return next((value for key, value in self.headers if key.lower() == name), "")


async def read_head(side: Side) -> Head:
    """Wait for the end of the answer's head. Raises Unavailable (502) for what is no HTTP answer."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            while (end := side.early.find(b"\r\n\r\n")) < 0:
                if side.closed.done() or len(side.early) > HEAD_MAX_BYTES:
                    raise _no_answer(
                        "it closed the connection" if side.closed.done() else "its head is too long"
                    )
                side.arrived.clear()
                await side.arrived.wait()
    except TimeoutError:
        raise _no_answer(f"nothing came within {ANSWER_WITHIN_S:g} s") from None
    raw = bytes(side.early[: end + 4])
    del side.early[: end + 4]
    return _parsed(raw)


def _parsed(raw: bytes) -> Head:
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    code = rest[:3]
    pairs = tuple(
        (name.strip(), value.strip()) for name, sep, value in (line.partition(":") for line in lines) if sep
    )
    clean = not any(sign in line for line in lines for sign in "\r\n\0")
    if not version.startswith("HTTP/1.") or not code.isdigit() or len(pairs) != len(lines) or not clean:
        raise _no_answer("its answer is not HTTP")
    if int(code) < 200 and int(code) != 101:
        raise _no_answer(f"its answer {code} is none to an upgrade")
    return Head(int(code), pairs)


def _no_answer(why: str) -> Unavailable:
    return Unavailable(
        "upstream-failed",
        what="The upstream did not answer the request to switch protocols",
        why=why,
        do="try again; if it stays, look at the Kubernetes API server of that cluster",
        status=502,
    )


async def rest_of_body(side: Side, head: Head) -> bytes:
    """Body of an answer that is no 101, at most 64 KiB; the connection is of no use afterwards."""
    length = head.first("content-length")
    want = min(int(length), BODY_MAX_BYTES) if length.isdigit() else BODY_MAX_BYTES
    chunked = "chunked" in head.first("transfer-encoding").lower()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BODY_WITHIN_S):
            while len(side.early) < want and not side.closed.done():
                if chunked and side.early.endswith(LAST_CHUNK):
                    break
                side.arrived.clear()
                await side.arrived.wait()
    return unchunked(bytes(side.early)) if chunked else bytes(side.early[:want])


def unchunked(data: bytes) -> bytes:
    """What the chunks hold that are there. Pure."""
    pieces: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = data[at:end].partition(b";")[0].strip()
        if not HEX.fullmatch(size) or int(size, 16) == 0:
            break
        at = end + 2 + int(size, 16)
        pieces.append(data[end + 2 : at])
        at += 2
    return b"".join(pieces)


class Taken(web.StreamResponse):
    """Stands for an answer that went out as raw bytes: aiohttp has nothing left to send.

    was_idle: it was ended because nobody used it.
    """

    def __init__(self, *, was_idle: bool) -> None:
        super().__init__(status=101)
        self.was_idle = was_idle
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


async def splice(
    request: web.BaseRequest, head: Head, headers: Headers, upstream: Side, *, idle_s: float
) -> Taken:
    """Take the client's connection away from aiohttp, pass on the 101, and copy until one side ends.

    headers: of the 101, as far as the client may have them. idle_s: both sides are closed when neither has
    sent anything but pings for so long (design §8.4).
    """
    handler = request.protocol
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client left before the upgrade")
    client = ClientSide(handler)
    client.connection_made(transport)
    client.early += cast("bytes", getattr(handler, "_message_tail", b""))  # sent right behind its head
    transport.set_protocol(client)
    transport.write(_switching(head, headers))
    upstream.join(client)
    client.join(upstream)
    try:
        was_idle = not await _is_over(client, upstream, idle_s)
        if upstream.closed.done() and not client.closed.done():
            transport.close()  # what is still in its buffer goes out first
            await asyncio.wait((client.closed,), timeout=CLOSE_WITHIN_S)
    finally:
        for end in (transport, upstream.transport):
            if end is not None:
                end.close()  # sends what is still in its buffer
                asyncio.get_running_loop().call_later(CLOSE_WITHIN_S, end.abort)
    return Taken(was_idle=was_idle)


async def _is_over(client: Side, upstream: Side, idle_s: float) -> bool:
    """True once one side has ended; False when both were quiet for that long. Wakes up once in that time."""
    loop = asyncio.get_running_loop()
    while not (client.closed.done() or upstream.closed.done()):
        left_s = max(client.used_s, upstream.used_s) + idle_s - loop.time()
        if left_s <= 0:
            return False
        await asyncio.wait(
            (client.closed, upstream.closed), timeout=left_s, return_when=asyncio.FIRST_COMPLETED
        )
    return True


def _switching(head: Head, headers: Headers) -> bytes:
    lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", f"Upgrade: {head.first('upgrade')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
