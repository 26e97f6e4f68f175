"""Opens, refreshes and ends sessions; each is one Secret, so that all replicas agree on it (I12).

    granted = await sessions.open(user=user, client="edge-console", provider="local", address=…, agent=…)
    granted = await sessions.refresh(granted.refresh_token, "edge-console", address, agent)
    await sessions.end(granted.sid)

A refresh swaps the token by compare-and-swap on the record: of two replicas that get the same token at the
same moment, one wins. Source: design §9.
"""

import asyncio
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog

from edge.apiserver.identity import People
from edge.apiserver.sessions.errors import NO_GOOD, OAuthError, TokenReused
from edge.apiserver.sessions.live import LiveSessions
from edge.iam.accounts import is_disabled, user_label
from edge.iam.sessions import (
    SECRET_PREFIX,
    SECRET_TYPE,
    RefreshToken,
    SessionRecord,
    Verdict,
    data_of,
    first_refresh_token,
    hash_of,
    judge,
    manifest_of,
    next_refresh_token,
    read_refresh_token,
    read_session,
    session_id,
)
from edge.iam.tokens import LEEWAY_S, Claims, Tokens
from edge.iam.types import User
from edge_kube.client import Client
from edge_kube.core import Secret as KubeSecret
from edge_kube.errors import Conflict, KubeError, NotFound
from edge_kube.meta import Key
from edge_sdk.clock import Clock
from edge_sdk.problem import Unavailable

MANAGER: Final = "edge-apiserver"
SWAP_TRIES: Final = 5
NEW_S: Final = 60.0
"""How old a token may be whose session is not known here yet: then the API server itself is asked."""
SEEN_GRAIN_S: Final = 60.0
SEEN_EVERY_S: Final = 15.0
SEEN_AT_ONCE: Final = 75
"""How many times of last use are written in one go: many sessions are noted more coarsely."""
SWEEP_EVERY_S: Final = 600.0

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
        self._client = client
        self._namespace = namespace
        self._tokens = tokens
        self._people = people
        self._clock = clock
        self._lives = lives
        self._used: dict[str, float] = {}
        self.live = LiveSessions(client, namespace, look, relist_s=relist_s)

    # -- reading -------------------------------------------------------------------------------------------

    def is_live(self, sid: str) -> bool:
        return self.live.get(session_id(sid)) is not None

    def of(self, user: str) -> list[SessionRecord]:
        """The sessions of a user, newest first."""
        return self.live.of(user)

    def check(self, claims: Claims, user: User) -> None:
        """Raises NotAuthenticated unless the session of these claims is live; Unavailable while unknown."""
        self.live.check(claims.sid, claims.uid, self._tokens.password_mark(user.spec.encrypted_password))
        self._used[session_id(claims.sid)] = self._clock.now_s()

    async def learn(self, claims: Claims) -> None:
        """Ask the API server about a new session that the watch has not brought here yet."""
        id_ = session_id(claims.sid)
        is_old = abs(self._clock.now_s() - claims.issued_s) > NEW_S
        if is_old or self.live.get(id_) is not None or self.live.is_gone(id_):
            return
        try:
            secret = await self._client.find(KubeSecret, SECRET_PREFIX + id_, self._namespace)
        except KubeError as error:
            raise _not_done(error) from error
        if secret is not None:
            self.live.put(secret)

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
    ) -> Granted:
        """A new session. refreshable False: it ends with its one access token. Raises Unavailable."""
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
        )
        try:
            await self._make_room(name)
            made = await self._client.create(manifest_of(record, self._namespace), manager=MANAGER)
        except KubeError as error:
            raise _not_done(error) from error
        self.live.put(msgspec.convert(made, KubeSecret))
        log.info("session_opened", session=id_, user=name, client=client, provider=provider)
        return self._granted(record, user, token, nonce)

    async def refresh(self, token: str, client: str, address: str, agent: str) -> Granted:
        """Swap a refresh token for new tokens.

        Raises OAuthError when it is not good for that; TokenReused when it is a copy, whose session is then
        ended; Unavailable.
        """
        offered = read_refresh_token(token)
        if offered is None:
            raise OAuthError(400, "invalid_grant", NO_GOOD)
        try:
            for _ in range(SWAP_TRIES):
                granted = await self._try_refresh(offered, client, address, agent)
                if granted is not None:
                    return granted
        except KubeError as error:
            raise _not_done(error) from error
        raise _not_done("its record was changed again and again")

    async def _try_refresh(
        self, offered: RefreshToken, client: str, address: str, agent: str
    ) -> Granted | None:
        """None: the record was changed by somebody else at the same moment, so look again."""
        secret, record = await self._read(offered.id)
        now_s = self._clock.now_s()
        verdict = Verdict.WORTHLESS if record is None else judge(record, offered, client, now_s)
        if secret is None or record is None or verdict is Verdict.WORTHLESS:
            raise OAuthError(400, "invalid_grant", NO_GOOD)
        if verdict is Verdict.STOLEN:
            log.warning("refresh_token_reused", session=record.id, user=record.user, address=address)
            await self._remove(record.id)
            raise TokenReused(record.user, record.id)
        user = self._people.user(record.user)
        if user is None or not self._is_still(record, user):
            await self._remove(record.id)
            raise OAuthError(400, "invalid_grant", NO_GOOD)
        fresh = next_refresh_token(offered)
        swapped = msgspec.structs.replace(
            record,
            previous=record.current,
            current=hash_of(fresh.own),
            swapped_s=now_s,
            seen_s=now_s,
            address=address,
            agent=agent[:256],
            ends_s=min(now_s + self._lives.idle_s, record.opened_s + self._lives.longest_s),
        )
        try:
            await self._write(swapped, secret.metadata.resource_version)
        except Conflict:
            return None
        except NotFound:
            raise OAuthError(400, "invalid_grant", NO_GOOD) from None
        return self._granted(swapped, user, fresh, "")

    def _is_still(self, record: SessionRecord, user: User) -> bool:
        """Whether the user is who signed in, may, and has the password of then."""
        mark = self._tokens.password_mark(user.spec.encrypted_password)
        return user.metadata.uid == record.uid and not is_disabled(user) and mark in record.marks

    def _granted(self, record: SessionRecord, user: User, token: RefreshToken | None, nonce: str) -> Granted:
        now_s = self._clock.now_s()
        access, expires_s = self._tokens.issue(
            user=record.user, uid=record.uid, sid=record.sid, now_s=now_s, ends_s=record.ends_s
        )
        is_openid = "openid" in record.scope.split()
        return Granted(
            access_token=access,
            expires_in_s=int(expires_s - int(now_s)),
            refresh_token=str(token) if token else "",
            id_token=self._id_token(record, user, nonce, now_s, expires_s) if is_openid else "",
            scope=record.scope,
            sid=record.sid,
            session_ends_s=int(record.ends_s - now_s),
        )

    def _id_token(self, record: SessionRecord, user: User, nonce: str, now_s: float, expires_s: float) -> str:
        scopes, spec = record.scope.split(), user.spec
        claims: dict[str, Any] = {
            "sub": record.user,
            "aud": record.client,
            "iat": int(now_s),
            "exp": int(expires_s),
            "auth_time": int(record.opened_s),
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

    async def end(self, sid: str) -> SessionRecord | None:
        """End the session of this `sid`; what it was. Raises Unavailable."""
        return await self.end_id(session_id(sid))

    async def end_id(self, id_: str, user: str = "") -> SessionRecord | None:
        """End one by its id. user: only if it is theirs. None: there was none. Raises Unavailable."""
        try:
            _, record = await self._read(id_)
            if record is None or (user and record.user != user):
                return None
            await self._remove(id_)
        except KubeError as error:
            raise _not_done(error) from error
        return record

    async def end_all(self, user: str, but: str = "") -> list[SessionRecord]:
        """End all sessions of a user; the ended ones. but: a `sid` that goes on. Raises Unavailable.

        The API server itself is asked, since this process may not have heard of all of them yet.
        """
        spared = session_id(but) if but else ""
        try:
            found = {record.id: record for record in self.of(user)}
            for key, value in user_label(user).items():
                labels, fields = f"{key}={value}", f"type={SECRET_TYPE}"
                for secret in await self._client.list(
                    KubeSecret, self._namespace, labels=labels, fields=fields
                ):
                    record = read_session(secret)
                    if record is not None and record.user == user:
                        found[record.id] = record
            found.pop(spared, None)
            for id_ in found:
                await self._remove(id_)
        except KubeError as error:
            raise _not_done(error) from error
        return list(found.values())

    async def outlive(self, sid: str, password_hash: str) -> None:
        """Let a session go on under a password that is about to be stored. Raises Unavailable.

        Until that is stored the old one holds as well, so that no request in between is refused.
        """
        try:
            for _ in range(SWAP_TRIES):
                secret, record = await self._read(session_id(sid))
                if secret is None or record is None:
                    return
                marks = (record.marks[-1], self._tokens.password_mark(password_hash))
                try:
                    await self._write(
                        msgspec.structs.replace(record, marks=marks), secret.metadata.resource_version
                    )
                except Conflict:
                    continue
                return
        except KubeError as error:
            raise _not_done(error) from error

    # -- keeping -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Note when sessions were used, and remove those that are over. Until cancelled."""
        swept = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(SEEN_EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads the replicas
            await self.note_used()
            if asyncio.get_running_loop().time() - swept > SWEEP_EVERY_S:
                swept = asyncio.get_running_loop().time()
                await self.sweep()

    async def note_used(self) -> int:
        """Write the times of last use that are older in the records; how many."""
        used, self._used = self._used, {}
        late = [(id_, at_s) for id_, at_s in used.items() if self._is_late(id_, at_s)]
        for id_, at_s in late[:SEEN_AT_ONCE]:
            record = self.live.get(id_)
            if record is None:
                continue
            try:
                await self._write(msgspec.structs.replace(record, seen_s=at_s), self.live.version(id_))
            except KubeError as error:  # somebody else wrote it, or it is gone: the next use tells again
                log.debug("session_use_not_noted", session=id_, error=str(error))
        return len(late)

    def _is_late(self, id_: str, at_s: float) -> bool:
        record = self.live.get(id_)
        return record is not None and at_s - record.seen_s >= SEEN_GRAIN_S

    async def sweep(self) -> int:
        """Remove the records of sessions that nothing belongs to any more; their number."""
        over = [record for record in self.live.all() if self._is_over(record)]
        for record in over:
            try:
                await self._remove(record.id)
            except KubeError as error:
                log.warning("session_not_removed", session=record.id, error=str(error))
        return len(over)

    def _is_over(self, record: SessionRecord) -> bool:
        """Past its end; or its user is gone or has another password, longer ago than watches are late."""
        now_s = self._clock.now_s()
        if now_s >= record.ends_s + LEEWAY_S:
            return True
        user = self._people.user(record.user)
        if user is None or user.metadata.uid != record.uid:
            return now_s - record.opened_s > NEW_S
        return self._tokens.password_mark(user.spec.encrypted_password) not in record.marks

    async def _make_room(self, user: str) -> None:
        """End the one that was not used for longest when a user has too many: a script may leave them all."""
        if self.live.count(user) < self._lives.per_user:
            return
        mine = sorted(self.of(user), key=lambda one: self._used.get(one.id, one.seen_s))
        for record in mine[: len(mine) - self._lives.per_user + 1]:
            await self._remove(record.id)

    async def _read(self, id_: str) -> tuple[KubeSecret | None, SessionRecord | None]:
        secret = await self._client.find(KubeSecret, SECRET_PREFIX + id_, self._namespace)
        return secret, None if secret is None else read_session(secret)

    async def _write(self, record: SessionRecord, version: str) -> None:
        """Raises Conflict when the record is another by now."""
        key, patch = Key(self._namespace, SECRET_PREFIX + record.id), {"data": data_of(record)}
        self.live.put(await self._client.merge(KubeSecret, key, patch, rv=version, manager=MANAGER))

    async def _remove(self, id_: str) -> None:
        await self._client.delete(KubeSecret, SECRET_PREFIX + id_, self._namespace)
        self.live.drop(id_)


def _not_done(error: object) -> Unavailable:
    return Unavailable(
        "sessions-unavailable",
        what="The session could not be looked after",
        why=f"the Kubernetes API did not take it: {error}",
        do="try again in a second",
    )
