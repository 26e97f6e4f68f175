"""What keeps a shell open without being used: pings, which programs send for as long as they live.

kubectl sends one every 5 or 10 s, so a shell that its user has forgotten is never without bytes. No use of it
are: pings and pongs of WebSocket, WebSocket messages without content, pings of SPDY, and those of SPDY inside
WebSocket (port-forward). All else is: what somebody types, what a program prints, a window that is resized.

A chunk is judged as it was read, without a memory of where frames begin. One that is taken for a ping though
it is the tail of something longer does no harm: what came before it has counted.
"""

from typing import Final

CHUNK_MAX_BYTES: Final = 512
"""Longer ones hold more than pings, and are not looked into."""
SPDY_PING: Final = b"\x80\x03\x00\x06"
SPDY_PING_BYTES: Final = 12
WEBSOCKET_PINGS: Final = (0x89, 0x8A)
WEBSOCKET_MESSAGES: Final = (0x81, 0x82)
IS_MASKED: Final = 0x80
LENGTH: Final = 0x7F
LONGER: Final = 126
"""From this on, the length is in the bytes that follow."""


def are_pings(chunk: bytes) -> bool:
    """Whether it consists of whole pings and of nothing else. Pure."""
    at, size = 0, len(chunk)
    while at < size:
        length = _ping_at(chunk, at)
        if not length:
            return False
        at += length
    return at == size


def _ping_at(chunk: bytes, at: int) -> int:
    """Length of the ping that begins there; 0 when it is something else."""
    if chunk.startswith(SPDY_PING, at):
        return SPDY_PING_BYTES
    kind, length = chunk[at], chunk[at + 1] if at + 1 < len(chunk) else LONGER
    size = length & LENGTH
    if kind not in WEBSOCKET_PINGS + WEBSOCKET_MESSAGES or size >= LONGER:
        return 0
    mask_bytes = 4 if length & IS_MASKED else 0
    if kind in WEBSOCKET_PINGS or not size:
        return 2 + mask_bytes + size
    head = chunk[at + 2 : at + 2 + mask_bytes + 4]
    if size != SPDY_PING_BYTES or _unmasked(head[mask_bytes:], head[:mask_bytes]) != SPDY_PING:
        return 0
    return 2 + mask_bytes + size


def _unmasked(content: bytes, mask: bytes) -> bytes:
    return bytes(one ^ key for one, key in zip(content, mask, strict=False)) if mask else content
