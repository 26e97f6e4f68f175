"""The OpenID provider tells that somebody left there: their sign-ins through it end here (I13; decision 024).

    POST /oauth/backchannel-logout/oidc   logout_token=…   OpenID Connect Back-Channel Logout 1.0

A token with `sid` is about one sign-in at the provider, one with `sub` alone about all of that person. What
began after the token was made goes on, so that one that is sent again later ends nothing.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web

from edge.apiserver.answers import document
from edge.apiserver.callers.identity import People
from edge.apiserver.federation.linking import Linking, LinkRefused
from edge.apiserver.federation.provider import PROVIDER, NotVouched, Provider, ProviderDown
from edge.apiserver.oauth.tickets import Tickets
from edge.apiserver.openapi.operation import FORM, Operation
from edge.apiserver.sessions.errors import OAuthError
from edge.apiserver.sessions.store import Sessions
from edge.apiserver.sessions.wire import error_answer, read_form
from edge.apiserver.signin.routes import SignIn
from edge.iam.federated import Identity
from edge.iam.idtokens import LEEWAY_S
from edge.iam.logouttokens import GOOD_FOR_S, LoggedOut
from edge.iam.sessions import SessionRecord, origin_of
from edge_kube.errors import KubeError
from edge_sdk.clock import Clock
from edge_sdk.problem import Unavailable

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

SIGNED_OUT: Final = "SignedOutAtProvider"
"""Reason of the LoginRecord."""
SEEN_MAX: Final = 10_000


class LogoutToken(msgspec.Struct):
    """OpenID Connect Back-Channel Logout 1.0 §2.5."""

    logout_token: str


OPERATIONS: Final = (
    Operation(
        "POST", "/oauth/backchannel-logout/oidc", "The OpenID provider says that somebody left", "oauth",
        about="Ends the sessions that began there. The token's signature is the proof.",
        body=LogoutToken, body_as=(FORM,), answer=dict[str, str], public=True, errors="oauth",
        name="backchannelLogout",
    ),
)  # fmt: skip

log = structlog.stdlib.get_logger("edge.apiserver")


class BackChannel:
    def __init__(
        self,
        provider: Provider,
        issuer: str,
        *,
        linking: Linking,
        people: People,
        sessions: Sessions,
        logins: Tickets,
        sign_in: SignIn,
        clock: Clock,
    ) -> None:
        """issuer: of the provider. logins: of browsers that are signed in."""
        self._provider = provider
        self._issuer = issuer
        self._linking = linking
        self._people = people
        self._sessions = sessions
        self._logins = logins
        self._sign_in = sign_in
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()

    def routes(self) -> "dict[tuple[str, tuple[str, ...]], Handler]":
        return {("POST", ("oauth", "backchannel-logout", "oidc")): self.handle}

    async def handle(self, exchange: "Exchange") -> web.StreamResponse:
        """Anything but 200 tells the provider that nothing may have ended (§2.8)."""
        request = exchange.request
        try:
            form = await read_form(request)
            left = await self._believed(form.get("logout_token", ""))
            for user in await self._end(left):
                known = self._people.user(user)
                await self._sign_in.record(known, request, SIGNED_OUT, "OAuth", provider=PROVIDER)
        except OAuthError as error:
            return error_answer(error)
        except KubeError as error:
            raise _not_done(f"the Kubernetes API did not take it: {error}") from error
        self._remember(left.id)
        return document({})

    async def _believed(self, token: str) -> LoggedOut:
        """Raises OAuthError, Unavailable."""
        if not token:
            raise OAuthError(400, "invalid_request", "logout_token is missing")
        try:
            left = await self._provider.logged_out(token, self._clock.now_s())
        except NotVouched as error:
            log.warning("logout_not_vouched", provider=PROVIDER, why=str(error))
            raise OAuthError(400, "invalid_request", str(error)) from None
        except ProviderDown as error:
            raise _not_done("the provider does not say by which keys it signs") from error
        if left.id in self._seen:
            raise OAuthError(400, "invalid_request", "the logout token was used before")
        return left

    async def _end(self, left: LoggedOut) -> set[str]:
        """Whose sessions ended. Those of browsers first: no new session comes of them then.

        Raises OAuthError, Unavailable, KubeError.
        """
        user = ""
        if left.subject:
            user = await self._name_of(left.subject)
            if not user:
                return set()
        origin, until_s = origin_of(left.session), left.made_s + LEEWAY_S

        # Of a person's sign-ins, those that the provider gave no name may be the one that it means.
        same = {origin, ""} if user else {origin}

        def is_meant(provider: str, from_there: str, signed_in_s: float) -> bool:
            about = not origin or from_there in same
            return provider == PROVIDER and about and signed_in_s <= until_s

        def session_is(record: SessionRecord) -> bool:
            return is_meant(record.provider, record.origin, record.proven_s)

        await self._logins.forget_those(
            lambda one: is_meant(one.content.get("provider", ""), one.content.get("origin", ""), one.made_s),
            user,
        )
        return {
            name
            for name in self._owners(user, session_is)
            if await self._sessions.end_those(name, session_is)
        }

    def _owners(self, user: str, which: Callable[[SessionRecord], bool]) -> set[str]:
        """Whose sessions are meant: `user` if it is known, or else whoever has one. Raises Unavailable."""
        if user:
            return {user}
        self._sessions.live.followed.require()
        return {record.user for record in self._sessions.live.all() if which(record)}

    async def _name_of(self, subject: str) -> str:
        """The user that the provider means, or "". Raises OAuthError, KubeError."""
        try:
            user = await self._linking.linked(Identity(PROVIDER, self._issuer, subject, ""))
        except LinkRefused as refused:
            raise OAuthError(400, "invalid_request", str(refused)) from None
        return user.metadata.name if user is not None else ""

    def _remember(self, id_: str) -> None:
        """Until it would be refused for its age."""
        now_s = self._clock.now_s()
        self._seen[id_] = now_s + 2 * GOOD_FOR_S
        while self._seen and (len(self._seen) > SEEN_MAX or next(iter(self._seen.values())) < now_s):
            self._seen.popitem(last=False)


def _not_done(why: str) -> Unavailable:
    return Unavailable(
        "logout-not-done",
        what="It is not certain that anybody was signed out",
        why=why,
        do="send the logout token again",
    )
