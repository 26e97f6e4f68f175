"""GET and POST /oauth/authorize: a person signs in here, and the program gets a code (RFC 6749 §4.1, PKCE).

    who asks, and may they be answered there? → is the person signed in? → sign-in page → code

Before the first question is answered nobody is redirected anywhere. Who is signed in already is asked whether
they go on where the program cannot prove who it is: any page can send a browser here.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from aiohttp import web

from edge.apiserver.callers.identity import People
from edge.apiserver.headers import Network
from edge.apiserver.listening.limits import Limiter
from edge.apiserver.oauth.browser import TOKEN_FIELD, Browser, form_token
from edge.apiserver.oauth.page import (
    ANSWER,
    CANCEL,
    ProviderLink,
    consent_page,
    error_page,
    sent_on,
    sign_in_page,
)
from edge.apiserver.oauth.problems import problem_page, told
from edge.apiserver.oauth.tickets import Ticket, Tickets
from edge.apiserver.openapi.operation import FORM, HTML, Operation, Param
from edge.apiserver.sessions.errors import OAuthError
from edge.apiserver.sessions.wire import read_form
from edge.apiserver.signin.clients import Clients
from edge.apiserver.signin.routes import SignIn
from edge.iam.accounts import is_disabled
from edge.iam.federated import provider_of
from edge.iam.oauthrequests import PARAMETERS, AuthorizeRequest, PageError, Pairs, RedirectError, read_request
from edge.iam.redirects import with_answer
from edge.iam.types import User
from edge_kube.errors import KubeError
from edge_sdk.clock import Clock
from edge_sdk.problem import NotAuthenticated, Problem, TooMuch

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange

CODES_A_SECOND: Final = 1.0
CODES_AT_ONCE: Final = 30.0
CODES_OF_ALL_A_SECOND: Final = 50.0
LOCAL: Final = "local"
OF_THE_PAGE: Final = frozenset({TOKEN_FIELD, ANSWER, "username", "password"})
OPERATIONS: Final = (
    Operation(
        "GET", "/oauth/authorize", "The sign-in page, for a program that asks for a code", "oauth",
        about="Who is signed in already is sent on to redirect_uri at once; they are asked before where a "
        "public client is answered at a port or a scheme of their machine.",
        answer=str, answers_as=HTML, public=True, errors="page", refuses=(303,), name="showSignIn",
        params=tuple(Param(name, "RFC 6749, RFC 7636, OpenID Connect core.") for name in PARAMETERS),
    ),
    Operation(
        "POST", "/oauth/authorize", "The form of the sign-in page, or a program's question", "oauth",
        about="With the fields of the page the browser is sent on; without them, as by GET.",
        body=dict[str, str], body_as=(FORM,), answer=str, answers_as=HTML, public=True, status=303,
        errors="page", refuses=(403,), name="sendSignIn",
    ),
)  # fmt: skip

Links = Callable[[Pairs], Sequence[ProviderLink]]


def no_links(_: Pairs) -> Sequence[ProviderLink]:
    return ()


class Authorize:
    def __init__(
        self,
        *,
        clients: Clients,
        codes: Tickets,
        logins: Tickets,
        people: People,
        sign_in: SignIn,
        issuer: str,
        trusted: Sequence[Network],
        clock: Clock,
        links: Links = no_links,
    ) -> None:
        """links: other ways to sign in, given the parameters to come back with."""
        self._clients = clients
        self._codes = codes
        self._logins = logins
        self._people = people
        self._sign_in = sign_in
        self._issuer = issuer
        self._trusted = trusted
        self._clock = clock
        self._links = links
        self._limiter = Limiter(
            qps=CODES_OF_ALL_A_SECOND,
            burst=2 * CODES_OF_ALL_A_SECOND,
            user_qps=CODES_A_SECOND,
            user_burst=CODES_AT_ONCE,
            max_delay_s=0.0,
        )

    async def get(self, exchange: "Exchange") -> web.StreamResponse:
        return await self._answered(self._asked(exchange.request, exchange.target.query))

    async def post(self, exchange: "Exchange") -> web.StreamResponse:
        return await self._answered(self._post(exchange.request))

    async def _answered(self, work: Awaitable[web.Response]) -> web.StreamResponse:
        """Whatever is wrong becomes a page, or goes to the program once it is known."""
        try:
            return await work
        except PageError as error:
            return error_page(str(error), do=error.do)
        except RedirectError as error:
            return self._sent_back(error.uri, error.state, error=error.error, error_description=str(error))
        except OAuthError as error:
            return error_page(str(error), status=error.status)
        except KubeError as error:
            return problem_page(told("You were not signed in", error))
        except Problem as problem:
            return problem_page(problem)

    async def _asked(self, request: web.BaseRequest, pairs: Pairs) -> web.Response:
        asked = read_request(pairs, self._clients.find)
        browser = Browser(request, self._trusted)
        signed_in = await self._signed_in(browser, asked)
        if signed_in is not None and not asked.needs_consent:
            return await self._code_for(asked, *signed_in)
        if "none" in asked.prompt:
            error, why = "login_required", "nobody is signed in in this browser"
            if signed_in is not None:
                error, why = (
                    "consent_required",
                    "the person must be asked, since any program can say it is this one",
                )
            raise RedirectError(asked.redirect_uri, asked.state, error, why)
        if signed_in is not None:
            return self._consent_page(browser, asked, pairs, signed_in[0].metadata.name)
        return self._page(browser, asked, pairs)

    async def _post(self, request: web.BaseRequest) -> web.Response:
        form = await read_form(request)
        pairs = [(name, form[name]) for name in PARAMETERS if name in form]
        if form.keys().isdisjoint(OF_THE_PAGE):
            # A program may send the person here by POST as well (OpenID Connect core §3.1.2.1).
            return await self._asked(request, pairs)
        asked = read_request(pairs, self._clients.find)
        browser = Browser(request, self._trusted)
        if not browser.sent_its_own_form(form.get(TOKEN_FIELD, ""), pairs):
            raise PageError(
                "The form did not come from this page in this browser, so nobody was signed in.",
                "Go back to the program and begin again; cookies of this address must be allowed.",
            )
        if ANSWER in form:
            return await self._answered_by_person(browser, asked, pairs, form[ANSWER])
        name, password = form.get("username", ""), form.get("password", "")
        try:
            user = await self._sign_in.check_password(name, password, request)
        except OAuthError as error:
            status = 403 if error.status == 401 else error.status
            return self._page(
                browser, asked, pairs, name=name, error=f"{_capital(str(error))}.", status=status
            )
        except (TooMuch, NotAuthenticated) as problem:
            page = self._page(browser, asked, pairs, name=name, error=str(problem), status=problem.status)
            if isinstance(problem, TooMuch):
                page.headers["Retry-After"] = str(problem.retry_after_s)
            return page
        provider, now_s = provider_of(user), self._clock.now_s()
        login = await self._logins.make(user, {"provider": provider})
        response = await self._code(asked, user, provider, now_s, self._logins.name_of(login))
        browser.remember(response, login)
        return response

    async def _answered_by_person(
        self, browser: Browser, asked: AuthorizeRequest, pairs: Pairs, answer: str
    ) -> web.Response:
        """The form of the page that asks who is signed in whether they go on."""
        if answer == CANCEL:
            raise RedirectError(
                asked.redirect_uri, asked.state, "access_denied", "the person did not want to go on"
            )
        signed_in = await self._signed_in(browser, asked)
        if signed_in is None:  # signed out meanwhile
            return self._page(browser, asked, pairs)
        return await self._code_for(asked, *signed_in)

    async def _signed_in(self, browser: Browser, asked: AuthorizeRequest) -> tuple[User, Ticket] | None:
        """Who signed in in this browser before, if that still counts for what is asked."""
        if not browser.login or "login" in asked.prompt or "select_account" in asked.prompt:
            return None
        login, now_s = await self._logins.find(browser.login), self._clock.now_s()
        if login is None or now_s >= login.expires_s:
            return None
        if asked.max_age_s is not None and now_s - login.made_s > asked.max_age_s:
            return None
        user = self._people.user(login.user)
        if user is None or is_disabled(user) or not login.is_of(user):
            return None
        return user, login

    async def _code_for(self, asked: AuthorizeRequest, user: User, login: Ticket) -> web.Response:
        provider = login.content.get("provider", LOCAL)
        origin = login.content.get("origin", "")
        return await self._code(asked, user, provider, login.made_s, login.name, origin)

    async def _code(
        self,
        asked: AuthorizeRequest,
        user: User,
        provider: str,
        signed_in_s: float,
        login: str,
        origin: str = "",
    ) -> web.Response:
        """login: the name of what the browser is known by; a code is worth nothing without it.

        origin: as `SessionRecord` has it.
        """
        self._limiter.delay(user.metadata.name, self._clock.monotonic_s())
        code = await self._codes.make(
            user,
            {
                "client": asked.client.id,
                "redirect": asked.redirect_uri,
                "challenge": asked.challenge,
                "nonce": asked.nonce,
                "scope": asked.scope,
                "provider": provider,
                "signedIn": f"{signed_in_s:.0f}",
                "login": login,
                "origin": origin,
            },
        )
        return self._sent_back(asked.redirect_uri, asked.state, code=code)

    def _page(
        self,
        browser: Browser,
        asked: AuthorizeRequest,
        pairs: Pairs,
        *,
        name: str = "",
        error: str = "",
        status: int = 200,
    ) -> web.Response:
        kept, key = _kept(pairs), browser.form_key()
        page = sign_in_page(
            client=asked.client.id,
            hidden=[*kept, (TOKEN_FIELD, form_token(key, kept))],
            redirect_uri=asked.redirect_uri,
            links=self._links(kept),
            name=name,
            error=error,
            status=status,
        )
        browser.bind(page, key)
        return page

    def _consent_page(
        self, browser: Browser, asked: AuthorizeRequest, pairs: Pairs, user: str
    ) -> web.Response:
        kept, key = _kept(pairs), browser.form_key()
        again = [(name, value) for name, value in kept if name != "prompt"]
        page = consent_page(
            client=asked.client.id,
            user=user,
            hidden=[*kept, (TOKEN_FIELD, form_token(key, kept))],
            redirect_uri=asked.redirect_uri,
            other=f"authorize?{urlencode([*again, ('prompt', 'select_account')])}",
        )
        browser.bind(page, key)
        return page

    def _sent_back(self, uri: str, state: str, **answer: str) -> web.Response:
        content = answer | ({"state": state} if state else {}) | {"iss": self._issuer}
        return sent_on(with_answer(uri, content))


def _kept(pairs: Pairs) -> list[tuple[str, str]]:
    """What was asked, in an order of ours: the form is bound to it."""
    return [(key, value) for key, value in sorted(pairs, key=_order) if key in PARAMETERS]


def _order(pair: tuple[str, str]) -> int:
    return PARAMETERS.index(pair[0]) if pair[0] in PARAMETERS else len(PARAMETERS)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
