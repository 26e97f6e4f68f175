"""The charts as Helm renders them: names, labels, images, switches (D1, P9, D11, D12, X7, X70)."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.embedded.charts import packed
from edge_kube.harness.processes import tool

CHARTS = Path(__file__).parents[2] / "charts"
PARTS = {"edge-controller", "edge-apiserver", "chartmuseum", "etcd"}
ONE_IMAGE = ("--set", "image.repository=registry.example.com/edge-platform", "--set", "image.tag=v9")


@pytest.fixture(scope="module")
def archives() -> Path:
    return packed(CHARTS)


def render(chart: Path, *arguments: str, release: str = "edge-platform") -> list[dict[str, Any]]:
    done = subprocess.run(
        [tool("helm"), "template", release, chart, "--namespace", "edge-system", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def workloads(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    kinds = {"Deployment", "StatefulSet"}
    return {one["metadata"]["name"]: one for one in documents if one["kind"] in kinds}


def images_of(workload: dict[str, Any]) -> set[str]:
    pod = workload["spec"]["template"]["spec"]
    return {box["image"] for box in [*pod["containers"], *pod.get("initContainers", ())]}


@pytest.mark.parametrize("name", sorted(folder.parent.name for folder in CHARTS.glob("*/Chart.yaml")))
def test_every_chart_passes_helms_own_lint(archives: Path, name: str) -> None:
    (archive,) = archives.glob(f"{name}-[0-9]*.tgz")
    values = ("--set", "cluster.name=lint") if name == "vcluster-hosted" else ()
    done = subprocess.run(
        [tool("helm"), "lint", archive, *values], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_umbrellas_one_image_serves_every_part(archives: Path) -> None:
    documents = render(archives / "edge-platform-1.0.0.tgz", *ONE_IMAGE)
    for name in ("edge-controller", "edge-apiserver", "chartmuseum"):
        assert images_of(workloads(documents)[name]) == {"registry.example.com/edge-platform:v9"}, name


def test_ha_off_keeps_one_replica_and_renders_no_budget_or_autoscaler(archives: Path) -> None:
    documents = render(archives / "edge-platform-1.0.0.tgz", "--set", "ha.enabled=false")
    assert {one["spec"]["replicas"] for one in workloads(documents).values()} == {1}
    assert not {"HorizontalPodAutoscaler", "PodDisruptionBudget"} & {one["kind"] for one in documents}


def test_the_documented_minimal_values_render_without_the_platforms_etcd(archives: Path) -> None:
    documents = render(
        archives / "edge-platform-1.0.0.tgz", "--values", str(CHARTS / "edge-platform/minimal-values.yaml")
    )
    assert set(workloads(documents)) == PARTS - {"etcd"}
    requests = workloads(documents)["edge-apiserver"]["spec"]["template"]["spec"]["containers"][0][
        "resources"
    ]
    assert requests["requests"] == {"cpu": "500m", "memory": "512Mi"}


def test_the_documented_command_line_of_the_minimal_installation_renders(archives: Path) -> None:
    """WP 15.4.2: one replica of each, ha off."""
    documents = render(
        archives / "edge-platform-1.0.0.tgz",
        *("--set", "apiserver.replicaCount=1", "--set", "controller.replicaCount=1"),
        *("--set", "console.replicaCount=1", "--set", "ha.enabled=false"),
    )
    assert not [one for one in documents if one["kind"] == "Namespace"]


def test_the_umbrella_renders_its_parts_itself_and_no_components(archives: Path) -> None:
    documents = render(archives / "edge-platform-1.0.0.tgz")
    assert not [one for one in documents if one["kind"] == "Component"]


@pytest.mark.parametrize(
    ("release", "arguments", "components"),
    [
        ("edge-controller", (), {"chartmuseum", "edge-apiserver"}),
        ("edge-controller", ("--set", "etcd.enabled=true"), {"etcd", "chartmuseum", "edge-apiserver"}),
        ("controller", (), set[str]()),
        ("controller", ("--set", "global.mode=all"), {"chartmuseum", "edge-apiserver"}),
    ],
)
def test_the_mode_decides_which_parts_the_controller_brings(
    release: str, arguments: tuple[str, ...], components: set[str]
) -> None:
    documents = render(CHARTS / "edge-controller", *arguments, release=release)
    assert {one["metadata"]["name"] for one in documents if one["kind"] == "Component"} == components


def test_an_unknown_mode_is_refused_with_the_accepted_ones() -> None:
    done = subprocess.run(
        [tool("helm"), "template", "x", CHARTS / "edge-controller", "--set", "global.mode=some"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert 'global.mode is "some"; accepted are all, host, member and none' in done.stderr


def test_long_running_pods_and_services_carry_the_documented_labels(archives: Path) -> None:
    documents = render(archives / "edge-platform-1.0.0.tgz", "--set", "etcd.enabled=true")
    for name, workload in workloads(documents).items():
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert (labels["app"], labels["app.kubernetes.io/name"]) == (name, "edge-platform")
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert workload["spec"]["selector"]["matchLabels"]["app"] == name
    for service in (one for one in documents if one["kind"] == "Service"):
        aliased = "theriseunion.io/alias-of" in service["metadata"]["labels"]
        assert ("app.kubernetes.io/name" in service["metadata"]["labels"]) != aliased


def test_pods_run_non_root_read_only_and_without_capabilities(archives: Path) -> None:
    documents = render(archives / "edge-platform-1.0.0.tgz", "--set", "etcd.enabled=true")
    for name, workload in workloads(documents).items():
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        for box in [*pod["containers"], *pod.get("initContainers", ())]:
            context = box["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert box["resources"]["requests"], name
        assert all("readinessProbe" in box for box in pod["containers"]), name


def test_the_gateway_service_has_both_documented_ports(archives: Path) -> None:
    documents = render(archives / "edge-platform-1.0.0.tgz")
    (service,) = [
        one for one in documents if one["kind"] == "Service" and one["metadata"]["name"] == "edge-apiserver"
    ]
    assert [(port["name"], port["port"]) for port in service["spec"]["ports"]][:2] == [
        ("http", 9090),
        ("metrics", 8080),
    ]


def test_several_gateways_keep_their_trail_in_sinks_with_claims_of_their_own() -> None:
    """O6: a Deployment cannot have a claim a pod."""
    documents = render(CHARTS / "edge-apiserver", "--set", "ha.enabled=true")
    sinks = workloads(documents)["edge-audit"]["spec"]
    assert sinks["replicas"] == 3
    assert sinks["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOnce"]
    configs = {one["metadata"]["name"]: one["data"] for one in documents if one["kind"] == "ConfigMap"}
    gateway = yaml.safe_load(configs["edge-apiserver"]["edge.yaml"])["audit"]["sinks"]
    assert gateway == [f"https://edge-audit-{n}.edge-audit.edge-system.svc:9443" for n in range(3)]
    assert yaml.safe_load(configs["edge-audit"]["audit.yaml"])["sink"]["peers"] == gateway
    assert not [one for one in documents if one["kind"] == "PersistentVolumeClaim"]


def test_one_gateway_keeps_its_trail_itself() -> None:
    documents = render(CHARTS / "edge-apiserver", "--set", "ha.enabled=false")
    assert "edge-audit" not in workloads(documents)
    (claim,) = [one for one in documents if one["kind"] == "PersistentVolumeClaim"]
    assert claim["metadata"]["name"] == "edge-audit"
