"""How gateways and sinks trust each other's connections: a certificate of our making, in a Secret."""

import asyncio
import base64
import ssl
from typing import Final

import structlog

from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.errors import KubeError

RETRY_S: Final = 1.0
LOOK_S: Final = 15.0
log = structlog.stdlib.get_logger("edge.audit")
SINKS_SECRET: Final = "edge-audit-serving"  # noqa: S105


class Trust:
    """`context` trusts the authority of the sinks and nothing else, `follow` also one that comes later.

    One that was replaced stays trusted until the process ends: sinks take up a new certificate one by one,
    and no change is refused meanwhile.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._client, self._namespace = client, namespace
        self._taken = b""

    async def find(self) -> None:
        """Waits until the first sink has made the certificate. Raises KubeError, ssl.SSLError."""
        while not await self._look():
            log.warning(
                "audit_sinks_awaited",
                secret=f"{self._namespace}/{SINKS_SECRET}",
                why="no sink has started yet",
            )
            await asyncio.sleep(RETRY_S)

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._look()
            except (KubeError, OSError, ValueError) as error:
                log.warning("audit_trust_not_refreshed", error=str(error))

    async def _look(self) -> bool:
        kept = await self._client.find(Secret, SINKS_SECRET, self._namespace)
        ca = base64.b64decode(dict(kept.data).get("ca.crt", "")) if kept is not None else b""
        if ca and ca != self._taken:
            self.context.load_verify_locations(cadata=ca.decode())
            self._taken = ca
        return bool(self._taken)
