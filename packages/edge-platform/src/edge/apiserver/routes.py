"""From a path to what is done with it, and the permission that it needs.

There is no handler without a decision: a resource path asks Access before it is answered or forwarded, and
everything that is not found here is 404.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from edge.apiserver.answers import json_answer
from edge.apiserver.callers.acting import require_impersonal
from edge.apiserver.headers import sent_as
from edge.apiserver.lists.memory import Memory
from edge.apiserver.lists.spread import Spread
from edge.apiserver.lists.upstream import Lists
from edge.apiserver.masking import is_masked
from edge.apiserver.mirrors.store import Collection
from edge.apiserver.openapi.operation import Described
from edge.apiserver.paths import (
    BASES,
    UPGRADED,
    VERBS,
    Resource,
    Target,
    action_of,
    begins_at_once,
    full_group,
    is_stream,
    native_segments,
    read_resource,
)
from edge.apiserver.reviews.selfreviews import SelfReviews
from edge.apiserver.rights.deciding import (
    KUBERNETES_ROOTS,
    READ_VERBS,
    Decider,
    is_in_scopes_name,
    labels_in,
    tells_its_scope,
)
from edge.apiserver.rights.picture import Rights
from edge.apiserver.rows.cursors import Cursors
from edge.apiserver.upstreams.members import HOST, Members
from edge.apiserver.upstreams.proxy import Forwarding
from edge.apiserver.upstreams.upstream import HEAD_WITHIN_S, Upstream, broke_off
from edge.operate.matching import canonical
from edge_kube.meta import Key
from edge_sdk.access import Action
from edge_sdk.problem import Forbidden, Missing, Problem

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange

Handler = Callable[["Exchange"], Awaitable[web.StreamResponse]]
OwnRoute = Callable[["Exchange", Resource], Handler | None]


class Router:
    """publics: (method, path segments) → handler without a token; owns: the same for signed-in callers."""

    def __init__(
        self,
        *,
        rights: Rights,
        host: Upstream,
        members: Members,
        collections: Mapping[tuple[str, str], Collection],
        publics: Mapping[tuple[str, tuple[str, ...]], Handler],
        own: Sequence[OwnRoute],
        cursors: Cursors,
        lists: Lists,
        described: Described,
        request_timeout_s: float,
        shell_idle_s: float,
        reverse: Callable[["Exchange"], Handler | None] | None = None,
    ) -> None:
        """own: routes of the gateway itself, which decide for themselves who may; the first that knows it.

        reverse: the routes of ReverseProxy objects; none of them can be a path of the gateway's own.
        shell_idle_s: how long an upgrade may stay unused.
        described: the routes that the OpenAPI document tells of; others are not served.
        Raises UndescribedError for a public route that is none of them.
        """
        self._reverse = reverse
        described.require(publics)
        self._described = described
        self._access = rights.access
        self._decider = Decider(rights, collections)
        self._questions = SelfReviews(rights, self._decider, lists)
        self._host = host
        self._members = members
        self._collections = collections
        self._memory = Memory(rights, collections, cursors)
        self._spread = Spread(rights, lists, cursors)
        self._publics = publics
        self._public_paths = frozenset(path for _, path in publics)
        self._own = own
        self._timeout_s = request_timeout_s
        self._shell_idle_s = shell_idle_s

    def public(self, method: str, target: Target) -> Handler | None:
        return self._publics.get((method if method != "HEAD" else "GET", canonical(target.segments)))

    def methods(self, target: Target) -> Sequence[str]:
        """Those that a path of the gateway's own takes, as its document says; all where it says nothing."""
        segments = canonical(target.segments)
        with contextlib.suppress(Missing):  # of the short group tenant
            resource = read_resource(segments[1:], core=False) if segments[:1] == ("oapis",) else None
            if resource is not None:
                segments = ("oapis", *native_segments(full_group(resource))[1:])
        return [one for one in VERBS if self._described.has(one, segments)] or list(VERBS)

    def require_private(self, method: str, target: Target) -> None:
        """That a token could help: of a path that is asked without one, nobody is told to sign in first.

        Raises Problem (405), Missing (404).
        """
        segments = canonical(target.segments)
        if method != "OPTIONS" and segments in self._public_paths:
            raise Problem(
                "method-not-allowed",
                what=f"/{'/'.join(segments)} is not asked by {method}",
                do=f"use {' or '.join(self.methods(target))}",
                status=405,
            )
        if segments[:1] in (("oauth",), (".well-known",)):
            raise _nothing_at(segments)

    def find(self, exchange: "Exchange") -> Handler:
        """The handler, once the caller may. Raises Forbidden, Missing, Problem."""
        segments = exchange.target.segments
        root = segments[0] if segments else ""
        if exchange.caller.cluster:
            _confine(exchange.caller.cluster, segments)
        if self._reverse is not None and (handler := self._reverse(exchange)) is not None:
            return handler
        if root in BASES:
            return self._platform(exchange)
        if root in KUBERNETES_ROOTS:
            return self._kubernetes(exchange, exchange.target, "")
        if root == "clusters" and len(segments) >= 2:
            below = exchange.target.under(2)
            if below.segments and below.segments[0] in KUBERNETES_ROOTS:
                return self._kubernetes(exchange, below, "" if segments[1] == HOST else segments[1])
        raise _nothing_at(segments)

    def _platform(self, exchange: "Exchange") -> Handler:
        resource = read_resource(exchange.target.segments[1:], core=False)
        if resource is None:
            raise Missing(
                "no-such-path",
                what=f"/{'/'.join(exchange.target.segments)} names no resource",
                do="use /oapis/GROUP/VERSION/RESOURCE, such as /oapis/iam.theriseunion.io/v1alpha1/users",
            )
        resource = full_group(resource)
        for find in self._own:
            handler = find(exchange, resource)
            if handler is not None:
                if exchange.by is not None:
                    require_impersonal(resource)
                path = ("oapis", *native_segments(resource)[1:])
                self._described.require([(exchange.request.method, path)])
                exchange.resource = resource
                return handler
        action = self._ask(exchange, resource, exchange.target, "")
        # A table is the API server's to make, and so is a watch of all there is.
        if exchange.verb in ("get", "list") and "as=" not in exchange.request.headers.get("Accept", ""):
            collection = self._memory.holds(resource)
            if collection is not None and resource.name:
                self._require(exchange, action)
                return self._object(exchange, resource, collection)
            found = self._memory.list(exchange, resource, action)
        else:
            found = self._memory.part(exchange, resource, action)
        if found is None:
            found = self._spread.handler(exchange, resource, action, "")
        if found is not None:
            return found
        self._require(exchange, action)
        target = Target(native_segments(resource), exchange.target.query)
        return _unless_unknown(resource, self._forward(exchange, target, resource, ""))

    def _object(self, exchange: "Exchange", resource: Resource, collection: Collection) -> Handler:
        stored = collection.get(Key(resource.namespace, resource.name))
        shows_secrets = is_masked(resource.group, resource.resource) and self._may_see_secrets(
            exchange, resource
        )
        if stored is None or shows_secrets:  # not there yet, maybe: the API server has the last word
            return self._forward(exchange, Target(native_segments(resource), ()), resource, "")

        async def handle(_: "Exchange") -> web.StreamResponse:
            return json_answer(stored.raw + b"\n")

        return handle

    def _kubernetes(self, exchange: "Exchange", target: Target, cluster: str) -> Handler:
        root = target.segments[0]
        resource = read_resource(target.segments[1:], core=root == "api") if root in ("api", "apis") else None
        action = self._ask(exchange, resource, target, cluster)
        if resource is not None and not cluster:
            part = self._memory.part(exchange, resource, action)
            if part is not None:
                return part
        if resource is not None and (spread := self._spread.handler(exchange, resource, action, cluster)):
            return spread
        self._require(exchange, action)
        return self._forward(exchange, target, resource, cluster)

    def _ask(self, exchange: "Exchange", resource: Resource | None, target: Target, cluster: str) -> Action:
        """What is asked of the permission engine; noted in the exchange."""
        method = exchange.request.method
        if resource is None:
            path = "/" + "/".join(target.segments)
            action = Action(
                verb=method.lower(), path=path, scope=f"cluster/{cluster}" if cluster else "platform"
            )
        else:
            asked = action_of(method, resource, target, cluster)
            new = labels_in(exchange.body) if tells_its_scope(method, target) else None
            action, exchange.named_scope = self._decider.placed(asked, resource, cluster, new)
        exchange.resource, exchange.action, exchange.verb = resource, action, action.verb
        exchange.cluster = cluster
        exchange.stream = is_stream(resource, target)
        return action

    def _require(self, exchange: "Exchange", action: Action) -> None:
        """Raises Forbidden with the sentence that says which right is missing."""
        method = exchange.request.method
        self._decider.require(exchange.caller, action, method, named_scope=exchange.named_scope)

    def may_go_on(self, exchange: "Exchange") -> bool:
        """Whether the right that a stream began with still holds; by what is known, however old."""
        if exchange.goes_on is not None:
            return exchange.goes_on()
        return self._decider.holds(exchange.caller, exchange.action, exchange.request.method)

    def _forward(
        self, exchange: "Exchange", target: Target, resource: Resource | None, cluster: str
    ) -> Handler:
        if resource is not None and (own := self._questions.handler(exchange, resource, cluster)):
            return own
        masked: tuple[str, str] | None = None
        if resource is not None and not cluster and is_masked(resource.group, resource.resource):
            masked = (resource.group, resource.resource)
            if self._may_see_secrets(exchange, resource):
                masked = None
                exchange.shows_secrets = exchange.verb in READ_VERBS
        session = exchange.caller
        for_scope = not cluster and is_in_scopes_name(exchange.action, exchange.named_scope)
        identity = sent_as(
            session.caller, is_admin=session.is_admin, member=bool(cluster), for_scope=for_scope
        )
        reads = exchange.stream and exchange.request.method in ("GET", "HEAD")
        head_within_s = HEAD_WITHIN_S if reads and begins_at_once(resource, target) else None

        async def handle(exchange: "Exchange") -> web.StreamResponse:
            async def send(upstream: Upstream) -> web.StreamResponse:
                forwarding = Forwarding(
                    upstream,
                    target.rebuilt(),
                    [*identity, ("Audit-Id", exchange.audit_id)] if exchange.audit_id else identity,
                    masked=masked,
                    watch=exchange.verb == "watch",
                    timeout_s=None if exchange.stream else self._timeout_s,
                    head_within_s=head_within_s,
                    base=f"/clusters/{cluster}" if cluster else "",
                    shell_idle_s=self._shell_idle_s,
                )
                return await forwarding.send(exchange.request, exchange.body)

            if not cluster:
                return await send(self._host)
            try:
                return await self._members.member(cluster).call(send, stream=exchange.stream)
            except aiohttp.ClientConnectionResetError:
                raise  # the client's own, mostly
            except aiohttp.ClientError as error:
                what = f'Cluster "{cluster}" broke the connection'
                raise broke_off(error, exchange.request.method, what=what) from error

        return handle

    def _may_see_secrets(self, exchange: "Exchange", resource: Resource) -> bool:
        """Credentials of a cluster: for who may read clusters/kubeconfig (X14). Password hashes: nobody."""
        session = exchange.caller
        if resource.resource != "clusters" or session.restricted:
            return False
        action = Action(
            verb="get",
            group=resource.group,
            resource="clusters",
            subresource="kubeconfig",
            name=resource.name,
            scope=f"cluster/{resource.name}" if resource.name else "platform",
        )
        return self._access.may(session.caller, action).allowed


def _unless_unknown(resource: Resource, handler: Handler) -> Handler:
    """The API server tells in plain text of a kind that it does not serve; here all refusals are a Status.

    What is behind the proxy of a pod or a service has texts of its own.
    """

    async def handle(exchange: "Exchange") -> web.StreamResponse:
        response = await handler(exchange)
        is_told = response.status == 404 and response.content_type == "text/plain" and not response.prepared
        if is_told and resource.subresource not in UPGRADED:
            about = f"{resource.group or 'core'}/{resource.version}"
            raise Missing(
                "unknown-resource",
                what=f'There is no resource "{resource.resource[:100]}" in {about[:200]}',
                do="use one that /apis lists, by its plural name",
            )
        return response

    return handle


def _nothing_at(segments: Sequence[str]) -> Missing:
    return Missing(
        "no-such-path",
        what=f"There is nothing at /{'/'.join(segments)[:200]}",
        do="use /oapis/GROUP/VERSION/RESOURCE, /api, /apis or /clusters/NAME/api(s)",
    )


def _confine(cluster: str, segments: Sequence[str]) -> None:
    """A kubeconfig opens the Kubernetes API of its cluster and nothing else: above all it makes no other.

    Raises Forbidden.
    """
    named, below = [HOST], list(segments)
    if below[:1] == ["clusters"]:
        named, below = below[1:2], below[2:]
    if named == [cluster] and below and below[0] in KUBERNETES_ROOTS:
        return
    raise Forbidden(
        "kubeconfig-elsewhere",
        what=f'A kubeconfig for cluster "{cluster}" was used for something else',
        why="it opens the Kubernetes API of that cluster alone",
        do="sign in at /oauth/token for the rest, or make a kubeconfig for the cluster that you mean",
    )
