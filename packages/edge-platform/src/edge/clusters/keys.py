"""The keys and certificates of a hosted control plane: what is missing or due is made, the rest stays.

Files of Secret plane-pki (mounted at /pki): ca, front-proxy-ca, apiserver, apiserver-kubelet, front-proxy,
controller-manager, scheduler and admin as .crt and .key, sa.key, sa.pub; with the shared store also
etcd.crt, etcd.key and etcd-ca.crt. Files of Secret worker-join (mounted at /join): ca.crt, proxy.crt,
proxy.key, token, bootstrap.kubeconfig, kube-proxy.kubeconfig.

Running processes read renewed files by themselves, so a renewal restarts nothing.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge import pki
from edge.pki import KeyPair

Files = Mapping[str, bytes]

KUBELET_API_GROUP = "edge:kubelet-api"
BOOTSTRAP_GROUP = "system:bootstrappers:edge"
CONNECTION_GROUP = "edge:connection"
CONNECTION_VALIDITY = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class _Leaf:
    name: str
    cn: str
    org: tuple[str, ...] = ()
    authority: str = "ca"
    server: bool = False


_LEAVES = (
    _Leaf("apiserver", "kube-apiserver", server=True),
    _Leaf("apiserver-kubelet", "kube-apiserver-kubelet-client", (KUBELET_API_GROUP,)),
    _Leaf("front-proxy", "front-proxy-client", authority="front-proxy-ca"),
    _Leaf("controller-manager", "system:kube-controller-manager"),
    _Leaf("scheduler", "system:kube-scheduler"),
    _Leaf("admin", "edge-admin", ("system:masters",)),
)
_PROXY = _Leaf("proxy", "system:kube-proxy", ("system:node-proxier",))


def complete_plane(have: Files, sans: Sequence[str], now: datetime) -> dict[str, bytes]:
    """The files of plane-pki; equal to `have` when nothing is missing, due or wrongly named.

    sans: names and addresses under which the API server is reached.
    """
    files = dict(have)
    for authority in ("ca", "front-proxy-ca"):
        if pair_of(files, authority) is None:
            _put(files, authority, pki.make_ca(f"edge-{authority}", now=now))
    if not files.get("sa.key") or not files.get("sa.pub"):
        signing = pki.make_signing_key()
        files["sa.key"], files["sa.pub"] = signing.private, signing.public
    for leaf in _LEAVES:
        _complete(files, leaf, sans if leaf.server else (), now)
    return files


def complete_store(have: Files, authority: KeyPair, user: str, now: datetime) -> dict[str, bytes]:
    """The files with a client certificate of the platform's etcd; its common name is the etcd user."""
    files = {**have, "etcd-ca.crt": authority.cert}
    pair = pair_of(files, "etcd")
    if is_due(pair, authority.cert, user, (), now):
        _put(files, "etcd", pki.issue(authority, user, now=now))
    return files


def complete_join(have: Files, authority: KeyPair, server: str, now: datetime) -> dict[str, bytes]:
    """The files of worker-join. The token is made once; the kubeconfigs follow it and the server's URL."""
    files = dict(have)
    files["ca.crt"], files["ca.key"] = authority
    _complete(files, _PROXY, (), now)
    del files["ca.key"]
    if not files.get("token"):
        files["token"] = f"{secrets.token_hex(3)}.{secrets.token_hex(8)}".encode()
    proxy = KeyPair(files["proxy.crt"], files["proxy.key"])
    files["kube-proxy.kubeconfig"] = pki.kubeconfig(server, authority.cert, client=proxy)
    files["bootstrap.kubeconfig"] = pki.kubeconfig(server, authority.cert, token=files["token"].decode())
    return files


def pair_of(files: Files, name: str) -> KeyPair | None:
    """The pair `name`.crt and `name`.key, or None when either is missing."""
    cert, key = files.get(f"{name}.crt"), files.get(f"{name}.key")
    return KeyPair(cert, key) if cert and key else None


def connection_kubeconfig(authority: KeyPair, server: str, cluster: str, now: datetime) -> bytes:
    """A new kubeconfig for spec.connection: a client certificate of seven days in group edge:connection."""
    client = pki.issue(
        authority, f"edge:connection:{cluster}", org=(CONNECTION_GROUP,), now=now, valid=CONNECTION_VALIDITY
    )
    return pki.kubeconfig(server, authority.cert, client=client, name=cluster)


def admin_kubeconfig(files: Files, server: str, cluster: str) -> bytes:
    """The platform's own kubeconfig; equal files give equal bytes."""
    admin = pair_of(files, "admin")
    return pki.kubeconfig(server, files["ca.crt"], client=admin, name=cluster)


def _complete(files: dict[str, bytes], leaf: _Leaf, sans: Sequence[str], now: datetime) -> None:
    authority = pair_of(files, leaf.authority)
    if authority is None:
        raise ValueError(f"the authority {leaf.authority} of {leaf.name} is not there")
    if is_due(pair_of(files, leaf.name), authority.cert, leaf.cn, sans, now):
        usage = ("server",) if leaf.server else ("client",)
        _put(files, leaf.name, pki.issue(authority, leaf.cn, org=leaf.org, sans=sans, usage=usage, now=now))


def is_due(pair: KeyPair | None, authority: bytes, cn: str, sans: Sequence[str], now: datetime) -> bool:
    """True when a certificate is missing, of another authority or name, or past two thirds of its life."""
    if pair is None:
        return True
    try:
        known = pki.facts(pair.cert)
    except ValueError:
        return True
    named = known.common_name == cn and set(sans) <= set(known.sans)
    return not named or pki.renewal_due(pair.cert, now) or not pki.issued_by(pair.cert, authority)


def _put(files: dict[str, bytes], name: str, pair: KeyPair) -> None:
    files[f"{name}.crt"], files[f"{name}.key"] = pair
