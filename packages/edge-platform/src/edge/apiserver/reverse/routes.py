"""ReverseProxy objects as routes of the gateway: who may, as whom, and for how long (G5; decision 014).

Every path needs a caller who is signed in and may: by a right on the path of the object, or, below /oapis, by
one on the resource that the path names (upstream-contract §6.6).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aiohttp import web

from edge.apiserver.answers import document
from edge.apiserver.callers.acting import not_for_others
from edge.apiserver.callers.identity import change_password_first
from edge.apiserver.configuration.settings import GatewaySettings
from edge.apiserver.headers import Network
from edge.apiserver.openapi.operation import Operation
from edge.apiserver.openapi.shapes import JwkSet
from edge.apiserver.paths import BASES, OWN_SUFFIX, Resource, action_of, read_resource
from edge.apiserver.reverse.introduction import Introductions
from edge.apiserver.reverse.passing import Passing
from edge.apiserver.reverse.service import Service
from edge.apiserver.reverse.table import Entry, Table
from edge.apiserver.rights.picture import Rights
from edge.apiserver.upstreams.dialing import system_lookup
from edge.apiserver.upstreams.splice import wanted_protocol
from edge.operate.matching import canonical
from edge.operate.types import ReverseProxy
from edge_kube.meta import Key
from edge_sdk.access import Action
from edge_sdk.clock import Clock
from edge_sdk.problem import Forbidden

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

KEYS_PATH = (".well-known", "edge-proxy-keys")
OPERATIONS: Final = (
    Operation(
        "GET", f"/{'/'.join(KEYS_PATH)}", "Keys that callers are introduced to upstreams with", "system",
        answer=JwkSet, public=True, name="getProxyKeys",
    ),
)  # fmt: skip


class ReverseRoutes:
    """Fed by the watch of ReverseProxy objects; `find` is asked before the gateway's own resources are."""

    def __init__(
        self, settings: GatewaySettings, rights: Rights, clock: Clock, ended: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._rights = rights
        self._clock = clock
        self._introductions: Introductions | None = None
        self.lookup = system_lookup
        """How names are resolved; tests put another in its place."""
        self.table = Table(self._service, ended)

    def begin(self, key: bytes, issuer: str) -> None:
        """key: the platform's signing key."""
        self._introductions = Introductions(key, issuer)

    def publics(self) -> "dict[tuple[str, tuple[str, ...]], Handler]":
        """What upstreams need to check a caller's introduction."""
        return {("GET", KEYS_PATH): self._keys}

    def changed(self, key: Key, old: bytes | None, new: bytes | None) -> None:
        self.table.changed(key, old, new)

    def find(self, exchange: "Exchange") -> "Handler | None":
        """None for a path that no object answers. Raises Forbidden."""
        target = exchange.target
        entry = self.table.find(exchange.request.method, canonical(target.segments))
        if entry is None:
            return None
        request, session = exchange.request, exchange.caller
        resource = read_resource(target.segments[1:], core=False) if target.segments[0] in BASES else None
        exchange.resource = None  # in no metric and no record as an object of Kubernetes
        exchange.action = Action(verb=request.method.lower(), path=entry.asked)
        exchange.verb = exchange.action.verb
        upgrade = bool(wanted_protocol(request.headers.items()))
        exchange.stream = upgrade or "text/event-stream" in request.headers.get("Accept", "")
        actions = (exchange.action, *_about(request.method, resource, exchange))
        decisions = [self._rights.access.may(session.caller, action) for action in actions]
        if not any(decision.allowed for decision in decisions):
            do = f"ask an administrator for a role with nonResourceURLs {entry.asked}"
            raise Forbidden("forbidden", what=decisions[0].reason, do=do)
        if exchange.by is not None and entry.spec.directives.auth_proxy is True:
            raise not_for_others(entry.asked)  # its upstream may open a session for whom it is told
        if session.restricted:
            raise change_password_first(session.caller.name)
        if exchange.stream:
            exchange.goes_on = lambda: self._goes_on(exchange, entry, actions)
        return lambda exchange: self._handle(exchange, entry)

    async def close(self) -> None:
        await self.table.close()

    def _goes_on(self, exchange: "Exchange", entry: Entry, actions: Sequence[Action]) -> bool:
        caller = exchange.caller.caller
        may = any(self._rights.access.decide(caller, action).allowed for action in actions)
        return may and self.table.holds(entry)

    async def _handle(self, exchange: "Exchange", entry: Entry) -> web.StreamResponse:
        introduction: list[tuple[str, str]] = []
        if entry.spec.directives.auth_proxy is True and self._introductions is not None:
            caller = exchange.caller.caller
            introduction = self._introductions.headers(caller, entry.audience, self._clock.now_s())
        trusted: Sequence[Network] = self._settings.trusted_networks
        passing = Passing(
            entry,
            trusted=trusted,
            introduction=introduction,
            timeout_s=self._settings.request_timeout_s,
            shell_idle_s=self._settings.server.shell_idle_timeout.s,
        )
        return await passing.run(exchange)

    async def _keys(self, _: "Exchange") -> web.StreamResponse:
        return document(self._introductions.public_keys() if self._introductions else {"keys": []})

    def _service(self, proxy: ReverseProxy) -> Service:
        server = self._settings.server
        return Service(
            proxy,
            domain=server.cluster_domain,
            seats=server.max_per_member,
            slow_s=self._settings.request_timeout_s * 0.8,
            loopback_allowed=server.loopback_upstreams,
            lookup=self.lookup,
        )


def _about(method: str, resource: Resource | None, exchange: "Exchange") -> tuple[Action, ...]:
    """Roles of the platform name such groups in short: monitoring for monitoring.theriseunion.io."""
    if resource is None:
        return ()
    action = action_of(method, resource, exchange.target)
    short = resource.group.removesuffix(OWN_SUFFIX)
    return (action,) if short == resource.group else (action, replace(action, group=short))
