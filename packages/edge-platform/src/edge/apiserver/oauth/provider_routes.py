"""Sign-in at an OpenID provider, as a browser sees it (I13, test S13).

    GET /oauth/providers/oidc/start?return=PATH   to the provider, with state, nonce and PKCE in a cookie
    GET /oauth/callback                           back again: checked, linked to a User, on to PATH

The browser then is signed in for the pages of /oauth/authorize; a program gets its code there.
"""

import base64
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import msgspec
import structlog
from aiohttp import web

from edge.apiserver.federation.linking import Linking, LinkRefused, Prefixes
from edge.apiserver.federation.provider import PROVIDER, Attempt, NotVouched, Provider, ProviderDown
from edge.apiserver.headers import Network, is_over_tls
from edge.apiserver.listening.limits import Limiter
from edge.apiserver.oauth.browser import Browser
from edge.apiserver.oauth.page import ProviderLink, error_page, sent_on
from edge.apiserver.oauth.problems import problem_page
from edge.apiserver.oauth.tickets import Tickets
from edge.apiserver.openapi.operation import HTML, Operation, Param
from edge.apiserver.signin.routes import SignIn
from edge.iam.federated import path_back
from edge.iam.sessions import origin_of
from edge.iam.types import User
from edge_kube.errors import KubeError
from edge_sdk.clock import Clock
from edge_sdk.problem import Problem, TooMuch

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

Routes = dict[tuple[str, tuple[str, ...]], "Handler"]

COOKIE: Final = "edge-oidc"
ATTEMPT_S: Final = 600
COOKIE_MAX: Final = 8000
AGAIN: Final = "Go back to where you came from and sign in again; cookies of this address must be allowed."

OPERATIONS: Final = (
    Operation(
        "GET", "/oauth/providers/oidc/start", "To the OpenID provider, where one is set up", "oauth",
        about="Sends the browser on.", answer=str, answers_as=HTML, public=True, status=303, errors="page",
        params=(
            Param("return", "Path to come back to; the console without one."),
            Param("prompt", "login: the provider is to ask for the password again."),
        ),
        refuses=(404,), name="startOidc",
    ),
    Operation(
        "GET", "/oauth/callback", "Back from the OpenID provider", "oauth", about="Sends the browser on.",
        answer=str, answers_as=HTML, public=True, status=303, errors="page", refuses=(403, 404),
        params=tuple(
            Param(name, f"The provider's {name}.") for name in ("code", "state", "iss", "error")
        ),
        name="finishOidc",
    ),
)  # fmt: skip

log = structlog.stdlib.get_logger("edge.apiserver")


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    """The cookie of a browser whose sign-in is under way. back: the path to go on to."""

    state: str
    nonce: str
    verifier: str
    back: str
    begun_s: int


class _Failed(Exception):
    """A page for the person: what and why. reason: one word for the LoginRecord."""

    def __init__(self, reason: str, what: str, status: int, user: User | None = None) -> None:
        super().__init__(what)
        self.reason = reason
        self.status = status
        self.user = user


class OidcSignIn:
    def __init__(
        self,
        provider: Provider,
        linking: Linking,
        prefixes: Prefixes,
        *,
        logins: Tickets,
        sign_in: SignIn,
        trusted: Sequence[Network],
        clock: Clock,
    ) -> None:
        """logins: of browsers that are signed in. trusted: networks of proxies whose headers are believed."""
        self._provider = provider
        self._linking = linking
        self._prefixes = prefixes
        self._logins = logins
        self._sign_in = sign_in
        self._trusted = trusted
        self._clock = clock
        self._limiter = Limiter(qps=50, burst=100, user_qps=2, user_burst=40, max_delay_s=0)

    def routes(self) -> Routes:
        return {
            ("GET", ("oauth", "providers", "oidc", "start")): self.start,
            ("GET", ("oauth", "callback")): self.callback,
        }

    def links(self, pairs: Sequence[tuple[str, str]]) -> Sequence[ProviderLink]:
        """For the sign-in page: there, and back to what was asked; `prompt` and `max_age` are met by then.

        A program that wants the password to be given anew wants it there as well.
        """
        kept = [(name, value) for name, value in pairs if name not in ("prompt", "max_age")]
        back = f"/oauth/authorize?{urlencode(kept)}"
        asked = dict(pairs)
        anew = "&prompt=login" if "login" in asked.get("prompt", "").split() or asked.get("max_age") else ""
        return (ProviderLink(f"providers/oidc/start?return={quote(back, safe='')}{anew}", "OpenID Connect"),)

    async def start(self, exchange: "Exchange") -> web.StreamResponse:
        asked = dict(exchange.target.query)
        kept = _Kept(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            back=path_back(asked.get("return", "")),
            begun_s=int(self._clock.now_s()),
        )
        try:
            self._limiter.delay(self._sign_in.address(exchange.request), time.monotonic())
            where = await self._provider.address(_attempt(kept), anew=asked.get("prompt") == "login")
        except TooMuch as problem:
            return problem_page(problem)
        except ProviderDown:
            return _down()
        response = sent_on(where)
        text = base64.urlsafe_b64encode(msgspec.json.encode(kept)).decode().rstrip("=")
        self._set_cookie(exchange.request, response, text, ATTEMPT_S)
        return response

    async def callback(self, exchange: "Exchange") -> web.StreamResponse:
        request = exchange.request
        try:
            self._limiter.delay(self._sign_in.address(request), time.monotonic())
            response = await self._came_back(exchange)
        except _Failed as failed:
            response = error_page(str(failed), do=AGAIN, status=failed.status)
            if failed.reason:
                await self._sign_in.record(failed.user, request, failed.reason, "OAuth", provider=PROVIDER)
        except ProviderDown:
            response = _down()
        except KubeError as error:
            log.warning("user_not_stored", provider=PROVIDER, error=str(error))
            response = error_page("You were not signed in: the Kubernetes API is busy.", do=AGAIN, status=503)
        except Problem as problem:
            response = problem_page(problem)
        self._set_cookie(request, response, "", 0)  # an attempt counts once, however it ends
        return response

    async def _came_back(self, exchange: "Exchange") -> web.Response:
        request, answer = exchange.request, dict(exchange.target.query)
        kept = self._kept(request)
        state = answer.get("state", "")
        if kept is None or not hmac.compare_digest(kept.state.encode(), state.encode()):
            what = "This answer belongs to no sign-in that began in this browser in the last ten minutes."
            raise _Failed("", what, 400)
        if "error" in answer or not answer.get("code"):
            log.info("provider_said_no", error=answer.get("error", "")[:80])
            raise _Failed("ProviderRefused", "The provider did not sign you in.", 403)
        user, session = await self._user(kept, answer)
        await self._sign_in.record(user, request, "Succeeded", "OAuth", provider=PROVIDER)
        login = await self._logins.make(user, {"provider": PROVIDER, "origin": origin_of(session)})
        response = sent_on(kept.back)
        Browser(request, self._trusted).remember(response, login)
        return response

    async def _user(self, kept: _Kept, answer: Mapping[str, str]) -> tuple[User, str]:
        """And what the provider calls this sign-in there, or ""."""
        now_s = self._clock.now_s()
        try:
            identity = await self._provider.identity(
                answer["code"], _attempt(kept), answer.get("iss", ""), now_s
            )
        except NotVouched as error:
            log.warning("sign_in_not_vouched", provider=PROVIDER, why=str(error))
            raise _Failed("NotVouched", "What the provider answered cannot be trusted.", 403) from None
        try:
            return await self._linking.user_for(identity, self._prefixes), identity.session
        except LinkRefused as refused:
            log.warning("sign_in_not_linked", provider=PROVIDER, name=identity.name, why=str(refused))
            what = "The provider knows you, and you may not use this platform. An administrator can tell why."
            raise _Failed(refused.reason, what, 403, refused.user) from None

    def _kept(self, request: web.BaseRequest) -> _Kept | None:
        text = request.cookies.get(self._cookie_name(request), "")
        if not text or len(text) > COOKIE_MAX:
            return None
        try:
            kept = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Kept)
        except (ValueError, msgspec.MsgspecError):
            return None
        is_old = not 0 <= self._clock.now_s() - kept.begun_s + 1 <= ATTEMPT_S
        if is_old or not (kept.state and kept.nonce and kept.verifier):
            return None
        kept.back = path_back(kept.back)
        return kept

    def _cookie_name(self, request: web.BaseRequest) -> str:
        """Over TLS one that no other host can plant: else an attacker signs others in as himself."""
        return f"__Host-{COOKIE}" if self._is_secure(request) else COOKIE

    def _is_secure(self, request: web.BaseRequest) -> bool:
        return is_over_tls(request, self._trusted)

    def _set_cookie(
        self, request: web.BaseRequest, response: web.Response, value: str, max_age_s: int
    ) -> None:
        """Lax: the provider sends the browser here from its own site."""
        secure = "; Secure" if self._is_secure(request) else ""
        name, limits = self._cookie_name(request), f"Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_s}"
        response.headers.add("Set-Cookie", f"{name}={value}; {limits}{secure}")


def _attempt(kept: _Kept) -> Attempt:
    return Attempt(kept.state, kept.nonce, kept.verifier)


def _down() -> web.Response:
    what = "The sign-in provider does not answer."
    return error_page(what, do="Try again in a minute, or sign in as a local user.", status=503)
