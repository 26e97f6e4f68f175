"""Rights as people ask about them, over HTTP and from the command line (I4, I8, I19, R36)."""

import asyncio
import json
import os
import sys
from typing import Any

import pytest
from tests.support.gateway import IAM, PASSWORD, PATIENCE_S, RunningGateway, make_user
from tests.support.projected import binding
from tests.support.workspaces import Tenant

from edge.nodes.types import NodeGroup
from edge.tenancy.types import Workspace
from edge_kube.client import Client
from edge_kube.meta import Key, ObjectMeta
from edge_sdk.scopes import GRANTED_WORKSPACES_ANNOTATION

PODS = {"verb": "list", "group": "", "resource": "pods"}


async def explained(gateway: RunningGateway, token: str, scope: str, **body: Any) -> dict[str, Any]:
    answer = await gateway.ask(
        "POST", f"{IAM}/access/explain", token=token, json={"scope": scope, "action": PODS, **body}
    )
    assert answer.status == 200, answer.body
    return answer.json()


async def test_an_allow_is_explained_down_to_the_rule(gateway: RunningGateway, tenant: Tenant) -> None:
    place = f"namespace/{tenant.namespaces[0]}"
    found = await explained(gateway, await gateway.token(tenant.user), place)
    assert found["allowed"] is True
    assert found["decidedAt"] == f"workspace/{tenant.workspace}"
    assert (found["by"]["role"], found["by"]["binding"]) == ("workspace-admin", tenant.binding)
    assert {"template", "ruleIndex"} <= set(found["by"])


async def test_a_denial_names_what_would_allow_it_and_who_may_give_it(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    name = f"guest-{tenant.user}"
    await make_user(kube, name)
    await gateway.knows(name)
    place = f"namespace/{tenant.namespaces[0]}"
    subject = {"kind": "User", "name": name}
    found = await explained(gateway, await gateway.token(), place, subject=subject)
    assert found["allowed"] is False
    assert found["trace"][1]["scope"] == f"workspace/{tenant.workspace}"
    assert found["grant"][0]["scope"] == place
    assert any(f"User {tenant.user}" in way["grantors"] for way in found["grant"])


async def test_a_scope_that_is_none_of_ones_business_is_answered_like_one_that_is_not_there(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    token = await gateway.token("ada")
    there = await explained(gateway, token, f"namespace/{tenant.namespaces[0]}")
    nowhere = await explained(gateway, token, "namespace/no-such-namespace")
    assert there == nowhere
    assert tenant.workspace not in json.dumps(there)
    scopes = f"scope=workspace/{tenant.workspace}&scope=workspace/no-such"
    items = (await gateway.get(f"{IAM}/me/access?{scopes}", token=token)).json()["items"]
    assert [(one["code"], one["chain"], one["uiPermissions"]) for one in items] == [
        ("ScopeNotVisible", [], []),
        ("ScopeNotVisible", [], []),
    ]


async def test_only_who_may_read_bindings_is_told_about_others(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    token, place = await gateway.token("ada"), f"namespace/{tenant.namespaces[0]}"
    body = {"scope": place, "action": PODS}
    for path, more in (
        ("access/who-can", {}),
        ("access/explain", {"subject": {"kind": "User", "name": tenant.user}}),
    ):
        refused = await gateway.ask("POST", f"{IAM}/{path}", token=token, json=body | more)
        assert refused.status == 403
        assert "iamrolebindings" in refused.json()["message"]
    answer = await gateway.ask("POST", f"{IAM}/access/who-can", token=await gateway.token(), json=body)
    found = answer.json()
    named = {(one["kind"], one["name"]) for one in found["subjects"]}
    assert {("User", tenant.user), ("User", "admin")} <= named
    assert found["total"] == len(found["subjects"])
    assert found["totalIsExact"] is True


async def test_who_can_comes_in_pages(gateway: RunningGateway, tenant: Tenant) -> None:
    body: dict[str, Any] = {"scope": f"namespace/{tenant.namespaces[0]}", "action": PODS, "limit": 1}
    seen: list[str] = []
    while True:
        answer = await gateway.ask("POST", f"{IAM}/access/who-can", token=await gateway.token(), json=body)
        page = answer.json()
        seen += [one["name"] for one in page["subjects"]]
        if not page["cursor"]:
            break
        body["cursor"] = page["cursor"]
    assert len(seen) == len(set(seen)) == page["total"]
    assert tenant.user in seen


async def test_my_access_spells_console_rights_out_and_lists_the_rules(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    token = await gateway.token(tenant.user)
    found = (await gateway.get(f"{IAM}/me/access?scope=workspace/{tenant.workspace}", token=token)).json()
    (item,) = found["items"]
    assert item["chain"] == [f"workspace/{tenant.workspace}", "cluster/host", "platform"]
    assert "workspace/members.manage" in item["uiPermissions"]
    assert any("pods" in rule["resources"] for rule in item["rules"])
    assert found["ttlSeconds"] == 300
    scopes = (await gateway.get(f"{IAM}/me/scopes?type=workspace", token=token)).json()
    assert [(one["scope"], one["roles"]) for one in scopes["items"]] == [
        (f"workspace/{tenant.workspace}", ["workspace-admin"])
    ]
    named = {"metadata": {"annotations": {"theriseunion.io/display-name": "The Press 新闻"}}}
    await kube.merge(Workspace, Key("", tenant.workspace), named)
    async with asyncio.timeout(PATIENCE_S):
        while not (found := (await gateway.get(f"{IAM}/me/scopes?q=press", token=token)).json())["items"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert found["items"][0]["title"] == "The Press 新闻"
    assert (await gateway.get(f"{IAM}/me/scopes?q={tenant.workspace}", token=token)).json()["total"] == 1


async def test_the_review_of_grants_tells_each_caller_only_of_bindings_they_may_see(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    name = f"dangling-{tenant.workspace}"
    dangling = binding(name, "no-such-role", "workspace", tenant.workspace, tenant.user)
    await kube.create(dangling, manager="test")
    path = f"{IAM}/access/grants?kind=dangling&limit=500"
    token = await gateway.token(tenant.user)
    own: dict[str, Any] = {"items": []}
    while name not in json.dumps(own):  # the test's own time limit ends it
        own = (await gateway.get(path, token=token)).json()
    (one,) = [item for item in own["items"] if item["binding"] == name]
    assert "no-such-role does not exist" in one["reason"]
    assert one["remedy"] == f"kubectl delete iamrolebinding {name}"
    stranger = (await gateway.get(path, token=await gateway.token("ada"))).json()
    assert name not in json.dumps(stranger)
    refused = await gateway.get(f"{IAM}/access/grants?kind=odd", token=await gateway.token())
    assert refused.status == 400
    assert "dangling|unused|tooWide" in refused.json()["message"]


async def test_grants_of_node_groups_are_reviewed_too(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    """I18, I19: to a workspace that is not there, to one that does not use the group, to everybody."""
    narrow, open_to_all, gone = (f"{word}-{tenant.workspace}" for word in ("narrow", "open", "gone"))
    granted = {GRANTED_WORKSPACES_ANNOTATION: f"{tenant.workspace},{gone}"}
    await kube.create(NodeGroup(metadata=ObjectMeta(name=narrow, annotations=granted)), manager="test")
    await kube.create(NodeGroup(metadata=ObjectMeta(name=open_to_all)), manager="test")
    for name in (narrow, open_to_all):
        await tenant.bind_at("nodegroup", name, "nodegroup-viewer", f"sees-{name}")
    token = await gateway.token(tenant.user)

    async def found() -> set[tuple[str, str, str]]:
        answer = await gateway.get(f"{IAM}/access/grants?limit=500", token=token)
        items = answer.json().get("items", [])
        about = [one for one in items if one["scope"].startswith("nodegroup/") and not one["binding"]]
        assert all(one["reason"] and one["remedy"] for one in about)
        return {(one["kind"], one["scope"], one["subject"]) for one in about}

    everybody = ("tooWide", f"nodegroup/{open_to_all}", "")
    dangling = ("dangling", f"nodegroup/{narrow}", f"Workspace {gone}")
    unused = ("unused", f"nodegroup/{narrow}", f"Workspace {tenant.workspace}")
    async with asyncio.timeout(2 * PATIENCE_S):
        while await found() != {everybody, dangling, unused}:  # noqa: ASYNC110 - it hears of it elsewhere
            await asyncio.sleep(0.05)
        await kube.create(
            {
                "apiVersion": "app.theriseunion.io/v1alpha1",
                "kind": "ApplicationDeployment",
                "metadata": {"name": "qc", "namespace": tenant.namespaces[0]},
                "spec": {"application": "qc", "version": "latest", "topologies": [{"nodeGroup": narrow}]},
            },
            manager="test",
        )
        while await found() != {everybody, dangling}:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    stranger = (await gateway.get(f"{IAM}/access/grants?limit=500", token=await gateway.token("ada"))).json()
    assert narrow not in json.dumps(stranger)
    for name in (narrow, open_to_all):
        await tenant.unbind(f"sees-{name}")
        await kube.delete(NodeGroup, name)


async def test_yes_why_and_who_can_agree_with_each_other(gateway: RunningGateway, tenant: Tenant) -> None:
    """X2: explain allows exactly those whom who-can names."""
    token, place = await gateway.token(), f"namespace/{tenant.namespaces[0]}"
    body = {"scope": place, "action": PODS, "limit": 200}
    answer = await gateway.ask("POST", f"{IAM}/access/who-can", token=token, json=body)
    able = {one["name"] for one in answer.json()["subjects"] if one["kind"] == "User"}
    for name in (tenant.user, "admin", "ada"):
        found = await explained(gateway, token, place, subject={"kind": "User", "name": name})
        assert found["allowed"] is (name in able), name


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[]", "Expected `object`"),
        (b'{"scope": "planet/earth/x", "action": {"verb": "get", "resource": "pods"}}', "names no scope"),
        (b'{"scope": "platform", "action": {"verb": "get"}}', "neither a verb on a resource"),
        (b'{"scope": "platform", "action": {"verb": "get", "resource": "pods", "colour": 1}}', "colour"),
    ],
)
async def test_a_question_that_makes_no_sense_is_told_what_would(
    gateway: RunningGateway, body: bytes, says: str
) -> None:
    answer = await gateway.ask("POST", f"{IAM}/access/explain", token=await gateway.token(), data=body)
    assert answer.status == 400
    assert says in answer.json()["message"]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=-1", f"cursor={'9' * 4500}"])
@pytest.mark.parametrize("path", ["me/scopes", "access/grants"])
async def test_a_page_that_there_is_not_is_refused_with_what_there_is(
    gateway: RunningGateway, path: str, query: str
) -> None:
    answer = await gateway.get(f"{IAM}/{path}?{query}", token=await gateway.token())
    assert answer.status == 400
    assert f"The parameter {query.split('=')[0]} is" in answer.json()["message"]
    assert "accepted: " in answer.json()["message"]


@pytest.mark.parametrize("page", [{"limit": 0}, {"limit": 201}, {"cursor": "-1"}, {"cursor": "9" * 4500}])
async def test_a_page_of_who_can_that_there_is_not_is_refused_with_what_there_is(
    gateway: RunningGateway, page: dict[str, Any]
) -> None:
    body = {"scope": "platform", "action": PODS, **page}
    answer = await gateway.ask("POST", f"{IAM}/access/who-can", token=await gateway.token(), json=body)
    assert answer.status == 400
    assert f"The field {next(iter(page))} is" in answer.json()["message"]
    assert "accepted: " in answer.json()["message"]


async def edge(gateway: RunningGateway, token: str, *words: str, stdin: str = "") -> tuple[int, str]:
    """Exit code and output of the command line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import sys; from edge.cli.main import main; sys.exit(main())", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "EDGE_SERVER": gateway.url, "EDGE_TOKEN": token},
    )
    out, _ = await process.communicate(stdin.encode())
    return process.returncode or 0, out.decode()


async def test_the_command_line_says_yes_and_no_and_why(gateway: RunningGateway, tenant: Tenant) -> None:
    token, place = await gateway.token(tenant.user), tenant.namespaces[0]
    assert await edge(gateway, token, "auth", "can-i", "get", "pods/log", "-n", place) == (0, "yes\n")
    assert await edge(gateway, token, "auth", "can-i", "get", "nodes") == (1, "no\n")
    code, said = await edge(gateway, token, "auth", "why", "delete", "deployments.apps", "web", "-n", place)
    assert code == 0
    assert (
        f"decided at workspace/{tenant.workspace} by binding {tenant.binding}, role workspace-admin" in said
    )
    admin = await gateway.token()
    asked = ("auth", "why", "list", "pods", "-n", place, "--as", "ada")
    code, said = await edge(gateway, admin, *asked)
    assert code == 1
    assert f"no: ada may not list pods at namespace/{place}" in said
    assert "would allow it: role namespace-" in said
    code, said = await edge(gateway, admin, "auth", "who-can", "list", "pods", "-n", place)
    assert code == 0
    assert f"User {tenant.user}: role workspace-admin at workspace/{tenant.workspace}" in said


async def test_signing_in_keeps_a_token_for_its_owner_alone(
    gateway: RunningGateway, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    login = ("login", "-u", "ada", "--password-stdin")
    code, said = await edge(gateway, "", *login, stdin=f"{PASSWORD}\n")
    assert code == 0, said
    kept = tmp_path / "edge" / "session.json"
    assert oct(kept.stat().st_mode & 0o777) == "0o600"
    assert await edge(gateway, "", "auth", "can-i", "get", "/version") == (0, "yes\n")
    code, said = await edge(gateway, "", *login, stdin="wrong\n")
    assert code == 1
    assert "Traceback" not in said
