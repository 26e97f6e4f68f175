"""GET /oauth/logout: a program sends somebody here to sign out (OIDC RP-initiated logout 1.0).

Without proof that the program of this very person asks, the person is asked: otherwise any page could sign
people out. Nobody is sent on but to an address that the program has registered for it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from edge.apiserver.headers import Network
from edge.apiserver.oauth.browser import TOKEN_FIELD, Browser, form_token
from edge.apiserver.oauth.page import error_page, sent_on, sign_out_page, signed_out_page
from edge.apiserver.oauth.problems import problem_page, told
from edge.apiserver.oauth.tickets import Tickets
from edge.apiserver.openapi.operation import FORM, HTML, Operation, Param
from edge.apiserver.sessions.errors import OAuthError
from edge.apiserver.sessions.store import Sessions
from edge.apiserver.sessions.wire import read_form
from edge.apiserver.signin.clients import Clients
from edge.iam.oauthrequests import ASK, STATE_MAX, PageError, Pairs
from edge.iam.redirects import with_answer
from edge.iam.tokens import TokenRefused
from edge_kube.errors import KubeError
from edge_sdk.problem import Problem

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange

FIELDS: Final = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state")
OPERATIONS: Final = (
    Operation(
        "GET", "/oauth/logout", "The sign-out page, for a program that sends somebody here", "oauth",
        answer=str, answers_as=HTML, public=True, errors="page", refuses=(303,), name="showSignOut",
        params=tuple(Param(name, "OIDC RP-initiated logout 1.0.") for name in FIELDS),
    ),
    Operation(
        "POST", "/oauth/logout/confirm", "The form of the sign-out page", "oauth", body=dict[str, str],
        body_as=(FORM,), answer=str, answers_as=HTML, public=True, errors="page", refuses=(303,),
        name="confirmSignOut",
    ),
)  # fmt: skip

ReadIdToken = Callable[[str], Mapping[str, Any]]
"""The claims of an ID token of ours, expired or not. Raises TokenRefused."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """user, sid: of the ID token, "" without one. uri: where to go on to, "" for our own page."""

    user: str
    sid: str
    uri: str
    state: str


class Logout:
    def __init__(
        self,
        *,
        clients: Clients,
        logins: Tickets,
        sessions: Sessions,
        read_id_token: ReadIdToken,
        trusted: Sequence[Network],
    ) -> None:
        self._clients = clients
        self._logins = logins
        self._sessions = sessions
        self._read_id_token = read_id_token
        self._trusted = trusted

    async def get(self, exchange: "Exchange") -> web.StreamResponse:
        return await _answered(self._get(exchange.request, exchange.target.query))

    async def confirm(self, exchange: "Exchange") -> web.StreamResponse:
        return await _answered(self._confirm(exchange.request))

    async def _get(self, request: web.BaseRequest, pairs: Pairs) -> web.Response:
        wanted, browser = self._read(pairs), Browser(request, self._trusted)
        login = await self._logins.find(browser.login) if browser.login else None
        if wanted.sid:
            await self._sessions.end(wanted.sid)
        if login is not None and login.user != wanted.user:
            return self._asked(browser, pairs)
        return await self._signed_out(browser, wanted)

    async def _confirm(self, request: web.BaseRequest) -> web.Response:
        form = await read_form(request)
        pairs = [(name, form[name]) for name in FIELDS if name in form]
        wanted, browser = self._read(pairs), Browser(request, self._trusted)
        if not browser.sent_its_own_form(form.get(TOKEN_FIELD, ""), pairs):
            what = "The form did not come from this page in this browser, so nobody was signed out."
            raise PageError(what, "Go back and try again; cookies of this address must be allowed.")
        return await self._signed_out(browser, wanted)

    def _asked(self, browser: Browser, pairs: Pairs) -> web.Response:
        given = dict(pairs)
        kept, key = [(name, given[name]) for name in FIELDS if name in given], browser.form_key()
        page = sign_out_page([*kept, (TOKEN_FIELD, form_token(key, kept))])
        browser.bind(page, key)
        return page

    async def _signed_out(self, browser: Browser, wanted: Wanted) -> web.Response:
        await self._logins.drop(browser.login)
        if wanted.uri:
            answer = {"state": wanted.state} if wanted.state else {}
            response = sent_on(with_answer(wanted.uri, answer) if answer else wanted.uri)
        else:
            response = signed_out_page()
        browser.forget(response)
        return response

    def _read(self, pairs: Pairs) -> Wanted:
        """Raises PageError: of what is wrong here nobody is told but the person."""
        given = dict(pairs)
        if len(given) != len(pairs) or len(given.get("state", "")) > STATE_MAX:
            raise PageError("The address that brought you here has something twice, or too long.", ASK)
        claims: Mapping[str, Any] = {}
        if given.get("id_token_hint"):
            try:
                claims = self._read_id_token(given["id_token_hint"])
            except TokenRefused:
                raise PageError("The program did not prove that it may sign you out.", ASK) from None
        uri, client_id = given.get("post_logout_redirect_uri", ""), given.get("client_id", "")
        if claims and client_id not in ("", claims["aud"]):
            raise PageError("The program that sent you here is not the one that you signed in to.", ASK)
        client = self._clients.find(str(claims.get("aud", client_id))) if uri else None
        if uri and (client is None or uri not in client.post_logout_uris):
            raise PageError("The program wants you to be sent to an address that is not one of its own.", ASK)
        user, sid = claims.get("sub", ""), claims.get("sid", "")
        return Wanted(str(user), str(sid), uri, given.get("state", ""))


async def _answered(work: Awaitable[web.Response]) -> web.StreamResponse:
    """Whatever is wrong becomes a page."""
    try:
        return await work
    except PageError as error:
        return error_page(str(error), do=error.do)
    except OAuthError as error:
        return error_page(str(error), status=error.status)
    except KubeError as error:
        return problem_page(told("You may not be signed out", error))
    except Problem as problem:
        return problem_page(problem)
