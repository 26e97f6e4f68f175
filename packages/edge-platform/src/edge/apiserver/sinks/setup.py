"""The trail of this process, put together from the settings."""

import asyncio
import secrets
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.apiserver.auditing.copies import Copies
from edge.apiserver.auditing.key import publish_keys
from edge.apiserver.auditing.verdicts import store_name, verifier_of
from edge.apiserver.configuration.settings import AuditSettings
from edge.apiserver.sinks.client import SinkClient, TokenFile
from edge.apiserver.sinks.kept import SinkOrphans, SinkReading
from edge.apiserver.sinks.trust import Trust
from edge.audit.folder import Folder
from edge.audit.kept import FolderReading
from edge.audit.ports import Reading
from edge.audit.retention import Limits
from edge.audit.shipping import Shipper
from edge.audit.trail import Settle, Trail
from edge.audit.verifier import Verifier
from edge.audit.writer import Writer
from edge_kube.client import Client
from edge_kube.meta import Key
from edge_sdk.clock import Clock

log = structlog.stdlib.get_logger("edge.audit")


@dataclass
class Kept:
    """A trail, how it is read, and where copies of its statements are.

    verifier: of a folder; sinks have their own. trust, sinks: closed after the trail.
    """

    trail: Trail
    reading: Reading
    verifier: Verifier | None = None
    trust: Trust | None = None
    sinks: list[SinkClient] = field(default_factory=list[SinkClient])
    copies: Copies | None = None

    async def close(self) -> None:
        await self.trail.close()
        if self.copies is not None:
            await self.copies.flush()
        for sink in self.sinks:
            await sink.close()

    def beside(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on beside the requests, each until it is cancelled."""
        if self.copies is not None:
            yield self.copies.run()
        if self.verifier is not None:
            yield self.verifier.run()
        if self.trust is not None:
            yield self.trust.follow()
        if isinstance(self.reading, SinkReading):
            yield self.reading.follow_verdicts()


def limits_of(settings: AuditSettings) -> Limits:
    return Limits(
        keep_s=settings.retention.s,
        segment_bytes=settings.segment_size.bytes,
        refuse_ratio=settings.refuse_at_percent / 100,
        enough_free_bytes=settings.enough_free.bytes,
    )


async def keep_trail(
    settings: AuditSettings,
    key: Ed25519PrivateKey,
    clock: Clock,
    settle: Settle,
    client: Client,
    namespace: str,
) -> Kept:
    """In sinks where there are any, else in a folder. Raises KubeError, ValueError.

    A chain is named after the process and its start: it is never gone on with.
    """
    chain, within_s = f"{store_name(settings)}-{secrets.token_hex(4)}", settings.acknowledge_within.s
    copies = Copies(client, Key(namespace, settings.checkpoints)) if settings.checkpoints else None

    def copy(statement: bytes) -> None:
        """Outside of the volume: whoever rewrites the files cannot rewrite the collected log."""
        log.info("audit_statement", line=statement.decode().strip())
        if copies is not None:
            copies.add(statement)

    if settings.sinks:
        await publish_keys(client, namespace, key.public_key())
        trust, token = Trust(client, namespace), TokenFile(Path(settings.sink_token_file))
        await trust.find()
        sinks = [SinkClient(url, token, trust.context, key) for url in settings.sinks]
        shipper = Shipper(sinks, chain, key, enough=settings.enough, now_s=clock.now_s, on_statement=copy)
        orphans = SinkOrphans(sinks, shipper, key, enough=settings.enough, keep_s=settings.retention.s)
        trail = Trail(shipper, settle, within_s=within_s, orphans=orphans)
        return Kept(trail, SinkReading(sinks), trust=trust, sinks=sinks, copies=copies)
    folder = Folder(Path(settings.folder))
    await publish_keys(client, namespace, key.public_key(), await asyncio.to_thread(folder.keys))
    verifier = verifier_of(settings, client, namespace, now_s=clock.now_s)
    writer = Writer(folder, chain, key, limits_of(settings), clock.now_s, on_statement=copy)
    trail = Trail(writer, settle, within_s=within_s)
    return Kept(trail, FolderReading(folder, verifier), verifier, copies=copies)
