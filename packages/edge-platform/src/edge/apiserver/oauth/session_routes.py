"""JWKS, revoke (RFC 7009), introspect (RFC 7662) and logout."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import structlog
from aiohttp import web

from edge.apiserver.answers import document
from edge.apiserver.auditing.auditor import Auditor
from edge.apiserver.callers.identity import Authenticator, Session
from edge.apiserver.oauth.logout import FIELDS
from edge.apiserver.oauth.page import sent_on
from edge.apiserver.openapi.operation import FORM, JSON, Operation
from edge.apiserver.openapi.shapes import Introspection, JwkSet, Status, TokenQuestion
from edge.apiserver.sessions.credential import REFRESH_COOKIE, SESSION_COOKIE, check_sent_by_us
from edge.apiserver.sessions.errors import OAuthError
from edge.apiserver.sessions.store import Sessions
from edge.apiserver.sessions.wire import clear_cookies, error_answer, read_form
from edge.iam.oauthclients import OAuthClient
from edge.iam.sessions import RESTRICTED_SCOPE, SessionRecord, session_id
from edge.iam.tokens import AUDIENCE, Tokens
from edge_sdk.clock import Clock
from edge_sdk.problem import NotAuthenticated

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

JWKS_KEPT_S: Final = 3600
"""A key is published a day before it signs, so an hour in a cache is no risk."""
INACTIVE: Final = {"active": False}

ClientCheck = Callable[[Mapping[str, str], web.BaseRequest], OAuthClient]
"""Which client sent a form. Raises OAuthError, TooMuch."""
Form = Mapping[str, str]

OPERATIONS: Final = (
    Operation(
        "GET", "/oauth/jwks", "Public keys of the tokens", "oauth", answer=JwkSet, public=True,
        name="getJwks",
    ),
    Operation(
        "POST", "/oauth/revoke", "End the session of a token", "oauth", body=TokenQuestion,
        answer=dict[str, Any], public=True, body_as=(FORM, JSON), name="revokeToken", refuses=(401,),
        errors="oauth",
    ),
    Operation(
        "POST", "/oauth/introspect", "Whose a token is, for the client it was sent to", "oauth",
        body=TokenQuestion, answer=Introspection, public=True, body_as=(FORM, JSON), name="introspectToken",
        refuses=(401,), errors="oauth",
    ),
    Operation(
        "POST", "/oauth/logout", "End one's own session, of the bearer token or the cookies", "oauth",
        about="With a form of OIDC RP-initiated logout the browser is sent to the sign-out page.",
        answer=Status, refuses=(303,), name="signOut",
    ),
)  # fmt: skip

log = structlog.stdlib.get_logger("edge.apiserver")


class OAuthRoutes:
    def __init__(
        self,
        *,
        sessions: Sessions,
        tokens: Tokens,
        authenticator: Authenticator,
        check_client: ClientCheck,
        check_stray: Callable[[web.BaseRequest], None],
        clock: Clock,
        origins: Collection[str] = (),
        auditor: Auditor | None = None,
    ) -> None:
        """check_stray: told who shows a refresh token of no session that is known here. Raises TooMuch."""
        self._sessions = sessions
        self._tokens = tokens
        self._authenticator = authenticator
        self._check_client = check_client
        self._check_stray = check_stray
        self._clock = clock
        self._origins = origins
        self._auditor = auditor

    def routes(self) -> "dict[tuple[str, tuple[str, ...]], Handler]":
        return {
            ("GET", ("oauth", "jwks")): self._jwks,
            ("POST", ("oauth", "revoke")): self._for_clients(self._revoke),
            ("POST", ("oauth", "introspect")): self._for_clients(self._introspect),
            ("POST", ("oauth", "logout")): self._logout,
        }

    async def _jwks(self, _: "Exchange") -> web.StreamResponse:
        answer = document(self._tokens.ring.jwks())
        answer.headers["Cache-Control"] = f"public, max-age={JWKS_KEPT_S}"
        return answer

    def _for_clients(
        self, do: Callable[[web.BaseRequest, Form, OAuthClient], Awaitable[web.StreamResponse]]
    ) -> "Handler":
        async def handle(exchange: "Exchange") -> web.StreamResponse:
            request = exchange.request
            try:
                form = await read_form(request)
                client = self._check_client(form, request)
                if not form.get("token"):
                    raise OAuthError(400, "invalid_request", "the field token is missing")
                return await do(request, form, client)
            except OAuthError as error:
                return error_answer(error)

        return handle

    async def _revoke(self, request: web.BaseRequest, form: Form, client: OAuthClient) -> web.StreamResponse:
        """Ends the session behind the token: neither of its tokens would be of use without the other.

        A token that is unknown, over, or another client's is answered like one that was revoked, so that
        nobody learns what it was.
        """
        record = await self._record_of(form["token"], request)
        if record is not None and record.client == client.id:
            await self._end(request, record)
        return document({})

    async def _introspect(
        self, request: web.BaseRequest, form: Form, client: OAuthClient
    ) -> web.StreamResponse:
        if client.public:  # anybody can say that they are one
            raise OAuthError(401, "invalid_client", "a public client may not ask about tokens")
        text, now_s = form["token"], self._clock.now_s()
        record = await self._of_refresh_token(text, request)
        if record is not None:
            # Of a refresh token, others than its client learn nothing: it is sent to nobody else.
            if record.client != client.id or not self._sessions.is_current(record, text):
                return document(INACTIVE)
            return document(
                {
                    "active": True,
                    "token_type": "refresh_token",
                    "client_id": record.client,
                    "username": record.user,
                    "sub": record.user,
                    "exp": int(record.ends_s),
                    "scope": record.scope,
                }
            )
        try:
            session = await self._authenticator.admit(text, now_s)
        except NotAuthenticated:
            return document(INACTIVE)
        return document(self._described(session))

    def _described(self, session: Session) -> dict[str, Any]:
        record = self._sessions.live.get(session_id(session.sid)) if session.sid else None
        found: dict[str, Any] = {
            "active": True,
            "token_type": "Bearer",
            "sub": session.caller.name,
            "username": session.caller.name,
            "iss": self._tokens.issuer,
            "exp": int(session.expires_s),
        }
        if record is not None:
            scope = RESTRICTED_SCOPE if session.restricted else record.scope
            found |= {"client_id": record.client, "scope": scope, "sid": record.sid, "aud": AUDIENCE}
        if session.cluster:
            found["cluster"] = session.cluster
        return found

    async def _logout(self, exchange: "Exchange") -> web.StreamResponse:
        """Ends the session of the bearer token or of the cookies; done already is as good as done now."""
        request = exchange.request
        asked = await _of_a_program(request)
        if asked:
            return sent_on(f"logout?{urlencode(asked)}")
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        offered = [bearer.strip()] if scheme.lower() == "bearer" else []
        if not offered:
            offered = [
                request.cookies[name] for name in (SESSION_COOKIE, REFRESH_COOKIE) if name in request.cookies
            ]
            if offered:
                check_sent_by_us(request, self._origins)
        for text in offered:
            record = await self._record_of(text, request)
            if record is not None:
                await self._end(request, record, browser=True)
        answer = document({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
        clear_cookies(request, answer)
        return answer

    async def _of_refresh_token(self, text: str, request: web.BaseRequest) -> SessionRecord | None:
        """Raises TooMuch, Unavailable."""
        if self._sessions.is_stray(text):
            self._check_stray(request)
        return await self._sessions.of_refresh_token(text)

    async def _record_of(self, text: str, request: web.BaseRequest) -> SessionRecord | None:
        """The session behind a refresh or access token of ours; None when there is none any more."""
        record = await self._of_refresh_token(text, request)
        if record is not None:
            return record
        try:
            session = await self._authenticator.admit(text, self._clock.now_s())
        except NotAuthenticated:
            return None
        return self._sessions.live.get(session_id(session.sid)) if session.sid else None

    async def _end(self, request: web.BaseRequest, record: SessionRecord, *, browser: bool = False) -> None:
        if self._auditor is not None:
            await self._auditor.signed_out(request, {"name": record.user, "uid": record.uid})
        if await self._sessions.end(record.sid, browser=browser) is not None:
            log.info("session_ended", session=record.id, user=record.user, by="its own client")


async def _of_a_program(request: web.BaseRequest) -> dict[str, str]:
    """What a program sends with somebody by POST (OIDC RP-initiated logout §2), {} for any other call.

    The page is then asked for by GET: with a POST of another site a browser sends none of our cookies.
    """
    if request.content_type != FORM:
        return {}
    try:
        form = await read_form(request)
    except OAuthError:
        return {}
    return {name: form[name] for name in FIELDS if form.get(name)}
