"""What is applied in one place: overrides, labels, affinity nobody escapes, tolerations (A5)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.apps.objects import POD, deployment, group, version, workloads

from edge.apps.placement import Placement, World, expand
from edge.apps.provisioners.workload import WorkloadProvisioner
from edge.apps.render import PLACEMENT_LABEL, Unrenderable, render
from edge.apps.types import ApplicationVersion
from edge.apps.webhooks import as_plugin_version
from edge_kube.meta import Manifest
from edge_sdk.provisioner import Plan

GROUP = "nodegroup.theriseunion.io/beijing"


def rendered(
    wanted: ApplicationVersion, topology: dict[str, Any], *taints: str
) -> tuple[Placement, tuple[Manifest, ...]]:
    owner = deployment("latest", topology)
    (place,) = expand(owner, World(groups={"beijing": group("beijing", "", *taints)}))
    plan = WorkloadProvisioner().provision(as_plugin_version(wanted), place.topology)
    return place, render(plan, place, owner)


def override(spec: dict[str, Any], name: str = "qc") -> dict[str, Any]:
    return {"nodeGroup": "beijing", "workloadOverride": {"deployments": [{"name": name, "spec": spec}]}}


def test_an_empty_template_in_an_override_keeps_the_versions() -> None:
    _, (plain,) = rendered(workloads("1.0.0", "qc"), {"nodeGroup": "beijing"})
    _, (scaled,) = rendered(workloads("1.0.0", "qc"), override({"replicas": 5, "template": {}}))
    assert scaled["spec"].pop("replicas") == 5
    assert scaled == plain


def test_an_override_changes_one_container_and_keeps_the_rest() -> None:
    containers = [{"name": "main", "image": "nginx:1.27", "env": [{"name": "A", "value": "1"}]}]
    _, (made,) = rendered(
        workloads("1.0.0", "qc"),
        override({"template": {"spec": {"containers": containers, "priorityClassName": "high"}}}),
    )
    pod = made["spec"]["template"]["spec"]
    assert pod["containers"] == containers
    assert pod["priorityClassName"] == "high"


def test_an_override_of_a_workload_the_version_has_not_is_refused_by_name() -> None:
    with pytest.raises(Unrenderable) as refusal:
        rendered(workloads("1.0.0", "qc", "db"), override({"template": {}}, name="web"))
    assert refusal.value.reason == "UnknownWorkload"
    assert 'has no Deployment "web"; it has qc, db' in refusal.value.message
    assert "spec.topologies[0].workloadOverride.deployments[web]" in refusal.value.message


def test_an_override_whose_list_items_have_no_key_is_refused_with_its_path() -> None:
    with pytest.raises(Unrenderable) as refusal:
        rendered(workloads("1.0.0", "qc"), override({"template": {"spec": {"containers": [{"image": "x"}]}}}))
    assert refusal.value.reason == "BadOverride"
    assert 'spec.containers[0] has no "name"' in refusal.value.message


def test_objects_and_pods_carry_the_place_and_selectors_ask_for_it() -> None:
    services = [{"name": "qc", "spec": {"selector": {"app": "qc"}, "ports": [{"port": 80}]}}]
    items = [{"name": "qc", "spec": {"template": POD}}]
    wanted = version("1.0.0", workloadConfig={"deployments": items, "services": services})
    place, (service, made) = rendered(wanted, {"nodeGroup": "beijing"})
    assert made["metadata"]["namespace"] == "team-a"
    assert made["metadata"]["labels"]["theriseunion.io/owner-uid"] == "uid-1"
    assert made["spec"]["selector"]["matchLabels"][PLACEMENT_LABEL] == place.id
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert "theriseunion.io/owner-uid" not in labels
    assert service["spec"]["selector"] == {"app": "qc", PLACEMENT_LABEL: place.id}


def test_a_groups_taints_are_tolerated_by_its_applications() -> None:
    _, (made,) = rendered(
        workloads("1.0.0", "qc"), {"nodeGroup": "beijing"}, "edge=true:NoSchedule", "slow:NoExecute"
    )
    assert made["spec"]["template"]["spec"]["tolerations"] == [
        {"key": "edge", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
        {"key": "slow", "operator": "Exists", "effect": "NoExecute"},
    ]


def test_a_plan_that_reaches_beyond_its_namespace_is_refused() -> None:
    owner = deployment("latest", {"nodeGroup": "beijing"})
    (place,) = expand(owner, World(groups={"beijing": group("beijing")}))
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "x"}}
    with pytest.raises(Unrenderable) as refusal:
        render(Plan(objects=(role,)), place, owner)
    assert refusal.value.reason == "ProvisionerBroken"
    assert "ClusterRole x is not allowed" in refusal.value.message


expressions = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["disk", GROUP, "zone"]),
            "operator": st.sampled_from(["Exists", "DoesNotExist"]),
        }
    ),
    max_size=2,
)
terms = st.lists(
    st.one_of(
        st.fixed_dictionaries({"matchExpressions": expressions}),
        st.just({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n9"]}]}),
    ),
    max_size=3,
)


@given(required=terms, in_version=st.booleans(), node_name=st.sampled_from(["", "n1"]))
def test_no_term_of_an_affinity_is_a_way_out_of_the_topology(
    required: list[dict[str, Any]], in_version: bool, node_name: str
) -> None:
    rules = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": required}}
    spec = {"affinity": {"nodeAffinity": rules if required else {}}, "nodeName": "elsewhere"}
    template = {"spec": {**POD["spec"], **(spec if in_version else {})}}
    wanted = version(
        "1.0.0", workloadConfig={"deployments": [{"name": "qc", "spec": {"template": template}}]}
    )
    topology = override({"template": {} if in_version else {"spec": spec}}) | {"nodeName": node_name}
    _, (made,) = rendered(wanted, topology)
    pod = made["spec"]["template"]["spec"]
    found = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert len(found) == max(1, len(required))
    assert "nodeName" not in pod
    for term in found:
        assert {"key": GROUP, "operator": "Exists"} in term["matchExpressions"]
        if node_name:
            field = {"key": "metadata.name", "operator": "In", "values": ["n1"]}
            assert field in term["matchFields"]


def test_pods_of_a_place_without_a_group_stay_off_nodes_that_are_kept_for_others() -> None:
    """I18."""
    owner = deployment("latest", {"cluster": "host"})
    (place,) = expand(owner, World(groups={"vip": group("vip", granted="qa")}, workspace="dev"))
    plan = WorkloadProvisioner().provision(as_plugin_version(workloads("1.0.0", "qc")), place.topology)
    (made,) = render(plan, place, owner)
    rule = made["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    assert rule["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": "nodegroup.theriseunion.io/vip", "operator": "DoesNotExist"}]}
    ]
