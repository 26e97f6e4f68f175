"""What a Cluster may not say, told by kubectl: field, value, why, what is accepted. C1, C2."""

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio
import yaml
from tests.support.tenants import PlayedMembers, PlayedStores

from edge import pki
from edge.clusters.room import room
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import Cluster
from edge_kube.harness import Kube

NOW = datetime.now(UTC)
CA = pki.make_ca("elsewhere", now=NOW)


@pytest_asyncio.fixture
async def admission(system: Kube, members: PlayedMembers, stores: PlayedStores) -> AsyncIterator[Kube]:
    await system.start(room(members, stores, ClusterSettings(external_address="192.0.2.10")), webhooks=True)
    yield system
    await system.stop()


def config(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(pki.kubeconfig("https://192.0.2.1:6443", CA.cert, token="t0ken"))
    made["users"][0]["user"] |= changes.get("user", {})
    made["clusters"][0]["cluster"] |= changes.get("cluster", {})
    return made


def given(content: object) -> dict[str, Any]:
    text = content if isinstance(content, str) else json.dumps(content)
    return {"type": "physical", "connection": {"kubeconfig": base64.b64encode(text.encode()).decode()}}


async def refusal(kube: Kube, spec: dict[str, Any], name: str = "bad", **metadata: Any) -> str:
    """What kubectl says; fails when the object is accepted."""
    manifest = {
        "apiVersion": "scope.theriseunion.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }

    def apply() -> str:
        try:
            return "accepted: " + kube.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        except subprocess.CalledProcessError as error:
            return str(error.stderr)

    said = await asyncio.to_thread(apply)
    assert not said.startswith("accepted"), said
    return said


async def test_bad_clusters_are_refused_with_field_value_and_what_is_accepted(admission: Kube) -> None:
    cases: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({"distribution": "rke2"}, ("spec.distribution", '"rke2"', '"k3s", "k0s", "k8s"')),
        ({"version": "latest"}, ("spec.version", '"latest"', "v1.30")),
        ({"version": "1.30.x"}, ("spec.version", "1.30.x", "it is no version")),
        ({"type": "cloud"}, ("spec.type", '"cloud"', '"virtual", "physical"')),
        (
            {"network": {"serviceCIDR": "10.1.2.3/20"}},
            ("spec.network.serviceCIDR", "10.1.2.3/20", "host bits"),
        ),
        ({"network": {"serviceCIDR": "10.0.0.0/8"}}, ("spec.network.serviceCIDR", "10.0.0.0/8", "size")),
        (
            {"network": {"serviceCIDR": "10.9.0.0/20", "podCIDR": "10.9.0.0/16"}},
            ("spec.network.podCIDR", "overlaps"),
        ),
        ({"type": "physical", "worker": {"enabled": True}}, ("spec.worker.enabled", "its own nodes")),
        (given("{{{"), ("spec.connection.kubeconfig", "no valid YAML")),
        (given("just text"), ("spec.connection.kubeconfig", "not a mapping")),
        (
            {"type": "physical", "connection": {"kubeconfig": "bm90IGEgY29uZmln"}},
            ("spec.connection.kubeconfig",),
        ),
        (given(config(user={"exec": {"command": "sh"}})), ("spec.connection.kubeconfig", "exec")),
        (given(config(user={"client-certificate": "/etc/passwd"})), ("names the file", "flatten")),
        (given(config(cluster={"insecure-skip-tls-verify": True})), ("insecure-skip-tls-verify",)),
        (given(config(cluster={"server": "http://192.0.2.1:8080"})), ("not https",)),
        (given(config(cluster={"server": "https://169.254.169.254"})), ("own machine or link",)),
        (given(config(cluster={"server": "https://127.0.0.1:6443"})), ("own machine or link",)),
    ]
    for spec, parts in cases:
        said = await refusal(admission, spec)
        for part in parts:
            assert part in said, f"{part!r} is not in: {said}"
        assert "t0ken" not in said


async def test_names_that_cannot_be_derived_from_are_refused(admission: Kube) -> None:
    assert "at most 53 characters" in await refusal(admission, {}, name="x" * 54)
    assert "DNS label" in await refusal(admission, {}, name="plant.north")


async def test_annotation_and_field_must_agree(admission: Kube) -> None:
    key = "scope.theriseunion.io/distribution"
    said = await refusal(admission, {"distribution": "k3s"}, annotations={key: "k0s"})
    assert key in said
    assert "k0s" in said
    said = await refusal(admission, {}, annotations={key: "openshift"})
    assert "k3s, k0s, k8s" in said


async def test_what_is_fixed_stays_and_versions_do_not_go_back(admission: Kube) -> None:
    fixed = {"type": "virtual", "version": "v1.36", "network": {"serviceCIDR": "10.200.0.0/20"}}
    manifest = {
        "apiVersion": "scope.theriseunion.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "fixed"},
        "spec": fixed,
    }
    await asyncio.to_thread(admission.cluster.kubectl, "apply", "-f", "-", stdin=json.dumps(manifest))
    for change, field in (
        ({"type": "physical"}, "spec.type"),
        ({"network": {"serviceCIDR": "10.201.0.0/20"}}, "spec.network.serviceCIDR"),
        ({"version": "v1.35"}, "spec.version"),
    ):
        assert field in await refusal(admission, {**fixed, **change}, name="fixed")
    # From a minor to a patch of it is no step back.
    same = {**manifest, "spec": {**fixed, "version": "v1.36.3"}}
    said = await asyncio.to_thread(admission.cluster.kubectl, "apply", "-f", "-", stdin=json.dumps(same))
    assert "configured" in said


async def test_every_printed_example_is_accepted_and_only_the_type_is_filled_in(admission: Kube) -> None:
    examples: dict[str, dict[str, Any]] = {
        "test-cluster": {"type": "virtual", "distribution": "k3s", "version": "v1.26.0"},
        "ha-test-cluster": {"type": "virtual"},
        "perf-test-cluster-1": {"type": "virtual", "distribution": "k3s"},
        "edge-cluster-1": {"type": "virtual", "edgeRuntime": {"type": "kubeedge"}},
        "contract-only": {
            "provider": "aws",
            "enable": True,
            "joinFederation": True,
            "connection": {"type": "direct"},
        },
    }
    for name, spec in examples.items():
        manifest = {
            "apiVersion": "scope.theriseunion.io/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": name},
            "spec": spec,
        }
        text = json.dumps(manifest)
        said = await asyncio.to_thread(admission.cluster.kubectl, "apply", "-f", "-", stdin=text)
        assert "created" in said
        kept = json.loads(
            await asyncio.to_thread(admission.cluster.kubectl, "get", "cluster", name, "-o", "json")
        )
        kubeconfig = kept["spec"].get("connection", {}).pop("kubeconfig", None)
        assert kubeconfig is None
        expected = {**spec, "type": spec.get("type", "physical")}
        assert kept["spec"] == expected
    assert (await admission.get(Cluster, "contract-only")).spec.type == "physical"
