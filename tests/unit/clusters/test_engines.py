"""The engine table, and the values each engine's chart is given, against golden files. C11, R29.

The upstream charts are not at hand: their values are held against their documented keys, as text.
EDGE_UPDATE_GOLDEN=1 writes the files anew.
"""

import json
import os
from pathlib import Path

import pytest

from edge.clusters import engines, plan
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import Cluster, ClusterSpec, NetworkStatus, Worker
from edge_kube.meta import ObjectMeta

GOLDEN = Path(__file__).parent / "golden"
NETWORK = NetworkStatus(service_cidr="10.128.0.0/20", pod_cidr="10.160.0.0/20", dns_domain="cluster.local")


def made(engine: str, distribution: str, settings: ClusterSettings) -> engines.Wish:
    spec = ClusterSpec(
        type="virtual",
        engine=engine,
        distribution=distribution,
        quota={"pods": "50"},
        worker=Worker(enabled=True, resources={"limits": {"memory": "2Gi"}})
        if engine == "hosted"
        else Worker(),
    )
    cluster = Cluster(metadata=ObjectMeta(name="plant-a", uid="0c1d"), spec=spec)
    wish, _, obstacle = plan.wish_of(cluster, NETWORK, settings)
    assert wish is not None, obstacle
    return wish


@pytest.mark.parametrize("row", engines.ENGINES, ids=lambda row: f"{row.engine}-{row.distribution}")
@pytest.mark.parametrize("store", ["shared", "own"])
def test_values_are_as_in_the_golden_file(row: engines.Engine, store: str) -> None:
    wish = made(row.engine, row.distribution, ClusterSettings(shared_etcd=store == "shared"))
    values = row.values(wish)
    if row.chart == engines.HOSTED_CHART:
        values = engines.hosted(wish, address="10.96.0.7")
    text = json.dumps(values, indent=2, sort_keys=True) + "\n"
    file = GOLDEN / f"{row.engine}-{row.distribution}-{store}.json"
    if os.environ.get("EDGE_UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


def test_every_distribution_has_one_row_in_every_engine() -> None:
    pairs = [(row.engine, row.distribution) for row in engines.ENGINES]
    assert sorted(pairs) == sorted((e, d) for e in ("hosted", "vcluster") for d in ("k3s", "k0s", "k8s"))


@pytest.mark.parametrize(
    ("distribution", "chart_version", "served"),
    [("k8s", "0.36.1", "k8s"), ("k3s", "0.32.3", "k3s"), ("k0s", "0.25.2", "k0s")],
)
def test_upstream_charts_are_pinned_to_the_last_that_has_the_distribution(
    distribution: str, chart_version: str, served: str
) -> None:
    row = engines.engine_for("vcluster", distribution)
    assert row is not None
    assert (row.chart, row.chart_version, row.served) == ("vcluster", chart_version, served)
    assert row.secret.format(name="a") == "vc-a"
    enabled = row.values(made("vcluster", distribution, ClusterSettings()))["controlPlane"]["distro"]
    assert enabled == {distribution: {"enabled": True}}


def test_the_prefix_in_the_store_is_by_uid() -> None:
    wish = made("hosted", "k8s", ClusterSettings(shared_etcd=True))
    assert engines.hosted(wish, address="x")["store"]["prefix"] == "/tenants/0c1d"
