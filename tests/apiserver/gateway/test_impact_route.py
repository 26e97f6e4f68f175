"""Whose access a change would give and take, asked at the gateway before it is made (I8; design §6)."""

from typing import Any

import pytest
from tests.apiserver.gateway.test_access_routes import edge
from tests.support.gateway import IAM, Answer, RunningGateway
from tests.support.workspaces import Tenant


async def asked(gateway: RunningGateway, token: str, operation: str, obj: dict[str, Any]) -> Answer:
    body = {"operation": operation, "object": obj}
    return await gateway.ask("POST", f"{IAM}/access/impact", token=token, json=body)


def binding(name: str, workspace: str, role: str, user: str) -> dict[str, Any]:
    labels = {"iam.theriseunion.io/scope": "workspace", "iam.theriseunion.io/scope-value": workspace}
    ref = {"apiGroup": "iam.theriseunion.io", "kind": "IAMRole", "name": role}
    return {
        "apiVersion": "iam.theriseunion.io/v1alpha1",
        "kind": "IAMRoleBinding",
        "metadata": {"name": name, "labels": labels},
        "spec": {"roleRef": ref, "subjects": [{"kind": "User", "name": user}]},
    }


async def test_a_deletion_says_who_loses_what_and_changes_nothing(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    obj = {"kind": "IAMRoleBinding", "metadata": {"name": tenant.binding}}
    answer = await asked(gateway, await gateway.token(), "delete", obj)
    assert answer.status == 200, answer.body
    found = answer.json()
    assert (found["total"], found["losing"], found["gaining"]) == (1, 1, 0)
    assert (found["totalIsExact"], found["hidden"]) == (True, False)
    (one,) = found["subjects"]
    assert (one["kind"], one["name"]) == ("User", tenant.user)
    (change,) = one["changes"]
    assert change["scope"] == f"workspace/{tenant.workspace}"
    assert "gained" not in change
    assert any("pods" in rule["resources"] for rule in change["lost"]["rules"])
    assert "workspace/members.manage" in change["lost"]["ui"]
    still = await asked(gateway, await gateway.token(), "delete", obj)
    assert still.json() == found


async def test_a_new_binding_says_who_gains_what(gateway: RunningGateway, tenant: Tenant) -> None:
    new = binding(f"new-{tenant.workspace}", tenant.workspace, "workspace-viewer", "ada")
    found = (await asked(gateway, await gateway.token(), "put", new)).json()
    (one,) = found["subjects"]
    assert (one["name"], found["gaining"], found["losing"]) == ("ada", 1, 0)


async def test_who_looks_after_a_workspace_is_told_about_it_and_a_stranger_is_not(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    own = await gateway.token(tenant.user)
    new = binding(f"new-{tenant.workspace}", tenant.workspace, "workspace-viewer", "ada")
    told = await asked(gateway, own, "put", new)
    assert [one["name"] for one in told.json()["subjects"]] == ["ada"]
    stranger = await gateway.token("ada")
    existing = {"kind": "IAMRoleBinding", "metadata": {"name": tenant.binding}}
    missing = {"kind": "IAMRoleBinding", "metadata": {"name": "no-such-binding"}}
    refusals = [await asked(gateway, stranger, "delete", obj) for obj in (existing, missing)]
    assert [one.status for one in refusals] == [403, 403]
    texts = [one.json()["message"].replace(tenant.binding, "no-such-binding") for one in refusals]
    assert texts[0] == texts[1]
    role = {"kind": "IAMRole", "metadata": {"name": "platform-admin"}}
    elsewhere = await asked(gateway, own, "delete", role)
    assert elsewhere.status == 403


@pytest.mark.parametrize(
    ("operation", "obj", "says"),
    [
        ("rename", {"kind": "IAMRole", "metadata": {"name": "x"}}, "is no operation"),
        ("delete", {"kind": "Pod", "metadata": {"name": "x"}}, 'No rights hang on the kind "Pod"'),
        ("delete", {"kind": "IAMRole", "metadata": {}}, "has no name"),
        ("put", {"kind": "IAMRole", "metadata": {"name": "x"}, "spec": 1}, "was not understood"),
        ("put", {"kind": "IAMRole", "apiVersion": "v1", "metadata": {"name": "x"}}, "is not in v1"),
    ],
)
async def test_a_change_that_makes_no_sense_is_told_what_would(
    gateway: RunningGateway, operation: str, obj: dict[str, Any], says: str
) -> None:
    answer = await asked(gateway, await gateway.token(), operation, obj)
    assert answer.status == 400
    assert says in answer.json()["message"]


async def test_the_command_line_previews_a_file(gateway: RunningGateway, tenant: Tenant) -> None:
    manifest = f"kind: IAMRoleBinding\nmetadata: {{name: {tenant.binding}}}\n"
    words = ("auth", "impact", "--delete", "-f", "-")
    code, said = await edge(gateway, await gateway.token(), *words, stdin=manifest)
    assert code == 0, said
    assert f"{tenant.user} loses " in said
    assert f"at workspace/{tenant.workspace}" in said
    code, said = await edge(gateway, await gateway.token(), *words, stdin="[")
    assert code == 2
    assert "Traceback" not in said
