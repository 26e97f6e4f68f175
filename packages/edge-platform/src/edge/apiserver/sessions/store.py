"""Opens, refreshes and ends sessions; each is one Secret, so that all replicas agree on it (I12).

    granted = await sessions.open(user=user, client="edge-console", provider="local", address=…, agent=…)
    granted = await sessions.refresh(granted.refresh_token, "edge-console", address, agent)
    await sessions.end(granted.sid)

A refresh swaps the token by compare-and-swap on the record: of two replicas that get the same token at the
same moment, one wins. Source: design §9.
"""

import math
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from msgspec.structs import replace

from edge.apiserver.callers.identity import People
from edge.apiserver.sessions.errors import NO_GOOD, OAuthError, TokenReused
from edge.apiserver.sessions.keeping import SessionKeeper
from edge.apiserver.sessions.live import LiveSessions
from edge.apiserver.sessions.records import SessionRecords
from edge.iam.accounts import is_disabled, must_change_password
from edge.iam.sessions import (
    RESTRICTED_SCOPE,
    RefreshToken,
    SessionRecord,
    Verdict,
    first_refresh_token,
    hash_of,
    is_current,
    is_of_family,
    judge,
    next_refresh_token,
    read_refresh_token,
    session_id,
)
from edge.iam.tokens import Claims, Tokens
from edge.iam.types import User
from edge_kube.client import Client
from edge_kube.errors import Conflict, KubeError, NotFound
from edge_sdk.clock import Clock
from edge_sdk.problem import Unavailable

SWAP_TRIES: Final = 5
NEW_S: Final = 60.0
"""How old a token may be whose session is not known here yet: then the API server itself is asked."""

log = structlog.stdlib.get_logger("edge.apiserver")


@dataclass(frozen=True, slots=True)
class Lives:
    """How long sessions last, in seconds, and how many a user may have."""

    idle_s: float = 30 * 86_400.0
    longest_s: float = 90 * 86_400.0
    per_user: int = 1000


@dataclass(frozen=True, slots=True)
class Granted:
    """What a client gets. refresh_token, id_token: "" for none. session_ends_s: seconds from now."""

    access_token: str
    expires_in_s: int
    refresh_token: str
    id_token: str
    scope: str
    sid: str
    session_ends_s: int


Vouch = Callable[[SessionRecord, User], Awaitable[float]]
"""When whoever the user signed in through vouched for them, asked before a session goes on: as
`SessionRecord.vouched_s` has it. Raises OAuthError when it may not go on, Unavailable, KubeError."""


async def nobody_asked(record: SessionRecord, _: User) -> float:
    return record.vouched_s


class Browsers(Protocol):
    """Sign-ins that browsers keep, which give sessions without a password. Both raise KubeError."""

    async def forget(self, name: str) -> None:
        """One, by the name of its Secret."""
        ...

    async def forget_all(self, user: str) -> None: ...


class Sessions:
    """live: asked at every request. Of all that changes something, KubeError becomes Unavailable (503)."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        *,
        tokens: Tokens,
        people: People,
        look: Callable[[str], None],
        clock: Clock,
        lives: Lives,
        relist_s: float,
    ) -> None:
        self._tokens = tokens
        self._people = people
        self._clock = clock
        self._lives = lives
        self.life_s: Callable[[str], float] = lambda _: math.inf
        """How long access tokens of a client live at most, by its id."""
        self.browsers: Browsers | None = None
        self.vouch: Vouch = nobody_asked
        self.live = LiveSessions(client, namespace, look, relist_s=relist_s)
        self._records = SessionRecords(client, namespace, self.live)
        self.keeper = SessionKeeper(self.live, self._records, tokens, people, clock)

    # -- reading -------------------------------------------------------------------------------------------

    def is_live(self, sid: str) -> bool:
        return self.live.get(session_id(sid)) is not None

    def of(self, user: str) -> list[SessionRecord]:
        """The sessions of a user, newest first."""
        return self.live.of(user)

    def check(self, claims: Claims, user: User) -> None:
        """Raises NotAuthenticated unless the session of these claims is live; Unavailable while unknown."""
        self.live.check(claims.sid, claims.uid, self._tokens.password_mark(user.spec.encrypted_password))
        self.keeper.used(claims.sid)

    async def learn(self, claims: Claims) -> None:
        """Ask the API server about a new session that the watch has not brought here yet."""
        id_ = session_id(claims.sid)
        is_old = abs(self._clock.now_s() - claims.issued_s) > NEW_S
        if not (is_old or self.live.get(id_) is not None or self.live.is_gone(id_)):
            await self._learn(id_)

    async def _learn(self, id_: str) -> None:
        try:
            await self._records.learn(id_)
        except KubeError as error:
            raise _not_done(error) from error

    def knows(self, refresh_token: str) -> bool:
        """Whether it names a session that is live here: anything else costs a question to the API server."""
        offered = read_refresh_token(refresh_token)
        return offered is not None and self.live.get(offered.id) is not None

    def is_stray(self, token: str) -> bool:
        """Whether it is a refresh token of a session that is not known here."""
        return read_refresh_token(token) is not None and not self.knows(token)

    async def of_refresh_token(self, token: str) -> SessionRecord | None:
        """The session that a refresh token belongs to, be it swapped already. Raises Unavailable.

        The API server is asked about one that began on another replica a moment ago.
        """
        offered = read_refresh_token(token)
        if offered is None:
            return None
        if self.live.get(offered.id) is None and not self.live.is_gone(offered.id):
            await self._learn(offered.id)
        record = self.live.get(offered.id)
        return record if record is not None and is_of_family(record, offered) else None

    def is_current(self, record: SessionRecord, token: str) -> bool:
        """Whether this refresh token can be swapped as things are."""
        offered = read_refresh_token(token)
        verdict = judge(record, offered, record.client, self._clock.now_s()) if offered else None
        return verdict is Verdict.GOOD

    # -- opening and refreshing ----------------------------------------------------------------------------

    async def open(
        self,
        *,
        user: User,
        client: str,
        provider: str,
        address: str,
        agent: str,
        nonce: str = "",
        scope: str = "",
        refreshable: bool = True,
        signed_in_s: float = 0.0,
        login: str = "",
        origin: str = "",
    ) -> Granted:
        """A new session. refreshable False: it ends with its one access token. Raises Unavailable.

        signed_in_s, login, origin: as `SessionRecord` has them.
        Who has to change the password first gets no ID token, and the scope "password-change".
        """
        now_s, name = self._clock.now_s(), user.metadata.name
        sid = secrets.token_hex(16)
        id_ = session_id(sid)
        token = first_refresh_token(id_) if refreshable else None
        record = SessionRecord(
            id=id_,
            sid=sid,
            user=name,
            uid=user.metadata.uid,
            marks=(self._tokens.password_mark(user.spec.encrypted_password),),
            client=client,
            provider=provider,
            scope=scope,
            address=address,
            agent=agent[:256],
            opened_s=now_s,
            seen_s=now_s,
            ends_s=now_s + (self._lives.idle_s if refreshable else self._tokens.lifetime_s),
            family=hash_of(token.family) if token else "",
            current=hash_of(token.own) if token else "",
            signed_in_s=signed_in_s,
            login=login,
            origin=origin,
        )
        try:
            await self.keeper.make_room(name, self._lives.per_user)
            await self._records.create(record)
        except KubeError as error:
            raise _not_done(error) from error
        log.info("session_opened", session=id_, user=name, client=client, provider=provider)
        return self._granted(record, user, token, nonce)

    async def refresh(self, token: str, client: str, address: str, agent: str) -> Granted:
        """Swap a refresh token for new tokens.

        Raises OAuthError when it is not good for that; TokenReused when it is a copy, whose session is then
        ended; what `vouch` raises; Unavailable.
        """
        offered = read_refresh_token(token)
        if offered is None:
            raise OAuthError(400, "invalid_grant", NO_GOOD)
        fresh, vouched_s = next_refresh_token(offered), -1.0
        try:
            for _ in range(SWAP_TRIES):
                version, record, user = await self._going_on(offered, fresh, client, address)
                if is_current(record, fresh):
                    # It was us: the answer to the write was lost, and the repeated one found it done.
                    return self._granted(record, user, fresh, "")
                if vouched_s < 0:  # once, however often the record changes meanwhile
                    vouched_s = await self.vouch(record, user)
                swapped = self._swapped(record, fresh, address, agent, vouched_s)
                if await self._swap(swapped, version):
                    return self._granted(swapped, user, fresh, "")
        except KubeError as error:
            raise _not_done(error) from error
        raise _not_done("its record was changed again and again")

    async def _going_on(
        self, offered: RefreshToken, fresh: RefreshToken, client: str, address: str
    ) -> tuple[str, SessionRecord, User]:
        """The record's version, the record and its user, if the token is good for them. Raises OAuthError."""
        version, record = await self._records.read(offered.id)
        user = self._people.user(record.user) if record is not None else None
        if record is not None and user is not None and is_current(record, fresh):
            return version, record, user
        verdict = Verdict.WORTHLESS if record is None else judge(record, offered, client, self._clock.now_s())
        if record is None or verdict is Verdict.WORTHLESS:
            raise OAuthError(400, "invalid_grant", NO_GOOD)
        if verdict is Verdict.STOLEN:
            log.warning("refresh_token_reused", session=record.id, user=record.user, address=address)
            await self._records.remove(record.id)
            raise TokenReused(record.user, record.id)
        if user is None:
            raise OAuthError(400, "invalid_grant", NO_GOOD)
        if not self._is_still(record, user):
            await self._records.remove(record.id)
            raise OAuthError(400, "invalid_grant", NO_GOOD)
        return version, record, user

    def _swapped(
        self, record: SessionRecord, fresh: RefreshToken, address: str, agent: str, vouched_s: float
    ) -> SessionRecord:
        now_s = self._clock.now_s()
        return replace(
            record,
            previous=record.current,
            current=hash_of(fresh.own),
            swapped_s=now_s,
            seen_s=now_s,
            address=address,
            agent=agent[:256],
            ends_s=min(now_s + self._lives.idle_s, record.opened_s + self._lives.longest_s),
            vouched_s=vouched_s,
        )

    async def _swap(self, swapped: SessionRecord, version: str) -> bool:
        """False: the record was changed by somebody else at the same moment, so look again."""
        try:
            await self._records.write(swapped, version)
        except Conflict:
            return False
        except NotFound:
            raise OAuthError(400, "invalid_grant", NO_GOOD) from None
        return True

    def _is_still(self, record: SessionRecord, user: User) -> bool:
        """Whether the user is who signed in, may, and has the password of then."""
        mark = self._tokens.password_mark(user.spec.encrypted_password)
        return user.metadata.uid == record.uid and not is_disabled(user) and mark in record.marks

    def _granted(self, record: SessionRecord, user: User, token: RefreshToken | None, nonce: str) -> Granted:
        now_s = self._clock.now_s()
        ends_s = min(record.ends_s, now_s + self.life_s(record.client))
        access, expires_s = self._tokens.issue(
            user=record.user, uid=record.uid, sid=record.sid, now_s=now_s, ends_s=ends_s
        )
        restricted = must_change_password(user)
        is_openid = "openid" in record.scope.split() and not restricted
        return Granted(
            access_token=access,
            expires_in_s=int(expires_s - int(now_s)),
            refresh_token=str(token) if token else "",
            id_token=self._id_token(record, user, nonce, now_s, expires_s) if is_openid else "",
            scope=RESTRICTED_SCOPE if restricted else record.scope,
            sid=record.sid,
            session_ends_s=round(record.ends_s - now_s),
        )

    def _id_token(self, record: SessionRecord, user: User, nonce: str, now_s: float, expires_s: float) -> str:
        scopes, spec = record.scope.split(), user.spec
        claims: dict[str, Any] = {
            "sub": record.user,
            "aud": record.client,
            "iat": int(now_s),
            "exp": int(expires_s),
            "auth_time": int(record.proven_s),
            "sid": record.sid,
            "preferred_username": record.user,
        }
        if nonce:
            claims["nonce"] = nonce
        if "profile" in scopes and spec.display_name:
            claims["name"] = spec.display_name
        if "email" in scopes and spec.email:
            claims["email"] = spec.email
        return self._tokens.issue_id(claims, now_s)

    # -- ending --------------------------------------------------------------------------------------------

    async def end(self, sid: str, *, browser: bool = False) -> SessionRecord | None:
        """End the session of this `sid`; what it was. Raises Unavailable."""
        return await self.end_id(session_id(sid), browser=browser)

    async def end_id(self, id_: str, user: str = "", *, browser: bool = False) -> SessionRecord | None:
        """End one by its id. user: only if it is theirs. None: there was none. Raises Unavailable.

        browser: the sign-in that it came from as well; else that gives the next session without a password.
        """
        try:
            _, record = await self._records.read(id_)
            if record is None or (user and record.user != user):
                return None
            if browser and record.login and self.browsers is not None:
                await self.browsers.forget(record.login)
            await self._records.remove(id_)
        except KubeError as error:
            raise _not_done(error) from error
        return record

    async def end_all(self, user: str, but: str = "") -> list[SessionRecord]:
        """End all sessions of a user; the ended ones. but: a `sid` that goes on. Raises Unavailable.

        Browsers are asked for the password again. The API server itself is asked, since this process may not
        have heard of all sessions yet.
        """
        try:
            if self.browsers is not None:
                await self.browsers.forget_all(user)
        except KubeError as error:
            raise _not_done(error) from error
        spared = session_id(but) if but else ""
        return await self.end_those(user, lambda record: record.id != spared)

    async def end_those(self, user: str, which: Callable[[SessionRecord], bool]) -> list[SessionRecord]:
        """End some sessions of a user, and no sign-in of a browser; the ended ones. Raises Unavailable."""
        try:
            found = [record for record in (await self._records.of(user)).values() if which(record)]
            for record in found:
                await self._records.remove(record.id)
        except KubeError as error:
            raise _not_done(error) from error
        return found

    async def outlive(self, sid: str, old_hash: str, new_hash: str) -> None:
        """Let a session go on under a password that is about to be stored. Raises Unavailable.

        Until that is stored the old one holds as well, so that no request in between is refused.
        """
        marks = (self._tokens.password_mark(old_hash), self._tokens.password_mark(new_hash))
        try:
            for _ in range(SWAP_TRIES):
                version, record = await self._records.read(session_id(sid))
                if record is None:
                    return
                try:
                    await self._records.write(replace(record, marks=marks), version)
                except Conflict:
                    continue
                return
        except KubeError as error:
            raise _not_done(error) from error


def _not_done(error: object) -> Unavailable:
    return Unavailable(
        "sessions-unavailable",
        what="The session could not be looked after",
        why=f"the Kubernetes API did not take it: {error}",
        do="try again in a second",
    )
