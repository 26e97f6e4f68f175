"""HTTP as bytes, for what no client library would send."""

import asyncio
import contextlib
from collections.abc import Sequence


async def exchange(port: int, *pieces: bytes, within_s: float = 10, pause_s: float = 0.0) -> bytes:
    """Send pieces one after the other and read until the gateway closes, or for `within_s`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        for piece in pieces:
            writer.write(piece)
            if pause_s:
                await asyncio.sleep(pause_s)
        async with asyncio.timeout(within_s):
            while piece := await reader.read(65536):
                answer += piece
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return answer


def request(method: str, path: str, token: str = "", headers: Sequence[str] = (), body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway", *headers]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def statuses(answer: bytes) -> list[int]:
    """Of all answers on the connection, in their order."""
    return [int(part[9:12]) for part in _heads(answer)]


def _heads(answer: bytes) -> list[bytes]:
    return [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.") and line[9:12].isdigit()]
