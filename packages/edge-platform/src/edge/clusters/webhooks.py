"""Admission of Clusters: the default that must be fixed at once, and what a schema cannot say. Pure.

Only spec.type is filled in, because it is told by what the user gave at creation. All other defaults are
worked out where they are used, so that a change of the platform's settings is not frozen into objects.
"""

from collections.abc import Callable, Iterator, Sequence

from msgspec import UNSET

from edge.clusters import rules
from edge.clusters.intake import KUBECONFIG_FIELD, decode, take_in
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import DISTRIBUTION_ANNOTATION, Cluster
from edge.iam.escalation import Lack, stands_for_host_lacks
from edge.iam.index import Index, Who
from edge_kube.config import ConfigError
from edge_sdk.problem import Violation
from edge_sdk.room import PatchOp
from edge_sdk.semver import parse

_FIXED: tuple[tuple[str, Callable[[Cluster], str]], ...] = (
    ("spec.type", lambda cluster: cluster.spec.type),
    ("spec.engine", lambda cluster: cluster.spec.engine),
    ("spec.network.serviceCIDR", lambda cluster: cluster.spec.network.service_cidr),
    ("spec.network.podCIDR", lambda cluster: cluster.spec.network.pod_cidr),
    ("spec.network.dnsDomain", lambda cluster: cluster.spec.network.dns_domain),
    ("spec.datastore.mode", lambda cluster: cluster.spec.datastore.mode),
)


def fill(cluster: Cluster) -> Sequence[PatchOp]:
    """Write spec.type when the user left it out."""
    if cluster.spec.type:
        return ()
    return ({"op": "add", "path": "/spec/type", "value": rules.type_of(cluster)},)


def checker(settings: ClusterSettings) -> Callable[[Cluster, Cluster | None], Sequence[Violation]]:
    """The validation under the platform's settings."""

    def check(cluster: Cluster, old: Cluster | None) -> Sequence[Violation]:
        if cluster.metadata.deletion_timestamp:
            return ()
        found = [*_distribution(cluster), *_version(cluster), *_network(cluster)]
        found += [*_kubeconfig(cluster, old, settings), *_workers(cluster, settings)]
        if old is not None:
            found += [*_fixed(cluster, old), *_downgrade(cluster, old)]
        return found

    return check


def cluster_author_lacks(index: Index, who: Who, new: Cluster, old: Cluster | None) -> Iterator[Lack]:
    """Who administers a cluster may connect it elsewhere, but not make it the host's double."""
    yield from stands_for_host_lacks(index, who, new.metadata, old and old.metadata)


def _distribution(cluster: Cluster) -> Iterator[Violation]:
    annotated = cluster.metadata.annotations.get(DISTRIBUTION_ANNOTATION, "")
    field = f"metadata.annotations[{DISTRIBUTION_ANNOTATION}]"
    if annotated and annotated not in rules.DISTRIBUTIONS:
        yield Violation(field, annotated, "it is no known distribution", rules.DISTRIBUTIONS)
    written = cluster.spec.distribution
    if written and written not in rules.DISTRIBUTIONS:
        yield Violation("spec.distribution", written, "it is no known distribution", rules.DISTRIBUTIONS)
    elif written and annotated and written != annotated:
        why = f"annotation {DISTRIBUTION_ANNOTATION} says {annotated}"
        yield Violation("spec.distribution", written, why, f"{annotated}, or drop the annotation")


def _version(cluster: Cluster) -> Iterator[Violation]:
    version = cluster.spec.version
    if version and not rules.is_version(version):
        accepted = "a Kubernetes version such as v1.30 or 1.30.7, or nothing for the newest"
        yield Violation("spec.version", version, "it is no version", accepted)


def _network(cluster: Cluster) -> Iterator[Violation]:
    network = cluster.spec.network
    fields = {"serviceCIDR": (network.service_cidr, 12, 24), "podCIDR": (network.pod_cidr, 8, 20)}
    for name, (text, widest, narrowest) in fields.items():
        if not text:
            continue
        accepted = f"an IPv4 range from /{widest} to /{narrowest} without host bits, such as 10.200.0.0/20"
        parsed = rules.parse_range(text)
        if parsed is None:
            yield Violation(f"spec.network.{name}", text, "it is no IPv4 range", accepted)
        elif not widest <= parsed.prefixlen <= narrowest:
            yield Violation(f"spec.network.{name}", text, "its size does not fit", accepted)
    if rules.overlap(network.service_cidr, network.pod_cidr):
        why = f"it overlaps spec.network.serviceCIDR {network.service_cidr}"
        yield Violation("spec.network.podCIDR", network.pod_cidr, why, "a range of its own, or nothing")


def _kubeconfig(cluster: Cluster, old: Cluster | None, settings: ClusterSettings) -> Iterator[Violation]:
    """Checked when it changes: what the controller wrote, or what was accepted before, stays accepted."""
    text = cluster.spec.connection.kubeconfig
    if not text or (old is not None and old.spec.connection.kubeconfig == text):
        return
    if rules.type_of(cluster) == "virtual":
        return
    try:
        take_in(decode(text), allow_loopback=settings.allow_loopback)
    except ConfigError as error:
        accepted = (
            "base64 of a kubeconfig with certificate-authority-data and a token or a client certificate"
        )
        # The value holds credentials: it is never shown.
        yield Violation(KUBECONFIG_FIELD, "(hidden)", str(error), accepted)


def _workers(cluster: Cluster, settings: ClusterSettings) -> Iterator[Violation]:
    worker = cluster.spec.worker
    if worker.enabled is True and cluster.spec.type == "physical":
        yield Violation(
            "spec.worker.enabled", True, "a physical cluster has its own nodes", "false, or nothing"
        )
    if worker.count is not UNSET and rules.engine_of(cluster, settings) == "vcluster" and worker.count:
        why = "engine vcluster runs its pods on the host's nodes"
        yield Violation("spec.worker.count", worker.count, why, "0, or nothing")


def _fixed(cluster: Cluster, old: Cluster) -> Iterator[Violation]:
    for field, read in _FIXED:
        before, after = read(old), read(cluster)
        if before and after != before:
            why = f'it is fixed once set (it was "{before}")'
            yield Violation(field, after, why, f"{before}, or a new Cluster")


def _downgrade(cluster: Cluster, old: Cluster) -> Iterator[Violation]:
    before, after = old.spec.version, cluster.spec.version
    if not rules.is_version(before) or not rules.is_version(after) or rules.same_version(after, before):
        return
    if parse(after) < parse(before):
        why = f"a control plane cannot go back from {before}: its objects may be stored in newer forms"
        yield Violation("spec.version", after, why, f"{before} or newer")
