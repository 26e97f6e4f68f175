"""The host cluster's certificates on disk: made once, completed when one is missing or due for renewal."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge import pki
from edge.embedded.instance import NODE_NAME, Instance

# A development cluster may rest for months; it is renewed at any `up` in the last third.
_VALID = timedelta(days=3 * 365)

_SERVICE_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


class HostPki:
    """Files `<name>.crt`, `<name>.key` and `<name>.kubeconfig` in one folder, readable by root only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now = datetime.now(UTC)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def ensure(self, instance: Instance) -> None:
        """Everything the components of `instance` need, and its admin kubeconfig."""
        for name in ("ca", "front-proxy-ca", "etcd-ca"):
            self._authority(name)
        addresses = ["127.0.0.1", instance.node_ip]
        api_names = [*addresses, instance.service_ip, *_SERVICE_NAMES]
        self._leaf("apiserver", "kube-apiserver", usage=["server"], sans=api_names)
        self._leaf("etcd", "etcd", ca="etcd-ca", usage=["server", "client"], sans=[*addresses, "localhost"])
        self._leaf("apiserver-etcd", "kube-apiserver", ca="etcd-ca")
        self._leaf("front-proxy", "front-proxy-client", ca="front-proxy-ca")
        self._leaf("apiserver-kubelet", "kube-apiserver-kubelet-client", org=["edge:kubelet-api"])
        self._leaf(
            "kubelet",
            f"system:node:{NODE_NAME}",
            org=["system:nodes"],
            usage=["client", "server"],
            sans=[NODE_NAME, *addresses],
        )
        self._leaf("admin", "edge-admin", org=["system:masters"])
        self._leaf("kube-controller-manager", "system:kube-controller-manager")
        self._leaf("kube-scheduler", "system:kube-scheduler")
        self._leaf("kube-proxy", "system:kube-proxy", org=["system:node-proxier"])
        if not (self._folder / "sa.pub").exists():
            key = pki.make_signing_key()
            self._write("sa.key", key.private)
            self._write("sa.pub", key.public)
        for name in ("kubelet", "admin", "kube-controller-manager", "kube-scheduler", "kube-proxy"):
            self._kubeconfig(name, instance.server)
        write_private(instance.kubeconfig, (self._folder / "admin.kubeconfig").read_bytes())

    def _authority(self, name: str) -> None:
        if not self._complete(name):
            self._save(name, pki.make_ca(f"edge-{name}", now=self._now))

    def _leaf(
        self,
        name: str,
        cn: str,
        *,
        ca: str = "ca",
        org: Sequence[str] = (),
        usage: Sequence[pki.Usage] = ("client",),
        sans: Sequence[str] = (),
    ) -> None:
        authority = self._pair(ca)
        if self._complete(name):
            cert = self._pair(name).cert
            if not pki.renewal_due(cert, self._now) and pki.issued_by(cert, authority.cert):
                return
        self._save(
            name, pki.issue(authority, cn, now=self._now, org=org, sans=sans, usage=usage, valid=_VALID)
        )

    def _kubeconfig(self, name: str, server: str) -> None:
        ca = self._pair("ca").cert
        self._write(f"{name}.kubeconfig", pki.kubeconfig(server, ca, client=self._pair(name), name="edge"))

    def _complete(self, name: str) -> bool:
        return all((self._folder / f"{name}.{end}").exists() for end in ("crt", "key"))

    def _pair(self, name: str) -> pki.KeyPair:
        return pki.KeyPair(*((self._folder / f"{name}.{end}").read_bytes() for end in ("crt", "key")))

    def _save(self, name: str, pair: pki.KeyPair) -> None:
        # The key first: a certificate without its key would look complete to nobody.
        self._write(f"{name}.key", pair.key)
        self._write(f"{name}.crt", pair.cert)

    def _write(self, name: str, data: bytes) -> None:
        write_private(self._folder / name, data)


def write_private(path: Path, data: bytes) -> None:
    """Replace the file in one step, never readable by others."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
    new.replace(path)
