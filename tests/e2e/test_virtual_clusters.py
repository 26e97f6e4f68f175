"""Virtual clusters with real control planes and nested workers, from creation to the last trace.

Requirements: C1, C3, C5, C6, C7, C10, C11; rulings R21–R28, R30.
"""

import base64
import json
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.instance import Platform, eventually

READY_WITHIN_S = 180  # on a loaded machine; thirty seconds on a quiet one
IMAGE = "localhost/edge/busybox:v1.0.0"
TRACES = "namespaces,clusterroles,clusterrolebindings,persistentvolumes,clusters.scope.theriseunion.io"


@dataclass(frozen=True)
class Tenant:
    """A virtual cluster as its user has it: a name and the kubeconfig of spec.connection."""

    platform: Platform
    name: str
    config: Path

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", "--kubeconfig", str(self.config), *args],
            env={**self.platform.environment, "KUBECONFIG": ""},
            capture_output=True,
            text=True,
            check=False,
        )

    def kubectl(self, *args: str) -> str:
        done = self.run(*args)
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr.strip()}"
        return done.stdout


def create(platform: Platform, name: str, spec: str = "type: virtual") -> Tenant:
    manifest = (
        f"apiVersion: scope.theriseunion.io/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}}}\n"
        f"spec: {{{spec}}}\n"
    )
    platform.kubectl("apply", "-f", "-", stdin=manifest)
    platform.kubectl("wait", "--for=condition=Ready", f"cluster/{name}", f"--timeout={READY_WITHIN_S}s")
    encoded = platform.kubectl("get", "cluster", name, "-o", "jsonpath={.spec.connection.kubeconfig}")
    config = platform.instance.at("home") / f"{name}.kubeconfig"
    config.write_bytes(base64.b64decode(encoded))
    return Tenant(platform, name, config)


def delete(platform: Platform, name: str) -> None:
    platform.kubectl("delete", "cluster", name, "--timeout=360s")


def traces(platform: Platform, name: str) -> list[str]:
    """Whatever of the host cluster carries the name of a virtual cluster, and keys in the etcd."""
    everything = platform.kubectl("get", TRACES, "-o", "name").split()
    for kind in ("secrets", "configmaps", "components.ext.theriseunion.io", "leases"):
        everything += platform.kubectl("get", kind, "-A", "-o", "name").split()
    return [one for one in everything if name in one] + [
        volume
        for volume in everything
        if volume.startswith("persistentvolume/") and name in claim(platform, volume)
    ]


def claim(platform: Platform, volume: str) -> str:
    return platform.kubectl("get", volume, "-o", "jsonpath={.spec.claimRef.namespace}")


def etcdctl(platform: Platform, *args: str) -> str:
    certs = ["--cacert=/etc/etcd/ca.crt", "--cert=/etc/etcd/client.crt", "--key=/etc/etcd/client.key"]
    return platform.kubectl("exec", "-n", "edge-system", "etcd-0", "--", "etcdctl", *certs, *args)


def uid_of(platform: Platform, name: str) -> str:
    return platform.kubectl("get", "cluster", name, "-o", "jsonpath={.metadata.uid}")


@pytest.fixture(scope="module")
def shop(platform: Platform) -> Generator[Tenant]:
    """A virtual cluster on the platform's etcd, with its nested worker."""
    yield create(platform, "shop")
    delete(platform, "shop")


def test_its_node_is_ready_and_pods_really_run(shop: Tenant) -> None:
    nodes = json.loads(shop.kubectl("get", "nodes", "-o", "json"))["items"]
    assert [node["metadata"]["name"] for node in nodes] == ["shop-worker-0"]
    shop.kubectl(
        "create", "deployment", "web", f"--image={IMAGE}", "--replicas=2",
        "--", "sh", "-c", "echo hello > /tmp/index.html; exec httpd -f -v -p 8080 -h /tmp",
    )  # fmt: skip
    shop.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    shop.kubectl("rollout", "status", "deployment/web", "--timeout=360s")
    # Name, Service and pod network of the virtual cluster itself; the first packets may be early.
    command = ("exec", "deploy/web", "--", "wget", "-qO-", "http://web.default.svc.cluster.local")
    eventually("the Service answers by name", lambda: shop.kubectl(*command) == "hello\n", 180)
    logs = ("logs", "-l", "app=web", "--tail=50")
    eventually("the answer is logged", lambda: "response:200" in shop.kubectl(*logs))


def test_its_release_and_status_tell_what_serves(platform: Platform, shop: Tenant) -> None:
    listed = platform.shell("helm list -A | grep vcluster").stdout
    assert "shop" in listed
    assert "vcluster-shop" in listed
    status = json.loads(platform.kubectl("get", "cluster", "shop", "-o", "json"))["status"]
    version = json.loads(shop.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    kube_system = shop.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    assert (status["kubernetesVersion"], status["uid"], status["nodeCount"]) == (version, kube_system, 1)
    assert status["datastore"] == "shared"
    assert status["phase"] == "Ready"


def test_its_objects_lie_below_its_own_prefix_of_the_platforms_etcd(platform: Platform, shop: Tenant) -> None:
    shop.kubectl("create", "configmap", "found-in-etcd")
    keys = etcdctl(platform, "get", "/", "--prefix", "--keys-only").split()
    assert f"/tenants/{uid_of(platform, 'shop')}/configmaps/default/found-in-etcd" in keys
    assert [key for key in keys if not key.startswith("/tenants/")] == []


def test_a_second_one_with_an_etcd_of_its_own_is_apart_and_leaves_nothing(
    platform: Platform, shop: Tenant
) -> None:
    mine = create(platform, "solo", "type: virtual, datastore: {mode: own, size: 1Gi}")
    assert "solo-worker-0" in mine.kubectl("get", "nodes", "-o", "name")
    ranges = {
        name: platform.kubectl("get", "cluster", name, "-o", "jsonpath={.status.network.serviceCIDR}")
        for name in ("shop", "solo")
    }
    assert ranges["shop"] != ranges["solo"]
    # The keys of one do not open the other.
    server = shop.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    crossed = mine.run("--server", server, "--insecure-skip-tls-verify", "get", "namespaces")
    assert crossed.returncode != 0
    # What is stored outlives the control plane's pod.
    mine.kubectl("create", "configmap", "kept")
    platform.kubectl("delete", "pod", "plane-0", "-n", "vcluster-solo", "--wait=true")
    eventually("the control plane is back", lambda: "kept" in mine.kubectl("get", "configmap", "kept"), 360)

    delete(platform, "solo")
    eventually("nothing is left of solo", lambda: traces(platform, "solo") == [], 180)
    assert shop.kubectl("get", "nodes", "-o", "name") == "node/shop-worker-0\n"


def test_a_dead_one_is_deleted_without_being_asked(platform: Platform) -> None:
    create(platform, "gone", "type: virtual, worker: {enabled: false}")
    uid = uid_of(platform, "gone")
    node = platform.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    platform.kubectl("cordon", node)
    try:
        platform.kubectl("delete", "pod", "plane-0", "-n", "vcluster-gone", "--grace-period=1")
        delete(platform, "gone")
    finally:
        platform.kubectl("uncordon", node)
    eventually("nothing is left of gone", lambda: traces(platform, "gone") == [], 180)
    assert uid not in etcdctl(platform, "get", "/tenants/", "--prefix", "--keys-only")
    assert uid not in etcdctl(platform, "user", "list")
    assert uid not in etcdctl(platform, "role", "list")


def test_made_anew_under_the_same_name_it_is_empty(platform: Platform) -> None:
    first = create(platform, "again", "type: virtual, worker: {enabled: false}")
    first.kubectl("create", "namespace", "old")
    delete(platform, "again")
    second = create(platform, "again", "type: virtual, worker: {enabled: false}")
    assert "old" not in second.kubectl("get", "namespaces", "-o", "name")
    delete(platform, "again")
