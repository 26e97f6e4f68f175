"""`me/kubeconfigs` and `users/NAME/kubeconfigs`: make one, list them, revoke one or all (I3, C8).

One's own needs no right. Those of others are listed and revoked by the right to `users/kubeconfigs`, and made
by nobody: a kubeconfig is handed to its user alone.
"""

import secrets
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
import yaml
from aiohttp import web

from edge.apiserver.account.entrances import Entrances
from edge.apiserver.answers import JSON, document, json_answer
from edge.apiserver.callers.identity import People, change_password_first
from edge.apiserver.callers.kubeconfigs import Kubeconfigs
from edge.apiserver.configuration.settings import KubeconfigSettings
from edge.apiserver.openapi.operation import IAM, Operation
from edge.apiserver.openapi.shapes import Kubeconfig, KubeconfigList, ShownKubeconfig
from edge.apiserver.paths import Resource
from edge.apiserver.rights.ownthings import asked_about, require_own_or_right
from edge.apiserver.rights.picture import Rights
from edge.apiserver.upstreams.members import HOST, Members
from edge.iam.kubeconfigs import Issued, Wanted, is_id, kubeconfig, lifetime_s, read_wanted
from edge.iam.tokens import Claims, Tokens
from edge.iam.types import GROUP
from edge_kube.errors import KubeError
from edge_sdk.clock import Clock
from edge_sdk.problem import Conflict, Missing, Problem, Unavailable

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

T = TypeVar("T")

YAML: Final = "application/yaml"
WORD: Final = "kubeconfigs"


def _operations(base: str, whose: str, of: str) -> tuple[Operation, ...]:
    return (
        Operation(
            "GET", base, f"Kubeconfigs in force: {whose}", WORD, answer=KubeconfigList, name=f"list{of}"
        ),
        Operation("DELETE", base, f"Revoke all: {whose}", WORD, answer=KubeconfigList, name=f"revokeAll{of}"),
        Operation(
            "GET", f"{base}/{{id}}", f"One of them: {whose}", WORD, answer=ShownKubeconfig, name=f"get{of}"
        ),
        Operation(
            "DELETE",
            f"{base}/{{id}}",
            f"Revoke one: {whose}",
            WORD,
            answer=KubeconfigList,
            name=f"revoke{of}",
        ),
    )


OPERATIONS: Final = (
    Operation(
        "POST", f"{IAM}/me/{WORD}", "Make a kubeconfig for oneself", WORD, body=Wanted, answer=Kubeconfig,
        answers_also=(YAML,), status=201, name="createKubeconfig", refuses=(409, 422),
    ),
    *_operations(f"{IAM}/me/{WORD}", "one's own", "MyKubeconfigs"),
    *_operations(f"{IAM}/users/{{user}}/{WORD}", "somebody's", "Kubeconfigs"),
)  # fmt: skip

log = structlog.stdlib.get_logger("edge.apiserver")


class KubeconfigRoutes:
    def __init__(
        self,
        *,
        tokens: Tokens,
        people: People,
        members: Members,
        rights: Rights,
        kubeconfigs: Kubeconfigs,
        entrances: Entrances,
        settings: KubeconfigSettings,
        clock: Clock,
    ) -> None:
        self._tokens = tokens
        self._people = people
        self._members = members
        self._rights = rights
        self._kubeconfigs = kubeconfigs
        self._entrances = entrances
        self._settings = settings
        self._clock = clock

    def handler(self, exchange: "Exchange", resource: Resource) -> "Handler | None":
        """The handler of a path about kubeconfigs; None when the path is an ordinary one."""
        found = asked_about(resource, WORD, exchange.caller.caller.name)
        if found is None:
            return None
        user, token_id = found
        method = exchange.request.method
        if method in ("GET", "HEAD"):
            exchange.verb = "get" if token_id else "list"
            return partial(self._show, user=user, token_id=token_id)
        if method == "DELETE":
            exchange.verb = "delete" if token_id else "deletecollection"
            return partial(self._revoke, user=user, token_id=token_id)
        if method == "POST" and not token_id and resource.resource == "me":
            exchange.verb = "create"
            return self._issue
        raise Problem(
            "method-not-allowed",
            what="A kubeconfig is made for oneself, listed, and revoked",
            why=f"{method} does none of these here",
            do="POST …/me/kubeconfigs, GET or DELETE …/kubeconfigs[/ID]",
            status=405,
        )

    async def _issue(self, exchange: "Exchange") -> web.StreamResponse:
        session = exchange.caller
        if session.restricted:
            raise change_password_first(session.caller.name)
        wanted = read_wanted(exchange.body)
        limits, now_s = self._settings, self._clock.now_s()
        lasts_s = lifetime_s(wanted, default_s=limits.ttl.s, max_s=limits.max_ttl.s)
        if wanted.cluster != HOST:
            self._members.require(wanted.cluster)
        entrance = self._entrances.of(exchange.request, wanted.server)
        name = session.caller.name
        if len(self._in_force(name)) >= limits.per_user:
            raise Conflict(
                "too-many-kubeconfigs",
                what="No kubeconfig was made",
                why=f'"{name}" has {limits.per_user} in force, as many as one user may have',
                do="revoke one: `edge kubeconfig list`, `edge kubeconfig revoke ID`",
            )
        self._rights.freshness.require("create")
        issued = Issued(
            Claims(
                user=name,
                uid=session.caller.uid,
                password_mark=self._mark(name),
                token_id=secrets.token_hex(16),
                issued_s=float(int(now_s)),
                expires_s=float(int(now_s + lasts_s)),
                cluster=wanted.cluster,
            ),
            wanted.name,
        )
        await _recorded(self._kubeconfigs.add(issued))
        file = kubeconfig(issued, self._tokens.issue_kubeconfig(issued.claims), entrance)
        return _download(exchange, issued, file)

    async def _show(self, exchange: "Exchange", *, user: str, token_id: str) -> web.StreamResponse:
        require_own_or_right(self._rights, exchange.caller, user, "get" if token_id else "list", WORD)
        if self._people.user(user) is None:
            raise Missing("not-found", what=f'There is no user "{user[:80]}"')
        items = [one.shown() for one in self._in_force(user)]
        if not token_id:
            return document({"kind": "KubeconfigList", "apiVersion": f"{GROUP}/v1alpha1", "items": items})
        one = next((item for item in items if item["id"] == token_id), None)
        if one is None:
            raise _unknown(user, token_id)
        return document(one)

    async def _revoke(self, exchange: "Exchange", *, user: str, token_id: str) -> web.StreamResponse:
        """Even of a user who is gone, and even while rights are not known to be new where it is one's own."""
        require_own_or_right(self._rights, exchange.caller, user, "delete", WORD)
        wanted = [token_id] if token_id else [one.claims.token_id for one in self._kubeconfigs.of(user)]
        revoked: list[Issued] = []
        for one in wanted:
            record = await _recorded(self._kubeconfigs.revoke(user, one)) if is_id(one) else None
            if record is not None:
                revoked.append(record)
                by = exchange.caller.caller.name
                log.info("kubeconfig_revoked", id=one, user=user, by=by, request_id=exchange.request_id)
        if token_id and not revoked:
            raise _unknown(user, token_id)
        return document(
            {
                "kind": "KubeconfigList",
                "apiVersion": f"{GROUP}/v1alpha1",
                "items": [one.shown() for one in revoked],
            }
        )

    def _in_force(self, user: str) -> list[Issued]:
        """Those that let their user in: not expired, and of this user with this password."""
        now_s, known = self._clock.now_s(), self._people.user(user)
        uid, mark = (known.metadata.uid, self._mark(user)) if known is not None else ("", "")
        return [
            one
            for one in self._kubeconfigs.of(user)
            if now_s < one.claims.expires_s and (one.claims.uid, one.claims.password_mark) == (uid, mark)
        ]

    def _mark(self, user: str) -> str:
        known = self._people.user(user)
        return self._tokens.password_mark(known.spec.encrypted_password) if known is not None else ""


def _download(exchange: "Exchange", issued: Issued, file: dict[str, object]) -> web.StreamResponse:
    """As JSON for who asks for it; kubectl reads both. Neither is kept by anything on its way."""
    if JSON in exchange.request.headers.get("Accept", ""):
        answer = document(file, 201)
    else:
        text = yaml.safe_dump(file, sort_keys=False, allow_unicode=True)
        answer = json_answer(text.encode(), 201, YAML)
    name = f"edge-{issued.claims.cluster}.kubeconfig"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


async def _recorded(work: Awaitable[T]) -> T:
    """Raises Unavailable when the API server did not take it."""
    try:
        return await work
    except KubeError as error:
        raise Unavailable(
            "kubeconfig-not-recorded",
            what="Nothing was changed, as far as is known",
            why=f"the Kubernetes API did not take the record: {error}",
            do="try again in a second",
        ) from error


def _unknown(user: str, token_id: str) -> Missing:
    return Missing(
        "not-found",
        what=f'"{user}" has no kubeconfig "{token_id[:40]}" in force',
        do="`edge kubeconfig list` shows what there is",
    )
