"""Who somebody is, as an LDAP directory knows: search for the name, then bind as what was found (I13).

    directory = Directory(settings)
    identity = await directory.identify("ada", password)   # None: wrong; raises DirectoryDown
    identity = await directory.find_again(subject)         # None: gone; raises DirectoryDown

A name that the directory does not have costs the same steps as a wrong password, so that time tells nothing.
Source: design §9 "LDAP in".
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import structlog
from sansldap import FilterAnd, FilterEquality, FilterOr, FilterPresent, LDAPFilter, LDAPResultCode

from edge.apiserver.configuration.federation import LdapSettings, trust
from edge.apiserver.federation.wire import DirectoryDown, Entry, Wire
from edge.iam.federated import GROUPS_MAX, Identity

PROVIDER: Final = "ldap"
TIMEOUT_S: Final = 5.0
REST_S: Final = 5.0
"""After a failure nobody waits for the directory this long: the answer is that it is down."""
AT_ONCE_MAX: Final = 20
NAME_MAX: Final = 256
DN: Final = "dn"
"""As idAttribute: the entry's name itself, for directories that have nothing better."""
NO_ATTRIBUTES: Final = "1.1"
ANY_ENTRY: Final = FilterPresent("objectClass")
NO_ANSWER: Final = frozenset(
    {LDAPResultCode.BUSY, LDAPResultCode.UNAVAILABLE, LDAPResultCode.OPERATIONS_ERROR, LDAPResultCode.OTHER}
)

log = structlog.stdlib.get_logger("edge.apiserver")


class Directory:
    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self._tls = None if settings.insecure else trust(settings.certificate_authority)
        self._people = LDAPFilter.from_string(settings.user_filter) if settings.user_filter else None
        self._groups = LDAPFilter.from_string(settings.group_filter) if settings.group_filter else None
        self._free = asyncio.Semaphore(AT_ONCE_MAX)
        self._down_until_s = 0.0

    @property
    def issuer(self) -> str:
        """Which directory it is, as identities have it."""
        return self._settings.base_dn.lower()

    async def identify(self, name: str, password: str) -> Identity | None:
        """None unless exactly one entry has the name and the password is its own. Raises DirectoryDown."""
        return await self._bounded(partial(self._asked, name, password))

    async def find_again(self, subject: str) -> Identity | None:
        """Who has that id now, without a password; None: nobody whom `userFilter` lets in.

        Of a directory in which bindDN sees no people at all nobody is said to be gone: then it is that
        account which lost its rights. Raises DirectoryDown.
        """
        return await self._bounded(partial(self._looked_up, subject))

    async def _bounded(self, ask: Callable[[], Awaitable[Identity | None]]) -> Identity | None:
        if time.monotonic() < self._down_until_s:
            raise DirectoryDown("the directory did not answer a moment ago")
        try:
            async with asyncio.timeout(TIMEOUT_S), self._free:
                return await ask()
        except (TimeoutError, DirectoryDown) as error:
            self._down_until_s = time.monotonic() + REST_S
            why = str(error) or f"it took longer than {TIMEOUT_S:g} s"
            log.warning("directory_down", host=self._settings.host, error=why)
            raise DirectoryDown(why) from None

    async def ask_for_nobody(self) -> None:
        """The steps of `identify` for somebody who does not exist. Raises DirectoryDown."""
        await self.identify(secrets.token_hex(8), secrets.token_hex(8))

    async def _open(self) -> Wire:
        settings = self._settings
        return await Wire.open(settings.host, settings.port, tls=self._tls, over_tls=settings.over_tls)

    async def _asked(self, name: str, password: str) -> Identity | None:
        if not password:
            return None
        wire = await self._open()
        try:
            await self._bind_as_searcher(wire)
            entry = await self._find(wire, name)
            if not await self._opens(wire, entry, password) or entry is None:
                return None
            await self._bind_as_searcher(wire)
            return self._identity(entry, await self._groups_of(wire, entry))
        finally:
            await wire.close()

    async def _looked_up(self, subject: str) -> Identity | None:
        wire = await self._open()
        try:
            await self._bind_as_searcher(wire)
            entry = await self._entry_of(wire, subject)
            if entry is None:
                await self._require_people(wire)
                return None
            return self._identity(entry, await self._groups_of(wire, entry))
        finally:
            await wire.close()

    async def _bind_as_searcher(self, wire: Wire) -> None:
        code = await wire.bind(self._settings.bind_dn, self._settings.bind_password.reveal())
        if code != LDAPResultCode.SUCCESS:
            raise DirectoryDown(f"bindDN was refused: {code.name}")

    async def _find(self, wire: Wire, name: str) -> Entry | None:
        settings = self._settings
        # A name that no entry can have is looked for as another that none has: the steps stay the same.
        sound = bool(name) and len(name) <= NAME_MAX and name.isprintable()
        asked = (name if sound else secrets.token_hex(8)).encode(errors="replace")
        wanted: LDAPFilter = FilterEquality(settings.user_attribute, asked)
        if self._people is not None:
            wanted = FilterAnd([wanted, self._people])
        found = await wire.search(settings.base_dn, wanted, self._attributes, 2)
        if len(found) > 1:
            log.warning("directory_ambiguous", attribute=settings.user_attribute, entries=len(found))
        return found[0] if len(found) == 1 and found[0].dn else None

    async def _entry_of(self, wire: Wire, subject: str) -> Entry | None:
        attribute = self._settings.id_attribute
        if attribute == DN:
            people = self._people or ANY_ENTRY
            found = await wire.search(subject, people, self._attributes, 1, itself=True)
            return found[0] if found else None
        wanted: LDAPFilter = FilterOr([FilterEquality(attribute, one) for one in _spellings(subject)])
        if self._people is not None:
            wanted = FilterAnd([wanted, self._people])
        found = await wire.search(self._settings.base_dn, wanted, self._attributes, 2)
        if len(found) > 1:
            raise DirectoryDown(f"several entries have the {attribute} {subject!r}")
        return next((one for one in found if one.text(attribute) == subject), None)

    async def _require_people(self, wire: Wire) -> None:
        people = self._people or ANY_ENTRY
        if not await wire.search(self._settings.base_dn, people, [NO_ATTRIBUTES], 1):
            raise DirectoryDown(
                "it shows nobody at all: bindDN must be allowed to read the entries of people"
            )

    @property
    def _attributes(self) -> Sequence[str]:
        """What is read of a person."""
        settings = self._settings
        return (
            settings.user_attribute,
            settings.display_name_attribute,
            settings.email_attribute,
            settings.id_attribute,
        )

    async def _opens(self, wire: Wire, entry: Entry | None, password: str) -> bool:
        dn = entry.dn if entry is not None else f"cn={secrets.token_hex(8)},{self._settings.base_dn}"
        code = await wire.bind(dn, password)
        if code in NO_ANSWER:
            raise DirectoryDown(f"a bind got no answer: {code.name}")
        return code == LDAPResultCode.SUCCESS

    async def _groups_of(self, wire: Wire, entry: Entry) -> Sequence[str]:
        settings = self._settings
        if self._groups is None:
            return ()
        member = FilterEquality(settings.member_attribute, entry.dn.encode())
        base = settings.group_base_dn or settings.base_dn
        attribute = settings.group_name_attribute
        found = await wire.search(base, FilterAnd([member, self._groups]), [attribute], GROUPS_MAX)
        return [one.text(attribute) for one in found]

    def _identity(self, entry: Entry, groups: Sequence[str]) -> Identity | None:
        settings = self._settings
        subject = entry.dn if settings.id_attribute == DN else entry.text(settings.id_attribute)
        if not subject:
            log.warning("directory_entry_without_id", attribute=settings.id_attribute, dn=entry.dn)
            return None
        return Identity(
            provider=PROVIDER,
            issuer=self.issuer,
            subject=subject,
            name=entry.text(settings.user_attribute),
            display_name=entry.text(settings.display_name_attribute),
            email=entry.text(settings.email_attribute),
            groups=tuple(groups),
        )


def _spellings(subject: str) -> Sequence[bytes]:
    """The values that an id may stand for: `Entry.text` gives binary ones in hexadecimal."""
    try:
        binary = bytes.fromhex(subject)
    except ValueError:
        return (subject.encode(),)
    return (subject.encode(), binary)
