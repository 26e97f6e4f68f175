"""How gateways and sinks trust each other's connections: a certificate of our making, in a Secret."""

import asyncio
import base64
import ssl
from typing import Final

import structlog

from edge_kube.client import Client
from edge_kube.core import Secret

RETRY_S: Final = 1.0
log = structlog.stdlib.get_logger("edge.audit")
SINKS_SECRET: Final = "edge-audit-serving"  # noqa: S105


def trusting(ca: bytes) -> ssl.SSLContext:
    """Trusts what this authority signed, and nothing else. Raises ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca.decode())
    return context


async def find_trust(client: Client, namespace: str) -> ssl.SSLContext:
    """Waits until the first sink has made the certificate. Raises KubeError."""
    while True:
        kept = await client.find(Secret, SINKS_SECRET, namespace)
        ca = base64.b64decode(dict(kept.data).get("ca.crt", "")) if kept is not None else b""
        if ca:
            return trusting(ca)
        log.warning(
            "audit_sinks_awaited", secret=f"{namespace}/{SINKS_SECRET}", why="no sink has started yet"
        )
        await asyncio.sleep(RETRY_S)
