"""One connection to an LDAP server: bind and search, nothing else, within limits.

Promises: referrals are never followed; filters are built from values and never from text that people typed;
what arrived before TLS began is forgotten. All methods raise DirectoryDown when the server cannot be used.
Source: I13; design §9 "LDAP in"; decision 012.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

from sansldap import (
    BindResponse,
    ExtendedOperations,
    ExtendedResponse,
    LDAPClient,
    LDAPError,
    LDAPFilter,
    LDAPMessage,
    LDAPResultCode,
    SearchResultDone,
    SearchResultEntry,
    SearchScope,
)

CHUNK_BYTES: Final = 64 * 1024
ANSWERS_MAX_BYTES: Final = 4 * 2**20
"""Of one connection."""

Answer = TypeVar("Answer", BindResponse, ExtendedResponse)


class DirectoryDown(Exception):
    """The directory cannot say who somebody is, now; the text is for the log."""


class Entry(NamedTuple):
    """attributes: by name in lower case, as attribute names have no case."""

    dn: str
    attributes: Mapping[str, Sequence[bytes]]

    def text(self, attribute: str) -> str:
        """The first value, binary ones in hexadecimal; "" where there is none."""
        value = next(iter(self.attributes.get(attribute.lower(), ())), b"")
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()


class Wire:
    """`await Wire.open(…)`, then `bind` and `search` one after the other, then `close`."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.WriteTransport) -> None:
        self._reader = reader
        self._transport = transport
        self._session = LDAPClient()
        self._left_bytes = ANSWERS_MAX_BYTES

    @classmethod
    async def open(cls, host: str, port: int, *, tls: ssl.SSLContext | None, over_tls: bool) -> "Wire":
        """tls: None for a connection that anybody on the way can read. over_tls: TLS before LDAP."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        try:
            transport, _ = await loop.create_connection(
                lambda: asyncio.StreamReaderProtocol(reader), host, port, ssl=tls if over_tls else None
            )
        except (OSError, ssl.SSLError) as error:
            raise DirectoryDown(f"no connection to {host}:{port}: {error}") from error
        wire = cls(reader, transport)
        if tls is not None and not over_tls:
            try:
                await wire._start_tls(tls, host)
            except BaseException:
                await wire.close()
                raise
        return wire

    async def close(self) -> None:
        """At once: nothing is waited for from a server that may be slow."""
        with suppress(LDAPError):
            self._session.unbind()
            self._transport.write(self._session.data_to_send())
        self._transport.abort()
        await asyncio.sleep(0)  # the turn in which the socket is closed

    async def bind(self, dn: str, password: str) -> LDAPResultCode:
        """Raises ValueError for a name without a password: that bind proves nothing (RFC 4513 §5.1.2)."""
        if dn and not password:
            raise ValueError("a bind with a name and without a password proves nothing")
        self._session.bind_simple(dn, password)
        answer = await self._answer(BindResponse)
        return answer.result.result_code

    async def search(
        self, base: str, wanted: LDAPFilter, attributes: Sequence[str], limit: int, *, itself: bool = False
    ) -> Sequence[Entry]:
        """At most `limit` entries of the subtree, aliases not followed. The base must be there.

        itself: the base is the only entry that is asked about, and it may be missing.
        """
        scope = SearchScope.BASE if itself else SearchScope.SUBTREE
        self._session.search_request(
            base, scope, filter=wanted, attributes=list(attributes), size_limit=limit
        )
        found: list[Entry] = []
        while True:
            for message in await self._receive():
                if isinstance(message, SearchResultEntry):
                    values = {one.name.lower(): tuple(one.values) for one in message.attributes}
                    found.append(Entry(message.object_name, values))
                elif isinstance(message, SearchResultDone):
                    code = message.result.result_code
                    if itself and code == LDAPResultCode.NO_SUCH_OBJECT:
                        return ()
                    if code not in (LDAPResultCode.SUCCESS, LDAPResultCode.SIZE_LIMIT_EXCEEDED):
                        raise DirectoryDown(f"a search below {base!r} failed: {code.name}")
                    return found[:limit]

    async def _start_tls(self, tls: ssl.SSLContext, host: str) -> None:
        self._session.extended_request(ExtendedOperations.LDAP_START_TLS.value)
        answer = await self._answer(ExtendedResponse)
        if answer.result.result_code != LDAPResultCode.SUCCESS:
            raise DirectoryDown(f"the directory refused StartTLS: {answer.result.result_code.name}")
        # A new reader and session: nothing that was sent in the clear may be read as if it was protected.
        loop = asyncio.get_running_loop()
        self._reader, self._session = asyncio.StreamReader(), LDAPClient()
        protocol = asyncio.StreamReaderProtocol(self._reader)
        try:
            transport = await loop.start_tls(self._transport, protocol, tls, server_hostname=host)
        except (OSError, ssl.SSLError) as error:
            raise DirectoryDown(f"StartTLS failed: {error}") from error
        if transport is None:
            raise DirectoryDown("the connection was closed during StartTLS")
        protocol.connection_made(transport)
        self._transport = transport

    async def _answer(self, kind: type[Answer]) -> Answer:
        while True:
            for message in await self._receive():
                if isinstance(message, kind):
                    return message

    async def _receive(self) -> Sequence[LDAPMessage]:
        if waiting := self._session.data_to_send():
            self._transport.write(waiting)
        try:
            data = await self._reader.read(CHUNK_BYTES)
            if not data:
                raise DirectoryDown("the directory closed the connection")
            self._left_bytes -= len(data)
            if self._left_bytes < 0:
                raise DirectoryDown(f"the directory answered with more than {ANSWERS_MAX_BYTES} bytes")
            return self._session.receive(data)
        except (OSError, LDAPError) as error:
            raise DirectoryDown(f"the directory was not understood: {error}") from error
