"""How much is served at once, and who waits: the limiter, its queue, and the share of this replica (G10)."""

import time

from edge.apiserver.configuration.settings import GatewaySettings, RateLimitSettings
from edge.apiserver.listening.fairness import FairQueue
from edge.apiserver.listening.limits import Limiter
from edge.apiserver.listening.replicas import Replicas
from edge.apiserver.listening.strangers import Strangers
from edge.apiserver.wiring.ground import Ground


class Pace:
    """limiter: None when requests are not limited; strangers: of who has not signed in, the same."""

    def __init__(self, ground: Ground, service: str) -> None:
        """service: name of the Service whose end points are the replicas."""
        self._ground = ground
        self.limiter = _limiter(ground.settings.rate_limit)
        self.strangers = _strangers(ground.settings)
        self.replicas = Replicas(ground.client, ground.namespace, service, changed=self._replicas_changed)

    def run(self) -> None:
        if self.limiter is not None and self._ground.settings.rate_limit.shared:
            self._ground.background.spawn(self.replicas.mirror.run())

    def queue(self) -> FairQueue:
        if self.limiter is None:
            return FairQueue()
        return FairQueue(self.limiter.all, max_delay_s=self.limiter.max_delay_s)

    def _replicas_changed(self, count: int) -> None:
        if self.limiter is not None:
            self.limiter.share(count, time.monotonic())
        if self.strangers is not None:
            self.strangers.share(count, time.monotonic())


def _limiter(limits: RateLimitSettings) -> Limiter | None:
    if not limits.enabled:
        return None
    return Limiter(
        qps=limits.qps,
        burst=limits.burst,
        user_qps=limits.user_qps or limits.qps,
        user_burst=limits.user_burst or limits.burst,
        max_delay_s=limits.max_delay.s,
    )


def _strangers(settings: GatewaySettings) -> Strangers | None:
    limits = settings.rate_limit
    if not limits.enabled or not limits.anonymous_qps:
        return None
    return Strangers(
        qps=limits.anonymous_qps,
        burst=limits.anonymous_burst or limits.anonymous_qps,
        max_delay_s=limits.max_delay.s,
        trusted=settings.trusted_networks,
    )
