"""GET audit.theriseunion.io/v1alpha1: records, records/ID, verification (O6; design §4.3, R39).

`verification` reads everything now; `verifications` tells what the last one of each store found.
Who may `list` records at a scope, or administers it (may add members), sees those of the scope and
below; everybody sees their own. Verification is for who may at the platform.
Nothing here writes: no route changes or drops a record.
"""

import asyncio
import concurrent.futures
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from aiohttp import web

from edge.apiserver.answers import document
from edge.apiserver.auditing.auditor import AUDIT_GROUP
from edge.apiserver.auditing.copies import Copies
from edge.apiserver.openapi.operation import AUDIT, Operation, Param
from edge.apiserver.openapi.shapes import AuditPage, AuditVerification, AuditVerificationList
from edge.apiserver.paths import Resource
from edge.apiserver.rights.picture import Rights
from edge.apiserver.rows.parameters import number
from edge.audit.ports import Reading
from edge.audit.query import PAGE, PAGE_MAX, RESULTS, BadQueryError, Entry, Query, Visible
from edge.iam.scope import PLATFORM, parse_scope, scope_text
from edge_kube.errors import KubeError
from edge_sdk.problem import Forbidden, Missing, Problem, Unavailable
from edge_sdk.scopes import IAM_GROUP

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

RECORDS: Final = "records"
MEMBERS: Final = ("iamrolebindings", "members", "clusters/members")
"""Who may add one of these at a scope administers it: so the shipped roles say it."""
EXACT: Final = (
    *("user", "impersonated", "verb", "resource", "cluster", "namespace", "name"),
    *("code", "result", "cursor"),
)
OPERATIONS: Final = (
    Operation(
        "GET", f"{AUDIT}/{RECORDS}", "Search the audit trail, newest first", "audit", answer=AuditPage,
        name="queryAudit",
        params=(
            *(Param(name, "Exactly this.") for name in EXACT[:7]),
            Param("code", "A status such as 403, or a class such as 4xx."),
            Param("result", f"How it ended: {', '.join(RESULTS)}."),
            Param("scope", "What was done there and below."),
            Param("from", "Time in RFC 3339, or seconds since 1970."),
            Param("to", "The time before which it was."),
            Param("limit", "Entries in a page.", int),
            Param("cursor", "Of the page before."),
        ),
    ),
    Operation("GET", f"{AUDIT}/{RECORDS}/{{id}}", "One entry", "audit", answer=Entry, name="getAuditRecord"),
    Operation(
        "GET", f"{AUDIT}/verification", "Whether the trail is whole", "audit", answer=AuditVerification,
        name="verifyAudit",
    ),
    Operation(
        "GET", f"{AUDIT}/verifications", "What the last verification of each store found", "audit",
        answer=AuditVerificationList, name="listAuditVerifications",
    ),
)  # fmt: skip


class AuditRoutes:
    def __init__(self, reading: Reading, rights: Rights, copies: Copies | None = None) -> None:
        """copies: of signed statements, kept elsewhere; what they speak of must be there."""
        self._copies = copies
        self._reading = reading
        self._rights = rights
        self._verifying = asyncio.Lock()

    def handler(self, exchange: "Exchange", resource: Resource) -> "Handler | None":
        """The handler of a path about the trail; None when the path is an ordinary one."""
        if resource.group != AUDIT_GROUP:
            return None
        if exchange.request.method not in ("GET", "HEAD"):
            raise Problem(
                "method-not-allowed",
                what="The audit trail is only read",
                why="nobody changes or drops a record, whoever they are",
                do="use GET",
                status=405,
            )
        lists = resource.resource in (RECORDS, "verifications") and not resource.name
        exchange.verb = "list" if lists else "get"
        if resource.version == "v1alpha1" and not resource.subresource and not resource.namespace:
            self._rights.freshness.require("get")
            if resource.resource == RECORDS:
                return self._one if resource.name else self._list
            if resource.resource == "verifications" and not resource.name:
                return self._verdicts
            if resource.resource == "verification" and not resource.name:
                exchange.stream = True  # it takes as long as there are records
                exchange.goes_on = lambda: self._may_verify(exchange)
                return self._verify
        raise Missing(
            "no-such-path",
            what="There is nothing at this path of the audit trail",
            do=f"use /oapis/{AUDIT_GROUP}/v1alpha1/records, …/records/ID, …/verification or …/verifications",
        )

    async def _list(self, exchange: "Exchange") -> web.StreamResponse:
        target = exchange.target
        query = Query(
            **{key: target.first(key) for key in EXACT},
            from_ms=_time(target.first("from"), "from"),
            to_ms=_time(target.first("to"), "to"),
            limit=number(target, "limit", PAGE_MAX, least=1, default=PAGE),
        )
        visible = self._visible(exchange.caller.caller.name, target.first("scope"))
        try:
            page = await self._reading.search(query, visible)
        except BadQueryError as error:
            code = "bad-cursor" if error.field == "cursor" else "bad-parameter"
            raise Problem(code, what=str(error), do=f"use {error.accepted}") from None
        except OSError as error:
            raise _away(error) from error
        return document(AuditPage("AuditRecordList", page.items, page.cursor))

    async def _one(self, exchange: "Exchange") -> web.StreamResponse:
        resource = exchange.resource
        name = resource.name if resource is not None else ""
        visible = self._visible(exchange.caller.caller.name, "")
        try:
            page = await self._reading.search(Query(id=name, limit=1), visible)
        except OSError as error:
            raise _away(error) from error
        if not page.items:
            raise Missing("not-found", what=f'There is no record "{name[:80]}" that you may see')
        return document(page.items[0])

    async def _verify(self, exchange: "Exchange") -> web.StreamResponse:
        self._require_verification(exchange)
        async with self._verifying:  # one at a time: it reads everything
            try:
                anchors = await self._copies.lines() if self._copies is not None else []
                report = await self._reading.verify(anchors)
            except (OSError, KubeError, ValueError) as error:  # a file of keys that holds something else
                raise _away(error) from error
        return document(
            AuditVerification(
                kind="AuditVerification",
                whole=report.broken is None,
                chains=report.chains,
                segments=report.segments,
                records=report.records,
                unsigned=report.unsigned,
                retired=report.retired,
                broken=report.broken,
            )
        )

    async def _verdicts(self, exchange: "Exchange") -> web.StreamResponse:
        self._require_verification(exchange)
        return document(AuditVerificationList("AuditVerificationList", await self._reading.verdicts()))

    def _require_verification(self, exchange: "Exchange") -> None:
        if not self._may_verify(exchange):
            raise Forbidden(
                "forbidden",
                what=f'User "{exchange.caller.caller.name}" cannot have the audit trail verified',
                why=f"that needs get on verification.{AUDIT_GROUP} at the platform",
                do="ask a platform admin",
            )

    def _may_verify(self, exchange: "Exchange") -> bool:
        user = exchange.caller.caller.name
        return self._rights.index.check(user, PLATFORM, "get", AUDIT_GROUP, "verification")

    def _visible(self, user: str, within: str) -> Visible:
        """Asked in a thread, a few times a search: each scope is looked up once, on the loop."""
        loop = asyncio.get_running_loop()
        known: dict[str, tuple[bool, bool]] = {}

        def ask(scope: str) -> tuple[bool, bool]:
            future: concurrent.futures.Future[tuple[bool, bool]] = concurrent.futures.Future()
            loop.call_soon_threadsafe(_answer, future, lambda: self._about(user, scope, within))
            return future.result(10)

        def visible(actor: str, scope: str) -> bool:
            found = known.get(scope)
            if found is None:
                found = known[scope] = ask(scope)
            inside, may = found
            return inside and (may or actor == user)

        return visible

    def _about(self, user: str, scope: str, within: str) -> tuple[bool, bool]:
        """Whether a scope is inside the one that was asked for, and whether the user may see its records."""
        index = self._rights.index
        key = parse_scope(scope, index.scopes.registered)
        levels = index.scopes.chain(key) if key is not None else (PLATFORM,)
        inside = not within or within == scope or within in {scope_text(level) for level in levels}
        at = key or PLATFORM
        may = index.check(user, at, "list", AUDIT_GROUP, RECORDS)
        return inside, may or any(index.check(user, at, "create", IAM_GROUP, what) for what in MEMBERS)


def _away(error: Exception) -> Unavailable:
    return Unavailable(
        "audit-unavailable",
        what="The audit trail was not read",
        why=str(error),
        do="try again; look after what keeps it (docs/audit.md)",
    )


def _answer(
    future: "concurrent.futures.Future[tuple[bool, bool]]", ask: Callable[[], tuple[bool, bool]]
) -> None:
    try:
        future.set_result(ask())
    except Exception as error:  # it is raised where it was asked for
        future.set_exception(error)


def _time(text: str, field: str) -> int:
    """RFC 3339, or seconds or milliseconds since 1970. Raises Problem (400)."""
    if not text:
        return 0
    if text.isdecimal() and len(text) <= 15:
        number = int(text)
        return number if number > 10**11 else number * 1000
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise Problem(
            "bad-parameter",
            what=f'{field} is "{text[:60]}"',
            why="it is no time",
            do="use RFC 3339 such as 2026-01-31T08:00:00Z, or seconds since 1970",
        )
    return int(found.timestamp() * 1000)
