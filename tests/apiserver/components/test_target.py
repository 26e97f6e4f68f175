"""Components of other clusters: the kubeconfig comes from the Cluster object (K9)."""

import base64
import json
from collections.abc import Generator
from typing import Any

import pytest
from tests.support.charts import chart
from tests.support.engine import NAMESPACE, Engine, has

from edge.clusters.types import Cluster
from edge.components.types import Component
from edge_kube.harness.light import LightCluster


@pytest.fixture(scope="module")
def member() -> Generator[LightCluster]:
    with LightCluster() as cluster:
        yield cluster


async def _join(engine: Engine, name: str, kubeconfig: bytes) -> None:
    await engine.kube.install(Cluster)
    manifest: dict[str, Any] = {
        "apiVersion": "scope.theriseunion.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {"connection": {"kubeconfig": base64.b64encode(kubeconfig).decode()}} if kubeconfig else {},
    }
    engine.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


async def test_a_component_is_installed_repaired_and_removed_in_a_member(
    engine: Engine, member: LightCluster
) -> None:
    engine.upload(chart("web"))
    await _join(engine, "site", member.kubeconfig.read_bytes())
    await engine.start()
    await engine.create("remote", targetCluster="site", chart={"namespace": "agents"})
    ready = await engine.ready("remote")
    assert ready.status.release_version == 1
    colour = ("get", "configmap", "remote-settings", "-n", "agents", "-o", "jsonpath={.data.colour}")
    assert member.kubectl(*colour) == "blue"
    assert "agents" not in engine.kubectl("get", "namespaces", "-o", "name")
    await engine.change("remote", values={"colour": "red"})
    await engine.until("remote", lambda c: c.status.release_version == 2 and c.status.phase == "Running")
    assert member.kubectl(*colour) == "red"
    await engine.kube.delete(Component, "remote", NAMESPACE)
    await engine.kube.gone(Component, "remote", namespace=NAMESPACE)
    assert "remote" not in member.kubectl("get", "configmap,secret,lease", "-n", "agents", "-o", "name")


async def test_an_absent_cluster_is_named_and_holds_no_deletion_up(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.kube.install(Cluster)
    await engine.start()
    await engine.create("nowhere", targetCluster="atlantis")
    told = await engine.until("nowhere", has("Ready", "False", "TargetMissing"))
    assert "Cluster atlantis of spec.targetCluster does not exist" in told.status.message
    await engine.kube.delete(Component, "nowhere", NAMESPACE)
    await engine.kube.gone(Component, "nowhere", namespace=NAMESPACE)


@pytest.mark.parametrize("kubeconfig", [b"", b"a: [", b"apiVersion: v1\nkind: Config\n"])
async def test_an_unusable_kubeconfig_is_told(engine: Engine, kubeconfig: bytes) -> None:
    engine.upload(chart("web"))
    await _join(engine, "broken", kubeconfig)
    await engine.start()
    await engine.create("stuck", targetCluster="broken")
    told = await engine.until("stuck", has("Ready", "False", "TargetNotReady"))
    assert "Cluster broken" in told.status.message
    assert engine.helm_calls == []


async def test_a_member_that_does_not_answer_is_waited_for(engine: Engine, member: LightCluster) -> None:
    engine.upload(chart("web"))
    kubeconfig = member.kubeconfig.read_text().replace(member.server, "https://127.0.0.1:1")
    await _join(engine, "silent", kubeconfig.encode())
    await engine.start()
    await engine.create("waiting", targetCluster="silent")
    told = await engine.until("waiting", has("Ready", "False", "TargetUnreachable"))
    assert not told.status.retry_count
    assert "Cluster silent does not answer" in told.status.message
