"""Where the gateway listens: plain ports, TLS, and the authorization webhook."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiohttp import web

from edge.apiserver.configuration.settings import WebhookSettings
from edge.apiserver.listening.connection import HttpServer
from edge.apiserver.listening.doors import Doors
from edge.apiserver.listening.limits import Gate
from edge.apiserver.listening.tls import ClientCa, ServerTls
from edge.apiserver.reviews.listener import ReviewListener
from edge.apiserver.reviews.reviewer import Reviewer, own_name
from edge.apiserver.rights.picture import Rights
from edge.apiserver.wiring.ground import Ground
from edge_kube.errors import KubeError

SHORT_ENDS_WITHIN_S: Final = 30.0

log = structlog.stdlib.get_logger("edge.apiserver")


class Listeners:
    """reviews: the authorization webhook, where it is switched on."""

    def __init__(self, ground: Ground) -> None:
        server = ground.settings.server
        self._ground = ground
        self._server: HttpServer | None = None
        self._runner: web.ServerRunner | None = None
        self.reviews: ReviewListener | None = None
        self.doors = Doors(server.cors.allowed_origins, ground.settings.trusted_networks)
        self.tls = ServerTls(
            ground.client,
            server.namespace,
            given=server.tls.secret_name,
            names=server.tls.names,
            client_ca=ClientCa(server.tls.client_ca_file, server.tls.client_ca_secret),
            files=(server.tls.cert_file, server.tls.key_file),
        )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(host, port) of all that serve the whole API; https last."""
        return [(host, port) for host, port, *_ in (self._runner.addresses if self._runner else ())]

    async def listen(self, handle: Callable[..., Any]) -> None:
        """Raises OSError when a port is taken."""
        settings = self._ground.settings
        self._server = server = HttpServer(handle, self.doors, idle_s=settings.server.idle_timeout.s)
        self._runner = web.ServerRunner(server, shutdown_timeout=SHORT_ENDS_WITHIN_S)
        await self._runner.setup()
        for host, port in settings.binds:
            await web.TCPSite(self._runner, host, port, backlog=1024).start()
        if settings.server.tls.enabled:
            await self._listen_tls(self._runner, settings.server.tls.port)

    async def listen_for_reviews(self, rights: Rights, is_known: Callable[[str], bool]) -> None:
        """Where it is switched on. is_known: whether there is such a user. Raises OSError."""
        settings: WebhookSettings = self._ground.settings.authorization.webhook
        if not settings.enabled:
            return
        reviewer = Reviewer(rights, is_known, Gate(settings.max_concurrent, "reviews"))
        self.reviews = ReviewListener(settings, reviewer)
        await self.reviews.start()
        self._ground.background.spawn(self.reviews.run())
        self._ground.background.spawn(self._learn_own_name(reviewer))

    async def stop(self) -> None:
        """Ends what is in hand: short requests get time, streams have been ended before."""
        if self.reviews is not None:
            await self.reviews.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    async def cut_rest(self) -> None:
        """What is open even now, a moment after everybody was told."""
        if self._server is not None:
            self._server.abort_rest()
            await asyncio.sleep(0)

    async def _listen_tls(self, runner: web.ServerRunner, port: int) -> None:
        self._ground.background.spawn(self.tls.run())
        host = self._ground.settings.binds[0][0]
        await web.TCPSite(runner, host, port, backlog=1024, ssl_context=self.tls.context).start()

    async def _learn_own_name(self, reviewer: Reviewer) -> None:
        """Again and again until the API server says as whom it sees us."""
        while not reviewer.own_name:
            try:
                reviewer.own_name = await own_name(self._ground.client)
            except (KubeError, OSError) as error:
                log.info("own_name_not_learned", error=str(error))
                await asyncio.sleep(1)
