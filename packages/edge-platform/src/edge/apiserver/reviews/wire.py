"""HTTP/1.1 as an API server speaks it to its authorization webhook, and nothing else of it (I10).

The answer is worked out in microseconds, so a general web server would cost several times what it serves.
Only one path, one method and bodies of a stated length are known; everything else ends the connection. Peers
have shown a certificate before a byte of theirs is read. Requests of one connection are answered in order.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from edge.apiserver.reviews.reviewer import Answer, Reviewer

PATH: Final = "/authz/v1/subjectaccessreview"
HEAD_MAX: Final = 16 * 1024
BODY_MAX: Final = 256 * 1024
_REASONS: Final = {
    200: b"OK", 400: b"Bad Request", 404: b"Not Found", 405: b"Method Not Allowed", 411: b"Length Required",
    413: b"Content Too Large", 431: b"Request Header Fields Too Large", 503: b"Service Unavailable",
}  # fmt: skip
_PATHS: Final = (PATH.encode(), PATH.encode() + b"/")
_LENGTH: Final = b"\r\ncontent-length:"

log = structlog.stdlib.get_logger("edge.apiserver")


class ReviewConnection(asyncio.Protocol):
    def __init__(self, reviewer: Reviewer, admits: Callable[[str], bool]) -> None:
        """admits: whether a client certificate of this common name may ask."""
        self._reviewer = reviewer
        self._admits = admits
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._waiting: asyncio.Task[None] | None = None
        self._last = False
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Once hands are shaken. What the peer has sent, or whether it has left, may be known before."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("reviews come over connections")
        name = _common_name(transport.get_extra_info("peercert"))
        if not self._admits(name):
            log.warning("reviewer_client_refused", name=name)
            self._last = True
        if self._last or self.closed.is_set():
            transport.abort()
            return
        self._transport = transport
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.closed.set()
        if self._waiting is not None:
            self._waiting.cancel()

    def data_received(self, data: bytes) -> None:
        self._rest = self._rest + data if self._rest else data
        self._go_on()

    def finish(self) -> None:
        """Answer what is in hand, then close."""
        self._last = True
        if self._waiting is None and self._transport is not None:
            self._transport.close()

    def _go_on(self) -> None:
        """Answer every whole request that is there."""
        while self._rest and self._waiting is None:
            if self._transport is None or self._transport.is_closing():
                return
            end = self._rest.find(b"\r\n\r\n")
            if end > HEAD_MAX or (end < 0 and len(self._rest) > HEAD_MAX):
                self._refuse(431, "the head of the request is too long")
                return
            if end < 0:
                return
            length = self._read_head(self._rest[:end])
            if length < 0:
                return
            begin, stop = end + 4, end + 4 + length
            if len(self._rest) < stop:
                return
            body, self._rest = self._rest[begin:stop], self._rest[stop:]
            answer = self._reviewer.answer(body)
            if answer is None:
                self._transport.pause_reading()
                self._waiting = asyncio.get_running_loop().create_task(self._answer_later(body))
                return
            self._send(answer)

    async def _answer_later(self, body: bytes) -> None:
        try:
            answer = await self._reviewer.later(body)
        except Exception:  # a bug must not leave the API server waiting
            log.exception("review_failed")
            answer = Answer(503, b"The gateway made a mistake; its log says more.\n")
        self._waiting = None
        self._send(answer)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._go_on()

    def _read_head(self, head: bytes) -> int:
        """The length of the body; -1 after the request was refused. Notes whether it is the last one."""
        line, _, _ = head.partition(b"\r\n")
        method, _, rest = line.partition(b" ")
        target, _, version = rest.partition(b" ")
        low = head.lower()
        at = low.find(_LENGTH)
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            return self._refuse(400, "it is no HTTP/1.1")
        if target.partition(b"?")[0] not in _PATHS:
            return self._refuse(404, f"only {PATH} is served here")
        if method != b"POST":
            return self._refuse(405, "reviews are asked with POST")
        if at < 0 or b"\r\ntransfer-encoding:" in low or b"\r\nexpect:" in low:
            return self._refuse(411, "the body needs a Content-Length, and to be sent at once")
        found = low[at + len(_LENGTH) :].partition(b"\r\n")[0].strip()
        if not found.isdigit() or low.find(_LENGTH, at + 1) >= 0:
            return self._refuse(400, "its Content-Length is not one number")
        if len(found) > 9 or int(found) > BODY_MAX:
            return self._refuse(413, f"a review has at most {BODY_MAX} bytes")
        kept = b"\r\nconnection: keep-alive" in low if version == b"HTTP/1.0" else True
        self._last = self._last or not kept or b"\r\nconnection: close" in low
        return int(found)

    def _refuse(self, status: int, why: str) -> int:
        self._last = True
        self._send(Answer(status, f"The request was not understood: {why}\n".encode()))
        return -1

    def _send(self, answer: Answer) -> None:
        transport = self._transport
        if transport is None:
            return
        status, body = answer
        transport.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: %b\r\n\r\n%b"
            % (
                status,
                _REASONS[status],
                b"application/json" if status == 200 else b"text/plain; charset=utf-8",
                len(body),
                b"close" if self._last else b"keep-alive",
                body,
            )
        )
        if self._last:
            self._rest = b""
            transport.close()


def _common_name(certificate: dict[str, tuple[tuple[tuple[str, str], ...], ...]] | None) -> str:
    """Of the subject; "" without one."""
    for part in (certificate or {}).get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return value
    return ""
