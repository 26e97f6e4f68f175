"""Differences between live objects and their manifests, and what is done about them (K5, P13)."""

from typing import Any

from edge.components.drift import Difference, differences, is_kept, without
from edge.components.health import unhealthy_text
from edge.components.ports import Inspection
from edge.components.repairs import plan_repair, remember
from edge.components.step import Step

ENV = {".": {}, 'k:{"name":"L"}': {".": {}, "f:name": {}, "f:value": {}}}
KUBECTL = {
    "manager": "kubectl-set",
    "operation": "Update",
    "fieldsV1": {
        "f:spec": {
            "f:replicas": {},
            "f:template": {"f:spec": {"f:containers": {'k:{"name":"main"}': {"f:env": ENV}}}},
        }
    },
}
HELM = {"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:paused": {}}}}


def _deployment(
    replicas: int = 1, level: str = "info", *, name: str = "edge-platform", **spec: Any
) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "labels": {"app.kubernetes.io/name": name},
            "managedFields": [KUBECTL, HELM],
        },
        "spec": {
            "replicas": replicas,
            "template": {"spec": {"containers": [{"name": "main", "env": [{"name": "L", "value": level}]}]}},
            **spec,
        },
    }


def test_fields_are_named_with_who_changed_them() -> None:
    found = differences(_deployment(3, "debug", paused=True), _deployment(1, "info", paused=False))
    assert [str(d) for d in found] == [
        "spec.paused",
        "spec.replicas by kubectl-set",
        "spec.template.spec.containers[0].env[0].value by kubectl-set",
    ]


def test_status_and_bookkeeping_are_no_drift() -> None:
    live = _deployment()
    live["status"] = {"readyReplicas": 1}
    live["metadata"] |= {"resourceVersion": "5", "generation": 2, "uid": "x"}
    assert differences(live, _deployment()) == ()


def test_only_peoples_edits_on_the_platforms_own_workloads_are_kept() -> None:
    mine, theirs = Difference(path=("spec", "replicas"), by=("kubectl",)), Difference(path=("spec", "paused"))
    assert is_kept(_deployment(), mine)
    assert not is_kept(_deployment(), theirs)
    assert not is_kept(_deployment(name="grafana"), mine)
    assert not is_kept({**_deployment(), "kind": "ConfigMap"}, mine)


def test_a_repair_leaves_the_kept_fields_as_they_are() -> None:
    live, manifest = _deployment(3, "debug", paused=True), _deployment(1, "info", paused=False)
    kept = [d for d in differences(live, manifest) if d.by]
    repaired = without(manifest, live, kept)
    assert repaired["spec"]["replicas"] == 3
    assert repaired["spec"]["paused"] is False
    env = repaired["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env == [{"name": "L", "value": "debug"}]
    assert manifest["spec"]["replicas"] == 1


def test_a_list_of_another_length_is_one_difference() -> None:
    one = {"kind": "X", "metadata": {}, "spec": {"items": [1, 2]}}
    two = {"kind": "X", "metadata": {}, "spec": {"items": [1]}}
    assert [str(d) for d in differences(one, two)] == ["spec.items"]


def test_workloads_are_healthy_when_all_replicas_are_ready_and_up_to_date() -> None:
    def workload(kind: str, spec: dict[str, Any], **status: int) -> str:
        metadata = {"namespace": "a", "name": "b", "generation": 2}
        return unhealthy_text({"kind": kind, "metadata": metadata, "spec": spec, "status": status})

    seen = {"observedGeneration": 2}
    assert workload("Deployment", {"replicas": 2}, readyReplicas=2, updatedReplicas=2, **seen) == ""
    assert workload("Deployment", {"replicas": 0}, **seen) == ""
    assert workload("Deployment", {}, **seen) == "Deployment a/b: 0 of 1 ready"
    assert workload("StatefulSet", {"replicas": 2}, readyReplicas=2, updatedReplicas=1, **seen).endswith(
        "1 of 2 up to date"
    )
    assert "not looked at" in workload("Deployment", {"replicas": 1}, readyReplicas=1, observedGeneration=1)
    on_delete = {"replicas": 1, "updateStrategy": {"type": "OnDelete"}}
    assert workload("StatefulSet", on_delete, readyReplicas=1, **seen) == ""
    daemons = {"desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2, **seen}
    assert workload("DaemonSet", {}, **daemons) == ""
    assert workload("DaemonSet", {}, **{**daemons, "numberReady": 1}) == "DaemonSet a/b: 1 of 2 ready"
    assert unhealthy_text({"kind": "ConfigMap"}) == ""


STEP = Step(phase="Running", reason="Installed", message="", ready=True, is_good=True)
LOST = Inspection(missing=("ConfigMap a/b",), changed=("Service a/c: spec.type",))


def test_what_drifted_is_put_back_or_only_told() -> None:
    assert plan_repair(STEP, LOST, "Repair", {}, 0).names == (*LOST.missing, *LOST.changed)
    told = plan_repair(STEP, LOST, "Report", {}, 0)
    assert (told.names, told.step.reason, told.step.degraded) == ((), "Drifted", True)
    assert plan_repair(STEP, LOST, "Off", {}, 0).step == STEP
    assert plan_repair(STEP, Inspection(), "Repair", {}, 0).step == STEP


def test_the_third_repair_of_one_object_in_ten_minutes_is_the_last() -> None:
    repaired: dict[str, tuple[float, ...]] = {}
    for now_s in (0.0, 10.0, 20.0):
        plan = plan_repair(STEP, LOST, "Repair", repaired, now_s)
        assert "Service a/c: spec.type" in plan.names
        repaired = remember(repaired, ["Service a/c: spec.type"], now_s)
    fought = plan_repair(STEP, LOST, "Repair", repaired, 30.0)
    assert fought.names == LOST.missing
    assert fought.step.reason == "DriftFight"
    assert plan_repair(STEP, LOST, "Repair", repaired, 700.0).names == (*LOST.missing, *LOST.changed)
    assert remember(repaired, [], 700.0) == {}
