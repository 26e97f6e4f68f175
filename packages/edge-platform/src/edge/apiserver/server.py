"""The gateway as one process: connect, mirror, listen, and stop without losing a request.

What it is made of is put together in `wiring`, one file for each concern.
"""

import asyncio
from typing import Final

import structlog

from edge.apiserver.auditing.auditor import Auditor
from edge.apiserver.configuration.settings import GatewaySettings
from edge.apiserver.reverse.routes import ReverseRoutes
from edge.apiserver.reviews.listener import ReviewListener
from edge.apiserver.watching.upstreams import Upstreams
from edge.apiserver.wiring.ground import Ground
from edge.apiserver.wiring.listeners import Listeners
from edge.apiserver.wiring.pace import Pace
from edge.apiserver.wiring.picture import Picture
from edge.apiserver.wiring.recognition import Recognition
from edge.apiserver.wiring.recording import Recording
from edge.apiserver.wiring.serving import Serving
from edge.apiserver.wiring.signing_in import SigningIn
from edge.iam.types import LoginRecord, User
from edge.operate.types import ReverseProxy
from edge_kube.config import Connection
from edge_sdk.clock import Clock, SystemClock

SERVICE: Final = "edge-apiserver"
TLS_CLOSES_WITHIN_S: Final = 0.2  # connections cut in mid-stream say goodbye on the wire first

log = structlog.stdlib.get_logger("edge.apiserver")


class ApiServer:
    """Build, `start`, `stop`. Ports of 0 are chosen by the system; `addresses` tells which, https last."""

    def __init__(self, connection: Connection, settings: GatewaySettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._ground = ground = Ground(connection, settings, clock or SystemClock())
        self._picture = picture = Picture(ground)
        self._members = picture.members
        self._recognition = of = Recognition(ground, picture.rights)
        self.kubeconfigs, self.keys, self.sessions = of.kubeconfigs, of.keys, of.sessions
        self.lockouts, self.accounts, self.oauth = of.lockouts, of.accounts, of.oauth
        self._recording = Recording(ground, picture)
        self._listeners = Listeners(ground)
        self.tls = self._listeners.tls
        self._pace = Pace(ground, SERVICE)
        self.replicas = self._pace.replicas
        self.reverse = ReverseRoutes(settings, picture.rights, ground.clock, ground.open_streams.look_at_all)
        self._upstreams = Upstreams(ground.client, picture.members, ground.clock)
        self._signing_in: SigningIn | None = None
        self._serving: Serving | None = None

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return self._listeners.addresses

    @property
    def streams_open(self) -> int:
        """Watches, logs and shells in hand."""
        return self._ground.streams.inflight

    @property
    def reviews(self) -> ReviewListener | None:
        """The authorization webhook, where it is switched on."""
        return self._listeners.reviews

    @property
    def auditor(self) -> Auditor | None:
        """None where no record is kept."""
        return self._recording.auditor

    async def start(self) -> None:
        """Raises KubeError when the API server does not answer, OSError when a port is taken."""
        await self._recognition.load()
        if self._settings.server.tls.enabled:
            await self.tls.load()
        await self._recording.begin()
        self._follow()
        self._signing_in = SigningIn(
            self._ground, self._recognition, self._picture.rights, self._recording.auditor
        )
        self._serving = serving = Serving(
            self._ground,
            self._picture,
            self._recognition,
            listeners=self._listeners,
            pace=self._pace,
            recording=self._recording,
            reverse=self.reverse,
            upstreams=self._upstreams,
            signing_in=self._signing_in,
        )
        await self._listeners.listen(serving.handle)
        people = self._recognition.people
        await self._listeners.listen_for_reviews(
            self._picture.rights, lambda name: people.user(name) is not None
        )
        log.info("gateway_listening", addresses=[f"{host}:{port}" for host, port in self.addresses])

    async def wait_synced(self, within_s: float = 30.0) -> None:
        """Until every kind has been listed once. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            for mirror in self._recognition.mirrors:
                await mirror.collection.listed.wait()
            await self._picture.wait_listed()

    async def stop(self) -> None:
        """Say so on /readyz first, so that no new request is sent here, then end what is in hand."""
        serving = self._serving
        if serving is not None:
            serving.system.draining = True
        self._listeners.doors.draining = True
        await asyncio.sleep(self._settings.server.drain.s)
        if serving is not None:
            await serving.watching.leave()
        self._ground.open_streams.end_all()
        await self._listeners.stop()
        await self._ground.background.stop()
        if self._signing_in is not None:
            self._signing_in.close()
        await self._recording.close()
        if self._signing_in is not None:
            await self._signing_in.close_provider()
        await self._picture.rights.beats.close()
        await self._recognition.proofs.close()
        await self._upstreams.close()
        await self._picture.close()
        await self.reverse.close()
        await self._ground.close()
        await asyncio.sleep(TLS_CLOSES_WITHIN_S)
        await self._listeners.cut_rest()

    def _follow(self) -> None:
        """What the gateway holds a copy of, and what looks after it."""
        spawn = self._ground.background.spawn
        self._picture.follow(
            {
                User: self._recognition.around_users,
                LoginRecord: self._recognition.around_login_records,
                ReverseProxy: lambda _: self.reverse.changed,
            }
        )
        self._recognition.follow()
        spawn(self._picture.rights.sweep())
        spawn(self._ground.learn_version())
        self._recognition.run()
        self._pace.run()
