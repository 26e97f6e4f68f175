"""POST /oauth/token (I12, I14, I16): one answer and one time for every kind of wrong password.

Other grants than those of here are added to `SignIn.grants`. A sign-in is never refused because the password
must be changed: the token then lets read, and change it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from aiohttp import web

from edge.apiserver.auditing.auditor import Auditor
from edge.apiserver.callers.identity import People
from edge.apiserver.federation.directory import PROVIDER as LDAP
from edge.apiserver.federation.outside import DIRECTORY_DOWN, LOCAL, SUCCEEDED, Outside, Verdict
from edge.apiserver.headers import Network, client_address, forwarded
from edge.apiserver.listening.limits import SignInGuard
from edge.apiserver.measures import Measures
from edge.apiserver.openapi.operation import FORM, JSON, Operation
from edge.apiserver.openapi.shapes import Token, TokenRequest
from edge.apiserver.sessions.credential import REFRESH_COOKIE, check_sent_by_us
from edge.apiserver.sessions.errors import GoneFromDirectory, OAuthError, TokenReused
from edge.apiserver.sessions.store import Granted, Sessions
from edge.apiserver.sessions.wire import error_answer, read_form, token_answer, wants_cookies
from edge.apiserver.signin.clients import Clients
from edge.apiserver.signin.lockouts import Lockouts, wait_longer
from edge.apiserver.signin.loginrecords import Attempt, LoginRecords
from edge.apiserver.signin.standing import GONE
from edge.iam.accounts import is_disabled
from edge.iam.federated import provider_of
from edge.iam.oauthclients import OAuthClient
from edge.iam.oauthrequests import known_scopes
from edge.iam.passwords import DUMMY_HASH, password_matches
from edge.iam.types import User

HASHING_THREADS: Final = 2
HASHING_QUEUE: Final = 40
STRAYS: Final = 30
"""Refresh tokens of no session that is known here, at once from one address; then one a second."""
OPERATIONS: Final = (
    Operation(
        "POST", "/oauth/token", "Sign in", "oauth", body=TokenRequest, answer=Token, public=True,
        body_as=(FORM, JSON), name="getToken", refuses=(401,), errors="oauth",
    ),
)  # fmt: skip

Grant = Callable[[Mapping[str, str], web.BaseRequest, str], Awaitable[Granted]]
"""(form, request, client id) → what the client gets. Raises OAuthError, Problem."""


class SignIn:
    def __init__(
        self,
        *,
        sessions: Sessions,
        people: People,
        clients: Clients,
        records: LoginRecords,
        lockouts: Lockouts,
        measures: Measures,
        trusted: Sequence[Network],
        auditor: Auditor | None = None,
        outside: Outside | None = None,
    ) -> None:
        """trusted: networks of proxies whose X-Forwarded-For tells where a request came from.

        outside: the directory that is asked about names and passwords that are no local user's.
        """
        self._outside = outside
        self._sessions = sessions
        self._people = people
        self._clients = clients
        self._records = records
        self._measures = measures
        self._trusted = trusted
        self._auditor = auditor
        self._lockouts = lockouts
        self._strays = SignInGuard(burst=STRAYS, every_s=1.0)
        self._pool = ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="bcrypt")
        self._hashing = 0
        self.grants: dict[str, Grant] = {"password": self._password, "refresh_token": self._refresh}

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def token(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            form = await read_form(request)
            client = self.check_client(form, request)
            granted = await self._grant(form, request, client)
        except OAuthError as error:
            self._measures.sign_ins.labels(error.error).inc()
            return error_answer(error)
        self._measures.sign_ins.labels("success").inc()
        return token_answer(request, granted)

    async def _grant(self, form: Mapping[str, str], request: web.BaseRequest, client: OAuthClient) -> Granted:
        named = form.get("grant_type", "")
        grant = self.grants.get(named)
        if grant is None:
            known = f"this server gives tokens for {', '.join(self.grants)}"
            code = "unsupported_grant_type" if named else "invalid_request"
            raise OAuthError(400, code, f'grant_type is "{named[:40]}"; {known}')
        if named not in client.grants:
            raise OAuthError(400, "unauthorized_client", f'client "{client.id}" may not use {named}')
        return await grant(form, request, client.id)

    async def _password(self, form: Mapping[str, str], request: web.BaseRequest, client: str) -> Granted:
        user = await self.check_password(form.get("username", ""), form.get("password", ""), request)
        return await self._sessions.open(
            user=user,
            client=client,
            provider=provider_of(user),
            address=self.address(request),
            agent=request.headers.get("User-Agent", ""),
            scope=known_scopes(form.get("scope", "")),
        )

    async def check_password(self, name: str, password: str, request: web.BaseRequest) -> User:
        """Who that is; the attempt is recorded either way. Raises OAuthError, TooMuch, Unavailable."""
        if not name or not password:
            raise OAuthError(400, "invalid_request", "username and password must both be given")
        async with self._lockouts.turn(name, self.address(request)) as mark:
            return await self._checked(name, password, request, mark)

    async def check_again(self, user: User, password: str, request: web.BaseRequest) -> bool:
        """Whether that is the password of somebody who is signed in. Raises TooMuch, Unavailable.

        A wrong one is recorded and counts as one at the sign-in does: else a token that was found would be
        a place to guess the password at.
        """
        async with self._lockouts.turn(user.metadata.name, self.address(request)) as mark:
            right = await self._matches(password, user.spec.encrypted_password)
            if not right:
                await self.record(user, request, "WrongPassword", mark=mark)
            return right

    async def _checked(self, name: str, password: str, request: web.BaseRequest, mark: str) -> User:
        user = self._people.user(name)
        stored = user.spec.encrypted_password if user is not None else DUMMY_HASH
        right = await self._matches(password, stored)
        verdict = _local(user, right)
        if verdict.reason != SUCCEEDED and self._outside is not None:
            verdict = await self._outside.instead(name, password, verdict)
        user = verdict.user
        await self.record(user, request, verdict.reason, provider=verdict.provider, mark=mark)
        if user is None or verdict.reason != SUCCEEDED:
            raise _refusal(verdict)
        return user

    async def _refresh(self, form: Mapping[str, str], request: web.BaseRequest, client: str) -> Granted:
        address, agent = self.address(request), request.headers.get("User-Agent", "")
        token = form.get("refresh_token", "")
        if not token and wants_cookies(request):
            check_sent_by_us(request)
            token = request.cookies.get(REFRESH_COOKIE, "")
        if not self._sessions.knows(token):
            self.check_stray(request)
        try:
            return await self._sessions.refresh(token, client, address, agent)
        except TokenReused as error:
            await self.record(self._people.user(error.user), request, "RefreshTokenReused", "Token")
            raise
        except GoneFromDirectory as error:
            await self.record(self._people.user(error.user), request, GONE, "Token", provider=LDAP)
            raise

    def check_stray(self, request: web.BaseRequest) -> None:
        """For a refresh token of a session that began elsewhere a moment ago, or is made up. Raises TooMuch.

        Known ones are never held up by it.
        """
        address, now_s = self.address(request), time.monotonic()
        wait_s = self._strays.wait_s(address, "", now_s)
        if wait_s > 0:
            raise wait_longer(
                "too many unknown refresh tokens came from this address", wait_s, unlockable=False
            )
        self._strays.failed(address, "", now_s)

    async def _matches(self, password: str, stored: str) -> bool:
        """bcrypt in threads of its own: a burst of sign-ins delays sign-ins, and nothing else."""
        if self._hashing >= HASHING_QUEUE:
            raise wait_longer(f"{HASHING_QUEUE} sign-ins are waiting", 2, unlockable=False)
        self._hashing += 1
        try:
            loop = asyncio.get_running_loop()
            cost = self._people.hashing_cost
            return await loop.run_in_executor(self._pool, password_matches, password, stored, cost)
        finally:
            self._hashing -= 1

    def check_client(self, form: Mapping[str, str], request: web.BaseRequest) -> OAuthClient:
        """The client that sent this form. Raises OAuthError, TooMuch."""
        authorization = request.headers.get("Authorization", "")
        return self._clients.authenticate(form, authorization, self.address(request))

    def address(self, request: web.BaseRequest) -> str:
        """Where a request came from."""
        hops = forwarded(request.headers, "X-Forwarded-For")
        return client_address(request.remote or "unknown", hops, self._trusted)

    async def record(
        self,
        user: User | None,
        request: web.BaseRequest,
        reason: str,
        way: str = "Password",
        *,
        provider: str = LOCAL,
        mark: str = "",
    ) -> None:
        """mark: of the name that was typed. Raises Unavailable when the audit trail cannot take it."""
        attempt = Attempt(
            user=user.metadata.name if user is not None else "",
            uid=user.metadata.uid if user is not None else "",
            reason=reason,
            success=reason == SUCCEEDED,
            provider=provider,
            address=self.address(request),
            agent=request.headers.get("User-Agent", "")[:256],
            way=way,
            mark=mark,
        )
        if mark:  # counted before the answer, whatever becomes of the records
            self._lockouts.note(attempt.record, mark, attempt.address, success=attempt.success)
        if self._auditor is not None:
            known = {"name": user.metadata.name, "uid": user.metadata.uid} if user is not None else {}
            await self._auditor.signed_in(request, known, reason)
        self._records.add(attempt)


def _local(user: User | None, right: bool) -> Verdict:
    if user is None:
        return Verdict(None, "UnknownUser")
    if not right:
        return Verdict(user, "WrongPassword")
    return Verdict(user, "Disabled" if is_disabled(user) else SUCCEEDED)


def _refusal(verdict: Verdict) -> OAuthError:
    """One text for every kind of wrong: who is a user here is nobody's business."""
    if verdict.reason == DIRECTORY_DOWN:
        why = "the directory does not answer: only local users can sign in, and this is no password of one"
        return OAuthError(503, "temporarily_unavailable", why)
    return OAuthError(401, "invalid_grant", "the user name or the password is wrong")
