"""A load of different POST bodies over kept-open HTTP/1.1 connections, lighter than any client library.

What is measured shares the machine with what measures it: the less this takes, the better for the server.
"""

import asyncio
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Load:
    """ms: of each request, sorted when all is done. bodies: of the answers, by the number of the request."""

    per_s: float = 0.0
    ms: list[float] = field(default_factory=list[float])
    bodies: dict[int, bytes] = field(default_factory=dict[int, bytes])


async def load(
    url: str,
    bodies: Sequence[bytes],
    *,
    connections: int = 50,
    context: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
) -> Load:
    """Raises RuntimeError for an answer that is not 200 or 201."""
    where = urlsplit(url)
    found, numbers = Load(), iter(range(len(bodies)))
    head = f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())

    async def one_connection(numbers: Iterator[int]) -> None:
        assert where.hostname
        reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
        for number in numbers:
            body = bodies[number]
            start = time.perf_counter()
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            found.bodies[number] = await _answer(reader)
            found.ms.append((time.perf_counter() - start) * 1000)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(one_connection(numbers) for _ in range(connections)))
    found.per_s = len(bodies) / (time.perf_counter() - start)
    found.ms.sort()
    return found


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ),
        None,
    )
    if length is None:
        raise RuntimeError(f"an answer without a length: {head[:200]!r}")
    body = await reader.readexactly(length)
    if head.split(b" ", 2)[1] not in (b"200", b"201"):
        raise RuntimeError(f"the server said {head[:100]!r} {body[:300]!r}")
    return body
