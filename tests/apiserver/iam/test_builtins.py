"""Built-in roles and templates on a real API server: made, shown, and healed (R12, I2)."""

import asyncio

import pytest
from msgspec import structs
from tests.support.shipped import all_shipped

from edge.iam.aggregation import strays
from edge.iam.builtin import everything, roles, templates
from edge.iam.heartbeat import HEARTBEAT
from edge.iam.room import room
from edge.iam.types import (
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    IAMRoleSpec,
    PolicyRule,
    RoleRef,
    RoleTemplate,
    RoleTemplateSpec,
    Subject,
)
from edge_kube.errors import ApiError
from edge_kube.harness.kube import Kube
from edge_kube.meta import Condition, ObjectMeta


def accepted(conditions: tuple[Condition, ...], reason: str) -> bool:
    return any(one.type == "Accepted" and one.reason == reason for one in conditions)


async def test_built_in_roles_are_made_resolved_and_come_back_when_changed_or_deleted(kube: Kube) -> None:
    await kube.start(room())
    count = sum(isinstance(one, RoleTemplate) for one in everything())
    await all_shipped(kube)
    admin = await kube.get(IAMRole, "workspace-admin")
    assert len(admin.spec.aggregated_role_templates) == 28
    assert len(await kube.list(RoleTemplate)) == count
    assert {one.metadata.name for one in await kube.list(IAMRole)} == {*roles(), HEARTBEAT}

    await kube.patch(RoleTemplate, "workspace-basic", {"spec": {"rules": [], "uiPermissions": ["made/up"]}})
    await kube.eventually(
        RoleTemplate, "workspace-basic", lambda one: one.spec.ui_permissions == ("workspace/basic.view",)
    )
    await kube.client.delete(IAMRole, "anonymous")
    await kube.eventually(IAMRole, "anonymous", lambda one: bool(one.spec.rules))
    await kube.client.delete(IAMRoleBinding, HEARTBEAT)
    await kube.eventually(IAMRoleBinding, HEARTBEAT, lambda one: True)


async def test_a_role_counts_its_members_and_a_binding_says_whether_it_counts(kube: Kube) -> None:
    await kube.start(room())
    await all_shipped(kube)
    labels = {"iam.theriseunion.io/scope": "workspace", "iam.theriseunion.io/scope-value": "press"}
    for name, role in (("b1", "workspace-viewer"), ("b2", "no-such-role")):
        await kube.create(
            IAMRoleBinding(
                metadata=ObjectMeta(name=name, labels=labels),
                spec=IAMRoleBindingSpec(
                    role_ref=RoleRef(api_group="iam.theriseunion.io", kind="IAMRole", name=role),
                    subjects=(Subject(kind="User", name="ann"), Subject(kind="Group", name="ops")),
                ),
            )
        )
    await kube.eventually(IAMRole, "workspace-viewer", lambda one: one.status.member_count == 2)
    await kube.eventually(IAMRoleBinding, "b1", lambda one: accepted(one.status.conditions, "InForce"))
    await kube.eventually(IAMRoleBinding, "b2", lambda one: accepted(one.status.conditions, "RoleMissing"))


async def test_a_template_of_ones_own_joins_the_roles_that_select_its_label(kube: Kube) -> None:
    await kube.start(room())
    await kube.eventually(
        IAMRole, "namespace-viewer", lambda one: len(one.spec.aggregated_role_templates) == 9
    )
    labels = {"iam.theriseunion.io/scope": "namespace", "iam.theriseunion.io/aggregate-to-viewer": ""}
    template = RoleTemplate(
        metadata=ObjectMeta(name="project-view-reports", labels=labels), spec=RoleTemplateSpec(rules=())
    )
    await kube.create(template)
    await kube.eventually(
        IAMRole,
        "namespace-viewer",
        lambda one: "project-view-reports" in one.spec.aggregated_role_templates,
    )


async def test_with_admission_on_built_in_roles_come_up_and_a_moved_binding_is_refused(
    kube: Kube,
) -> None:
    await kube.start(room(), webhooks=True)
    await all_shipped(kube)
    labels = {"iam.theriseunion.io/scope": "workspace", "iam.theriseunion.io/scope-value": "press"}
    await kube.create(
        IAMRoleBinding(
            metadata=ObjectMeta(name="moving", labels=labels),
            spec=IAMRoleBindingSpec(
                role_ref=RoleRef(api_group="iam.theriseunion.io", kind="IAMRole", name="workspace-admin"),
                subjects=(Subject(kind="User", name="ann"),),
            ),
        )
    )
    wide = {"iam.theriseunion.io/scope": "platform", "iam.theriseunion.io/scope-value": "global"}
    with pytest.raises(ApiError, match="stays as it was made"):
        await kube.patch(IAMRoleBinding, "moving", {"metadata": {"labels": wide}})


async def test_a_newer_shipped_template_replaces_the_older_one_and_a_changed_one_is_healed(
    kube: Kube,
) -> None:
    """R12: an older controller left a template and a role of its version; then a person edits them."""
    name, was = "workspace-view-projects", templates()["workspace-view-projects"]
    older = structs.replace(
        was,
        metadata=structs.replace(was.metadata, labels={**was.metadata.labels, "app/old-mark": "1"}),
        spec=RoleTemplateSpec(rules=(PolicyRule(verbs=("*",), api_groups=("",), resources=("secrets",)),)),
    )
    await kube.install(RoleTemplate, IAMRole)
    await kube.apply(older, manager="edge-iam")
    role = roles()["workspace-viewer"]
    wide = IAMRoleSpec(rules=(PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",)),))
    await kube.apply(structs.replace(role, spec=wide), manager="edge-iam")
    await kube.start(room())
    await kube.eventually(RoleTemplate, name, lambda one: one.spec == was.spec)
    healed = await kube.eventually(IAMRole, "workspace-viewer", lambda one: one.spec.rules == ())
    assert healed.spec.aggregation_role_templates == role.spec.aggregation_role_templates
    await kube.eventually(IAMRole, "workspace-viewer", lambda one: name in one.spec.aggregated_role_templates)
    for patch in (
        {"spec": {"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}},
        {"spec": {"uiPermissions": ["platform/*.*"]}},
        {"metadata": {"labels": {"iam.theriseunion.io/aggregate-to-viewer": None}}},
        {"metadata": {"annotations": {"theriseunion.io/alias-name": "mine"}}},
        {"metadata": {"labels": {"iam.theriseunion.io/aggregate-to-self-provisioner": ""}}},
        {"metadata": {"annotations": {"iam.theriseunion.io/dependencies": "workspace-manage-members"}}},
    ):
        await kube.patch(RoleTemplate, name, patch)
        await kube.eventually(RoleTemplate, name, lambda one: stands(one, was))
    await kube.patch(
        IAMRole,
        "workspace-viewer",
        {"metadata": {"annotations": {"iam.theriseunion.io/ignore-aggregate": "true"}}},
    )
    await kube.eventually(
        IAMRole,
        "workspace-viewer",
        lambda one: "iam.theriseunion.io/ignore-aggregate" not in one.metadata.annotations,
    )
    await kube.patch(RoleTemplate, name, {"metadata": {"labels": {"team": "ours"}}})
    await asyncio.sleep(0.5)
    assert (await kube.get(RoleTemplate, name)).metadata.labels["team"] == "ours", "what is not ours is left"


def stands(found: RoleTemplate, wanted: RoleTemplate) -> bool:
    return (
        found.spec == wanted.spec
        and not strays(wanted.metadata, found.metadata)
        and wanted.metadata.labels.items() <= found.metadata.labels.items()
        and wanted.metadata.annotations.items() <= found.metadata.annotations.items()
    )
