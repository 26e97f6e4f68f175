"""Request bodies: read once, up to a bound, before anything is done with them."""

from typing import Final

from aiohttp import web

from edge_sdk.problem import TooLarge

MIB: Final = 1024 * 1024
BODY_MAX_BYTES: Final = 3 * MIB
KEPT: Final = web.RequestKey("edge.body", bytes)


async def read_body(request: web.BaseRequest, limit: int = BODY_MAX_BYTES) -> bytes | None:
    """The body, None when there is none. Raises TooLarge (413) as soon as it is known to be too long.

    Asked again it says the same: the gateway reads before a handler does, who may want a smaller one.
    """
    known = request.get(KEPT)
    if known is not None:
        if len(known) > limit:
            raise _too_large(limit)
        return known
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    if not request.body_exists:
        return None
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    pieces: list[bytes] = []
    size = 0
    async for piece in request.content.iter_any():
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
    request[KEPT] = body = b"".join(pieces)
    return body


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        "body-too-large",
        what="The body of the request was refused",
        why=f"it is longer than {_size(limit)}, more than is needed here",
        do="send a smaller object; large files belong into a volume or an image",
    )


def _size(limit: int) -> str:
    return f"{limit // MIB} MiB" if limit >= MIB else f"{limit // 1024} KiB"
