"""What changes something is sent once: a connection that breaks is the caller's to judge.

    aiohttp.ClientSession(middlewares=(sent_once,))

aiohttp sends PUT and DELETE a second time by itself when a kept connection turns out dead: it takes them for
idempotent. For us they are not. A PUT that was carried out and comes again is a conflict of our own making, a
DELETE may meet the next object of that name, and the record of changes knows of one request. Readings may be
sent again.
"""

from typing import Final

import aiohttp

READINGS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class BrokenOffError(aiohttp.ClientConnectionError):
    """The connection ended before an answer came: whether the request was carried out is not known."""


async def sent_once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A client middleware. Raises BrokenOffError where aiohttp would send a change again.

    aiohttp repeats after ClientOSError and ServerDisconnectedError, and after nothing else that a middleware
    raises. A method in lower case would not be repeated either, but by an oversight: the name is compared
    before it is written in capitals. A middleware is the documented way, and says what is meant.
    """
    try:
        return await send(request)
    except _NOT_SENT:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        if request.method in READINGS:
            raise
        raise BrokenOffError(
            "the connection ended before an answer came, so what was asked for may have been done or not"
        ) from error
