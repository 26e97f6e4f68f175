"""What `kubectl auth can-i` says through the gateway is what the request would be told (I4, I8)."""

import json
import secrets
from typing import Any

import pytest
from tests.support.gateway import RunningGateway, make_user, somebody
from tests.support.projected import becomes
from tests.support.workspaces import Tenant

from edge_kube.client import Client
from edge_kube.harness import LightCluster

RBAC = "rbac.authorization.k8s.io"
ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


async def lets(
    kube: Client, user: str, *verbs: str, namespace: str = "", resource: str, group: str = ""
) -> None:
    """RBAC of the cluster itself; the controller's projection does not run here."""
    kind, name = "Role" if namespace else "ClusterRole", f"lets-{secrets.token_hex(3)}"
    meta = {"name": name, "namespace": namespace} if namespace else {"name": name}
    about = {"apiVersion": f"{RBAC}/v1", "metadata": meta}
    rules = [{"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}]
    await kube.create({**about, "kind": kind, "rules": rules}, manager="test")
    given = {
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }
    await kube.create({**about, "kind": f"{kind}Binding", **given}, manager="test")
    for verb in verbs:
        await becomes(kube, True, user, verb, f"{resource}.{group}" if group else resource, namespace)


async def can_i(gateway: RunningGateway, token: str, *question: str, path: str = "") -> str:
    """All that real kubectl prints."""
    return await gateway.kubectl(token, "auth", "can-i", *question, path=path, check=False)


async def status(gateway: RunningGateway, token: str, root: str = "", **attributes: str) -> dict[str, Any]:
    kind = "nonResourceAttributes" if "path" in attributes else "resourceAttributes"
    answer = await gateway.ask("POST", f"{root}{ACCESS}", token=token, json={"spec": {kind: attributes}})
    assert answer.status == 201, answer.body
    found = answer.json()
    assert (found["kind"], found["spec"][kind]["verb"]) == ("SelfSubjectAccessReview", attributes["verb"])
    return found["status"]


async def test_kubectl_is_told_yes_where_both_judges_agree_and_no_when_the_binding_goes(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    press, token = tenant.namespaces[0], await gateway.token(tenant.user)
    await lets(kube, tenant.user, "list", namespace=press, resource="configmaps")
    assert await can_i(gateway, token, "list", "configmaps", "-n", press) == "yes\n"
    told = await status(gateway, token, verb="list", resource="configmaps", namespace=press)
    assert told["allowed"] is True
    assert f'IAMRoleBinding "{tenant.binding}" gives IAMRole "workspace-admin"' in told["reason"]
    assert f"at workspace/{tenant.workspace}" in told["reason"]

    path = f"/api/v1/namespaces/{press}/configmaps"
    await tenant.unbind()
    await gateway.until(path, 403, token=token)
    said = await can_i(gateway, token, "list", "configmaps", "-n", press)
    assert said.startswith(f'no - User "{tenant.user}" cannot list resource "configmaps"'), said
    assert f"at namespace/{press}" in said
    refused = (await gateway.get(path, token=token)).json()["message"]
    assert refused.startswith(said.removeprefix("no - ").strip())


async def test_where_rbac_does_not_agree_the_answer_is_no_and_says_both(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    press, token = tenant.namespaces[0], await gateway.token(tenant.user)
    told = await status(gateway, token, verb="list", resource="configmaps", namespace=press)
    assert told["allowed"] is False
    assert f'IAMRoleBinding "{tenant.binding}" gives' in told["reason"]
    assert "but RBAC of cluster host does not let it through" in told["reason"]
    assert (await gateway.get(f"/api/v1/namespaces/{press}/configmaps", token=token)).status == 403


async def test_what_no_api_server_serves_is_answered_by_the_engine(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    press, token = tenant.namespaces[0], await gateway.token(tenant.user)
    virtual = "pods.resources.theriseunion.io"
    assert (await can_i(gateway, token, "list", virtual, "-n", press)).startswith("yes\n")
    assert (await can_i(gateway, token, "list", virtual, "-n", "default")).startswith("no - User")
    tenants = {"group": "tenant.theriseunion.io", "resource": "workspaces", "namespace": "default"}
    assert (await status(gateway, token, verb="get", name=tenant.workspace, **tenants))["allowed"] is True
    assert (await status(gateway, token, verb="get", name="system-workspace", **tenants))["allowed"] is False


async def test_objects_that_are_scopes_are_asked_about_at_their_own_scope(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    """kubectl names the namespace `default` with them; the request does not."""
    token, group = await gateway.token(tenant.user), "scope.theriseunion.io"
    await lets(kube, tenant.user, "get", "list", resource="workspaces", group=group)
    await lets(kube, tenant.user, "get", resource="namespaces")
    said = await can_i(gateway, token, "get", f"workspaces.{group}/{tenant.workspace}")
    assert said.startswith("yes\n"), said
    said = await can_i(gateway, token, "get", f"namespaces/{tenant.namespaces[0]}")
    assert said.startswith("yes\n"), said
    said = await can_i(gateway, token, "get", f"workspaces.{group}/system-workspace")
    assert "at workspace/system-workspace" in said
    said = await can_i(gateway, token, "list", f"workspaces.{group}")
    assert said.startswith("no - User"), "a part of a list is not the list"
    assert "at platform" in said


async def test_where_a_binding_is_that_is_none_of_the_callers_business_stays_hidden(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    other = Tenant(kube)
    await other.make()
    group = {"group": "iam.theriseunion.io", "resource": "iamrolebindings"}
    path = f"/apis/{group['group']}/v1alpha1/iamrolebindings/{other.binding}"
    await gateway.until(f"/oapis{path[5:]}", 200, token=await gateway.token())
    token = await gateway.token(tenant.user)
    told = await status(gateway, token, verb="get", name=other.binding, **group)
    assert told["allowed"] is False
    assert other.workspace not in told["reason"]
    assert (await gateway.get(path, token=token)).json()["message"].startswith(told["reason"])
    mine = await status(gateway, token, verb="get", name=tenant.binding, **group)
    assert f"at workspace/{tenant.workspace}" in mine["reason"], "of one's own it is told"


async def test_to_run_something_by_a_get_needs_create_as_the_request_does(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    press, token = tenant.namespaces[0], await gateway.token(tenant.user)
    await tenant.unbind()
    await tenant.bind("workspace-viewer")
    await gateway.until(f"/api/v1/namespaces/{press}/pods/p/exec", 403, token=token)
    await lets(kube, tenant.user, "get", "create", namespace=press, resource="pods/exec")
    shell = {"resource": "pods", "subresource": "exec", "namespace": press, "name": "p"}
    told = await status(gateway, token, verb="get", **shell)
    assert told["allowed"] is False
    assert 'cannot create resource "pods/exec"' in told["reason"]


async def test_paths_and_everybodys_own_questions_are_answered_too(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    token = await gateway.token(tenant.user)
    assert (await status(gateway, token, verb="get", path="/version"))["allowed"] is True
    assert (await status(gateway, token, verb="get", path="/logs"))["allowed"] is False
    own = {"group": "authorization.k8s.io", "resource": "selfsubjectaccessreviews"}
    assert (await status(gateway, token, verb="create", **own))["allowed"] is True
    admin = await gateway.token()
    assert await can_i(gateway, admin, "*", "*") == "yes\n"
    assert (await can_i(gateway, token, "*", "*")).startswith("no - ")


async def test_members_are_asked_about_at_their_own_scopes(
    gateway: RunningGateway, tenant: Tenant, east: LightCluster
) -> None:
    token, admin = await gateway.token(tenant.user), await gateway.token()
    press = tenant.namespaces[0]
    said = await can_i(gateway, token, "list", "configmaps", "-n", press, path="/clusters/east")
    assert f"at cluster/east/namespace/{press}" in said, "equal names in two clusters are two scopes"
    assert await can_i(gateway, admin, "list", "configmaps", "-n", press, path="/clusters/east") == "yes\n"
    told = await status(gateway, admin, "/clusters/east", verb="get", resource="nodes", name="n")
    assert 'gives IAMRole "platform-admin" at platform' in told["reason"]


async def test_who_has_to_change_the_password_first_is_told_so(gateway: RunningGateway, kube: Client) -> None:
    name = await somebody(gateway, kube, admin=True, must_change=True)
    token = await gateway.token(name)
    told = await status(gateway, token, verb="create", resource="configmaps", namespace="default")
    assert told["allowed"] is False
    assert "password" in told["reason"]
    assert (await status(gateway, token, verb="list", resource="configmaps"))["allowed"] is True


async def test_the_list_of_rules_is_the_engines_and_says_that_it_may_be_incomplete(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    press, token = tenant.namespaces[0], await gateway.token(tenant.user)
    await lets(kube, tenant.user, "list", namespace="default", resource="secrets")
    said = await can_i(gateway, token, "--list", "-n", press)
    assert "the list may be incomplete" in said
    for shown in (
        "configmaps",
        "configmaps.resources.theriseunion.io",
        "selfsubjectaccessreviews",
        "[/apis/*]",
    ):
        assert shown in said, said
    there = await can_i(gateway, token, "--list", "-n", "default")
    assert "secrets" not in there, "RBAC alone lets nobody through the gateway"
    body = {"spec": {"namespace": press}}
    found = (await gateway.ask("POST", RULES, token=token, json=body)).json()
    assert (found["status"]["incomplete"], found["spec"]) == (True, {"namespace": press})


async def test_who_somebody_is_to_the_cluster_is_the_clusters_answer(
    gateway: RunningGateway, kube: Client
) -> None:
    name = f"ops-{secrets.token_hex(3)}"
    await make_user(kube, name, groups=("ops",))
    await gateway.knows(name)
    said = json.loads(await gateway.kubectl(await gateway.token(name), "auth", "whoami", "-o", "json"))
    assert said["status"]["userInfo"]["username"] == name
    assert "edge:group:ops" in said["status"]["userInfo"]["groups"]


@pytest.mark.parametrize(
    ("media", "body", "code", "why"),
    [
        ("application/json", b'{"spec":{}}', 400, "and not both"),
        ("application/json", b"{", 400, "truncated"),
        ("application/yaml", b"spec: {}", 415, "only JSON and protobuf are"),
        ("application/vnd.kubernetes.protobuf", b"k8s\0\x12\xff", 400, "breaks off"),
    ],
)
async def test_what_is_no_question_is_refused_with_the_reason(
    gateway: RunningGateway, media: str, body: bytes, code: int, why: str
) -> None:
    token = await gateway.token()
    answer = await gateway.ask("POST", ACCESS, token=token, data=body, headers={"Content-Type": media})
    assert answer.status == code
    assert why in answer.json()["message"]


async def test_controllers_ask_in_protobuf(gateway: RunningGateway, tenant: Tenant) -> None:
    def message(*fields: tuple[int, bytes]) -> bytes:
        return b"".join(bytes([number << 3 | 2, len(text)]) + text for number, text in fields)

    texts = {1: tenant.namespaces[0], 2: "list", 3: "resources.theriseunion.io", 5: "pods"}
    about = message(*((number, text.encode()) for number, text in texts.items()))
    body = b"k8s\0" + message((2, message((2, message((1, about))))))
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
    token = await gateway.token(tenant.user)
    answer = await gateway.ask("POST", ACCESS, token=token, data=body, headers=headers)
    assert (answer.status, answer.json()["status"]["allowed"]) == (201, True)
