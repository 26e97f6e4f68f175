"""`kubectl auth can-i` through the gateway: what the request itself would be told (I4, I8; decision 022).

A request passes the permission engine and then the RBAC of the cluster it goes to, so a question about it
does too: "no" with the engine's sentence, or "yes" by which binding once the cluster agrees. Who somebody is
to a cluster (`kubectl auth whoami`) is the cluster's own to answer.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from aiohttp import web

from edge.apiserver.answers import JSON, document
from edge.apiserver.headers import sent_as
from edge.apiserver.lists.upstream import Lists
from edge.apiserver.mirrors.kinds import SERVED
from edge.apiserver.paths import (
    OWN_SUFFIX,
    TENANT_RESOURCES,
    UPGRADED,
    Resource,
    action_for,
)
from edge.apiserver.rights.deciding import KUBERNETES_ROOTS, OWN_QUESTIONS, Decider, is_in_scopes_name
from edge.apiserver.rights.picture import Rights
from edge.iam.accessreview import API_VERSION, PathAttributes, ResourceAttributes
from edge.iam.native import CLUSTER_SCOPED
from edge.iam.scope import HOST
from edge.iam.selfreview import (
    ACCESS_KIND,
    RULES_KIND,
    AccessSpec,
    PathRule,
    ResourceRule,
    path_rules,
    read_access,
    read_namespace,
    resource_rules,
)
from edge_kube.meta import kind_of
from edge_sdk.access import Action
from edge_sdk.problem import Forbidden, Problem, Unavailable
from edge_sdk.scopes import TENANT_GROUPS

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange

GROUP, VERSION = API_VERSION.split("/")
PATH: Final = f"/apis/{API_VERSION}/selfsubjectaccessreviews"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
WITHIN_S: Final = 10.0
METHODS: Final = {
    "get": "GET", "list": "GET", "watch": "GET", "create": "POST", "update": "PUT", "patch": "PATCH",
    "delete": "DELETE", "deletecollection": "DELETE",
}  # fmt: skip
NAMELESS: Final = frozenset({"list", "watch", "create", "deletecollection"})
"""Verbs whose path ends with the resource."""
NOT_ALL: Final = (
    "rights on single objects at other scopes are not listed, and what RBAC of the cluster cannot say is "
    "listed and yet refused there; ask about one verb and resource to be sure"
)

_KINDS: Final = tuple(map(kind_of, SERVED))
_STORED: Final = frozenset((kind.group, kind.plural) for kind in _KINDS)
_CLUSTER_WIDE: Final = CLUSTER_SCOPED | {(kind.group, kind.plural) for kind in _KINDS if not kind.namespaced}

Answer = Callable[["Exchange"], Awaitable[web.StreamResponse]]
T = TypeVar("T")


class _Status(msgspec.Struct, frozen=True):
    allowed: bool = False
    reason: str = ""


class _Natively(msgspec.Struct, frozen=True):
    status: _Status = _Status()


class SelfReviews:
    """Asked after the question itself was let through, as everybody's is."""

    def __init__(self, rights: Rights, decider: Decider, lists: Lists) -> None:
        self._rights = rights
        self._index = rights.index
        self._decider = decider
        self._lists = lists
        self._known: dict[str, Callable[[str, Exchange], Awaitable[web.StreamResponse]]] = {
            "selfsubjectaccessreviews": self._access,
            "selfsubjectrulesreviews": self._rules,
        }

    def handler(self, exchange: "Exchange", resource: Resource, cluster: str) -> Answer | None:
        """None for all that the cluster answers by itself."""
        if exchange.request.method != "POST" or (resource.group, resource.version) != (GROUP, VERSION):
            return None
        found = self._known.get(resource.resource)
        return None if found is None or resource.namespace or resource.name else partial(found, cluster)

    async def _access(self, cluster: str, exchange: "Exchange") -> web.StreamResponse:
        spec = _read(exchange, read_access)
        allowed, reason = await self._decided(exchange, spec, cluster)
        return _answer(ACCESS_KIND, spec, {"allowed": allowed, "reason": reason})

    async def _decided(self, exchange: "Exchange", spec: AccessSpec, cluster: str) -> tuple[bool, str]:
        """Raises Unavailable and what `Lists.ask` raises: then nobody knows."""
        session = exchange.caller
        action, named, method = self._asked(spec, cluster)
        try:
            self._decider.require(session, action, method, named_scope=named)
            for_scope = not cluster and is_in_scopes_name(action, named)
            identity = sent_as(
                session.caller, is_admin=session.is_admin, member=bool(cluster), for_scope=for_scope
            )
        except Forbidden as refusal:
            return False, ": ".join(filter(None, (refusal.what, refusal.why)))
        why = self._rights.access.why(session.caller, action) or "everybody who is signed in may"
        if _is_ours_alone(_split(spec.resource_attributes)):
            return True, why
        headers = [("Content-Type", JSON), ("Accept", JSON)]
        asked = {"apiVersion": API_VERSION, "kind": ACCESS_KIND, "spec": spec}
        status, body = await self._lists.ask(
            "POST", PATH, cluster, identity, headers, WITHIN_S, msgspec.json.encode(asked)
        )
        if status != 201:
            raise _not_asked(cluster, status)
        natively = msgspec.json.decode(body, type=_Natively).status
        if natively.allowed:
            return True, why
        more = f" ({natively.reason})" if natively.reason else ""
        return False, f"{why}, but RBAC of cluster {cluster or HOST} does not let it through{more}"

    def _asked(self, spec: AccessSpec, cluster: str) -> tuple[Action, str, str]:
        """Of the request that is asked about: the action, the scope that its path names, the method."""
        path, about = spec.non_resource_attributes, _split(spec.resource_attributes)
        if about is None:
            path = path or PathAttributes()
            scope = f"cluster/{cluster}" if cluster else "platform"
            return Action(path.verb.lower(), path=path.path, scope=scope), "", path.verb.upper()
        verb = "create" if about.subresource in UPGRADED else about.verb
        resource = self._as_in_a_path(about, verb)
        only = about.name if about.verb in ("list", "watch") else ""
        action, named = self._decider.placed(action_for(verb, resource, cluster, only), resource, cluster)
        return action, named, METHODS.get(about.verb, "")

    def _as_in_a_path(self, about: ResourceAttributes, verb: str) -> Resource:
        """kubectl names its own namespace also with what is in none, and no version."""
        group, plural = about.group, about.resource
        if group in TENANT_GROUPS and plural in TENANT_RESOURCES:
            group, _ = TENANT_RESOURCES[plural]
        patterns = self._index.scopes.registered.about(group, plural)
        version, namespace = about.version.strip("*"), about.namespace
        at = 3 if group else 2  # of the version, behind cluster, root and group
        if patterns and not version:
            version = patterns[0].segments[at] or ""
        if (group, plural) in _CLUSTER_WIDE or (patterns and patterns[0].segments[at + 1] != "namespaces"):
            namespace = ""
        nameless = verb in NAMELESS and not about.subresource
        name = "" if nameless else about.name
        return Resource(group, version, plural, namespace, name, about.subresource)

    async def _rules(self, cluster: str, exchange: "Exchange") -> web.StreamResponse:
        namespace = _read(exchange, read_namespace)
        self._rights.freshness.require("get")
        who = exchange.caller.caller.name
        everybody = tuple(f"/{root}{tail}" for root in sorted(KUBERNETES_ROOTS) for tail in ("", "/*"))
        if self._rights.allow_all:
            resources, paths = [ResourceRule(("*",), ("*",), ("*",))], [PathRule(("*",), ("*",))]
        else:
            resources = resource_rules(self._index, who, f"n/{cluster or HOST}/{namespace}")
            paths = path_rules(self._index, who)
        own = ResourceRule(
            ("create",), ("authorization.k8s.io", "authentication.k8s.io"), tuple(sorted(OWN_QUESTIONS))
        )
        status = {
            "resourceRules": [own, *resources],
            "nonResourceRules": [PathRule(("get",), everybody), *paths],
            "incomplete": True,
            "evaluationError": NOT_ALL,
        }
        return _answer(RULES_KIND, {"namespace": namespace}, status)


def _split(about: ResourceAttributes | None) -> ResourceAttributes | None:
    """Of a kind that no API server serves kubectl takes the group for a part of the name."""
    if about is None or about.group:
        return about
    plural, _, group = about.resource.partition(".")
    return msgspec.structs.replace(about, resource=plural, group=group)


def _is_ours_alone(about: ResourceAttributes | None) -> bool:
    """Whether no API server serves it: virtual groups, and subresources that only the gateway knows."""
    if about is None or not about.group.endswith(OWN_SUFFIX):
        return False
    return (about.group, about.resource) not in _STORED or about.subresource not in ("", "status")


def _read(exchange: "Exchange", read: Callable[..., T]) -> T:
    """Raises Problem (400, 415)."""
    media = exchange.request.headers.get("Content-Type", JSON).partition(";")[0].strip().lower()
    if media not in (JSON, PROTOBUF):
        raise Problem(
            "unsupported-media-type",
            what=f"The question came as {media[:80]}",
            why="it is read here, and only JSON and protobuf are",
            do=f"send it as {JSON}",
            status=415,
        )
    try:
        return read(exchange.body or b"", protobuf=media == PROTOBUF)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Problem(
            "bad-body",
            what="The question was not understood",
            why=str(error),
            do="`kubectl auth can-i VERB RESOURCE -v=8` shows one that is",
        ) from None


def _answer(kind: str, spec: Any, status: dict[str, Any]) -> web.Response:
    found = {"kind": kind, "apiVersion": API_VERSION, "metadata": {}, "spec": spec, "status": status}
    return document(found, 201)


def _not_asked(cluster: str, status: int) -> Unavailable:
    return Unavailable(
        "upstream-failed",
        what=f"Cluster {cluster or HOST} did not say whether its RBAC allows it",
        why=f"it answered with status {status}",
        do="try again; what the platform's own roles say is at `edge auth why`",
        status=502,
    )
