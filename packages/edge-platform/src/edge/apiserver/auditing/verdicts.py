"""Verification of the trail beside the work: what it needs of the cluster, and who is told (O6, O12).

What is broken is a log line, a Warning Event of the pod that keeps the records, and a measure.
"""

import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Final

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from edge.apiserver.auditing.copies import Copies
from edge.apiserver.auditing.key import known_keys
from edge.apiserver.configuration.settings import AuditSettings
from edge.apiserver.mirrors.secretrecords import MANAGER
from edge.audit.verdict import Verdict
from edge.audit.verifier import Verifier
from edge_kube.client import Client
from edge_kube.core import Event, ObjectReference
from edge_kube.errors import KubeError
from edge_kube.meta import Key, ObjectMeta

REASON: Final = "AuditTrailBroken"
NOTE_MAX: Final = 1000

log = structlog.stdlib.get_logger("edge.audit")


def store_name(settings: AuditSettings) -> str:
    """Of this process, as it stands in the names of chains."""
    return re.sub(r"[^A-Za-z0-9-]", "-", settings.writer or socket.gethostname())[:80]


def verifier_of(
    settings: AuditSettings,
    client: Client,
    namespace: str,
    *,
    patience: int = 0,
    now_s: Callable[[], float] = time.time,
) -> Verifier:
    """Of the folder of this process; keys and copies of statements are those that the cluster keeps."""
    copies = Copies(client, Key(namespace, settings.checkpoints)) if settings.checkpoints else None

    async def anchors() -> Sequence[bytes]:
        return await copies.lines() if copies is not None else ()

    async def keys() -> Sequence[str] | None:
        return await known_keys(client, namespace) or None

    async def tell(verdict: Verdict) -> None:
        await _tell(client, Key(namespace, settings.writer or socket.gethostname()), verdict)

    return Verifier(
        Path(settings.folder),
        store_name(settings),
        at=settings.verify_at,
        patience=patience,
        now_s=now_s,
        anchors=anchors,
        keys=keys,
        on_broken=tell,
    )


async def _tell(client: Client, pod: Key, verdict: Verdict) -> None:
    event = Event(
        metadata=ObjectMeta(name=f"{pod.name[:200]}.{token_hex(8)}", namespace=pod.namespace),
        event_time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        reporting_controller=MANAGER,
        reporting_instance=pod.name[:128],
        action="Verify",
        reason=REASON,
        type="Warning",
        note=f"The record of changes is not as it was written: {verdict.broken}"[:NOTE_MAX],
        regarding=ObjectReference(api_version="v1", kind="Pod", name=pod.name, namespace=pod.namespace),
    )
    try:
        await client.create(event, manager=MANAGER)
    except (KubeError, OSError) as error:
        log.warning("audit_event_not_written", error=str(error))


class VerdictMeasures(Collector):
    """known: verdicts, as far as they are known without asking."""

    def __init__(self, known: Callable[[], Sequence[Verdict]]) -> None:
        self._known = known

    def collect(self) -> Iterator[Metric]:
        whole = GaugeMetricFamily(
            "edge_audit_verify_ok", "1: the last verification found all as it was written.", labels=("store",)
        )
        when = GaugeMetricFamily(
            "edge_audit_verified_timestamp_seconds", "Begin of the last verification.", labels=("store",)
        )
        for verdict in self._known():
            if verdict.began:
                whole.add_metric((verdict.store,), float(verdict.broken is None))
                when.add_metric((verdict.store,), verdict.began / 1000)
        yield whole
        yield when
