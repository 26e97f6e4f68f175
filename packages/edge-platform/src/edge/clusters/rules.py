"""Decisions about clusters that need nothing but their input: names, versions, engines, address ranges."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Literal

from msgspec import UNSET

from edge.clusters.settings import ClusterSettings
from edge.clusters.types import DISTRIBUTION_ANNOTATION, Cluster
from edge_sdk.semver import Version, parse

DISTRIBUTIONS = ("k3s", "k0s", "k8s")
DEFAULT_DISTRIBUTION = "k3s"
DEFAULT_DNS_DOMAIN = "cluster.local"
RANGE_PREFIX = 20

_VERSION = re.compile(r"v?[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?", re.ASCII)


def namespace_of(name: str) -> str:
    """Namespace of the host cluster that holds a virtual cluster."""
    return f"vcluster-{name}"


def component_of(name: str) -> str:
    """The Component that installs a virtual cluster; never the name of a part of the platform itself."""
    return f"vcluster-{name}"


def credentials_of(name: str) -> str:
    """Secret in edge-system with the platform's own kubeconfig of a virtual cluster."""
    return f"cluster-{name}"


def type_of(cluster: Cluster) -> Literal["virtual", "physical"]:
    """The kind of cluster; admission writes spec.type, so the rest is for objects that are older."""
    spec = cluster.spec
    if spec.type == "physical":
        return "physical"
    if spec.type == "virtual" or cluster.status.network.service_cidr:
        return "virtual"
    return "physical" if spec.connection.kubeconfig or spec.connection.type else "virtual"


def distribution_of(cluster: Cluster) -> str:
    """spec.distribution, else the annotation, else k3s."""
    annotated = cluster.metadata.annotations.get(DISTRIBUTION_ANNOTATION, "")
    return cluster.spec.distribution or annotated or DEFAULT_DISTRIBUTION


def engine_of(cluster: Cluster, settings: ClusterSettings) -> str:
    """The engine a cluster was made with stays; then spec.engine, then the platform's setting."""
    return cluster.status.distribution.engine or cluster.spec.engine or settings.engine


def datastore_of(cluster: Cluster, settings: ClusterSettings) -> str:
    """shared or own; what a cluster was made with stays (its objects lie there)."""
    if cluster.status.datastore:
        return cluster.status.datastore
    return cluster.spec.datastore.mode or ("shared" if settings.shared_etcd else "own")


def workers_of(cluster: Cluster, settings: ClusterSettings) -> int:
    """How many nested workers are wanted."""
    spec = cluster.spec.worker
    enabled = settings.worker.enabled if spec.enabled is UNSET else spec.enabled
    if not enabled:
        return 0
    return settings.worker.count if spec.count is UNSET else spec.count


def is_version(text: str) -> bool:
    """v1.30, 1.30.7: two or three numbers, with or without a leading v."""
    return _VERSION.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class VersionChoice:
    """served: the version that will run, "" when none may; exact: it is what was asked for."""

    served: str
    exact: bool
    reason: str
    message: str


def choose_version(wanted: str, shipped: Iterable[str], policy: str) -> VersionChoice:
    """The newest shipped version of the wanted minor, else the nearest newer one (X71).

    wanted: as in the spec; "" takes the newest. shipped: versions at hand, for example 1.36.3.
    policy Exact allows no other version.
    """
    have = sorted({parse(one): one for one in shipped}.items())
    listed = ", ".join(text for _, text in have) or "none"
    if not have:
        return VersionChoice("", False, "VersionUnavailable", "The engine has no Kubernetes version at hand.")
    if not wanted:
        return VersionChoice(have[-1][1], True, "NewestVersion", f"Kubernetes {have[-1][1]} runs.")
    asked = parse(wanted)
    exact = [text for version, text in have if _fits(wanted, asked, version)]
    if exact:
        return VersionChoice(exact[-1], True, "AsRequested", f"Kubernetes {exact[-1]} runs.")
    newer = [text for version, text in have if version > asked]
    if policy == "Exact" or not newer:
        why = "spec.versionPolicy is Exact" if policy == "Exact" else "none of them is newer"
        message = (
            f"Kubernetes {wanted} is not at hand (at hand: {listed}) and {why}. "
            "Change spec.version, or let spec.versionPolicy be Nearest."
        )
        return VersionChoice("", False, "VersionUnavailable", message)
    message = f"Kubernetes {wanted} is not at hand; {newer[0]}, the nearest newer one, runs instead."
    return VersionChoice(newer[0], False, "VersionSubstituted", message)


def _fits(text: str, asked: Version, version: Version) -> bool:
    if text.count(".") >= 2:
        return version == asked
    return (version.major, version.minor) == (asked.major, asked.minor)


def same_version(wanted: str, actual: str) -> bool:
    """True when the API server's own version (v1.36.3, v1.32.1+k3s1) is the wanted one."""
    match = _VERSION.match(actual)
    return match is not None and _fits(wanted, parse(wanted), parse(match.group(0)))


def parse_range(text: str) -> IPv4Network | None:
    """An IPv4 range in CIDR form without host bits, or None."""
    try:
        return IPv4Network(text)
    except ValueError:
        return None


def allocate(pool: str, taken: Iterable[str], *, prefix: int = RANGE_PREFIX) -> str:
    """The lowest range of `prefix` bits in `pool` that overlaps nothing taken; "" when the pool is used up.

    taken: ranges or single addresses; what is neither is passed over.
    """
    blocked = merge_ranges(taken)
    index = 0
    for candidate in ipaddress.ip_network(pool).subnets(new_prefix=prefix):
        first, last = int(candidate.network_address), int(candidate.broadcast_address)
        while index < len(blocked) and blocked[index][1] < first:
            index += 1
        if index == len(blocked) or blocked[index][0] > last:
            return str(candidate)
    return ""


def merge_ranges(ranges: Iterable[str]) -> Sequence[tuple[int, int]]:
    """First and last addresses, in order and without overlap."""
    pairs: list[tuple[int, int]] = []
    for text in ranges:
        network = parse_range(text)
        if network is not None:
            pairs.append((int(network.network_address), int(network.broadcast_address)))
    merged: list[tuple[int, int]] = []
    for first, last in sorted(pairs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def overlap(one: str, other: str) -> bool:
    """True when two ranges share an address; what is no range shares none."""
    first, second = parse_range(one), parse_range(other)
    return first is not None and second is not None and first.overlaps(second)


def address_in(cidr: str, index: int) -> str:
    """The address at `index` of a range: 1 is the tenant's kubernetes Service, 10 its DNS."""
    return str(IPv4Network(cidr).network_address + index)
