"""`make up KUBECONFIG=…`: prerequisites of an existing cluster, each missing one with its remedy (D1)."""

import http.server
import json
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from edge.embedded.existing import Cluster, check
from edge.embedded.steps import Progress, StepError
from edge_kube.harness.light import LightCluster
from edge_kube.harness.processes import tool

STORAGE = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: slow}
provisioner: example.com/none
"""
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}}
READY = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "x", "message": ""}]}}


@pytest.fixture(scope="module")
def light() -> Generator[LightCluster]:
    with LightCluster() as cluster:
        yield cluster


def look(kubeconfig: Path) -> str:
    """What `check` complains about; empty when nothing."""
    try:
        check(Cluster(Path(tool("kubectl")), kubeconfig), Progress(quiet=True))
    except StepError as error:
        return str(error)
    return ""


def test_everything_that_is_missing_is_told_at_once_and_nothing_when_all_is_there(
    light: LightCluster,
) -> None:
    told = look(light.kubeconfig)
    assert "there is no StorageClass: install a volume provisioner" in told
    assert "no node is Ready and schedulable" in told

    light.kubectl("apply", "-f", "-", stdin=STORAGE)
    light.kubectl("create", "-f", "-", stdin=json.dumps(NODE))
    light.kubectl("patch", "node", "one", "--subresource=status", "--type=merge", "-p", json.dumps(READY))
    light.kubectl("taint", "node", "one", "node.kubernetes.io/not-ready-")
    told = look(light.kubeconfig)
    remedy = told.rpartition("mark one with ")[2].strip()
    assert remedy.startswith("kubectl annotate storageclass slow ")

    light.kubectl(*remedy.split()[1:])
    assert look(light.kubeconfig) == ""


def test_a_user_without_rights_is_told_which_are_needed(light: LightCluster, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(light.kubeconfig_for("mallory")))
    assert "bound to cluster-admin" in look(file)


def test_a_kubeconfig_that_is_not_there_points_nowhere_or_is_no_yaml_is_told_so(
    light: LightCluster, tmp_path: Path
) -> None:
    assert "there is no file" in look(tmp_path / "absent")

    nowhere: dict[str, Any] = light.kubeconfig_for("admin", ["system:masters"])
    nowhere["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    file = tmp_path / "nowhere"
    file.write_text(json.dumps(nowhere))
    assert "cannot be reached" in look(file)

    file.write_text("{]")
    assert "cannot be reached" in look(file)


class _Old(http.server.BaseHTTPRequestHandler):
    """A server that says it is Kubernetes 1.22 and knows nothing else."""

    def do_GET(self) -> None:
        known = self.path.startswith("/version")
        body = json.dumps({"gitVersion": "v1.22.17", "major": "1", "minor": "22"}) if known else "{}"
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Nothing on the terminal."""


def test_an_old_kubernetes_is_told_with_the_version_that_is_needed(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Old) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "old",
            "clusters": [{"name": "old", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "old", "context": {"cluster": "old", "user": "old"}}],
            "users": [{"name": "old", "user": {}}],
        }  # fmt: skip
        file = tmp_path / "old"
        file.write_text(json.dumps(config))
        told = look(file)
        server.shutdown()
    assert "v1.22.17 is too old: upgrade it to v1.24 or newer" in told
