"""A real API server takes what every chart renders, also with the documented values files (D1)."""

import subprocess
from pathlib import Path

import pytest

from edge.components.types import Component
from edge.embedded.charts import packed
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import tool

CHARTS = Path(__file__).parents[2] / "charts"
NAMESPACE = "edge-charts"


@pytest.fixture(scope="module")
def archives() -> Path:
    return packed(CHARTS)


@pytest.mark.parametrize(
    ("chart", "arguments"),
    [
        ("edge-platform", ()),
        ("edge-platform", ("--values", str(CHARTS / "edge-platform/minimal-values.yaml"))),
        (
            "edge-platform",
            ("--set", "etcd.enabled=true", "--set", "global.imageRegistry=registry.example.com/edge"),
        ),
        ("edge-controller", ()),
        ("edge-controller", ("--values", str(CHARTS / "edge-controller/embedded-values.yaml"))),
        ("chartmuseum", ("--set", "image.repository=chartmuseum/chartmuseum", "--set", "command=null")),
        ("etcd", ()),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[-1:]).split("/")[-1],
)
async def test_the_api_server_accepts_what_a_chart_renders(
    light_cluster: LightCluster, archives: Path, chart: str, arguments: tuple[str, ...]
) -> None:
    await light_cluster.install(Component)
    light_cluster.kubectl("create", "namespace", NAMESPACE, check=False)
    rendered = subprocess.run(
        [
            tool("helm"),
            "template",
            chart,
            archives / f"{chart}-1.0.0.tgz",
            "--namespace",
            NAMESPACE,
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    said = light_cluster.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "--filename", "-", stdin=rendered
    )
    assert said.count("(server dry run)") == rendered.count("\nkind: ")
