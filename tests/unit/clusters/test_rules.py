"""Versions, ranges and names of clusters: tables and properties. C1, C6, C11; X71, R24."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clusters import rules
from edge.clusters.settings import ClusterSettings, WorkerSettings
from edge.clusters.types import (
    DISTRIBUTION_ANNOTATION,
    Cluster,
    ClusterSpec,
    ClusterStatus,
    Connection,
    Datastore,
    NetworkStatus,
    Worker,
)
from edge_kube.meta import ObjectMeta

SHIPPED = ("1.30.7", "1.36.3")


@pytest.mark.parametrize(
    ("wanted", "policy", "served", "reason"),
    [
        ("", "", "1.36.3", "NewestVersion"),
        ("v1.36", "", "1.36.3", "AsRequested"),
        ("1.36.3", "Exact", "1.36.3", "AsRequested"),
        ("v1.30", "", "1.30.7", "AsRequested"),
        ("v1.26.0", "", "1.30.7", "VersionSubstituted"),
        ("v1.30.9", "", "1.36.3", "VersionSubstituted"),
        ("v1.26.0", "Exact", "", "VersionUnavailable"),
        ("v1.37", "", "", "VersionUnavailable"),
    ],
)
def test_a_version_is_served_by_itself_or_by_the_nearest_newer_one(
    wanted: str, policy: str, served: str, reason: str
) -> None:
    choice = rules.choose_version(wanted, SHIPPED, policy)
    assert (choice.served, choice.reason) == (served, reason)
    assert choice.exact == (reason in ("NewestVersion", "AsRequested"))
    assert (served if choice.exact else wanted) in choice.message


def test_an_engine_without_any_version_says_so() -> None:
    assert rules.choose_version("v1.30", (), "").reason == "VersionUnavailable"


@pytest.mark.parametrize("text", ["latest", "1", "v1.30.x", "1.30.7.2", "1.30-rc1", " 1.30", "１.30", ""])
def test_what_is_no_version_is_known(text: str) -> None:
    assert not rules.is_version(text)


def network(address: int, prefix: int) -> str:
    return str(IPv4Network((address, prefix), strict=False))


# Time is no matter here, and the machine may be busy.
quick = settings(max_examples=50)
ranges = st.builds(network, st.integers(0x0A800000, 0x0A8FFFFF), st.integers(14, 32))


@quick
@given(st.lists(ranges, max_size=30))
def test_an_allocated_range_overlaps_nothing_and_none_lower_was_free(taken: list[str]) -> None:
    pool = IPv4Network("10.128.0.0/12")
    found = rules.allocate(str(pool), taken)
    free = [
        slot
        for slot in pool.subnets(new_prefix=20)
        if not any(slot.overlaps(IPv4Network(one)) for one in taken)
    ]
    assert found == (str(free[0]) if free else "")


@quick
@given(st.integers(1, 40), st.lists(ranges, max_size=5))
def test_ranges_handed_out_one_after_the_other_never_overlap(count: int, reserved: list[str]) -> None:
    given_out: list[str] = []
    for _ in range(count):
        found = rules.allocate("10.128.0.0/12", [*reserved, *given_out])
        if not found:
            break
        assert not any(rules.overlap(found, other) for other in (*reserved, *given_out))
        given_out.append(found)


def test_a_pool_that_is_used_up_gives_nothing() -> None:
    assert rules.allocate("10.128.0.0/20", ["10.128.3.0/24"]) == ""
    assert rules.allocate("10.128.0.0/19", ["10.128.3.7", "not a range"]) == "10.128.16.0/20"


@pytest.mark.parametrize(
    ("spec", "status", "kind"),
    [
        (ClusterSpec(), ClusterStatus(), "virtual"),
        (ClusterSpec(type="physical"), ClusterStatus(), "physical"),
        (ClusterSpec(connection=Connection(kubeconfig="eA==")), ClusterStatus(), "physical"),
        (ClusterSpec(connection=Connection(type="proxy")), ClusterStatus(), "physical"),
        (ClusterSpec(type="virtual", connection=Connection(kubeconfig="eA==")), ClusterStatus(), "virtual"),
        # An older object without a type, whose kubeconfig the controller wrote, stays what it is.
        (
            ClusterSpec(connection=Connection(kubeconfig="eA==")),
            ClusterStatus(network=NetworkStatus(service_cidr="10.128.0.0/20")),
            "virtual",
        ),
    ],
)
def test_the_kind_of_cluster_is_told_by_what_was_given(
    spec: ClusterSpec, status: ClusterStatus, kind: str
) -> None:
    assert rules.type_of(Cluster(metadata=ObjectMeta(name="a"), spec=spec, status=status)) == kind


def test_the_annotation_picks_the_distribution_where_the_field_is_absent() -> None:
    marked = ObjectMeta(name="a", annotations={DISTRIBUTION_ANNOTATION: "k0s"})
    assert rules.distribution_of(Cluster(metadata=marked)) == "k0s"
    assert rules.distribution_of(Cluster(metadata=marked, spec=ClusterSpec(distribution="k8s"))) == "k8s"
    assert rules.distribution_of(Cluster(metadata=ObjectMeta(name="a"))) == "k3s"


def test_the_store_is_chosen_once() -> None:
    shared = ClusterSettings(shared_etcd=True)
    fresh = Cluster(metadata=ObjectMeta(name="a"))
    assert rules.datastore_of(fresh, shared) == "shared"
    assert rules.datastore_of(fresh, ClusterSettings()) == "own"
    asked = Cluster(metadata=ObjectMeta(name="a"), spec=ClusterSpec(datastore=Datastore(mode="own")))
    assert rules.datastore_of(asked, shared) == "own"
    settled = Cluster(metadata=ObjectMeta(name="a"), status=ClusterStatus(datastore="own"))
    assert rules.datastore_of(settled, shared) == "own"


@pytest.mark.parametrize(
    ("worker", "default", "count"),
    [
        (Worker(), WorkerSettings(), 0),
        (Worker(), WorkerSettings(enabled=True), 1),
        (Worker(enabled=False), WorkerSettings(enabled=True), 0),
        (Worker(enabled=True, count=3), WorkerSettings(), 3),
        (Worker(count=2), WorkerSettings(enabled=True), 2),
    ],
)
def test_workers_are_wanted_by_the_cluster_or_by_default(
    worker: Worker, default: WorkerSettings, count: int
) -> None:
    cluster = Cluster(metadata=ObjectMeta(name="a"), spec=ClusterSpec(worker=worker))
    assert rules.workers_of(cluster, ClusterSettings(worker=default)) == count


def test_derived_names_fit_for_the_longest_name() -> None:
    name = "x" * 53
    assert len(rules.namespace_of(name)) <= 63
    assert len(f"{name}-worker-9") <= 63
