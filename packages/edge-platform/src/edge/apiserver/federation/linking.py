"""From somebody a directory vouches for to a User: found by the link alone, or made (I13; design §9).

What a directory says is never enough to become somebody who is here already: the name of a new user is taken
when a user has it or a binding names it, and then another is chosen. Source: test S13.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from edge.apiserver.callers.identity import People
from edge.iam.accounts import is_disabled
from edge.iam.federated import (
    IDENTITY_LABEL,
    Identity,
    link_of,
    mapped_groups,
    merged_groups,
    names_for,
    new_user,
)
from edge.iam.types import User
from edge_kube.client import Client
from edge_kube.errors import AlreadyExists, Conflict
from edge_kube.meta import Key

MANAGER: Final = "edge-iam"
TRIES: Final = 5
KNOWN_WITHIN_S: Final = 5.0

log = structlog.stdlib.get_logger("edge.apiserver")


class LinkRefused(Exception):
    """The person is known to the directory and is not let in. reason: one word, for the LoginRecord."""

    def __init__(self, reason: str, why: str, user: User | None = None) -> None:
        super().__init__(why)
        self.reason = reason
        self.user = user


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Before the names of new users, and before groups."""

    user: str
    groups: str


class Linking:
    def __init__(self, client: Client, people: People, is_bound: Callable[[str], bool]) -> None:
        """is_bound: whether a binding names this subject, "User:ada"."""
        self._client = client
        self._people = people
        self._is_bound = is_bound

    async def user_for(self, identity: Identity, prefixes: Prefixes) -> User:
        """The person's User with the groups of today, known to this gateway.

        Raises LinkRefused, KubeError.
        """
        groups = mapped_groups(identity.groups, prefixes.groups)
        for _ in range(TRIES):
            user = await self.linked(identity) or await self._made(identity, prefixes, groups)
            if is_disabled(user):
                raise LinkRefused("Disabled", "the user is disabled", user)
            try:
                kept = await self._with_groups(user, groups, prefixes)
            except Conflict:
                continue
            return await self._known(kept)
        raise LinkRefused("Conflict", "the user is being changed over and over again")

    async def renew(self, user: User, identity: Identity, prefixes: Prefixes) -> None:
        """Give a user who is signed in the groups of today. Raises KubeError."""
        groups = mapped_groups(identity.groups, prefixes.groups)
        try:
            await self._with_groups(user, groups, prefixes)
        except Conflict:  # what is known of the user here was old
            await self._with_groups(await self._client.get(User, user.metadata.name), groups, prefixes)

    async def linked(self, identity: Identity) -> User | None:
        """The person's User, if there is one. Raises LinkRefused, KubeError.

        Asked of the API server, not of memory: another gateway may have made the user a moment ago.
        """
        marked = await self._client.list(User, labels=f"{IDENTITY_LABEL}={identity.mark}")
        found = [user for user in marked if link_of(user) == identity.link]
        if len(found) > 1:
            names = ", ".join(user.metadata.name for user in found)
            raise LinkRefused("Ambiguous", f"several users are linked to this person: {names}")
        return found[0] if found else None

    async def _made(self, identity: Identity, prefixes: Prefixes, groups: Sequence[str]) -> User:
        for name in names_for(identity, prefixes.user):
            if self._is_bound(f"User:{name}"):
                log.warning("user_name_bound_already", name=name, provider=identity.provider)
                continue
            try:
                return await self._client.create(new_user(identity, name, groups), manager=MANAGER)
            except AlreadyExists:
                there = await self._client.find(User, name)
                if there is not None and link_of(there) == identity.link:
                    return there
        raise LinkRefused("NameTaken", "no user can be made: the names are taken by others")

    async def _with_groups(self, user: User, given: Sequence[str], prefixes: Prefixes) -> User:
        wanted = merged_groups(user.spec.groups, given, prefixes.groups)
        if wanted == user.spec.groups:
            return user
        key, version = Key("", user.metadata.name), user.metadata.resource_version
        return await self._client.merge(User, key, {"spec": {"groups": list(wanted)}}, rv=version)

    async def _known(self, user: User) -> User:
        """Until the watch has brought the user: a token that is given before would be refused."""
        wanted = user.metadata.uid, user.spec.groups
        try:
            async with asyncio.timeout(KNOWN_WITHIN_S):
                while (known := self._people.user(user.metadata.name)) is None or (  # noqa: ASYNC110 - the watch brings it
                    (known.metadata.uid, known.spec.groups) != wanted
                ):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            log.warning("user_not_seen_yet", user=user.metadata.name)
        return user
