"""Peers that vanish without a word: a site loses its power, and no packet says so (G12, C9).

The kernel asks on connections that are quiet, and ends those whose other side says nothing for 45 s. That is
how long Kubernetes' own clients wait (30 s of silence, then 15 s for an answer), and it is longer than a
mobile network takes to find its site again or a router to start: a shell lives through that. The first
question comes after 15 s, so that routers in between, which forget quiet connections, do not forget these;
one packet in 10 to 15 s is little even on a line that is paid by volume.
"""

import socket
from asyncio.trsock import TransportSocket
from typing import Any, Final

QUIET_S: Final = 15
ASKED_EVERY_S: Final = 10
ASKED_TIMES: Final = 3
GONE_AFTER_S: Final = QUIET_S + ASKED_EVERY_S * ASKED_TIMES


def ask_for_signs(sock: socket.socket | TransportSocket) -> None:
    """Of a quiet connection it is known after GONE_AFTER_S that nobody is there. For TCP; others know.

    With bytes under way that nobody acknowledges, the kernel asks nothing and gives up after a quarter of an
    hour; `new_socket` has a bound to that.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, QUIET_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, ASKED_EVERY_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, ASKED_TIMES)


def new_socket(address: tuple[Any, ...]) -> socket.socket:
    """For aiohttp, to send HTTP requests. address: as of getaddrinfo.

    Whoever does not take a request within GONE_AFTER_S is gone too. Not for shells: the kernel counts a side
    that reads nothing for a while, such as a paused pager, as one that does not take what it was sent.
    """
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    ask_for_signs(made)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_AFTER_S * 1000)
    return made
