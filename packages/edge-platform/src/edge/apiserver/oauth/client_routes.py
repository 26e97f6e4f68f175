"""`oauthclients`: make one, list them, change one, give one a new secret, delete one (I12, design §9).

The secret is shown in the answer that makes it, and never again. A client that acts as a user needs an author
who may act as that user: otherwise it would be a way to more rights.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from aiohttp import web

from edge.apiserver.answers import document
from edge.apiserver.callers.identity import People, change_password_first
from edge.apiserver.oauth.client_shapes import (
    ChangedClient,
    NewClient,
    NewSecret,
    OAuthClientList,
    ShownClient,
)
from edge.apiserver.openapi.operation import IAM, Operation
from edge.apiserver.openapi.shapes import Status
from edge.apiserver.paths import Resource
from edge.apiserver.rights.picture import Rights
from edge.apiserver.signin.clients import Clients
from edge.iam.oauthclients import (
    CREDENTIALS,
    LIFE_MAX_S,
    OAuthClient,
    hash_secret,
    is_id,
    new_secret,
    violations,
)
from edge.iam.types import GROUP
from edge_kube.errors import AlreadyExists, KubeError
from edge_sdk.access import Action
from edge_sdk.clock import Clock
from edge_sdk.problem import Conflict, Forbidden, Invalid, Missing, Problem, Unavailable, Violation
from edge_sdk.settings import Duration

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

T = TypeVar("T")
Work = Callable[["Exchange", str], Awaitable[web.StreamResponse]]

WORD: Final = "oauthclients"
SECRET: Final = "secret"  # noqa: S105


B = TypeVar("B", NewClient, ChangedClient, NewSecret)

_BASE: Final = f"{IAM}/{WORD}"
OPERATIONS: Final = (
    Operation("GET", _BASE, "List OAuth clients", WORD, answer=OAuthClientList, name="listOAuthClients"),
    Operation(
        "POST", _BASE, "Make an OAuth client; its secret is shown this once", WORD, body=NewClient,
        answer=ShownClient, status=201, name="createOAuthClient", refuses=(409, 422),
    ),
    Operation("GET", f"{_BASE}/{{id}}", "One OAuth client", WORD, answer=ShownClient, name="getOAuthClient"),
    Operation(
        "PATCH", f"{_BASE}/{{id}}", "Change an OAuth client; sessions that it could not get now end", WORD,
        body=ChangedClient, answer=ShownClient, name="changeOAuthClient", refuses=(409, 422),
    ),
    Operation(
        "DELETE", f"{_BASE}/{{id}}", "Delete an OAuth client; its sessions end", WORD, answer=Status,
        name="deleteOAuthClient", refuses=(409,),
    ),
    Operation(
        "POST", f"{_BASE}/{{id}}/{SECRET}", "Give an OAuth client a new secret, shown this once", WORD,
        body=NewSecret, answer=ShownClient, name="renewOAuthClient", refuses=(409, 422),
    ),
)  # fmt: skip


class ClientRoutes:
    def __init__(self, *, clients: Clients, people: People, rights: Rights, clock: Clock) -> None:
        self._clients = clients
        self._people = people
        self._rights = rights
        self._clock = clock

    def handler(self, exchange: "Exchange", resource: Resource) -> "Handler | None":
        """The handler of a path about OAuth clients; None when the path is an ordinary one."""
        if (resource.group, resource.version, resource.resource) != (GROUP, "v1alpha1", WORD):
            return None
        asked = (exchange.request.method.replace("HEAD", "GET"), bool(resource.name), resource.subresource)
        verb, handler = {
            ("GET", False, ""): ("list", self._list),
            ("GET", True, ""): ("get", self._get),
            ("POST", False, ""): ("create", self._create),
            ("PATCH", True, ""): ("patch", self._change),
            ("POST", True, SECRET): ("update", self._renew),
            ("DELETE", True, ""): ("delete", self._delete),
        }.get(asked, ("", None))
        if handler is None or resource.rest or resource.namespace:
            raise Problem(
                "method-not-allowed",
                what="An OAuth client is made, listed, changed, given a new secret, and deleted",
                why=f"{exchange.request.method} does none of these here",
                do=f"GET or POST …/{WORD}, GET, PATCH or DELETE …/{WORD}/ID, POST …/{WORD}/ID/{SECRET}",
                status=405,
            )
        exchange.verb = verb
        exchange.action = Action(verb, GROUP, WORD, resource.subresource, name=resource.name)
        return partial(self._decided, handler=handler, id_=resource.name)

    async def _decided(self, exchange: "Exchange", *, handler: Work, id_: str) -> web.StreamResponse:
        self._need(exchange, exchange.action, "ask a platform admin")
        if exchange.caller.restricted and exchange.verb not in ("get", "list"):
            raise change_password_first(exchange.caller.caller.name)
        return await handler(exchange, id_)

    def _need(self, exchange: "Exchange", action: Action, do: str) -> None:
        decision = self._rights.access.may(exchange.caller.caller, action)
        if not decision.allowed:
            raise Forbidden("forbidden", what=decision.reason, do=do)

    async def _list(self, _: "Exchange", __: str) -> web.StreamResponse:
        items = [client.shown() for client in self._clients.all()]
        return document({"kind": "OAuthClientList", "apiVersion": f"{GROUP}/v1alpha1", "items": items})

    async def _get(self, _: "Exchange", id_: str) -> web.StreamResponse:
        return document(self._known(id_).shown())

    async def _create(self, exchange: "Exchange", _: str) -> web.StreamResponse:
        wanted = _body(exchange, NewClient)
        secret = "" if wanted.public else new_secret()
        client = OAuthClient(
            id=wanted.id,
            grants=frozenset(wanted.grants),
            public=wanted.public,
            secret_hash=hash_secret(secret) if secret else "",
            redirect_uris=wanted.redirect_uris,
            post_logout_uris=wanted.post_logout_uris,
            life_s=_duration("accessTokenLife", wanted.access_token_life),
            user=wanted.user,
        )
        self._check(exchange, client, "No OAuth client was made")
        if self._clients.find(client.id) is not None:
            raise _there_is_one(client.id)
        try:
            await _recorded(self._clients.add(client))
        except AlreadyExists:
            raise _there_is_one(client.id) from None
        return _with_secret(client, secret, 201)

    async def _change(self, exchange: "Exchange", id_: str) -> web.StreamResponse:
        self._changeable(id_)
        wanted = _body(exchange, ChangedClient)
        life_s = _duration("accessTokenLife", wanted.access_token_life or "")
        fields = {
            "redirect_uris": wanted.redirect_uris,
            "post_logout_uris": wanted.post_logout_uris,
            "grants": frozenset(wanted.grants) if wanted.grants is not None else None,
            "life_s": life_s if wanted.access_token_life is not None else None,
            "user": wanted.user,
        }
        given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}

        def changed(client: OAuthClient) -> OAuthClient:
            found = replace(client, **given)
            self._check(exchange, found, "The OAuth client was not changed")
            return found

        client = await _recorded(self._clients.change(id_, changed))
        if client is None:
            raise _unknown(id_)
        return document(client.shown())

    def _check(self, exchange: "Exchange", client: OAuthClient, what: str) -> None:
        """Whether there may be such a client, and who asks may have it. Raises Invalid, Forbidden."""
        wrong = [*violations(client)]
        if client.user and CREDENTIALS not in client.grants:
            why = f"nobody acts as a user without the grant {CREDENTIALS}"
            wrong.append(Violation("user", client.user[:80], why, f'"", or the grant {CREDENTIALS}'))
        if wrong:
            raise Invalid("invalid-client", wrong, what=what)
        if client.user:
            self._check_user(exchange, client.user, what)

    def _check_user(self, exchange: "Exchange", user: str, what: str) -> None:
        action = Action("impersonate", GROUP, "users", name=user)
        do = f'a client that acts as "{user}" is made and changed by who may act as "{user}"'
        self._need(exchange, action, do)
        if self._people.user(user) is None:
            wrong = Violation("user", user[:80], "there is no such user", "the name of a User")
            raise Invalid("invalid-client", (wrong,), what=what)

    async def _renew(self, exchange: "Exchange", id_: str) -> web.StreamResponse:
        self._changeable(id_)
        keep_s = _duration("keepPreviousFor", _body(exchange, NewSecret).keep_previous_for)
        if keep_s > LIFE_MAX_S:
            wrong = Violation("keepPreviousFor", f"{keep_s:g}s", "the old secret must end", "0s to 30d")
            raise Invalid("invalid-client", (wrong,), what="The secret was not changed")
        secret = new_secret()

        def renewed(client: OAuthClient) -> OAuthClient:
            if client.public:
                raise Conflict(
                    "public-client",
                    what=f'The client "{id_}" has no secret',
                    why="it is public",
                    do="nothing",
                )
            if client.user:
                self._check_user(exchange, client.user, "The secret was not changed")
            return replace(
                client,
                secret_hash=hash_secret(secret),
                previous_hash=client.secret_hash if keep_s else "",
                previous_until_s=self._clock.now_s() + keep_s if keep_s else 0.0,
            )

        client = await _recorded(self._clients.change(id_, renewed))
        if client is None:
            raise _unknown(id_)
        return _with_secret(client, secret, 200)

    async def _delete(self, _: "Exchange", id_: str) -> web.StreamResponse:
        self._changeable(id_)
        if not await _recorded(self._clients.remove(id_)):
            raise _unknown(id_)
        return document({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})

    def _changeable(self, id_: str) -> None:
        """Raises Missing; Conflict for those that are not kept but told."""
        if self._known(id_).configured:
            raise Conflict(
                "configured-client",
                what=f'The client "{id_}" was not changed',
                why="it comes from the settings",
                do="change authentication.oauth there; docs/authentication.md tells which keys",
            )

    def _known(self, id_: str) -> OAuthClient:
        client = self._clients.find(id_) if is_id(id_) or self._clients.is_configured(id_) else None
        if client is None:
            raise _unknown(id_)
        return client


def _body(exchange: "Exchange", shape: type[B]) -> B:
    """Raises Problem (400)."""
    try:
        return msgspec.json.decode(exchange.body or b"{}", type=shape)
    except msgspec.MsgspecError as error:
        raise Problem(
            "bad-body",
            what="The body was not understood",
            why=str(error),
            do='send {"id": "wiki", "redirectURIs": ["https://…"]}, without "id" to change it; for a secret '
            '{"keepPreviousFor": "24h"}',
        ) from None


def _duration(field: str, text: str) -> float:
    """Seconds, 0 for nothing. Raises Invalid."""
    try:
        return Duration.of(text).s if text else 0.0
    except ValueError as error:
        wrong = Violation(field, text[:40], str(error), "a duration such as 15m or 24h")
        raise Invalid("invalid-client", (wrong,), what="The OAuth client was not changed") from None


def _with_secret(client: OAuthClient, secret: str, status: int) -> web.StreamResponse:
    return document({**client.shown(), "secret": secret} if secret else client.shown(), status)


async def _recorded(work: Awaitable[T]) -> T:
    """Raises AlreadyExists; Unavailable when the API server did not take it."""
    try:
        return await work
    except AlreadyExists:
        raise
    except KubeError as error:
        raise Unavailable(
            "client-not-recorded",
            what="Nothing was changed, as far as is known",
            why=f"the Kubernetes API did not take it: {error}",
            do="try again in a second",
        ) from error


def _there_is_one(id_: str) -> Conflict:
    return Conflict(
        "already-exists",
        what=f'There is an OAuth client "{id_}" already',
        do="take another name, or delete it first: `edge oauth-client delete`",
    )


def _unknown(id_: str) -> Missing:
    return Missing(
        "not-found",
        what=f'There is no OAuth client "{id_[:80]}"',
        do="`edge oauth-client list` shows what there is",
    )
