"""What is refused at the door, naming field, value, reason and what is accepted (A1, A3, A5)."""

from typing import Any

import msgspec
import pytest
from tests.unit.apps.objects import POD, application, deployment, version, workloads

from edge.apps.types import ApplicationDeployment, ApplicationVersion
from edge.apps.webhooks import check_application, check_deployment, version_check
from edge_sdk.plugins import Registry

REGISTRY = Registry()
REGISTRY.refresh()
CHECK = version_check(REGISTRY)
HELM = {"chartName": "a", "chartVersion": "1.0.0", "repository": "http://charts"}


def refused(new: ApplicationDeployment, field: str) -> str:
    (violation,) = check_deployment(new, None)
    assert violation.field == field
    assert violation.why
    assert violation.accepted
    return str(violation)


def override(*names: str, replicas: int = 1) -> dict[str, Any]:
    items = [{"name": name, "spec": {"replicas": replicas, "template": {}}} for name in names]
    return {"nodeGroup": "a", "workloadOverride": {"deployments": items}}


@pytest.mark.parametrize(
    ("wanted", "accepted"), [("", "latest"), ("one dot two", "^1.2"), ("v1..2", "v1.2.0")]
)
def test_a_version_that_says_nothing_is_refused(wanted: str, accepted: str) -> None:
    assert accepted in refused(deployment(wanted, {"nodeGroup": "a"}), "spec.version")


@pytest.mark.parametrize("wanted", ["latest", "v1.0.0", "1.0.0", "^1.2", "~2", "1.x", ">=1 <3", "1.0.0-rc.1"])
def test_versions_ranges_and_latest_are_accepted(wanted: str) -> None:
    assert check_deployment(deployment(wanted, {"nodeGroup": "a"}), None) == []


@pytest.mark.parametrize(
    ("topologies", "field"),
    [
        (({"nodeGroup": "a"}, {"nodeGroup": "a"}), "spec.topologies[1]"),
        (
            ({"cluster": "c", "clusterSelector": {"matchLabels": {"a": "b"}}},),
            "spec.topologies[0].clusterSelector",
        ),
        (
            ({"nodeGroup": "c", "clusterSelector": {"matchLabels": {"a": "b"}}},),
            "spec.topologies[0].clusterSelector",
        ),
        (({"clusterSelector": {}},), "spec.topologies[0].clusterSelector"),
        ((override("qc", "qc"),), "spec.topologies[0].workloadOverride.deployments"),
        (
            (override("qc", replicas=-1),),
            "spec.topologies[0].workloadOverride.deployments[qc].spec.replicas",
        ),
    ],
)
def test_topologies_that_contradict_themselves_are_refused(
    topologies: tuple[dict[str, Any], ...], field: str
) -> None:
    refused(deployment("latest", *topologies), field)


def test_a_name_too_long_for_a_label_is_refused() -> None:
    metadata = {"name": "x" * 64, "namespace": "a"}
    spec = {"application": "qc", "version": "latest"}
    refused(msgspec.convert({"metadata": metadata, "spec": spec}, ApplicationDeployment), "metadata.name")


def test_the_provisioner_of_an_application_stays() -> None:
    label = "app.theriseunion.io/provisioner"
    old = application(**{label: "workload"})
    (violation,) = check_application(application(**{label: "helm"}), old)
    assert (violation.value, violation.accepted) == ("helm", "workload")
    assert check_application(old, application()) == []
    assert check_application(old, old) == []


@pytest.mark.parametrize(
    ("new", "field"),
    [
        (version("not a version", config={"a": 1}), "spec.version"),
        (version("1.0.0", helmConfig=HELM, config={"a": 1}), "spec"),
        (version("1.0.0", workloadConfig={}), "spec.workloadConfig"),
        (
            version("1.0.0", workloadConfig={"deployments": [{"name": "a", "spec": {"template": {}}}]}),
            "spec.workloadConfig.deployments[a].spec.template.spec.containers",
        ),
    ],
)
def test_a_version_that_cannot_run_is_refused(new: ApplicationVersion, field: str) -> None:
    (violation,) = CHECK(new, None)
    assert violation.field == field


def test_what_was_submitted_for_review_cannot_change() -> None:
    changed = workloads("1.0.0", "other")
    assert CHECK(changed, workloads("1.0.0", "qc", phase="draft")) == []
    assert CHECK(changed, workloads("1.0.0", "qc", phase="rejected")) == []
    (violation,) = CHECK(changed, workloads("1.0.0", "qc", phase="submitted"))
    assert "is submitted" in violation.why
    assert CHECK(changed, workloads("1.0.0", "other", phase="published")) == []


def test_objects_of_the_contract_are_accepted() -> None:
    config = {"deployments": [{"name": "qc", "spec": {"replicas": 3, "strategy": {}, "template": POD}}]}
    assert CHECK(version("v1.0.0", workloadConfig=config), None) == []
    assert CHECK(version("v1.0.0", helmConfig=HELM), None) == []
    assert check_deployment(deployment("latest"), None) == []


def test_an_unchanged_spec_is_not_judged_anew() -> None:
    broken = deployment("one dot two", {"nodeGroup": "a"})
    assert check_deployment(broken, None) != []
    assert check_deployment(broken, broken) == []
    old = version("not a version", config={"a": 1})
    assert CHECK(old, old) == []
