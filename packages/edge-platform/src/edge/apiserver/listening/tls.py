"""The certificate of the https port: the installation's own (`edge-tls`), or one of our making (G8, X15).

kubectl sends a token over TLS only, so there is always an https port. New certificates, and new authorities
of client certificates, are taken up by new connections, without a restart.
"""

import asyncio
import base64
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

import structlog

from edge.apiserver.mirrors.secretrecords import MANAGER
from edge_kube.certs import ServingCertificates, renewed
from edge_kube.client import Client
from edge_kube.core import Secret as KubeSecret
from edge_kube.errors import AlreadyExists, KubeError
from edge_kube.meta import Key

OWN_SECRET: Final = "edge-apiserver-serving"  # noqa: S105
REFRESH_S: Final = 60.0

log = structlog.stdlib.get_logger("edge.apiserver")


@dataclass(frozen=True, slots=True)
class ClientCa:
    """Where the authorities of client certificates are: a PEM file, `ca.crt` of a Secret, or nowhere."""

    file: str = ""
    secret: str = ""

    def __bool__(self) -> bool:
        return bool(self.file or self.secret)


class ServerTls:
    """`context` for the listener, kept up to date by `run`. given: name of a kubernetes.io/tls Secret.

    files: PEM of a certificate and of its key, which are used instead of Secrets; "" for none.

    The context hands each new connection over to the one that was made last: authorities can only be added
    to a context, and one that is taken away must not count any more.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        *,
        given: str,
        names: tuple[str, ...],
        client_ca: ClientCa = ClientCa(),
        files: tuple[str, str] = ("", ""),
        own: str = OWN_SECRET,
    ) -> None:
        """own: name of the Secret for what is made here."""
        self._client_ca = client_ca
        self.context = self._new_context()
        self.context.sni_callback = self._choose  # called for connections without SNI as well
        self._current = self.context
        self._trusted: WeakKeyDictionary[ssl.SSLContext, bytes] = WeakKeyDictionary()
        self.ca = b""
        self.own_names: tuple[str, ...] = ()
        """Names in the certificate, when it is one of our making."""
        self._client = client
        self._namespace = namespace
        self._given = given
        self._files = files
        self._own = own
        self._names = names
        self._loaded = (b"", b"")

    async def load(self) -> None:
        """Raises KubeError when the Secrets cannot be read or written, OSError and ValueError for what is in
        them or in the file of authorities."""
        cert, key, ca = await self._find()
        authorities = await self._authorities()
        if (cert, authorities) != self._loaded:
            context = self._new_context()
            if self._client_ca:
                context.load_verify_locations(cadata=authorities.decode("ascii"))
            _load(context, cert, key)
            _load(self.context, cert, key)
            self._trusted[context] = authorities
            self._current = context
            self._loaded = (cert, authorities)
            log.info("certificate_loaded", namespace=self._namespace)
        self.ca = ca

    def trusts(self, context: ssl.SSLContext) -> bool:
        """Whether a connection of this context was checked against the authorities of now."""
        return bool(self._client_ca) and self._trusted.get(context) == self._loaded[1]

    def _choose(self, wire: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        wire.context = self._current

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self._client_ca:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.num_tickets = 0  # a resumed session would bring back a certificate nobody checked again
        return context

    async def _authorities(self) -> bytes:
        """PEM of who may sign client certificates, b"" when that is off. Raises as `load`."""
        if self._client_ca.file:
            return await asyncio.to_thread(Path(self._client_ca.file).read_bytes)
        if not self._client_ca.secret:
            return b""
        secret = await self._client.find(KubeSecret, self._client_ca.secret, self._namespace)
        found = b"" if secret is None else _field(secret, "ca.crt")
        if not found:
            raise ValueError(f"Secret {self._namespace}/{self._client_ca.secret} holds no ca.crt")
        return found

    async def run(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self.load()
            except (KubeError, ssl.SSLError, OSError, ValueError) as error:
                log.warning("certificate_not_refreshed", error=str(error))

    async def _find(self) -> tuple[bytes, bytes, bytes]:
        if all(self._files):
            cert, key = [await asyncio.to_thread(Path(file).read_bytes) for file in self._files]
            self.own_names = ()
            return cert, key, b""
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
