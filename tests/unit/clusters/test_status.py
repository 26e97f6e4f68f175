"""What a Cluster's status and figures say. C3, C9; rulings R26, R27."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from edge.clusters import plan, rules, status
from edge.clusters.measures import measures
from edge.clusters.plan import Obstacle, Plan, Seen
from edge.clusters.ports import MemberView, NodeView
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import (
    Cluster,
    ClusterSpec,
    ClusterStatus,
    Connection,
    DistributionStatus,
    EdgeRuntime,
    Endpoints,
    NetworkStatus,
    Worker,
)
from edge.components.types import Component, ComponentStatus
from edge_kube.conditions import condition
from edge_kube.meta import Condition, ObjectMeta

NETWORK = NetworkStatus(service_cidr="10.128.0.0/20", pod_cidr="10.160.0.0/20", dns_domain="cluster.local")
NODE = NodeView("a-worker-0", ready=True, nested=True, region="cn-1", zone="z1")
OK = MemberView(ok=True, asked_at=100, ok_at=100, version="v1.36.3", uid="u", nodes=(NODE,))
SILENT = replace(OK, ok=False, why="connection refused")


def told(
    member: MemberView | None,
    *,
    now_s: float = 100,
    obstacle: Obstacle | None = None,
    component: Component | None = None,
    before: ClusterStatus | None = None,
    **spec: Any,
) -> ClusterStatus:
    base = {"connection": Connection(kubeconfig="eA=="), "worker": Worker(enabled=True)}
    given: dict[str, Any] = {**base, **spec}
    cluster = Cluster(
        metadata=ObjectMeta(name="a", uid="0c1d"),
        spec=ClusterSpec(type="virtual", **given),
        status=before or ClusterStatus(),
    )
    wish, choice, _ = plan.wish_of(cluster, NETWORK, ClusterSettings())
    assert wish is not None
    look = status.outlook(member, now_s, 10)
    seen = Seen(component=component, member=member)
    return status.virtual_status(cluster, wish, choice, seen, Plan((), obstacle), look, Endpoints())


def reason(made: ClusterStatus, type_: str) -> tuple[str, str]:
    found = condition(made.conditions, type_)
    assert found is not None
    return found.status, found.reason


def test_all_good_is_ready_though_another_distribution_serves() -> None:
    made = told(OK, distribution="k3s", version="v1.26.0")
    assert reason(made, "Ready") == ("True", "Ready")
    assert reason(made, "DistributionExact") == ("False", "DistributionSubstituted")
    assert reason(made, "VersionExact") == ("False", "VersionSubstituted")
    assert (made.phase, made.node_count, made.region, made.zones) == ("Ready", 1, "cn-1", ("z1",))
    exact = told(OK, distribution="k8s", version="v1.36")
    assert reason(exact, "DistributionExact") == ("True", "AsRequested")
    assert reason(exact, "VersionExact") == ("True", "AsRequested")


@pytest.mark.parametrize(
    ("member", "spec", "expected"),
    [
        (None, {}, "Preparing"),
        (replace(OK, nodes=()), {}, "WaitingForWorkers"),
        (replace(OK, nodes=(replace(NODE, ready=False),)), {}, "WaitingForWorkers"),
        (OK, {"connection": Connection()}, "WaitingForConnection"),
        (OK, {"edge_runtime": EdgeRuntime(type="kubeedge")}, "Installing"),
        (OK, {"components": ("prometheus",)}, "Installing"),
    ],
)
def test_what_is_missing_is_the_reason(
    member: MemberView | None, spec: dict[str, Any], expected: str
) -> None:
    made = told(member, **spec)
    assert reason(made, "Ready") == ("False", expected)


def test_a_component_that_fails_is_quoted() -> None:
    failed = Condition(
        type="Ready", status="False", reason="ChartNotFound", message="upload vcluster-0.36.1.tgz"
    )
    component = Component(
        metadata=ObjectMeta(name="vcluster-a", namespace="edge-system"),
        status=ComponentStatus(conditions=(failed,)),
    )
    made = told(None, component=component)
    ready = condition(made.conditions, "Ready")
    assert ready is not None
    assert ready.reason == "ChartNotFound"
    assert "vcluster-0.36.1.tgz" in ready.message


def test_silence_counts_after_four_periods_and_the_last_facts_stay() -> None:
    before = told(OK)
    briefly = told(SILENT, now_s=139, before=before)
    assert reason(briefly, "Ready") == ("True", "Ready")
    longer = told(SILENT, now_s=141, before=before)
    assert reason(longer, "Reachable") == ("False", "Offline")
    assert longer.phase == "Offline"
    assert (longer.kubernetes_version, longer.node_count) == ("v1.36.3", 1)


def test_an_obstacle_is_told_even_while_the_cluster_answers() -> None:
    made = told(OK, obstacle=Obstacle("StoreUnavailable", "the platform's etcd does not answer"))
    assert reason(made, "Ready") == ("False", "StoreUnavailable")


@pytest.mark.parametrize(("code", "expected"), [(401, "Unauthorized"), (403, "Forbidden"), (0, "Offline")])
def test_a_joined_cluster_says_why_it_is_not_reached(code: int, expected: str) -> None:
    look = status.outlook(MemberView(ok=False, asked_at=1, why="x", code=code), 100, 10)
    made = status.physical_status(Cluster(metadata=ObjectMeta(name="p")), look, None)
    assert reason(made, "Reachable") == ("False", expected)


class Listed:
    """A reader of two clusters."""

    def list(self, cls: type[Any], namespace: str = "") -> Sequence[Any]:
        virtual = ClusterStatus(
            kubernetes_version="v1.36.3", region="cn-1", distribution=DistributionStatus(served="k8s")
        )
        joined = Cluster(metadata=ObjectMeta(name="plant"), spec=ClusterSpec(type="physical"))
        return [Cluster(metadata=ObjectMeta(name="a"), status=virtual), joined]


def test_each_cluster_is_one_series() -> None:
    family, *_ = measures(Listed())  # pyright: ignore[reportArgumentType]
    assert family.name == "cluster_info"
    assert [value for _, value in family.samples] == [1.0, 1.0]
    assert dict(family.samples[0][0]) == {
        "name": "a", "type": "virtual", "distribution": "k8s", "version": "v1.36.3", "region": "cn-1",
    }  # fmt: skip
    assert family.samples[1][0]["distribution"] == rules.DEFAULT_DISTRIBUTION


def test_clusters_are_counted_by_type_and_state_and_none_is_a_count_too() -> None:
    _, total, states = measures(Listed())  # pyright: ignore[reportArgumentType]
    assert [(dict(labels), value) for labels, value in total.samples] == [
        ({"type": "physical"}, 1.0),
        ({"type": "virtual"}, 1.0),
    ]
    # The one has answered before and is not Ready; the other never has.
    assert {labels["status"]: value for labels, value in states.samples} == {
        "running": 0.0,
        "failed": 1.0,
        "creating": 1.0,
    }
