"""The white paper's first checks (15.5), typed as printed: pods, services, claim, token, users, a cluster.

P11, P4, C3, C10, I12, I16, K7, K8.
"""

import json
import subprocess
from pathlib import Path

import pytest
from tests.e2e.instance import Platform, eventually

TEST_CLUSTER = """
apiVersion: scope.theriseunion.io/v1alpha1
kind: Cluster
metadata:
  name: test-cluster
spec:
  type: virtual
  distribution: k3s
  version: v1.26.0
"""

TOKEN = """
TOKEN=$(curl -s -X POST http://$API/oauth/token \
  -d "grant_type=password&username=admin&password=P@88w0rd&client_id=edge-console&client_secret=edge-secret" \
  | jq -r '.access_token')
"""


def typed(platform: Platform, script: str, **variables: str) -> str:
    """What a command line prints; AssertionError with its words when it fails."""
    done = platform.shell(script, API=platform.gateway.removeprefix("http://"), **variables)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_all_pods_of_the_platform_run(platform: Platform) -> None:
    eventually("all run", lambda: _all_run(platform))  # tests before this one restart some


def _all_run(platform: Platform) -> bool:
    pods = json.loads(platform.kubectl("get", "pods", "-n", "edge-system", "-o", "json"))["items"]
    seen = {pod["metadata"]["labels"].get("app") for pod in pods}
    assert {"edge-apiserver", "edge-controller", "chartmuseum", "etcd"} <= seen
    for pod in pods:
        ready = [status["ready"] for status in pod["status"]["containerStatuses"]]
        assert pod["status"]["phase"] == "Running", pod["metadata"]["name"]
        assert all(ready), pod["metadata"]["name"]
    return True


def test_kubectl_wait_by_the_platforms_label_returns(platform: Platform) -> None:
    typed(
        platform,
        "kubectl wait --for=condition=ready pod -l app.kubernetes.io/name=edge-platform -n edge-system"
        " --timeout=300s",
    )


def test_the_services_have_their_documented_ports(platform: Platform) -> None:
    service = json.loads(platform.kubectl("get", "svc", "edge-apiserver", "-n", "edge-system", "-o", "json"))
    assert [(port["name"], port["port"]) for port in service["spec"]["ports"]][:2] == [
        ("http", 9090),
        ("metrics", 8080),
    ]
    assert "8080" in platform.kubectl("get", "svc", "chartmuseum", "-n", "edge-system")


def test_the_museums_claim_is_bound(platform: Platform) -> None:
    claim = json.loads(platform.kubectl("get", "pvc", "chartmuseum-data", "-n", "edge-system", "-o", "json"))
    assert claim["status"]["phase"] == "Bound"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"


def test_the_printed_curl_gets_a_token_and_lists_the_users(platform: Platform) -> None:
    said = typed(
        platform,
        TOKEN
        + 'curl -s -H "Authorization: Bearer $TOKEN" http://$API/oapis/iam.theriseunion.io/v1alpha1/users',
    )
    users = json.loads(said)
    assert [user["metadata"]["name"] for user in users["items"]] == ["admin"]
    assert "P@88w0rd" not in said
    assert "$2" not in said, "a password hash was shown"


@pytest.mark.parametrize("port", ["8080", "9090"])
def test_health_is_answered_without_a_token_on_both_ports(platform: Platform, port: str) -> None:
    for path in ("healthz", "readyz", "health", "metrics", "oapis/version"):
        eventually(path, lambda path=path: typed(platform, f"curl -sf ${{API%:*}}:{port}/{path}"))


def test_the_white_papers_cluster_becomes_ready_and_has_a_node(platform: Platform, tmp_path: Path) -> None:
    manifest = tmp_path / "cluster.yaml"
    manifest.write_text(TEST_CLUSTER)
    kubeconfig = tmp_path / "test-cluster.kubeconfig"
    try:
        said = typed(
            platform,
            """
            kubectl apply -f $MANIFEST
            kubectl apply -f $MANIFEST
            kubectl wait --for=condition=Ready cluster/test-cluster --timeout=300s
            kubectl get cluster test-cluster -o jsonpath='{.spec.connection.kubeconfig}' | base64 -d > $OUT
            kubectl apply -f $MANIFEST
            kubectl --kubeconfig=$OUT get nodes --no-headers
            helm list -A | grep vcluster
            """,
            MANIFEST=str(manifest),
            OUT=str(kubeconfig),
        )
        lines = said.splitlines()
        assert [
            line.split()[-1] for line in lines if line.startswith("cluster.scope") and "condition" not in line
        ] == [
            "created",
            "unchanged",
            "unchanged",
        ]
        assert any(" Ready " in line for line in lines), said
        _is_honest(platform)
    finally:
        platform.kubectl("delete", "cluster", "test-cluster", "--ignore-not-found", "--timeout=360s")
    eventually("nothing is left", lambda: _nothing_is_left(platform))


def _is_honest(platform: Platform) -> None:
    """Asked for k3s 1.26, served by a stock Kubernetes: the status says so, and it is Ready all the same."""
    seen = json.loads(platform.kubectl("get", "cluster", "test-cluster", "-o", "json"))
    conditions = {one["type"]: one for one in seen["status"]["conditions"]}
    assert conditions["Ready"]["status"] == "True"
    assert conditions["DistributionExact"]["status"] == "False"
    assert conditions["VersionExact"]["status"] == "False"
    assert "1.26" in conditions["VersionExact"]["message"]
    assert seen["status"]["nodeCount"] >= 1
    assert seen["status"]["kubernetesVersion"]
    assert seen["status"]["uid"]


def _nothing_is_left(platform: Platform) -> bool:
    done = platform.shell("kubectl get namespace vcluster-test-cluster")
    assert "NotFound" in done.stderr
    assert "test-cluster" not in platform.kubectl("get", "components", "-A", "-o", "name")
    assert "vcluster-test-cluster" not in platform.helm("list", "-A")
    return True


def test_a_wrong_password_is_refused_without_telling_whether_the_user_exists(platform: Platform) -> None:
    answers = {user: _answer_to_wrong_password(platform, user) for user in ("admin", "nobody-of-that-name")}
    assert answers["admin"] == answers["nobody-of-that-name"]
    assert answers["admin"].endswith(("400", "401"))


def _answer_to_wrong_password(platform: Platform, user: str) -> str:
    form = (
        f"grant_type=password&username={user}&password=wrong&client_id=edge-console&client_secret=edge-secret"
    )
    command = ["curl", "-s", "-o", "-", "-w", "%{http_code}", f"{platform.gateway}/oauth/token", "-d", form]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
