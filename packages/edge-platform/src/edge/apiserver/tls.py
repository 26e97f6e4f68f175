"""The certificate of the https port: the installation's own (`edge-tls`), or one of our making (G8, X15).

kubectl sends a token over TLS only, so there is always an https port. New certificates are taken up by new
connections, without a restart.
"""

import asyncio
import base64
import os
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from edge_kube.certs import ServingCertificates, renewed
from edge_kube.client import Client
from edge_kube.core import Secret as KubeSecret
from edge_kube.errors import AlreadyExists, KubeError
from edge_kube.meta import Key

OWN_SECRET: Final = "edge-apiserver-serving"  # noqa: S105
MANAGER: Final = "edge-apiserver"
REFRESH_S: Final = 60.0

log = structlog.stdlib.get_logger("edge.apiserver")


class ServerTls:
    """`context` for the listener, kept up to date by `run`. given: name of a kubernetes.io/tls Secret."""

    def __init__(
        self, client: Client, namespace: str, *, given: str, names: tuple[str, ...], own: str = OWN_SECRET
    ) -> None:
        """own: name of the Secret for what is made here."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.ca = b""
        self.own_names: tuple[str, ...] = ()
        """Names in the certificate, when it is one of our making."""
        self._client = client
        self._namespace = namespace
        self._given = given
        self._own = own
        self._names = names
        self._loaded = b""

    async def load(self) -> None:
        """Raises KubeError when the Secrets cannot be read or written."""
        cert, key, self.ca = await self._find()
        if cert != self._loaded:
            _load(self.context, cert, key)
            self._loaded = cert
            log.info("certificate_loaded", namespace=self._namespace)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self.load()
            except (KubeError, ssl.SSLError, OSError, ValueError) as error:
                log.warning("certificate_not_refreshed", error=str(error))

    async def _find(self) -> tuple[bytes, bytes, bytes]:
        if self._given:
            secret = await self._client.find(KubeSecret, self._given, self._namespace)
            if secret is not None and _field(secret, "tls.crt") and _field(secret, "tls.key"):
                self.own_names = ()
                return _field(secret, "tls.crt"), _field(secret, "tls.key"), _field(secret, "ca.crt")
        kept = await self._client.find(KubeSecret, self._own, self._namespace)
        have = None if kept is None else _certificates(kept)
        fresh = renewed(have, self._names, datetime.now(UTC))
        if fresh is not None:
            await self._keep(fresh, kept)
            made = await self._client.get(KubeSecret, self._own, self._namespace)
            have = _certificates(made)
        if have is None:
            raise ValueError(f"Secret {self._namespace}/{self._own} holds no certificate")
        self.own_names = self._names
        return have.cert, have.key, have.ca

    async def _keep(self, fresh: ServingCertificates, kept: KubeSecret | None) -> None:
        """The first replica to write wins; the others read what it wrote."""
        texts = {"ca.crt": fresh.ca, "ca.key": fresh.ca_key, "tls.crt": fresh.cert, "tls.key": fresh.key}
        data = {name: base64.b64encode(text).decode() for name, text in texts.items()}
        if kept is not None:
            version = kept.metadata.resource_version
            await self._client.merge(KubeSecret, Key(self._namespace, self._own), {"data": data}, rv=version)
            return
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self._own, "namespace": self._namespace},
            "type": "kubernetes.io/tls",
            "data": data,
        }
        try:
            await self._client.create(manifest, manager=MANAGER)
        except AlreadyExists:
            log.info("certificate_made_elsewhere", namespace=self._namespace)


def _field(secret: KubeSecret, name: str) -> bytes:
    return base64.b64decode(dict(secret.data).get(name, ""))


def _certificates(secret: KubeSecret) -> ServingCertificates:
    return ServingCertificates(
        ca=_field(secret, "ca.crt"),
        ca_key=_field(secret, "ca.key"),
        cert=_field(secret, "tls.crt"),
        key=_field(secret, "tls.key"),
    )


def _load(context: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    # OpenSSL reads chains from files only; an anonymous one keeps the private key off the disk.
    descriptor = os.memfd_create("serving-certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(cert + b"\n" + key)
        context.load_cert_chain(Path(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)
