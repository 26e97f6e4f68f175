"""Reading kubeconfigs: those that users hand in, and the one that is kept in spec.connection. Pure."""

import base64
import binascii
import ipaddress
from datetime import datetime
from urllib.parse import urlsplit

from edge import pki
from edge_kube.config import ConfigError, Connection, load_kubeconfig

KUBECONFIG_FIELD = "spec.connection.kubeconfig"
MAX_KUBECONFIG = 64 * 1024


def decode(text: str) -> bytes:
    """The bytes of a base64 field. Raises ConfigError."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("the kubeconfig is not base64; encode the file with base64 -w0") from None


def encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


def take_in(content: bytes, *, allow_loopback: bool = False) -> Connection:
    """The connection of a kubeconfig that a user gave. Raises ConfigError for one we do not dial.

    Besides what `load_kubeconfig` refuses (programs, files): connections without verification of the
    server, and addresses that reach this machine or a cloud's metadata service instead of a cluster.
    """
    if len(content) > MAX_KUBECONFIG:
        raise ConfigError(f"the kubeconfig has {len(content)} bytes; at most {MAX_KUBECONFIG} are read")
    connection = load_kubeconfig(content)
    if connection.insecure:
        raise ConfigError(
            "insecure-skip-tls-verify would hand the credentials to anybody who answers; "
            "give certificate-authority-data instead"
        )
    if urlsplit(connection.server).scheme != "https":
        raise ConfigError(f"server {connection.server} is not https; credentials would travel in the open")
    if not allow_loopback:
        _check_host(connection.server)
    return connection


def _check_host(server: str) -> None:
    host = urlsplit(server).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if host == "localhost" or host.endswith(".localhost"):
            raise ConfigError(f"server {server} is the platform itself; give the cluster's address") from None
        return
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        raise ConfigError(
            f"server {server} is an address of the platform's own machine or link; "
            "give one under which the cluster is reached from here"
        )


def expired(connection: Connection, now: datetime) -> datetime | None:
    """When the client certificate of a connection ran out; None while it is valid or there is none."""
    if not connection.cert:
        return None
    try:
        end = pki.facts(connection.cert).not_after
    except ValueError:
        return None
    return end if end <= now else None


def connection_is_good(text: str, ca: bytes, server: str, now: datetime) -> bool:
    """True when spec.connection.kubeconfig is one of ours, leads to `server` and is not due for renewal."""
    try:
        connection = load_kubeconfig(decode(text))
        good = connection.server == server and connection.ca == ca and pki.issued_by(connection.cert, ca)
        return good and not pki.renewal_due(connection.cert, now)
    except (ConfigError, ValueError):
        return False
