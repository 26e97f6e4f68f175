"""Which routes there are, and the pipeline before them."""

from typing import TYPE_CHECKING

from edge.apiserver.account.entrances import Entrances
from edge.apiserver.account.kubeconfig_routes import KubeconfigRoutes
from edge.apiserver.callers.acting import Acting
from edge.apiserver.gateway import Gateway
from edge.apiserver.listening.clientcerts import ClientCertificates
from edge.apiserver.lists.live import LiveRows
from edge.apiserver.lists.routes import RowRoutes
from edge.apiserver.lists.upstream import Lists
from edge.apiserver.openapi.operation import Described
from edge.apiserver.openapi.operations import own_operations
from edge.apiserver.openapi.routes import DocumentRoutes
from edge.apiserver.reverse.routes import ReverseRoutes
from edge.apiserver.reviews.access_routes import AccessRoutes
from edge.apiserver.reviews.groupgrants import GroupGrants
from edge.apiserver.reviews.scopetitles import ScopeTitles
from edge.apiserver.rights.sight import Eyes
from edge.apiserver.routes import Router
from edge.apiserver.rows.cursors import Cursors
from edge.apiserver.system import System
from edge.apiserver.watching.desk import World
from edge.apiserver.watching.fleet import Fleets
from edge.apiserver.watching.routes import WatchRoutes
from edge.apiserver.watching.upstreams import Upstreams
from edge.apiserver.watching.views import Views
from edge.apiserver.wiring.ground import Ground
from edge.apiserver.wiring.listeners import Listeners
from edge.apiserver.wiring.pace import Pace
from edge.apiserver.wiring.picture import Picture
from edge.apiserver.wiring.recognition import Recognition
from edge.apiserver.wiring.recording import Recording
from edge.apiserver.wiring.signing_in import SigningIn

if TYPE_CHECKING:
    from aiohttp import web

    from edge.apiserver.listening.connection import Request


class Serving:
    """Of a running loop, once the keys are loaded and the record has begun."""

    def __init__(
        self,
        ground: Ground,
        picture: Picture,
        recognition: Recognition,
        *,
        listeners: Listeners,
        pace: Pace,
        recording: Recording,
        reverse: ReverseRoutes,
        upstreams: Upstreams,
        signing_in: SigningIn,
    ) -> None:
        self._ground = ground
        self._picture = picture
        self._recognition = recognition
        self._listeners = listeners
        self._recording = recording
        self._reverse = reverse
        self._signing_in = signing_in
        self.system = self._system()
        fleets = Fleets(upstreams, picture.collections)
        world = World(Eyes(picture.rights), picture.collections, Views(), upstreams, fleets)
        picture.rights.index.on_scopes = world.scopes_changed
        self.watching = WatchRoutes(
            world,
            ground.registry,
            ground.clock,
            limiter=pace.limiter,
            origins=ground.settings.authentication.session.origins,
        )
        ground.background.spawn(upstreams.run())
        tokens = recognition.tokens
        reverse.begin(tokens.ring.mark_key, tokens.issuer)
        self._gateway = Gateway(
            router=self._router(Lists(ground.host, picture.members), Cursors(tokens.ring.mark_key)),
            authenticator=recognition.authenticator,
            certificates=ClientCertificates(
                recognition.people, picture.rights.is_admin, listeners.tls.trusts
            ),
            doors=listeners.doors,
            limiter=pace.limiter,
            queue=pace.queue(),
            strangers=pace.strangers,
            short=ground.short,
            streams=ground.streams,
            measures=ground.measures,
            rights=picture.rights,
            acting=Acting(
                recognition.people, picture.rights.access, picture.rights.index, picture.rights.is_admin
            ),
            proofs=recognition.proofs,
            clock=ground.clock,
            open_streams=ground.open_streams,
            request_timeout_s=ground.settings.request_timeout_s,
            auditor=recording.auditor,
            origins=ground.settings.authentication.session.origins,
        )

    async def handle(self, request: "Request") -> "web.StreamResponse":
        return await self._gateway.handle(request)

    def _system(self) -> System:
        mirrors = (*self._picture.mirrors, *self._recognition.mirrors)
        return System(
            host=self._ground.host,
            needed=tuple(mirror.collection for mirror in mirrors),
            measures=self._ground.measures,
            kubernetes_version=lambda: self._ground.kubernetes_version,
        )

    def _router(self, lists: Lists, cursors: Cursors) -> Router:
        ground, picture, rights = self._ground, self._picture, self._picture.rights
        live = LiveRows(rights, lists, cursors, ground.clock)
        return Router(
            rights=rights,
            host=ground.host,
            members=picture.members,
            collections=picture.collections,
            publics={
                **self.system.routes(),
                **self._reverse.publics(),
                **DocumentRoutes().routes(),
                **self._signing_in.publics(),
            },
            own=(
                *self._signing_in.own(),
                AccessRoutes(
                    rights,
                    GroupGrants(rights.index, picture.collections),
                    ScopeTitles(picture.collections),
                ).handler,
                self._kubeconfig_routes().handler,
                RowRoutes(rights, picture.collections, live, cursors).handler,
                self.watching.handler,
                *self._recording.routes(),
            ),
            cursors=cursors,
            lists=lists,
            described=Described(own_operations()),
            request_timeout_s=ground.settings.request_timeout_s,
            shell_idle_s=ground.settings.server.shell_idle_timeout.s,
            reverse=self._reverse.find,
        )

    def _kubeconfig_routes(self) -> KubeconfigRoutes:
        settings, of, listeners = self._ground.settings, self._recognition, self._listeners
        entrances = Entrances(
            settings.kubeconfig,
            trusted=settings.trusted_networks,
            tls=listeners.tls if settings.server.tls.enabled else None,
            tls_port=lambda: listeners.addresses[-1][1],
        )
        return KubeconfigRoutes(
            tokens=of.tokens,
            people=of.people,
            members=self._picture.members,
            rights=self._picture.rights,
            kubeconfigs=of.kubeconfigs,
            entrances=entrances,
            settings=settings.kubeconfig,
            clock=self._ground.clock,
        )
