"""From a request to its records: which requests have any, and what these say. Pure, but for the index.

A change, a shell and a reading of secrets have an intent and an outcome; other reads are noted, if at all.
Bodies go through the masks before anything is taken from them (S5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import msgspec
from aiohttp import web
from msgspec.structs import replace

from edge.apiserver.headers import Network, client_address, forwarded
from edge.apiserver.masking import as_map
from edge.apiserver.paths import UPGRADED
from edge.apiserver.upstreams.members import HOST
from edge.audit.masking import masked_body
from edge.audit.protobuf import object_name
from edge.audit.record import INTENT, OUTCOME, Actor, Asked, Grant, Origin, Record
from edge.iam.explain import Question, nearest
from edge.iam.index import Index
from edge.iam.scope import PLATFORM, scope_text
from edge_sdk.access import Action

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange

READS: Final = frozenset({"get", "list", "watch", "head", "options"})
QUESTIONS: Final = frozenset(
    {
        "selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews", "subjectaccessreviews",
        "localsubjectaccessreviews", "tokenreviews",
    }
)  # fmt: skip
"""Created, but nothing changes."""
ANSWER_MAX_BYTES: Final = 256 * 1024
Sort = Literal["change", "read"]


def sort_of(exchange: "Exchange") -> Sort:
    """change: recorded before and after. read: noted afterwards, if at all."""
    resource = exchange.resource
    if resource is not None and resource.subresource in UPGRADED:
        return "change"
    if exchange.shows_secrets or (
        resource is not None and not resource.group and resource.resource == "secrets"
    ):
        return "change"
    if exchange.verb in READS or (resource is not None and resource.resource in QUESTIONS):
        return "read"
    return "change"


@dataclass(frozen=True, slots=True)
class Describer:
    """trusted: networks of proxies whose X-Forwarded-For tells where a request came from."""

    index: Index
    trusted: Sequence[Network]

    def origin(self, request: web.BaseRequest) -> Origin:
        hops = forwarded(request.headers, "X-Forwarded-For")
        return Origin(
            ip=client_address(request.remote or "", hops, self.trusted),
            forwarded=hops[:200],
            agent=request.headers.get("User-Agent", "")[:200],
        )

    def record(self, exchange: "Exchange", id_: str, now_ms: int, scope: str | None) -> Record:
        """What is known before the body is read. scope: key of the scope that was asked at."""
        caller, sender = exchange.caller.caller, exchange.sender.caller
        impersonated = "" if exchange.by is None else caller.name
        return Record(
            id=id_,
            phase=INTENT,
            time=now_ms,
            began=now_ms,
            actor=Actor(user=sender.name, uid=sender.uid, groups=sender.groups, impersonated=impersonated),
            origin=self.origin(exchange.request),
            req=_asked(exchange),
            scope=scope_text(scope) if scope else "platform",
            grant=self._grant(caller.name, scope, exchange.action),
            request=exchange.request_id,
            trace=exchange.request.headers.get("Traceparent", "")[:80],
        )

    def _grant(self, user: str, scope: str | None, action: Action) -> Grant:
        """The nearest grant that allows it; none for what everybody may do to their own account."""
        if not action.verb or scope is None:
            return Grant()
        sub = f"/{action.subresource}" if action.subresource else ""
        question = Question(
            verb=action.verb,
            group=action.group,
            resource=f"{action.resource}{sub}",
            name=action.name,
            path=action.path,
        )
        grant = nearest(self.index, user, PLATFORM if action.path else scope, question)
        if grant is None:
            return Grant()
        return Grant(scope=scope_text(grant.scope), binding=grant.binding, role=grant.role)


def with_body(record: Record, resource: str, body: bytes | None) -> Record:
    """The intent with what its body says: name, changed paths, hash; all without secrets."""
    digest, changed, document = masked_body(resource, body)
    req = record.req
    if not digest:
        name = object_name(body or b"") if not req.name and req.verb == "create" else ""
        return replace(record, req=replace(req, name=name)) if name else record
    if not req.name and req.verb == "create":
        name = as_map(as_map(document).get("metadata")).get("name")
        if isinstance(name, str):
            req = replace(req, name=name[:253])
    if req.verb in ("delete", "deletecollection") and "All" in _dry_run(document):
        req = replace(req, dry_run=True)  # kubectl says it in the body
    return replace(record, body_sha256=digest, changed=changed, req=req)


def _dry_run(options: Any) -> list[Any]:
    found = as_map(options).get("dryRun")
    return cast("list[Any]", found) if isinstance(found, list) else []


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    resource_version: str = ""


class _Answer(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()
    reason: str = ""


_read_answer: Final = msgspec.json.Decoder(_Answer).decode


def outcome_of(record: Record, now_ms: int, code: int, reason: str = "", body: Any = None) -> Record:
    """A record that can be read without its intent. body: the answer, for name, version and reason."""
    name, version = record.req.name, ""
    if isinstance(body, bytes) and len(body) <= ANSWER_MAX_BYTES and body[:1] == b"{":
        try:
            answer = _read_answer(body)
        except msgspec.MsgspecError:
            pass
        else:
            version = answer.metadata.resource_version
            if code < 400 and record.req.verb == "create":
                name = name or answer.metadata.name
            if code >= 400:  # never the message: it may repeat a value
                reason = reason or answer.reason[:80]
    elif isinstance(body, bytes) and code < 400 and record.req.verb == "create":
        name = name or object_name(body)
    return Record(
        id=record.id,
        phase=OUTCOME,
        time=now_ms,
        began=record.began,
        actor=Actor(user=record.actor.user, impersonated=record.actor.impersonated),
        req=replace(record.req, name=name),
        scope=record.scope,
        code=code,
        reason=reason,
        rv=version,
    )


def _asked(exchange: "Exchange") -> Asked:
    resource, target = exchange.resource, exchange.target
    cluster = target.segments[1] if target.segments[:1] == ("clusters",) and len(target.segments) > 1 else ""
    if resource is None:
        path = exchange.action.path or "/" + "/".join(target.segments)
        return Asked(verb=exchange.verb, cluster="" if cluster == HOST else cluster, path=path[:400])
    return Asked(
        verb=exchange.verb,
        group=resource.group,
        version=resource.version,
        resource=resource.resource,
        sub="/".join((resource.subresource, *resource.rest)).strip("/")[:200],
        cluster="" if cluster == HOST else cluster,
        namespace=resource.namespace,
        name=resource.name or exchange.action.name,
        # Arguments may hold passwords; the program alone tells a shell from a probe.
        command=_program(target.first("command")) if resource.subresource in UPGRADED else "",
        dry_run=target.first("dryRun") == "All",
    )


def _program(command: str) -> str:
    """Of a command line in one argument too."""
    return (command.split() or [""])[0].rpartition("/")[2][:80]


def sign_in_record(id_: str, now_ms: int, *, user: Mapping[str, str], origin: Origin, reason: str) -> Record:
    """One record of a sign-in. user: name and uid; empty for a name nobody has, which may be a password."""
    return Record(
        id=id_,
        phase=OUTCOME,
        time=now_ms,
        began=now_ms,
        actor=Actor(user=user.get("name", ""), uid=user.get("uid", "")),
        origin=origin,
        req=Asked(verb="sign-in", path="/oauth/token"),
        scope="platform",
        code=200 if reason == "Succeeded" else 401,
        reason="" if reason == "Succeeded" else reason,
    )
