"""What keeps a shell open: whatever is typed or printed, and no ping of a program (design §8.4)."""

import pytest

from edge.apiserver.upstreams.pings import CHUNK_MAX_BYTES, are_pings
from edge.apiserver.upstreams.splice import Side

MASK = bytes((0x11, 0x22, 0x33, 0x44))
SPDY_PING = bytes.fromhex("80030006 00000004 00000001")
SPDY_DATA = bytes.fromhex("00000001 00000003") + b"ls\r"
SPDY_SYN = bytes.fromhex("80030001 0000000a 00000001 00000000 0000")


def frame(kind: int, content: bytes = b"", *, masked: bool = False) -> bytes:
    """A short WebSocket frame; those of clients are masked."""
    if not masked:
        return bytes((kind, len(content))) + content
    hidden = bytes(one ^ MASK[at % 4] for at, one in enumerate(content))
    return bytes((kind, 0x80 | len(content))) + MASK + hidden


PING, PONG = frame(0x89, b"at 12:00", masked=True), frame(0x8A, b"at 12:00")
NO_USE = (
    PING,
    PONG,
    frame(0x89),
    frame(0x8A, b"x" * 125, masked=True),
    frame(0x82, masked=True),
    frame(0x81),
    SPDY_PING,
    SPDY_PING * 3,
    frame(0x82, SPDY_PING, masked=True),
    frame(0x82, SPDY_PING),
    PING + PONG + SPDY_PING,
)
USE = (
    b"l",
    frame(0x82, b"\0l", masked=True),
    frame(0x82, b"\1file\r\n"),
    frame(0x81, b'{"Width":80}', masked=True),
    frame(0x82, b"twelve bytes", masked=True),
    frame(0x88, b"\x03\xe8", masked=True),
    SPDY_DATA,
    SPDY_SYN,
    PING + SPDY_DATA,
    SPDY_PING[:11],
    PING[:-1],
    frame(0x82, SPDY_PING, masked=True)[:7],
    b"\x82\x7e\x01\x00" + b"x" * 256,
    b"\x89",
)


@pytest.mark.parametrize("chunk", NO_USE)
def test_pings_and_empty_messages_are_no_use_of_a_shell(chunk: bytes) -> None:
    assert are_pings(chunk)


@pytest.mark.parametrize("chunk", USE)
def test_all_else_is_use_also_beside_a_ping(chunk: bytes) -> None:
    assert not are_pings(chunk)


async def test_a_side_remembers_when_it_was_used_and_not_when_it_was_pinged() -> None:
    long_ago_s = -1000.0
    for chunk, is_use in (
        *((chunk, False) for chunk in NO_USE),
        *((chunk, True) for chunk in USE),
        (SPDY_PING * (CHUNK_MAX_BYTES // len(SPDY_PING) + 1), True),  # nobody pings like that
    ):
        side = Side()
        side.used_s = long_ago_s
        side.data_received(chunk)
        assert (side.used_s > long_ago_s) == is_use, chunk
        assert bytes(side.early) == chunk, "what is no use is passed on all the same"
