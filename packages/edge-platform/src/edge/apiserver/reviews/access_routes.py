"""`me/access`, `me/scopes`, `access/explain|who-can|grants|impact`: rights as people ask (I8, I19, R36).

Answers beyond one's own rights are for those who may read the bindings at that scope.
"""

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from aiohttp import web
from msgspec import UnsetType

from edge.apiserver.answers import document
from edge.apiserver.lists.listing import number
from edge.apiserver.openapi.operation import IAM, Operation, Param
from edge.apiserver.openapi.shapes import FindingPage, MyAccess, ScopePage
from edge.apiserver.paths import Resource, Target
from edge.apiserver.reviews.groupgrants import GroupGrants
from edge.apiserver.reviews.impact import ImpactBody, ImpactRoute
from edge.apiserver.rights.picture import Rights
from edge.iam import questions, review
from edge.iam.explain import Explanation, explain
from edge.iam.impact import ImpactResult
from edge.iam.index import Who
from edge.iam.scope import PLATFORM, scope_text
from edge.iam.turns import in_turns
from edge.iam.types import GROUP
from edge_sdk.problem import Forbidden, Problem

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

PAGE: Final = 50
T = TypeVar("T")

_PAGE: Final = (Param("limit", "Items in a page.", int), Param("cursor", "Of the page before."))
OPERATIONS: Final = (
    Operation(
        "GET", f"{IAM}/me/access", "The caller's rights at some scopes", "me", answer=MyAccess,
        name="getMyAccess",
        params=(Param("scope", "platform, workspace/W, cluster/C/namespace/N, …", many=True),),
    ),
    Operation(
        "GET", f"{IAM}/me/scopes", "Scopes where the caller has a role", "me", answer=ScopePage,
        name="listMyScopes",
        params=(*_PAGE, Param("type", "Of scope."), Param("q", "Text in name or title.")),
    ),
    Operation(
        "POST", f"{IAM}/access/explain", "Why somebody may do something, or may not", "access",
        body=questions.ExplainBody, answer=Explanation, name="explainAccess",
    ),
    Operation(
        "POST", f"{IAM}/access/who-can", "Everybody who may do something", "access",
        body=questions.WhoCanBody, answer=questions.WhoCan, name="whoCan",
    ),
    Operation(
        "GET", f"{IAM}/access/grants", "Bindings and grants of node groups to be looked at again", "access",
        answer=FindingPage, name="reviewGrants", params=(*_PAGE, Param("kind", "Of finding.")),
    ),
    Operation(
        "POST", f"{IAM}/access/impact", "Whose access a change would give and take", "access",
        body=ImpactBody, answer=ImpactResult, name="accessImpact",
    ),
)  # fmt: skip


class AccessRoutes:
    def __init__(
        self, rights: Rights, groups: GroupGrants, title: Callable[[str], str] = lambda _: ""
    ) -> None:
        """title: from the key of a scope to its display name, "" without one."""
        self._groups = groups
        self._rights = rights
        self._title = title
        self._index = rights.index
        self._handlers: dict[tuple[str, str, str], Handler] = {
            ("GET", "me", "access"): self._my_access,
            ("GET", "me", "scopes"): self._my_scopes,
            ("POST", "access", "explain"): self._explain,
            ("POST", "access", "who-can"): self._who_can,
            ("GET", "access", "grants"): self._grants,
            ("POST", "access", "impact"): ImpactRoute(rights).answer,
        }

    def handler(self, exchange: "Exchange", resource: Resource) -> "Handler | None":
        """The handler of a path about rights; None when the path is an ordinary one."""
        if resource.group != GROUP or resource.version != "v1alpha1" or resource.subresource:
            return None
        method = "GET" if exchange.request.method == "HEAD" else exchange.request.method
        found = self._handlers.get((method, resource.resource, resource.name))
        if found is None:
            return None
        self._rights.freshness.require("get")
        exchange.verb = "get"
        return found

    async def _my_access(self, exchange: "Exchange") -> web.StreamResponse:
        asked = exchange.target.all("scope") or ["platform"]
        if len(asked) > questions.SCOPES_MAX:
            raise Problem(
                "bad-parameter",
                what=f"There are {len(asked)} scopes in the question",
                why=f"one call answers for {questions.SCOPES_MAX} at most",
                do="ask in several calls",
            )
        who = exchange.caller.caller.name
        items = [questions.access_at(self._index, who, questions.scope_of(self._index, one)) for one in asked]
        return document(MyAccess(items, questions.TTL_S))

    async def _my_scopes(self, exchange: "Exchange") -> web.StreamResponse:
        target = exchange.target
        found = questions.own_scopes(self._index, exchange.caller.caller.name, self._title)
        found = questions.pick(found, target.first("type"), target.first("q"))
        start, size = _page(target)
        more = str(start + size) if start + size < len(found) else ""
        return document(ScopePage(found[start : start + size], more, len(found)))

    async def _explain(self, exchange: "Exchange") -> web.StreamResponse:
        body = _read(exchange.body, questions.ExplainBody)
        asker = exchange.caller.caller.name
        scope = questions.scope_of(self._index, body.scope)
        who: Who = asker
        if not isinstance(body.subject, UnsetType) and body.subject.name != asker:
            self._need(asker, scope, "get", "why somebody else may do something")
            who = _user(body.subject)
        index = self._index
        if not questions.sees_scope(index, asker, scope):
            scope = PLATFORM  # all that could count for the asker; nothing is told of the scope itself
        question = questions.as_held(index, who, scope, body.action.question())
        found = explain(index, who, scope, question, partial(questions.sees_binding, index, asker))
        return document(found)

    async def _who_can(self, exchange: "Exchange") -> web.StreamResponse:
        body = _read(exchange.body, questions.WhoCanBody)
        scope = questions.scope_of(self._index, body.scope)
        self._need(exchange.caller.caller.name, scope, "list", "who may do something")
        return document(
            questions.subjects_that_can(self._index, scope, body.action.question(), body.limit, body.cursor)
        )

    async def _grants(self, exchange: "Exchange") -> web.StreamResponse:
        """Findings about the bindings and the grants of node groups that the caller may see."""
        kind = exchange.target.first("kind")
        if kind and kind not in review.KINDS:
            raise Problem(
                "bad-parameter",
                what=f'"{kind[:60]}" is no kind of finding',
                why="grants are reviewed for three things",
                do=f"use kind={'|'.join(review.KINDS)}, or leave it out",
            )
        who = exchange.caller.caller.name
        sees = questions.BindingSight(self._index, who)
        start, size = _page(exchange.target)
        items: list[review.Finding] = []
        total = 0
        async for found in in_turns(
            chain(review.Review(self._index, sees).all(), self._groups.findings(who))
        ):
            if kind in ("", found.kind):
                if start <= total < start + size:
                    items.append(found)
                total += 1
        more = str(start + size) if start + size < total else ""
        return document(FindingPage(items, more, total))

    def _need(self, asker: str, scope: str, verb: str, what: str) -> None:
        if not questions.may_on_scope(self._index, asker, scope, verb, questions.BINDINGS):
            raise Forbidden(
                "forbidden",
                what=f'User "{asker}" cannot be told {what} at {scope_text(scope)}',
                why=f"that needs {verb} on {questions.BINDINGS} there",
                do="ask about yourself, or ask whoever administers that scope",
            )


def _user(subject: questions.AskedSubject) -> str:
    """Raises Problem (400): groups do not act."""
    if subject.kind == "ServiceAccount" and "/" in subject.name:
        return f"system:serviceaccount:{subject.name.replace('/', ':', 1)}"
    if subject.kind != "User":
        raise Problem(
            "bad-question",
            what=f'The subject is of kind "{subject.kind[:60]}"',
            why="only somebody who acts can be asked about",
            do='use {"kind": "User", "name": …} or {"kind": "ServiceAccount", "name": "NAMESPACE/NAME"}',
        )
    return subject.name


def _page(target: Target) -> tuple[int, int]:
    """Where a page starts and how long it is. Raises Problem (400)."""
    start = number(target, "cursor", questions.CURSOR_MAX)
    return start, number(target, "limit", questions.SCOPES_PAGE_MAX, least=1, default=PAGE)


def _read(body: bytes | None, kind: type[T]) -> T:
    """Raises Problem (400) that names what does not fit."""
    try:
        return msgspec.json.decode(body or b"", type=kind)
    except msgspec.MsgspecError as error:
        raise Problem(
            "bad-body",
            what="The body was not understood",
            why=str(error),
            do='send {"scope": "namespace/press", "action": {"verb": "get", "resource": "pods"}}',
        ) from None
