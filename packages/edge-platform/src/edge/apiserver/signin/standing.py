"""Whether people of the directory still belong to it: asked at refreshes, and now and then (I13).

    sessions.vouch = standing.vouch     # before a session goes on
    background.spawn(standing.run())    # for who has nothing but a kubeconfig

Who is gone, or left out by `userFilter`, loses all that lets in: sessions with their streams, sign-ins of
browsers, kubeconfigs. Who is in other groups gets those. While the directory does not answer nobody is gone,
and its last word counts for `grace`. Source: docs/decisions/024.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Final

import structlog

from edge.apiserver.callers.identity import People
from edge.apiserver.callers.kubeconfigs import Kubeconfigs
from edge.apiserver.configuration.federation import LdapSettings
from edge.apiserver.federation.directory import PROVIDER, Directory
from edge.apiserver.federation.linking import Linking, Prefixes
from edge.apiserver.federation.wire import DirectoryDown
from edge.apiserver.sessions.errors import GoneFromDirectory, OAuthError
from edge.apiserver.sessions.store import Sessions
from edge.apiserver.signin.loginrecords import Attempt, LoginRecords
from edge.iam.federated import Link, read_link
from edge.iam.sessions import SessionRecord
from edge.iam.types import User
from edge_kube.conditions import rfc3339
from edge_kube.errors import KubeError
from edge_sdk.clock import Clock
from edge_sdk.problem import Unavailable

GONE: Final = "GoneFromDirectory"
"""Reason of the LoginRecord."""

log = structlog.stdlib.get_logger("edge.apiserver")


@dataclass(frozen=True, slots=True)
class Credentials:
    """All that lets people in."""

    sessions: Sessions
    kubeconfigs: Kubeconfigs

    def owners(self) -> set[str]:
        return {record.user for record in self.sessions.live.all()} | self.kubeconfigs.owners()

    async def end(self, user: str) -> None:
        """Sessions go last: where this is cut short, the refresh of one has it done again.

        Raises KubeError, Unavailable.
        """
        kubeconfigs = await self.kubeconfigs.revoke_all(user)
        sessions = await self.sessions.end_all(user)
        log.info("gone_from_directory", user=user, sessions=len(sessions), kubeconfigs=kubeconfigs)


class Standing:
    """Asks by a Directory of its own, so that no sign-in waits behind its questions."""

    def __init__(
        self,
        ldap: LdapSettings,
        *,
        linking: Linking,
        credentials: Credentials,
        people: People,
        records: LoginRecords,
        clock: Clock,
    ) -> None:
        self._ldap = ldap
        self._directory = Directory(ldap) if ldap.enabled else None
        self._linking = linking
        self._prefixes = Prefixes(ldap.username_prefix, ldap.groups_prefix)
        self._credentials = credentials
        self._people = people
        self._records = records
        self._clock = clock

    async def vouch(self, record: SessionRecord, user: User) -> float:
        """When the directory last knew whose session this is: now, or less than `grace` ago.

        Raises GoneFromDirectory after everything of that user was ended; OAuthError (503) when the directory
        has been silent for too long; Unavailable; KubeError.
        """
        if record.provider != PROVIDER:
            return record.vouched_s
        try:
            there = await self._is_there(user, read_link(user))
        except DirectoryDown:
            return self._last_word(record)
        if not there:
            raise GoneFromDirectory(user.metadata.name)
        return self._clock.now_s()

    async def run(self) -> None:
        """Until cancelled, and not at all where it is not wanted."""
        every_s = self._ldap.check_every.s
        while self._directory is not None and every_s > 0:
            await asyncio.sleep(every_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the replicas
            await self.ask_about_all(self._directory)

    async def ask_about_all(self, directory: Directory) -> None:
        """One after the other, in another order each time, for as long as the directory answers."""
        names = list(self._credentials.owners())
        random.shuffle(names)
        for name in names:
            user = self._people.user(name)
            link = read_link(user) if user is not None else Link()
            if user is None or (link.provider, link.issuer) != (PROVIDER, directory.issuer):
                continue
            try:
                there = await self._is_there(user, link)
            except DirectoryDown:
                return
            except (KubeError, Unavailable) as error:
                log.warning("person_not_looked_after", user=name, error=str(error))
                continue
            if not there:
                self._records.add(_noticed(user))

    async def _is_there(self, user: User, link: Link) -> bool:
        """Whether the directory lets them in now; what is here is made so.

        Raises DirectoryDown, Unavailable, KubeError.
        """
        known = link.provider == PROVIDER
        if self._directory is None or (known and link.issuer != self._directory.issuer):
            raise DirectoryDown("the directory that vouched for them is not the one that is set up")
        # Whose link was taken away since is not any more whom the directory vouched for.
        identity = await self._directory.find_again(link.subject) if known else None
        if identity is None:
            await self._credentials.end(user.metadata.name)
            return False
        await self._linking.renew(user, identity, self._prefixes)
        return True

    def _last_word(self, record: SessionRecord) -> float:
        last_s = max(record.vouched_s, record.proven_s)
        if self._clock.now_s() - last_s < self._ldap.grace.s:
            return last_s
        why = (
            f"the directory does not answer, and it is too long ago that it knew you ({rfc3339(last_s)}): "
            "try again later, with the same refresh token"
        )
        raise OAuthError(503, "temporarily_unavailable", why)


def _noticed(user: User) -> Attempt:
    """Nobody asked: there is no address and no program."""
    return Attempt(
        user=user.metadata.name,
        uid=user.metadata.uid,
        reason=GONE,
        success=False,
        address="",
        agent="",
        provider=PROVIDER,
        way="Token",
    )
