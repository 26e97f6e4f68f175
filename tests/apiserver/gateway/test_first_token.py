"""A password that must be changed: its token on each route of the document; long passwords (I16, S14)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.support.gateway import IAM, PASSWORD, USERS, Answer, RunningGateway, make_user, somebody
from tests.support.probe import operations

from edge.apiserver.openapi.routes import document_bytes
from edge.iam.types import User
from edge_kube.client import Client
from edge_kube.errors import NotFound
from edge_kube.harness import LightCluster

DOCUMENT: Mapping[str, Any] = json.loads(document_bytes())
QUESTIONS = ("/oauth/userinfo", "/access/", "selfsubject", "/watch", "subjectaccessreviews")
"""What is asked with a body and changes nothing."""
ENDS_ONLY = ("/me/sessions", "/me/kubeconfigs")
"""Whoever was given a password by somebody else may end what is open in their name."""
NAMES = {"cluster": "host", "group": "apps", "version": "v1", "namespace": "default", "name": "kept"}


def changes() -> Iterator[tuple[str, str]]:
    """Every route that is no plain reading, with names put in. Those of /oauth take no token for a caller."""
    for method, path, one in operations(DOCUMENT):
        ends_only = method == "DELETE" and any(own in path for own in ENDS_ONLY)
        if method == "GET" or one["tags"][0] == "oauth" or ends_only:
            continue
        filled = path
        for part in path.split("/"):
            if part.startswith("{"):
                name = part.strip("{}+")
                filled = filled.replace(part, NAMES.get(name, "configmaps" if name == "resource" else "kept"))
        yield method, filled


async def ask(gateway: RunningGateway, token: str, method: str, path: str) -> Answer:
    if method == "DELETE":
        return await gateway.ask(method, path, token=token)
    if method == "PATCH":
        headers = {"Content-Type": "application/merge-patch+json"}
        return await gateway.ask(method, path, token=token, headers=headers, data="{}")
    return await gateway.ask(method, path, token=token, json={"metadata": {"name": "kept"}})


async def first_token(gateway: RunningGateway, kube: Client) -> str:
    """Of an administrator of this test alone, whose password somebody else chose."""
    name = await somebody(gateway, kube, admin=True, must_change=True)
    return (await gateway.sign_in(name)).json()["access_token"]


async def test_S14_the_first_token_changes_nothing_on_any_route(
    gateway: RunningGateway, gateway_cluster: LightCluster, kube: Client
) -> None:
    """As an administrator's: so nothing but the restriction stands in the way."""
    token = await first_token(gateway, kube)
    # In `default`, which is named in all paths; in kube-system the API server makes ConfigMaps of its own.
    kept = ("get", "configmaps,users,iamroles,iamrolebindings", "-n", "default", "-o", "name")
    before = gateway_cluster.kubectl(*kept)
    wrong: list[str] = []
    asked = 0
    for method, path in changes():
        answer = await ask(gateway, token, method, path)
        asked += 1
        code = answer.json().get("edge", {}).get("code", "") if answer.status >= 400 else ""
        is_refused = (answer.status, code) == (403, "PasswordChangeRequired")
        is_question = any(one in path for one in QUESTIONS)
        if not is_refused and not is_question and not path.endswith("/password"):
            wrong.append(f"{method} {path} → {answer.status} {code}")
    assert asked > 60
    assert wrong == [], "\n".join(wrong)
    assert gateway_cluster.kubectl(*kept) == before


@pytest.mark.parametrize("what", ["exec", "attach", "portforward", "proxy"])
async def test_S14_the_first_token_opens_no_shell_not_even_by_get(
    gateway: RunningGateway, kube: Client, what: str
) -> None:
    token = await first_token(gateway, kube)
    path = f"/api/v1/namespaces/default/pods/kept/{what}?command=sh"
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    for headers in ({}, {**upgrade, "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}):
        answer = await gateway.get(path, token=token, headers=headers)
        assert (answer.status, answer.json()["edge"]["code"]) == (403, "PasswordChangeRequired")


@pytest.mark.parametrize("character", ["x", "é"])
async def test_S14_a_password_of_73_bytes_is_refused_when_set_and_ordinary_wrong_at_the_sign_in(
    gateway: RunningGateway, kube: Client, character: str
) -> None:
    """bcrypt reads 72 bytes: what is longer must neither be cut nor told apart."""
    full = (character * 72).encode()[:72].decode()
    user = f"long-{character.encode().hex()}"
    await make_user(kube, user)
    await gateway.knows(user)
    token = await gateway.token(user)
    path = f"{USERS}/{user}/password"
    longer = await gateway.ask(
        "PUT", path, token=token, json={"currentPassword": PASSWORD, "newPassword": f"{full}y"}
    )
    assert longer.status == 422
    assert "at most 72 bytes" in longer.json()["message"]
    body = {"currentPassword": PASSWORD, "newPassword": full}
    assert (await gateway.ask("PUT", path, token=token, json=body)).status == 200
    await gateway.until(f"{IAM}/me", 200, token=token)
    assert (await gateway.sign_in(user, full)).status == 200
    wrong = await gateway.sign_in(user, "wrong")
    for tried in (f"{full}y", f"{full}{'y' * 1000}"):
        answer = await gateway.sign_in(user, tried)
        assert (answer.status, answer.body) == (wrong.status, wrong.body)
    current = {"currentPassword": f"{full}y", "newPassword": "quite another one"}
    assert (await gateway.ask("PUT", path, token=token, json=current)).status == 401


async def test_S14_a_restricted_administrator_makes_no_user_in_any_spelling(
    gateway: RunningGateway, kube: Client
) -> None:
    token = await first_token(gateway, kube)
    body = {"apiVersion": "iam.theriseunion.io/v1alpha1", "kind": "User", "metadata": {"name": "slipped"}}
    for path in (
        USERS, "/kapis/iam/v1alpha1/users", "/apis/iam.theriseunion.io/v1alpha1/users",
        "/clusters/host/apis/iam.theriseunion.io/v1alpha1/users", f"{USERS}?dryRun=All",
    ):  # fmt: skip
        answer = await gateway.ask("POST", path, token=token, json=body)
        assert (answer.status, answer.json()["edge"]["code"]) == (403, "PasswordChangeRequired"), path
    with pytest.raises(NotFound):
        await kube.get(User, "slipped")
