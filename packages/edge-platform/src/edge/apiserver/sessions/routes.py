"""`me/sessions` and `users/NAME/sessions`: what is signed in where; end one or all (I12).

One's own needs no right. Those of others are listed and ended by the right to `users/sessions`.
"""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from aiohttp import web

from edge.apiserver.answers import document
from edge.apiserver.openapi.operation import IAM, Operation, Param
from edge.apiserver.paths import Resource
from edge.apiserver.rights.ownthings import asked_about, require_own_or_right
from edge.apiserver.rights.picture import Rights
from edge.apiserver.sessions.store import Sessions
from edge.iam.sessions import SessionRecord, is_session_id, session_id
from edge.iam.types import GROUP
from edge_sdk.problem import Missing, Problem

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

WORD: Final = "sessions"


class ShownSession(msgspec.Struct, rename="camel"):
    """A session, without what lets in. current: the one that asks. Times in RFC 3339."""

    id: str
    user: str
    client: str
    provider: str
    address: str
    user_agent: str
    opened: str
    last_seen: str
    expires: str
    current: bool


class SessionList(msgspec.Struct, rename="camel"):
    kind: str
    api_version: str
    items: list[ShownSession]


def _operations(base: str, whose: str, of: str) -> tuple[Operation, ...]:
    others = Param("others", "true spares the session that asks.", bool)
    return (
        Operation("GET", base, f"Sessions: {whose}", WORD, answer=SessionList, name=f"list{of}"),
        Operation(
            "DELETE", base, f"End all: {whose}", WORD, answer=SessionList, params=(others,),
            name=f"endAll{of}",
        ),
        Operation(
            "GET", f"{base}/{{id}}", f"One of them: {whose}", WORD, answer=ShownSession, name=f"get{of}"
        ),
        Operation("DELETE", f"{base}/{{id}}", f"End one: {whose}", WORD, answer=SessionList, name=f"end{of}"),
    )  # fmt: skip


OPERATIONS: Final = (
    *_operations(f"{IAM}/me/{WORD}", "one's own", "MySessions"),
    *_operations(f"{IAM}/users/{{name}}/{WORD}", "somebody's", "Sessions"),
)

log = structlog.stdlib.get_logger("edge.apiserver")


class SessionRoutes:
    def __init__(self, sessions: Sessions, rights: Rights) -> None:
        self._sessions = sessions
        self._rights = rights

    def handler(self, exchange: "Exchange", resource: Resource) -> "Handler | None":
        """The handler of a path about sessions; None when the path is an ordinary one."""
        found = asked_about(resource, WORD, exchange.caller.caller.name)
        if found is None:
            return None
        user, id_ = found
        method = exchange.request.method
        if method in ("GET", "HEAD"):
            exchange.verb = "get" if id_ else "list"
            return partial(self._show, user=user, id_=id_)
        if method == "DELETE":
            exchange.verb = "delete" if id_ else "deletecollection"
            return partial(self._end, user=user, id_=id_)
        raise Problem(
            "method-not-allowed",
            what="A session is listed or ended",
            why=f"{method} does neither; one begins at /oauth/token",
            do="GET or DELETE …/sessions[/ID]",
            status=405,
        )

    async def _show(self, exchange: "Exchange", *, user: str, id_: str) -> web.StreamResponse:
        require_own_or_right(self._rights, exchange.caller, user, "get" if id_ else "list", WORD)
        items = [self._shown(exchange, record) for record in self._sessions.of(user)]
        if not id_:
            return document(_list(items))
        one = next((item for item in items if item["id"] == id_), None)
        if one is None:
            raise _unknown(user, id_)
        return document(one)

    async def _end(self, exchange: "Exchange", *, user: str, id_: str) -> web.StreamResponse:
        """`?others=true` spares the one that asks."""
        require_own_or_right(self._rights, exchange.caller, user, "delete", WORD)
        spared = exchange.caller.sid if exchange.target.first("others") == "true" else ""
        if not id_:
            ended = await self._sessions.end_all(user, but=spared)
        else:
            record = await self._ended(id_, user)
            if record is None:
                raise _unknown(user, id_)
            ended = [record]
        by, request_id = exchange.caller.caller.name, exchange.request_id
        for record in ended:
            log.info("session_ended", session=record.id, user=user, by=by, request_id=request_id)
        return document(_list([self._shown(exchange, record) for record in ended]))

    async def _ended(self, id_: str, user: str) -> SessionRecord | None:
        return await self._sessions.end_id(id_, user, browser=True) if is_session_id(id_) else None

    def _shown(self, exchange: "Exchange", record: SessionRecord) -> dict[str, Any]:
        seen_s = self._sessions.keeper.last_use_s(record)
        is_current = bool(exchange.caller.sid) and session_id(exchange.caller.sid) == record.id
        return {**record.shown(seen_s), "current": is_current}


def _list(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"kind": "SessionList", "apiVersion": f"{GROUP}/v1alpha1", "items": items}


def _unknown(user: str, id_: str) -> Missing:
    return Missing(
        "not-found",
        what=f'"{user[:80]}" has no session "{id_[:40]}"',
        do="GET …/sessions shows what there is; it may have ended meanwhile",
    )
