"""How gateways and sinks trust each other's connections: a certificate of our making, in a Secret."""

import base64
import ssl
from typing import Final

from edge_kube.client import Client
from edge_kube.core import Secret

SINKS_SECRET: Final = "edge-audit-serving"  # noqa: S105


def trusting(ca: bytes) -> ssl.SSLContext:
    """Trusts what this authority signed, and nothing else. Raises ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca.decode())
    return context


async def find_trust(client: Client, namespace: str) -> ssl.SSLContext:
    """Raises KubeError, ValueError while no sink has made a certificate yet."""
    kept = await client.find(Secret, SINKS_SECRET, namespace)
    ca = base64.b64decode(dict(kept.data).get("ca.crt", "")) if kept is not None else b""
    if not ca:
        raise ValueError(f"Secret {namespace}/{SINKS_SECRET} is not there yet: no sink has started")
    return trusting(ca)
