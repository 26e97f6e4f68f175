"""For which object of its scope's name a binding counts, and what its status says of it (I1, I2, S7)."""

import pytest
from msgspec.structs import replace

from edge.iam.bindings import TAKEN_TO_BE_THERE, BindingPlan, plan_binding, uid_noted
from edge.iam.builtin import roles
from edge.iam.facts import SCOPE_CLUSTER_LABEL, SCOPE_UID_LABEL
from edge.iam.graph import Place
from edge.iam.index import Index
from edge.iam.types import IAMRoleBinding, IAMRoleBindingSpec, RoleRef, Subject
from edge_kube.meta import Condition, ObjectMeta
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

LABELS = {IAM_SCOPE_LABEL: "workspace", IAM_SCOPE_VALUE_LABEL: "press"}
BORN = "2026-05-01T10:00:00Z"
OLDER = Place((), "u-1", "2026-05-01T09:00:00Z")
YOUNGER = Place((), "u-2", "2026-05-01T11:00:00Z")


def binding(role: str = "workspace-viewer", **labels: str) -> IAMRoleBinding:
    return IAMRoleBinding(
        metadata=ObjectMeta(name="b", labels={**LABELS, **labels}, creation_timestamp=BORN),
        spec=IAMRoleBindingSpec(
            role_ref=RoleRef(api_group="iam.theriseunion.io", kind="IAMRole", name=role),
            subjects=(Subject(kind="User", name="ann"),),
        ),
    )


def looked_at(one: IAMRoleBinding, scope: Place | None) -> tuple[IAMRoleBinding, BindingPlan]:
    """The binding with the status that a look at it gives, and the plan."""
    plan = plan_binding(one, roles().get(one.spec.role_ref.name), (), scope)
    return replace(one, status=plan.status), plan


def told(plan: BindingPlan) -> Condition:
    (found,) = plan.status.conditions
    return found


def test_a_binding_that_waits_for_its_scope_says_so_and_takes_the_first_that_comes() -> None:
    waiting, plan = looked_at(binding(), None)
    assert (told(plan).status, told(plan).reason, plan.pin) == ("False", "ScopeNotFound", "")
    assert "there is no workspace press yet" in told(plan).message
    again, plan = looked_at(waiting, None)
    assert told(plan).reason == "ScopeNotFound"
    _, plan = looked_at(again, YOUNGER)
    assert (told(plan).status, told(plan).reason, plan.pin) == ("True", "InForce", "u-2")


def test_a_binding_does_not_wait_for_a_scope_in_a_cluster_where_its_author_was_not_judged() -> None:
    waiting, _ = looked_at(binding(), None)
    there = plan_binding(waiting, roles()["workspace-viewer"], (), YOUNGER, "factory")
    assert (told(there).reason, there.pin) == ("ScopeReplaced", "")
    named, _ = looked_at(binding(**{SCOPE_CLUSTER_LABEL: "factory"}), None)
    there = plan_binding(named, roles()["workspace-viewer"], (), YOUNGER, "factory")
    assert (told(there).reason, there.pin) == ("InForce", "u-2")


def test_what_counted_for_an_object_that_is_gone_never_counts_for_another_of_its_name() -> None:
    counted, plan = looked_at(binding(), OLDER)
    assert (told(plan).reason, plan.pin) == ("InForce", "")
    left, plan = looked_at(counted, None)
    assert (told(plan).status, told(plan).reason) == ("False", "ScopeGone")
    _, plan = looked_at(left, YOUNGER)
    assert (told(plan).status, told(plan).reason, plan.pin) == ("False", "ScopeReplaced", "")


def test_a_binding_that_nobody_saw_wait_does_not_count_for_a_younger_scope() -> None:
    _, plan = looked_at(binding(), YOUNGER)
    assert (told(plan).reason, plan.pin) == ("ScopeReplaced", "")


def test_a_binding_that_names_the_object_counts_for_that_one_alone() -> None:
    pinned = binding(**{SCOPE_UID_LABEL: "u-2"})
    assert told(looked_at(pinned, YOUNGER)[1]).reason == "InForce"
    left, plan = looked_at(pinned, None)
    assert told(plan).reason == "ScopeGone", "it was there when the binding was made"
    other = looked_at(left, Place((), "u-3", YOUNGER.born))[1]
    assert (told(other).reason, other.pin) == ("ScopeReplaced", "")


def test_S7_admission_notes_the_object_that_is_there_and_keeps_the_note() -> None:
    index = Index()
    new = binding()
    assert uid_noted(index, new, None) == (), "there is none yet"
    index.put_scope("w/plant/press", (), "u-1", BORN)
    index.scopes.homes["workspace", "press"] = "plant"
    path = f"/metadata/labels/{SCOPE_UID_LABEL.replace('/', '~1')}"
    assert uid_noted(index, new, None) == ({"op": "add", "path": path, "value": "u-1"},)
    own = binding(**{SCOPE_UID_LABEL: "u-0"})
    assert uid_noted(index, own, None) == ()
    assert uid_noted(index, new, own) == ({"op": "add", "path": path, "value": "u-0"},)
    assert uid_noted(index, new, new) == (), "a change is no new binding"


def test_a_scope_that_came_does_not_hide_that_the_role_is_missing() -> None:
    waiting, _ = looked_at(binding("nobody-made-this"), None)
    found, plan = looked_at(waiting, YOUNGER)
    assert (told(plan).reason, plan.pin) == ("RoleMissing", "u-2")
    assert found.status.conditions[0].status == "False"


@pytest.mark.parametrize("scope", [OLDER, TAKEN_TO_BE_THERE])
def test_a_scope_that_is_there_or_out_of_sight_holds_nothing_up(scope: Place) -> None:
    assert told(looked_at(binding(), scope)[1]).reason == "InForce"
