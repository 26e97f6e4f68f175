"""`POST …/access/impact`: whose access a change would give and take, before it is made (I8; design §6).

    {"operation": "put" | "delete", "object": {…}, "cluster": "host"}

The object is a whole manifest for a put; for a deletion its kind and name are enough. For whoever may read
the object or make the change; told are the scopes whose bindings the caller may list, and their own rights.
"""

from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from edge.apiserver.answers import document
from edge.apiserver.rights.picture import SCOPES, Rights
from edge.iam.impact import Impact
from edge.iam.proposal import Proposal, is_known, scopes_named
from edge.iam.questions import lists_bindings, may_on_scope
from edge.iam.scope import HOST
from edge.iam.turns import finish
from edge.iam.types import GROUP, IAMRole, IAMRoleBinding, RoleTemplate, User
from edge_kube.core import Namespace, Node
from edge_kube.meta import Kind, Resource, kind_of
from edge_kube.wire import ObjectDecoder, UndecodableError
from edge_sdk.problem import Forbidden, Problem

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange

KINDS: Final[dict[str, type[Resource]]] = {
    cls.__name__: cls for cls in (User, RoleTemplate, IAMRole, IAMRoleBinding, Namespace, Node, *SCOPES)
}


class ImpactBody(msgspec.Struct, forbid_unknown_fields=True):
    operation: str
    object: dict[str, Any]
    cluster: str = HOST


class ImpactRoute:
    def __init__(self, rights: Rights) -> None:
        self._index = rights.index

    async def answer(self, exchange: "Exchange") -> web.StreamResponse:
        kind, proposal = _read(exchange.body)
        asker = exchange.caller.caller.name
        self._need(asker, kind, proposal)
        impact = Impact(self._index, proposal, asker=asker, sees=lists_bindings(self._index, asker))
        await finish(impact.steps())
        return document(impact.result())

    def _need(self, asker: str, kind: Kind, proposal: Proposal) -> None:
        """Refuses in one way whether or not the object is there. Raises Forbidden."""
        verb = "update" if is_known(self._index, proposal) else "create"
        verb = "delete" if proposal.new is None else verb
        for scope in scopes_named(self._index, proposal):
            if any(self._may(asker, scope, one, kind, proposal.name) for one in ("get", verb)):
                continue
            raise Forbidden(
                "forbidden",
                what=f'User "{asker}" cannot be told what a change of {kind.kind} {proposal.name} brings',
                why=f"that needs get on {kind.plural}, or the right to make it, at the object's scope",
                do="ask whoever administers that scope",
            )

    def _may(self, asker: str, scope: str, verb: str, kind: Kind, name: str) -> bool:
        if kind.group == GROUP:
            return may_on_scope(self._index, asker, scope, verb, kind.plural, name)
        return self._index.check(asker, scope, verb, kind.group, kind.plural, name)


def _read(body: bytes | None) -> tuple[Kind, Proposal]:
    """Raises Problem (400) that names what does not fit."""
    try:
        asked = msgspec.json.decode(body or b"", type=ImpactBody)
    except msgspec.MsgspecError as error:
        raise _bad("The body was not understood", str(error)) from None
    if asked.operation not in ("put", "delete"):
        raise _bad(f'"{asked.operation[:60]}" is no operation', "a change puts an object or deletes it")
    cls = KINDS.get(str(asked.object.get("kind")))
    if cls is None:
        found = str(asked.object.get("kind", ""))[:60]
        raise _bad(f'No rights hang on the kind "{found}"', f"those are {', '.join(KINDS)}")
    kind = kind_of(cls)
    given = str(asked.object.get("apiVersion", kind.api_version))
    if given != kind.api_version:
        raise _bad(f"{kind.kind} is not in {given[:60]}", f"it is in {kind.api_version}")
    try:
        obj = ObjectDecoder(cls).decode(msgspec.json.encode(asked.object))
    except UndecodableError as error:
        raise _bad(f"The {kind.kind} was not understood", str(error)) from None
    if not obj.metadata.name:
        raise _bad(f"The {kind.kind} has no name", "the change is looked up under it")
    new = None if asked.operation == "delete" else obj
    return kind, Proposal(kind.kind, obj.metadata.name, new, asked.cluster or HOST)


def _bad(what: str, why: str) -> Problem:
    do = 'send {"operation": "delete", "object": {"kind": "IAMRole", "metadata": {"name": "editor"}}}'
    return Problem("bad-body", what=what, why=why, do=do)
