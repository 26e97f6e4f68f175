"""What a workspace makes, keeps and refuses, planned without a cluster (I11, I15, S8)."""

from hypothesis import given
from hypothesis import strategies as st

from edge.iam.instances import admin_binding
from edge.tenancy.plan import owner_of, plan_workspace
from edge.tenancy.types import Workspace, WorkspaceSpec, WorkspaceTemplate
from edge_kube.core import Namespace
from edge_kube.meta import ObjectMeta

LABEL = "theriseunion.io/workspace"
NAMES = ["press", "paint", "kube-system", "edge-system"]

wanted_names = st.lists(st.sampled_from(NAMES), unique=True)
owners = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from(["plant-a", "plant-b", "system-workspace", ""])
)


def workspace(*namespaces: str, **meta: object) -> Workspace:
    spec = WorkspaceSpec(template=WorkspaceTemplate(namespaces=namespaces))
    return Workspace(metadata=ObjectMeta(name="plant-a", uid="u-1", **meta), spec=spec)  # pyright: ignore[reportArgumentType]


def cluster(owner_by_name: dict[str, str]) -> dict[str, Namespace]:
    return {
        name: Namespace(metadata=ObjectMeta(name=name, labels={LABEL: owner} if owner else {}))
        for name, owner in owner_by_name.items()
    }


@given(wanted=wanted_names, owner_by_name=owners)
def test_a_carried_out_plan_leaves_nothing_to_do_and_takes_nothing(
    wanted: list[str], owner_by_name: dict[str, str]
) -> None:
    before = cluster(owner_by_name)
    plan = plan_workspace(workspace(*wanted), before, ())
    after = before | {one.metadata.name: one for one in plan.missing}
    assert plan_workspace(workspace(*wanted), after, ()).missing == ()
    assert {name: owner_of(after[name]) for name in before} == {
        name: owner_of(one) for name, one in before.items()
    }
    assert not {one.metadata.name for one in plan.missing} & {"kube-system", "edge-system"}


def test_a_foreign_namespace_is_reported_with_the_way_out() -> None:
    status = plan_workspace(workspace("kube-system"), cluster({"kube-system": ""}), ()).status
    condition = status.conditions[0]
    assert (status.phase, condition.status, condition.reason) == ("Blocked", "False", "NamespaceTaken")
    assert "kube-system" in condition.message
    assert f"label them {LABEL}=plant-a" in condition.message


def test_a_label_on_a_system_namespace_does_not_make_it_a_tenants() -> None:
    assert owner_of(cluster({"kube-system": "plant-a"})["kube-system"]) == ""
    assert owner_of(cluster({"kube-system": "system-workspace"})["kube-system"]) == "system-workspace"


def test_members_are_counted_once_over_all_bindings() -> None:
    owner = workspace()
    twice = (admin_binding("workspace", owner, "ann"), admin_binding("workspace", owner, "ann"))
    assert plan_workspace(owner, {}, twice).status.member_count == 1


def test_a_workspace_stays_while_it_holds_namespaces_and_says_how_to_go_on() -> None:
    going = workspace(deletion_timestamp="2026-01-01T00:00:00Z")
    plan = plan_workspace(going, cluster({"press": "plant-a", "lone": ""}), ())
    assert (plan.done, plan.release, plan.status.phase) == (False, False, "Deleting")
    assert "press" in plan.status.conditions[0].message
    assert "theriseunion.io/force-delete=u-1" in plan.status.conditions[0].message
    assert plan_workspace(going, cluster({"lone": ""}), ()).done


def test_force_lets_the_namespaces_go_only_with_the_uid_of_this_workspace() -> None:
    for value, released in (("u-1", True), ("u-0", False), ("true", False)):
        going = workspace(
            deletion_timestamp="2026-01-01T00:00:00Z", annotations={"theriseunion.io/force-delete": value}
        )
        assert plan_workspace(going, cluster({"press": "plant-a"}), ()).release is released


def test_a_workspace_of_a_member_cluster_makes_nothing_on_the_host() -> None:
    far = workspace("press", labels={"scope.theriseunion.io/cluster": "far"})
    plan = plan_workspace(far, {}, ())
    assert plan.missing == ()
    assert plan.status.conditions[0].reason == "InMemberCluster"


def test_namespaces_in_member_clusters_hold_a_workspace_too() -> None:
    going = workspace(deletion_timestamp="2026-01-01T00:00:00Z")
    plan = plan_workspace(going, {}, (), {"factory": ["press"]})
    assert (plan.done, plan.status.namespace_count) == (False, 1)
    assert "press (cluster factory)" in plan.status.conditions[0].message
