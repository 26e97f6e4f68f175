"""The application store on the whole platform: host and virtual cluster, real pods, nothing left behind.

N1, A1, A2, A4, A5, A11, C9.
"""

import json
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.instance import Platform, eventually

CLUSTER = "shop-cluster"
NAMESPACE = "shop"
BUSYBOX = "localhost/edge/busybox:v1.0.0"

GROUPS = f"""
apiVersion: scope.theriseunion.io/v1alpha1
kind: Cluster
metadata: {{name: {CLUSTER}}}
spec: {{type: virtual}}
---
apiVersion: scope.theriseunion.io/v1alpha1
kind: NodeGroup
metadata: {{name: headquarters}}
spec:
  selector: {{matchExpressions: [{{key: kubernetes.io/os, operator: Exists}}]}}
  template: {{labels: {{shop.example.com/site: headquarters}}}}
---
apiVersion: scope.theriseunion.io/v1alpha1
kind: NodeGroup
metadata:
  name: branch
  labels: {{scope.theriseunion.io/cluster: {CLUSTER}}}
spec:
  selector: {{matchExpressions: [{{key: kubernetes.io/os, operator: Exists}}]}}
  template:
    labels: {{shop.example.com/site: branch}}
    taints: ["shop.example.com/branch=true:NoSchedule"]
"""

SHOP = f"""
apiVersion: app.theriseunion.io/v1alpha1
kind: Application
metadata:
  name: till
  labels: {{app.theriseunion.io/provisioner: workload}}
spec: {{}}
---
apiVersion: app.theriseunion.io/v1alpha1
kind: ApplicationVersion
metadata: {{name: till-v1.0.0}}
spec:
  applicationRef: till
  version: v1.0.0
  workloadConfig:
    deployments:
    - name: till
      spec:
        replicas: 1
        template:
          spec:
            terminationGracePeriodSeconds: 1
            containers:
            - {{name: till, image: {BUSYBOX}, command: [sleep, "1000000"]}}
---
apiVersion: app.theriseunion.io/v1alpha1
kind: ApplicationDeployment
metadata: {{name: till, namespace: {NAMESPACE}}}
spec:
  application: till
  version: latest
  topologies:
  - nodeGroup: headquarters
  - nodeGroup: branch
    workloadOverride: {{deployments: [{{name: till, spec: {{replicas: 2, template: {{}}}}}}]}}
"""

BROKEN = f"""
apiVersion: app.theriseunion.io/v1alpha1
kind: ApplicationDeployment
metadata: {{name: broken, namespace: {NAMESPACE}}}
spec:
  application: till
  version: v1.0.0
  topologies:
  - cluster: host
    workloadOverride:
      deployments:
      - name: till
        spec:
          template:
            spec: {{containers: [{{name: till, image: "localhost:1/no/such:image"}}]}}
"""

GREETER = f"""
apiVersion: app.theriseunion.io/v1alpha1
kind: Application
metadata:
  name: greeter
  labels: {{app.theriseunion.io/provisioner: function}}
spec: {{}}
---
apiVersion: app.theriseunion.io/v1alpha1
kind: ApplicationVersion
metadata: {{name: greeter-v1.0.0}}
spec:
  applicationRef: greeter
  version: v1.0.0
  config:
    source: |
      def handle(event):
          return {{"hello": event["query"].get("name", "world")}}
---
apiVersion: app.theriseunion.io/v1alpha1
kind: ApplicationDeployment
metadata: {{name: greeter, namespace: {NAMESPACE}}}
spec: {{application: greeter, version: latest, topologies: [{{nodeGroup: headquarters}}]}}
"""


@pytest.fixture(scope="module")
def shop(platform: Platform) -> Generator[Platform]:
    """A virtual cluster, a node group here and one there, and a namespace."""
    platform.kubectl("create", "namespace", NAMESPACE)
    platform.kubectl("apply", "-f", "-", stdin=GROUPS)
    try:
        platform.kubectl("wait", "--for=condition=Ready", f"cluster/{CLUSTER}", "--timeout=900s")
        yield platform
    finally:
        groups = ("nodegroups.scope.theriseunion.io", "headquarters", "branch")
        platform.kubectl("delete", "appd", "--all", "-n", NAMESPACE, "--timeout=180s")
        platform.kubectl("delete", *groups, "--timeout=180s")
        platform.kubectl("delete", "applications.app.theriseunion.io", "--all")
        platform.kubectl("delete", "applicationversions.app.theriseunion.io", "--all")
        platform.kubectl("delete", "cluster", CLUSTER, "--timeout=540s")
        platform.kubectl("delete", "namespace", NAMESPACE, "--timeout=360s")


@pytest.fixture(scope="module")
def branch(shop: Platform, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kubeconfig of the virtual cluster, as the platform hands it out."""
    kubeconfig = tmp_path_factory.mktemp("branch") / "kubeconfig"
    script = f"kubectl get cluster {CLUSTER} -o jsonpath='{{.spec.connection.kubeconfig}}' | base64 -d > $OUT"
    done = shop.shell(script, OUT=str(kubeconfig))
    assert done.returncode == 0, done.stderr
    return kubeconfig


def objects(platform: Platform, *args: str) -> list[dict[str, Any]]:
    return json.loads(platform.kubectl("get", *args, "-o", "json"))["items"]


def status(platform: Platform, name: str) -> dict[str, Any]:
    return json.loads(platform.kubectl("get", "appd", name, "-n", NAMESPACE, "-o", "json")).get("status", {})


def test_one_deployment_runs_on_two_topologies_and_one_is_in_the_virtual_cluster(
    shop: Platform, branch: Path
) -> None:
    there = f"--kubeconfig={branch}"
    shop.kubectl("apply", "-f", "-", stdin=SHOP)
    shop.kubectl("wait", "--for=condition=Ready", "appd/till", "-n", NAMESPACE, "--timeout=540s")
    seen = status(shop, "till")
    assert (seen["applicationVersion"], seen["readyStatus"]) == ("v1.0.0", "3/3")
    assert [one.get("cluster", "") for one in seen["topologyStatuses"]] == ["", CLUSTER]
    here = objects(shop, "pods", "-n", NAMESPACE, "-l", "app.theriseunion.io/deployment=till")
    pods = objects(shop, "pods", there, "-n", NAMESPACE, "-l", "app.theriseunion.io/deployment=till")
    assert [pod["status"]["phase"] for pod in here] == ["Running"]
    assert [pod["status"]["phase"] for pod in pods] == ["Running", "Running"]
    (node, *_) = objects(shop, "nodes", there)
    assert node["metadata"]["labels"]["shop.example.com/site"] == "branch"
    group = json.loads(shop.kubectl("get", "nodegroups.scope.theriseunion.io", "branch", "-o", "json"))
    assert int(group["metadata"]["annotations"]["theriseunion.io/ready-node-count"]) >= 1


def test_what_is_deleted_in_the_virtual_cluster_comes_back(shop: Platform, branch: Path) -> None:
    there = f"--kubeconfig={branch}"
    shop.kubectl("delete", "deployment", "till-branch", there, "-n", NAMESPACE)
    eventually(
        "the Deployment is there again",
        lambda: shop.kubectl("get", "deployment", "till-branch", there, "-n", NAMESPACE),
    )


def test_an_image_that_cannot_be_pulled_shows_in_the_status_of_its_topology(shop: Platform) -> None:
    shop.kubectl("apply", "-f", "-", stdin=BROKEN)

    def told() -> bool:
        (one,) = status(shop, "broken")["topologyStatuses"]
        assert (one["reason"], one["phase"]) == ("ImagePullBackOff", "Failed"), one
        return "localhost:1/no/such:image" in one["message"]

    eventually("the status tells", told, within_s=270)
    shop.kubectl("delete", "appd", "broken", "-n", NAMESPACE, "--timeout=180s")


def test_a_function_from_a_plugin_answers_over_its_service(shop: Platform) -> None:
    shop.kubectl("apply", "-f", "-", stdin=GREETER)
    shop.kubectl("wait", "--for=condition=Ready", "appd/greeter", "-n", NAMESPACE, "--timeout=360s")
    url = shop.service_url("greeter-headquarters", NAMESPACE)

    def greets() -> bool:
        with urllib.request.urlopen(f"{url}/?name=edge", timeout=60) as answer:
            return json.load(answer) == {"hello": "edge"}

    eventually("it answers", greets)


def test_deleting_the_deployment_leaves_nothing_in_either_cluster(shop: Platform, branch: Path) -> None:
    shop.kubectl("delete", "appd", "till", "-n", NAMESPACE, "--timeout=180s")
    kinds = "deployments,services,configmaps,statefulsets,daemonsets"
    label = "app.theriseunion.io/deployment=till"
    for where in ((), (f"--kubeconfig={branch}",)):
        eventually("all are gone", lambda where=where: objects(shop, kinds, *where, "-A", "-l", label) == [])
