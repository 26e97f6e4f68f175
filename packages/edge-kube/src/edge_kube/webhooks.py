"""The webhook server of a process with its certificates: obtained, renewed, told to the API server."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from edge_kube.backoff import Backoff
from edge_kube.certs import ServingCertificates
from edge_kube.client import Client
from edge_kube.controller import Controller
from edge_kube.errors import KubeError
from edge_kube.meta import Manifest, Resource
from edge_kube.metrics import Metrics
from edge_kube.reconcile import MemberWatch, Reader, Reconciler, Request, Watch, Writer
from edge_kube.webhook import Webhook, WebhookServer
from edge_kube.webhookconfig import (
    CertificateSecret,
    ConfigurationReconciler,
    MutatingWebhookConfiguration,
    Target,
    ValidatingWebhookConfiguration,
    mutating,
    validating,
)

log = structlog.stdlib.get_logger("edge_kube.webhooks")

RENEWAL_LOOK_S = 12 * 3600.0  # a certificate is renewed four months before it ends
_RETRY = Backoff(base_s=0.5, cap_s=30.0)


@dataclass(frozen=True, slots=True)
class _ConfigurationLoop:
    """A loop of the runtime's own, in the shape of a room's."""

    kind: type[Resource]
    reconciler: Callable[[Reader, Writer], Reconciler]
    label: str
    watches: tuple[Watch[Resource], ...] = ()
    member_watches: tuple[MemberWatch[Resource], ...] = ()
    reads: tuple[type[Resource], ...] = ()
    workers: int = 1
    resync_s: float = 30.0
    timeout_s: float = 30.0
    lane: Callable[[Request], str] | None = None
    attach: Callable[[Callable[[Request], None]], None] | None = None


class WebhookService:
    def __init__(
        self,
        webhooks: Sequence[Webhook],
        *,
        client: Client,
        target: Target,
        listen: tuple[str, int],
        cert_dir: Path,
        secret: tuple[str, str],
        configuration: str,
        metrics: Metrics,
    ) -> None:
        """client: ungated, since every replica serves. secret: name and namespace."""
        self._webhooks = tuple(webhooks)
        self._target = target
        self._listen = listen
        self._configuration = configuration
        self._server = WebhookServer(webhooks, cert_dir=cert_dir, metrics=metrics)
        self._secret = CertificateSecret(
            client, name=secret[0], namespace=secret[1], dns_names=target.dns_names()
        )
        self._certificates: ServingCertificates | None = None
        self._wakes: list[Controller] = []
        self.serving = False

    @property
    def port(self) -> int:
        return self._server.port

    def loops(self) -> Sequence[_ConfigurationLoop]:
        """Loops of the leader that keep the two configurations filled."""
        return [
            _ConfigurationLoop(
                kind, partial(ConfigurationReconciler, kind, self._configuration, entries), label
            )
            for kind, entries, label in (
                (MutatingWebhookConfiguration, partial(self._entries, mutating), "mutatingwebhooks"),
                (ValidatingWebhookConfiguration, partial(self._entries, validating), "validatingwebhooks"),
            )
        ]

    def wake(self, controllers: Sequence[Controller]) -> None:
        """The loops' controllers, to be told when the authority changes."""
        self._wakes = list(controllers)

    async def run(self) -> None:
        """Serve until cancelled. What fails at first (no right yet, no API server) is tried again."""
        failures = 0
        try:
            while True:
                try:
                    await self._renew()
                    if not self.serving:
                        await self._server.start(*self._listen)
                        self.serving = True
                        self._tell()
                except (KubeError, OSError, TimeoutError) as error:
                    log.warning("webhooks_not_serving", error=str(error))
                    failures += 1
                    await asyncio.sleep(_RETRY.delay_s(failures))
                    continue
                failures = 0
                await asyncio.sleep(RENEWAL_LOOK_S)
        finally:
            self.serving = False
            await self._server.stop()

    async def _renew(self) -> None:
        fresh = await self._secret.ensure()
        if self._certificates is None or fresh.cert != self._certificates.cert:
            self._server.load(fresh.cert, fresh.key)
        changed = self._certificates is not None and fresh.ca != self._certificates.ca
        self._certificates = fresh
        if changed:
            self._tell()

    def _tell(self) -> None:
        for controller in self._wakes:
            controller.enqueue(Request(self._configuration))

    def _entries(
        self, make: Callable[[Sequence[Webhook], Target, bytes], list[Manifest]]
    ) -> Sequence[Manifest] | None:
        """None until we serve: the API server must not be sent to a closed door."""
        if not self.serving or self._certificates is None:
            return None
        return make(self._webhooks, self._target, self._certificates.ca)
