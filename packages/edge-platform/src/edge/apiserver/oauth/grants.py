"""The grants authorization_code and client_credentials at /oauth/token (RFC 6749 §4.1.3, §4.4, RFC 7636)."""

import secrets
from collections.abc import Mapping
from typing import Final

import structlog
from aiohttp import web

from edge.apiserver.callers.identity import People
from edge.apiserver.oauth.tickets import Ticket, Tickets
from edge.apiserver.sessions.errors import OAuthError
from edge.apiserver.sessions.store import Granted, Sessions
from edge.apiserver.signin.clients import WRONG, Clients
from edge.apiserver.signin.routes import SignIn
from edge.iam.accounts import is_disabled
from edge.iam.oauthclients import REFRESH, OAuthClient
from edge.iam.oauthrequests import verifier_matches
from edge.iam.types import User
from edge_kube.errors import KubeError
from edge_sdk.clock import Clock
from edge_sdk.problem import Unavailable

CODE_LIFE_S: Final = 60.0
NO_GOOD: Final = "the code is not good: it is unknown, used, expired, or was given for something else"
"""One text for every reason: whoever tries a stolen code learns nothing from it."""

log = structlog.stdlib.get_logger("edge.apiserver")


class CodeGrant:
    """A code counts once on all replicas together; a second use ends what the first gave (§4.1.2)."""

    def __init__(
        self,
        *,
        clients: Clients,
        codes: Tickets,
        logins: Tickets,
        people: People,
        sessions: Sessions,
        sign_in: SignIn,
        clock: Clock,
    ) -> None:
        self._clients = clients
        self._sign_in = sign_in
        self._codes = codes
        self._logins = logins
        self._people = people
        self._sessions = sessions
        self._clock = clock

    async def __call__(self, form: Mapping[str, str], request: web.BaseRequest, client_id: str) -> Granted:
        for field in ("code", "redirect_uri", "code_verifier"):
            if not form.get(field):
                raise OAuthError(400, "invalid_request", f"{field} is missing")
        client = known(self._clients, client_id)
        try:
            ticket = await self._taken(form["code"], client)
            user = self._right(ticket, form, client)
            login = ticket.content.get("login", "")
            if login and not await self._logins.is_kept(login):
                raise OAuthError(400, "invalid_grant", NO_GOOD)  # signed out since
            granted = await self._sessions.open(
                user=user,
                client=client.id,
                provider=ticket.content.get("provider", ""),
                address=self._sign_in.address(request),
                agent=request.headers.get("User-Agent", ""),
                nonce=ticket.content.get("nonce", ""),
                scope=ticket.content.get("scope", ""),
                refreshable=REFRESH in client.grants,
                signed_in_s=float(ticket.content.get("signedIn", "0")),
                login=login,
                origin=ticket.content.get("origin", ""),
            )
            if await self._codes.note(ticket, {"sid": granted.sid}) is None:
                # The code was tried again while the session was being opened.
                await self._sessions.end(granted.sid)
                raise OAuthError(400, "invalid_grant", NO_GOOD)
        except KubeError as error:
            raise Unavailable(
                "code-not-redeemed",
                what="No token was given",
                why=f"the Kubernetes API did not take it: {error}",
                do="sign in again in a second: a code is tried once",
            ) from error
        return granted

    async def _taken(self, code: str, client: OAuthClient) -> Ticket:
        """The code, used from now on, right or wrong: nobody tries verifiers one after the other."""
        use = secrets.token_hex(8)
        ticket = await self._codes.find(code)
        if ticket is None:
            raise OAuthError(400, "invalid_grant", NO_GOOD)
        if not ticket.content.get("use"):
            taken = await self._codes.note(ticket, {"use": use})
            if taken is not None:
                return taken
            ticket = await self._codes.find(code)
            if ticket is not None and ticket.content.get("use") == use:
                return ticket  # it was us: the answer was lost, and the request repeated
        if ticket is not None:
            await self._used_again(code, ticket, client)
        raise OAuthError(400, "invalid_grant", NO_GOOD)

    async def _used_again(self, code: str, ticket: Ticket, client: OAuthClient) -> None:
        log.warning("oauth_code_reused", client=client.id, user=ticket.user)
        noted: Ticket | None = ticket
        while noted is not None and not noted.content.get("again"):
            # Whoever is still opening a session for it finds its record changed.
            if await self._codes.note(noted, {"again": "true"}) is not None:
                break
            noted = await self._codes.find(code)
        sid = noted.content.get("sid", "") if noted is not None else ""
        if sid:
            await self._sessions.end(sid)

    def _right(self, ticket: Ticket, form: Mapping[str, str], client: OAuthClient) -> User:
        """Whom it was given for. Raises OAuthError."""
        given, user = ticket.content, self._people.user(ticket.user)
        if (
            self._clock.now_s() >= ticket.expires_s
            or given.get("client") != client.id
            or given.get("redirect") != form["redirect_uri"]
            or not client.may_return_to(form["redirect_uri"])
            or not verifier_matches(form["code_verifier"], given.get("challenge", ""))
            or user is None
            or is_disabled(user)
            or not ticket.is_of(user)
        ):
            raise OAuthError(400, "invalid_grant", NO_GOOD)
        return user


class CredentialsGrant:
    """A program acts as the User that its client names: rights come from that user's bindings, and end so."""

    def __init__(self, *, clients: Clients, people: People, sessions: Sessions, sign_in: SignIn) -> None:
        self._clients = clients
        self._people = people
        self._sessions = sessions
        self._sign_in = sign_in

    async def __call__(self, form: Mapping[str, str], request: web.BaseRequest, client_id: str) -> Granted:
        client = known(self._clients, client_id)
        user = self._people.user(client.user)
        if client.public or user is None or is_disabled(user):
            raise OAuthError(
                400,
                "invalid_grant",
                f'the user "{client.user}" of this client does not exist, or is disabled',
            )
        await self._sign_in.record(user, request, "Succeeded", "OAuth")
        return await self._sessions.open(
            user=user,
            client=client.id,
            provider="client_credentials",
            address=self._sign_in.address(request),
            agent=request.headers.get("User-Agent", ""),
            refreshable=False,
        )


def known(clients: Clients, id_: str) -> OAuthClient:
    """The client that has just proved who it is, unless it was deleted meanwhile."""
    client = clients.find(id_)
    if client is None:
        raise OAuthError(401, "invalid_client", WRONG)
    return client
