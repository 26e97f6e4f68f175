"""Peers that vanish without a word: a site loses its power, and no packet says so (G12, C9).

The kernel asks on connections that are quiet, and ends those whose other side says nothing. Without this a
watch or shell into a site that is gone would hang until its token expires.
"""

import socket
from asyncio.trsock import TransportSocket
from typing import Any, Final

QUIET_S: Final = 15
ASKED_EVERY_S: Final = 10
ASKED_TIMES: Final = 3


def ask_for_signs(sock: socket.socket | TransportSocket) -> None:
    """Within 45 s it is known that nobody is there any more. For TCP; others know by themselves."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, QUIET_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, ASKED_EVERY_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, ASKED_TIMES)


def new_socket(address: tuple[Any, ...]) -> socket.socket:
    """For aiohttp. address: as of getaddrinfo."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    ask_for_signs(made)
    return made
