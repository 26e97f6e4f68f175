"""Puts the parts of this folder together; the server names this one file."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from edge.apiserver.callers.identity import Authenticator, People
from edge.apiserver.configuration.settings import GatewaySettings
from edge.apiserver.headers import Network
from edge.apiserver.listening.limits import Gate
from edge.apiserver.oauth.authorize import Authorize, Links, no_links
from edge.apiserver.oauth.client_routes import ClientRoutes
from edge.apiserver.oauth.discovery import Discovery, UserInfo
from edge.apiserver.oauth.ending import ClientsEnding
from edge.apiserver.oauth.grants import CODE_LIFE_S, CodeGrant, CredentialsGrant
from edge.apiserver.oauth.logout import Logout
from edge.apiserver.oauth.tickets import Tickets
from edge.apiserver.rights.picture import Rights
from edge.apiserver.sessions.store import Sessions
from edge.apiserver.signin.clients import Clients, configured_clients
from edge.apiserver.signin.routes import SignIn
from edge.iam.oauthclients import CODE, CREDENTIALS
from edge.iam.tokens import Tokens
from edge_kube.client import Client
from edge_sdk.clock import Clock
from edge_sdk.problem import Unavailable

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

LOGIN_LIFE_S: Final = 8 * 3600.0
"""How long a browser is known: a working day."""
PAGES_AT_ONCE: Final = 100
ANSWERED_WITHIN_S: Final = 15.0


class OAuth:
    """`clients` from the beginning; `connect` once people can sign in. routes: without a token."""

    def __init__(
        self, client: Client, settings: GatewaySettings, people: People, sessions: Sessions, clock: Clock
    ) -> None:
        authentication, namespace = settings.authentication, settings.server.namespace
        self._issuer = authentication.jwt.issuer
        self._trusted: Sequence[Network] = settings.trusted_networks
        self._people = people
        self._clock = clock
        self.clients = Clients(
            client,
            namespace,
            configured_clients(authentication.oauth, self._issuer),
            clock=clock,
            relist_s=settings.authorization.cache_ttl.s,
        )
        self._gate = Gate(PAGES_AT_ONCE, "sign-in pages")
        self._sessions = sessions
        sessions.life_s = self.clients.life_s
        self._ending = ClientsEnding(self.clients, sessions)
        self.codes = Tickets(client, namespace, "oauth-code", life_s=CODE_LIFE_S, clock=clock)
        self.logins = Tickets(client, namespace, "oauth-login", life_s=LOGIN_LIFE_S, clock=clock)
        sessions.browsers = self.logins
        sessions.keeper.client_is_gone = self.clients.is_gone

    def work(self) -> "tuple[Coroutine[Any, Any, None], ...]":
        """What runs beside requests, until cancelled."""
        return self.clients.mirror.run(), self.codes.run(), self.logins.run(), self._ending.run()

    def client_routes(self, rights: Rights) -> ClientRoutes:
        return ClientRoutes(clients=self.clients, people=self._people, rights=rights, clock=self._clock)

    def connect(
        self,
        sign_in: SignIn,
        tokens: Tokens,
        authenticator: Authenticator,
        links: Links = no_links,
    ) -> "dict[tuple[str, tuple[str, ...]], Handler]":
        """Teaches the token endpoint its grants; gives the routes beside it. links: other ways to sign in."""
        sign_in.grants[CODE] = CodeGrant(
            clients=self.clients,
            codes=self.codes,
            logins=self.logins,
            people=self._people,
            sessions=self._sessions,
            sign_in=sign_in,
            clock=self._clock,
        )
        sign_in.grants[CREDENTIALS] = CredentialsGrant(
            clients=self.clients, people=self._people, sessions=self._sessions, sign_in=sign_in
        )
        authorize = Authorize(
            clients=self.clients,
            codes=self.codes,
            logins=self.logins,
            people=self._people,
            sign_in=sign_in,
            issuer=self._issuer,
            trusted=self._trusted,
            clock=self._clock,
            links=links,
        )
        logout = Logout(
            clients=self.clients,
            logins=self.logins,
            sessions=self._sessions,
            read_id_token=tokens.read_id,
            trusted=self._trusted,
        )
        discovery = Discovery(
            self._issuer,
            lambda: (tokens.ring.signing(self._clock.now_s()).algorithm,),
            lambda: tuple(sign_in.grants),
        )
        user_info = UserInfo(authenticator, self._people, self._clock)
        return {
            ("GET", ("oauth", "authorize")): self._bounded(authorize.get),
            ("POST", ("oauth", "authorize")): authorize.post,
            ("GET", ("oauth", "logout")): self._bounded(logout.get),
            ("POST", ("oauth", "logout", "confirm")): logout.confirm,
            ("GET", ("oauth", "userinfo")): user_info.show,
            ("POST", ("oauth", "userinfo")): user_info.show,
            ("GET", (".well-known", "openid-configuration")): discovery.show,
            ("GET", (".well-known", "oauth-authorization-server")): discovery.show,
        }

    def _bounded(self, handler: "Handler") -> "Handler":
        """Other pages without a token ask nobody; these ask the API server, for whoever shows a cookie."""

        async def handle(exchange: "Exchange") -> web.StreamResponse:
            self._gate.enter()
            try:
                async with asyncio.timeout(ANSWERED_WITHIN_S):
                    return await handler(exchange)
            except TimeoutError:
                raise Unavailable(
                    "upstream-timeout",
                    what="The page was given up",
                    why="it took too long",
                    do="try again",
                    status=504,
                ) from None
            finally:
                self._gate.leave()

        return handle
