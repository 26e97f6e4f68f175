"""The trail of this process, put together from the settings."""

import re
import secrets
import socket
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.apiserver.settings import AuditSettings
from edge.audit.folder import Folder
from edge.audit.retention import Limits
from edge.audit.trail import Settle, Trail
from edge.audit.writer import Writer
from edge_sdk.clock import Clock

log = structlog.stdlib.get_logger("edge.audit")


def make_trail(settings: AuditSettings, key: Ed25519PrivateKey, clock: Clock, settle: Settle) -> Trail:
    """A chain is named after the process and its start: it is never gone on with."""
    name = re.sub(r"[^A-Za-z0-9-]", "-", settings.writer or socket.gethostname())[:80]
    writer = Writer(
        folder=Folder(Path(settings.folder)),
        chain=f"{name}-{secrets.token_hex(4)}",
        key=key,
        limits=Limits(
            keep_s=settings.retention.s,
            segment_bytes=settings.segment_size.bytes,
            refuse_ratio=settings.refuse_at_percent / 100,
            enough_free_bytes=settings.enough_free.bytes,
        ),
        now_s=clock.now_s,
        # A copy outside of the volume: whoever rewrites the files cannot rewrite the collected log.
        on_statement=lambda line: log.info("audit_statement", line=line.decode().strip()),
    )
    return Trail(writer, settle, within_s=settings.acknowledge_within.s)
