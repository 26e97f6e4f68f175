"""How people sign in: by password, in a browser, at a provider or a directory; and their own account."""

from typing import TYPE_CHECKING

from edge.apiserver.account.routes import Account
from edge.apiserver.auditing.auditor import Auditor
from edge.apiserver.federation.linking import Prefixes
from edge.apiserver.federation.outside import outside_users
from edge.apiserver.federation.provider import Provider
from edge.apiserver.oauth.backchannel import BackChannel
from edge.apiserver.oauth.provider_routes import OidcSignIn
from edge.apiserver.oauth.session_routes import OAuthRoutes
from edge.apiserver.rights.picture import Rights
from edge.apiserver.routes import Handler, OwnRoute
from edge.apiserver.sessions.routes import SessionRoutes
from edge.apiserver.signin.loginrecords import LoginRecords
from edge.apiserver.signin.routes import SignIn
from edge.apiserver.signin.standing import Credentials, Standing
from edge.apiserver.wiring.ground import Ground
from edge.apiserver.wiring.recognition import Recognition

if TYPE_CHECKING:
    from aiohttp import web

    from edge.apiserver.gateway import Exchange


class SigningIn:
    """publics: routes without a token, by (method, path). own: routes for those who are known."""

    def __init__(
        self, ground: Ground, recognition: Recognition, rights: Rights, auditor: Auditor | None
    ) -> None:
        """Of a running loop: login records are written beside requests from here on."""
        self._ground = ground
        self._recognition = recognition
        self._rights = rights
        self._auditor = auditor
        self._provider: Provider | None = None
        settings = ground.settings
        records = LoginRecords(ground.client, ground.clock, ground.measures.throttled)
        ground.background.spawn(records.run())
        ldap = settings.authentication.ldap
        standing = Standing(
            ldap,
            linking=recognition.linking(),
            credentials=Credentials(recognition.sessions, recognition.kubeconfigs),
            people=recognition.people,
            records=records,
            clock=ground.clock,
        )
        recognition.sessions.vouch = standing.vouch
        ground.background.spawn(standing.run())
        self._sign_in = SignIn(
            sessions=recognition.sessions,
            people=recognition.people,
            clients=recognition.oauth.clients,
            records=records,
            lockouts=recognition.lockouts,
            measures=ground.measures,
            trusted=settings.trusted_networks,
            auditor=auditor,
            outside=outside_users(ldap, recognition.linking()),
        )

    def publics(self) -> dict[tuple[str, tuple[str, ...]], Handler]:
        return {
            **self._oauth_routes().routes(),
            ("POST", ("oauth", "token")): self._token,
            **self._browser_routes(),
        }

    def own(self) -> tuple[OwnRoute, ...]:
        of, ground = self._recognition, self._ground
        account = Account(
            client=ground.client,
            people=of.people,
            access=self._rights.access,
            index=self._rights.index,
            clock=ground.clock,
            sessions=of.sessions,
            sign_in=self._sign_in,
        )
        return (
            account.handler,
            SessionRoutes(of.sessions, self._rights).handler,
            of.oauth.client_routes(self._rights).handler,
        )

    def close(self) -> None:
        self._sign_in.close()

    async def close_provider(self) -> None:
        if self._provider is not None:
            await self._provider.close()

    async def _token(self, exchange: "Exchange") -> "web.StreamResponse":
        return await self._sign_in.token(exchange.request)

    def _oauth_routes(self) -> OAuthRoutes:
        of = self._recognition
        return OAuthRoutes(
            sessions=of.sessions,
            tokens=of.tokens,
            authenticator=of.authenticator,
            check_client=self._sign_in.check_client,
            check_stray=self._sign_in.check_stray,
            clock=self._ground.clock,
            origins=self._ground.settings.authentication.session.origins,
            auditor=self._auditor,
        )

    def _browser_routes(self) -> dict[tuple[str, tuple[str, ...]], Handler]:
        """Pages that people sign in on, here or at an OpenID provider."""
        of, settings = self._recognition, self._ground.settings
        oidc = settings.authentication.oidc
        if not oidc.enabled:
            return of.oauth.connect(self._sign_in, of.tokens, of.authenticator)
        self._provider = provider = Provider(oidc)
        back_channel = BackChannel(
            provider,
            oidc.issuer_url,
            linking=of.linking(),
            people=of.people,
            sessions=of.sessions,
            logins=of.oauth.logins,
            sign_in=self._sign_in,
            clock=self._ground.clock,
        )
        outside = OidcSignIn(
            provider,
            of.linking(),
            Prefixes(oidc.username_prefix, oidc.groups_prefix),
            logins=of.oauth.logins,
            sign_in=self._sign_in,
            trusted=settings.trusted_networks,
            clock=self._ground.clock,
        )
        pages = of.oauth.connect(self._sign_in, of.tokens, of.authenticator, outside.links)
        return {**pages, **outside.routes(), **back_channel.routes()}
