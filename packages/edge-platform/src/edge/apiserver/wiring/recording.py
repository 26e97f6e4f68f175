"""The record of every change: begun before anything is served, closed after the last request (O6)."""

import structlog

from edge.apiserver.auditing.auditor import Auditor
from edge.apiserver.auditing.key import find_audit_key
from edge.apiserver.auditing.request import Describer
from edge.apiserver.auditing.routes import AuditRoutes
from edge.apiserver.auditing.settling import Settler
from edge.apiserver.auditing.verdicts import VerdictMeasures
from edge.apiserver.routes import OwnRoute
from edge.apiserver.sinks.setup import Kept, keep_trail
from edge.apiserver.wiring.ground import Ground
from edge.apiserver.wiring.picture import Picture
from edge.audit.trail import Trail

log = structlog.stdlib.get_logger("edge.apiserver")


class Recording:
    """auditor: None where no record is kept."""

    def __init__(self, ground: Ground, picture: Picture) -> None:
        self._ground = ground
        self._picture = picture
        self._kept: Kept | None = None
        self.auditor: Auditor | None = None

    async def begin(self) -> None:
        """Raises KubeError, ValueError."""
        ground, settings = self._ground, self._ground.settings
        if not (settings.audit.folder or settings.audit.sinks) or self.auditor is not None:
            if self.auditor is None:
                log.warning("audit_off", why="audit.folder is not set", then="changes leave no record here")
            return
        rights = self._picture.rights
        key = await find_audit_key(ground.client, ground.namespace)
        settler = Settler(ground.host, self._picture.members, rights.is_admin)
        self._kept = kept = await keep_trail(
            settings.audit, key, ground.clock, settler.settle, ground.client, ground.namespace
        )
        self.auditor = Auditor(
            kept.trail,
            Describer(rights.index, settings.trusted_networks),
            rights.access,
            ground.clock,
            ground.registry,
            all_reads=settings.audit.reads == "all",
        )
        kept.trail.start()
        ground.registry.register(VerdictMeasures(lambda: kept.reading.known))
        for work in kept.beside():
            ground.background.spawn(work)
        ground.background.spawn(self._look_after_orphans(kept.trail))

    def routes(self) -> tuple[OwnRoute, ...]:
        if self._kept is None:
            return ()
        return (AuditRoutes(self._kept.reading, self._picture.rights, self._kept.copies).handler,)

    async def close(self) -> None:
        if self._kept is not None:
            await self._kept.close()

    async def _look_after_orphans(self, trail: Trail) -> None:
        """Once it is known who is who: what is settled is read back in its author's name."""
        await self._picture.wait_listed()
        await trail.look_after_orphans(lambda: int(self._ground.clock.now_s() * 1000))
