"""Where a ReverseProxy, or a connection to a member, may lead: which names and which addresses. Pure.

A name is judged when the object is written; the address that it stands for is judged each time it is dialled.
Source: G5, S17; design authorization-and-gateway §8.6 (CVE-2022-3294 class).
"""

import ipaddress
import re
from typing import Final

CLUSTER_DOMAIN: Final = "cluster.local"
LABEL: Final = re.compile(r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?")
SERVICE: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
NUMBER: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)")
METADATA: Final = frozenset(
    ipaddress.ip_address(one)
    for one in (
        *("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200"),
        *("168.63.129.16", "192.0.0.192"),  # of clouds whose second such address is not link-local
    )
)
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
NAT64_LOCAL: Final = ipaddress.ip_network("64:ff9b:1::/48")
TRANSLATED: Final = ipaddress.ip_network("::ffff:0:0:0/96")
METADATA_NETWORKS: Final = (ipaddress.ip_network("fd00:ec2::/32"),)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def service_of(host: str, namespace: str) -> str:
    """The name of the Service in the namespace that a host stands for; "" when it stands for none there."""
    name, _, rest = host.partition(".")
    ours = ("", namespace, f"{namespace}.svc", f"{namespace}.svc.{CLUSTER_DOMAIN}")
    return name if SERVICE.fullmatch(name) and rest in ours and not host.endswith(".") else ""


def full_name(service: str, namespace: str, domain: str) -> str:
    """The name that is looked up: with its last dot, so that no search list can lead elsewhere."""
    return f"{service}.{namespace}.svc.{domain}."


def literal(host: str) -> Address | None:
    """The address that a host is written as; None for a name. Raises ValueError for neither.

    Decimal, octal, hexadecimal and short spellings are neither: programs read them in different ways.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    labels = host.lower().removesuffix(".").split(".")
    if NUMBER.fullmatch(labels[-1]):
        raise ValueError(
            "it is a number that some programs take for an address; write addresses as 192.0.2.1"
        )
    if len(host) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise ValueError("it is neither a host name nor an address")
    return None


def why_not(address: Address, *, loopback_allowed: bool = False) -> str:
    """Why nothing may be dialled at an address, "" when it may. Addresses inside IPv6 ones are taken out."""
    inner = _inside(address)
    if inner is not None:
        return why_not(inner, loopback_allowed=loopback_allowed)
    if address in METADATA or any(address in one for one in METADATA_NETWORKS):
        return "it is where clouds keep the credentials of machines"
    if address.is_loopback:
        return "" if loopback_allowed else "it is the gateway's own machine"
    if address.is_link_local:
        return "it is link-local"
    if address.is_unspecified or (address.version == 4 and address in ipaddress.ip_network("0.0.0.0/8")):
        return "it is no address of a single machine"
    if address.is_multicast or (address.version == 4 and address.is_reserved):
        return "it is a multicast or reserved address"
    return ""


def _inside(address: Address) -> ipaddress.IPv4Address | None:
    if address.version == 4:
        return None
    if address in NAT64 or address in NAT64_LOCAL or address in TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1]
    value = int(address)
    return ipaddress.IPv4Address(value) if 1 < value < 2**32 else None  # ::a.b.c.d, given up long ago
