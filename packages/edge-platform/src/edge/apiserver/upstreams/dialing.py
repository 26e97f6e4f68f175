"""Dialling for others: a name is resolved, every address it has is judged, and only those are dialled.

What was judged is what is dialled, so that a name which answers differently the second time (DNS rebinding)
leads nowhere else. Source: S17; design authorization-and-gateway §8.6 (CVE-2022-3294 class).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from edge.operate.addresses import literal, why_not

LOOKUP_WITHIN_S: Final = 3.0
_THREADS: Final = ThreadPoolExecutor(8, thread_name_prefix="lookup")
"""Of their own: a name server that does not answer keeps no other work waiting."""

Lookup = Callable[[str, int], Awaitable[tuple[Sequence[str], str]]]
"""From name and port to its addresses, and the name that they belong to in the end. Raises OSError."""


class ForbiddenAddress(OSError):
    """Nothing is dialled there."""


async def system_lookup(name: str, port: int) -> tuple[Sequence[str], str]:
    """The system's resolver. Raises OSError, TimeoutError."""

    def ask() -> tuple[Sequence[str], str]:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
        return [str(sockaddr[0]) for _, _, _, _, sockaddr in found], found[0][3] or name

    async with asyncio.timeout(LOOKUP_WITHIN_S):
        return await asyncio.get_running_loop().run_in_executor(_THREADS, ask)


class Dialer(AbstractResolver):
    """The only way from one target's name to an address. As aiohttp's resolver it pins what it has judged."""

    def __init__(
        self, name: str, *, is_service: bool = False, loopback_allowed: bool, lookup: Lookup = system_lookup
    ) -> None:
        """name: what is looked up, whatever aiohttp asks for. is_service: the name may not stand for another,
        which a Service of type ExternalName does. Raises ForbiddenAddress for a literal address or spelling.
        """
        self._name = name
        self._is_service = is_service
        self._loopback_allowed = loopback_allowed
        self._lookup = lookup
        try:
            self._literal = literal(name)
        except ValueError as error:
            raise ForbiddenAddress(f"{name}: {error}") from None
        if self._literal is not None:
            self._judge(str(self._literal))

    async def addresses(self, port: int) -> Sequence[str]:
        """All addresses, each of them judged. Raises ForbiddenAddress, OSError."""
        if self._literal is not None:
            self._judge(str(self._literal))
            return (str(self._literal),)
        try:
            found, canonical = await self._lookup(self._name, port)
        except TimeoutError:
            raise OSError(f"the name {self._name} was not resolved in {LOOKUP_WITHIN_S:g} s") from None
        if self._is_service and canonical.rstrip(".").lower() != self._name.rstrip(".").lower():
            raise ForbiddenAddress(f"{self._name} stands for {canonical}: a Service of type ExternalName")
        for address in found:
            self._judge(address)
        if not found:
            raise OSError(f"the name {self._name} has no address")
        return tuple(dict.fromkeys(found))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self.addresses(port)
        ]

    async def close(self) -> None:
        """Nothing is kept open."""

    def _judge(self, text: str) -> None:
        address = ipaddress.ip_address(text.partition("%")[0])
        why = why_not(address, loopback_allowed=self._loopback_allowed)
        if not why and not self._loopback_allowed and _is_own(address):
            why = "it is the gateway's own address"
        if why:
            raise ForbiddenAddress(f"{self._name} leads to {address}, and {why}")


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether the kernel would send from the very address that it sends to; no packet leaves for this."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:
            return False
        return probe.getsockname()[0] == str(address)
