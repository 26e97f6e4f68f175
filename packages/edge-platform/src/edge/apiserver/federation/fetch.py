"""JSON from an address that a provider gave, within bounds: where it may be, how large, how long (S13).

An issuer's documents name further addresses, so each of them is judged: no link-local or metadata address,
whatever name leads there, and loopback only when the issuer itself is there. Redirects are not followed.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from edge.operate.addresses import literal, why_not

TIMEOUT_S: Final = 5.0
DOCUMENT_MAX_BYTES: Final = 512 * 1024


class FetchFailed(Exception):
    """The text says what went wrong, for the log."""


def is_refused_address(text: str, *, loopback: bool) -> bool:
    """Whether nothing of a provider can be at this address. loopback: the issuer is on this machine.

    Raises ValueError for what is no address.
    """
    return bool(why_not(ipaddress.ip_address(text.partition("%")[0]), loopback_allowed=loopback))


class _Resolver(AbstractResolver):
    """Drops refused addresses; what remains is what is dialled."""

    def __init__(self, *, loopback: bool) -> None:
        self._loopback = loopback
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        kept = [one for one in found if not is_refused_address(one["host"], loopback=self._loopback)]
        if not kept:
            raise OSError(f"{host} is at an address that no provider may have")
        return kept

    async def close(self) -> None:
        await self._inner.close()


class Fetch:
    """plain: http is allowed. loopback: the provider is on this machine."""

    def __init__(self, tls: ssl.SSLContext, *, plain: bool, loopback: bool) -> None:
        self._tls = tls
        self._plain = plain
        self._loopback = loopback
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def json(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Status and object. Raises FetchFailed."""
        self._judge(url)
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._open().request(
                    method, url, headers=headers, data=form, allow_redirects=False, max_redirects=0
                ) as answer,
            ):
                body = await _bounded(answer)
                return answer.status, msgspec.json.decode(body, type=dict[str, Any])
        except TimeoutError:
            raise FetchFailed(f"{url} did not answer within {TIMEOUT_S:g} s") from None
        except (aiohttp.ClientError, OSError, msgspec.MsgspecError, ValueError) as error:
            raise FetchFailed(f"{url}: {error}") from error

    def _judge(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "https" and not (parts.scheme == "http" and self._plain):
            raise FetchFailed(f"{url[:200]} is no https address")
        if not host or parts.username is not None:
            raise FetchFailed(f"{url[:200]} is no address of a provider")
        try:
            address = literal(host)
        except ValueError as error:
            raise FetchFailed(f"{host[:200]}: {error}") from None
        # The addresses of a name are judged when it is looked up.
        if address is not None and why_not(address, loopback_allowed=self._loopback):
            raise FetchFailed(f"{host} is an address that no provider may have")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = _Resolver(loopback=self._loopback)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, resolver=resolver, limit=20),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                headers={"Accept": "application/json", "User-Agent": "edge-platform"},
            )
        return self._session


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(16 * 1024):
        body += chunk
        if len(body) > DOCUMENT_MAX_BYTES:
            raise FetchFailed(f"{answer.url} answered with more than {DOCUMENT_MAX_BYTES} bytes")
    return bytes(body)
