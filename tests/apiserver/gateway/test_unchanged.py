"""What is read as JSON has an ETag, and who has it already is told so (console §5.1; RFC 9110 §13.1.2)."""

import asyncio
import secrets

import pytest
from tests.support.gateway import IAM, Answer, RunningGateway, somebody

from edge.iam.types import User
from edge_kube.client import Client
from edge_kube.meta import Key

CONSOLE = "/oapis/console.theriseunion.io/v1alpha1"
ROLES = f"{IAM}/iamroles"


@pytest.mark.parametrize(
    "path",
    [
        ROLES,
        f"{ROLES}?limit=2&sort=-name",
        f"{ROLES}/platform-admin",
        f"{IAM}/me/access?scope=platform",
        f"{IAM}/oauthclients/edge-console",
        f"{CONSOLE}/rows/iam.theriseunion.io/v1alpha1/iamroles?q=admin",
        f"{CONSOLE}/rows/iam.theriseunion.io/v1alpha1/iamroles/columns",
        "/oapis/openapi.json",
        "/oauth/jwks",
        "/.well-known/openid-configuration",
        "/oapis/version",
    ],
)
async def test_who_has_an_answer_already_gets_it_no_second_time(gateway: RunningGateway, path: str) -> None:
    token = await gateway.token()
    for form in ("W/{}", "{}", '"other", W/{}', 'W/"other",{}', "*"):
        again = await asked_again(gateway, path, token, form)
        assert again.body == b""
        assert again.headers["ETag"]
        assert again.headers["X-Content-Type-Options"] == "nosniff"
    other = await gateway.get(path, token=token, headers={"If-None-Match": '"another", W/"nothing"'})
    assert other.status == 200
    head = await gateway.ask("HEAD", path, token=token)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["ETag"]


async def asked_again(gateway: RunningGateway, path: str, token: str, form: str) -> Answer:
    """The 304; what somebody else changes in between is read once more."""
    async with asyncio.timeout(20):
        while True:
            first = await gateway.get(path, token=token)
            assert first.status == 200, first.body
            offered = form.format(first.headers["ETag"].removeprefix("W/"))
            again = await gateway.get(path, token=token, headers={"If-None-Match": offered})
            if again.status == 304:
                return again


async def test_a_changed_object_comes_whole_and_with_another_tag(
    gateway: RunningGateway, kube: Client
) -> None:
    name = await somebody(gateway, kube)
    path, token = f"{IAM}/users/{name}", await gateway.token()
    first = await gateway.get(path, token=token)
    about = f"about-{secrets.token_hex(4)}"
    await kube.merge(User, Key("", name), {"spec": {"description": about}})
    kept = {"If-None-Match": first.headers["ETag"]}
    async with asyncio.timeout(20):
        while (again := await gateway.get(path, token=token, headers=kept)).status == 304:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert again.status == 200
    assert again.headers["ETag"] != first.headers["ETag"]
    assert about.encode() in again.body


async def test_refusals_changes_and_texts_have_no_tag(gateway: RunningGateway) -> None:
    token = await gateway.token()
    assert "ETag" not in (await gateway.get(f"{ROLES}/nothing-of-that-name", token=token)).headers
    assert "ETag" not in (await gateway.get("/healthz")).headers
    asked = await gateway.ask(
        "POST",
        f"{IAM}/access/explain",
        token=token,
        json={"scope": "platform", "action": {"verb": "get", "resource": "pods"}},
        headers={"If-None-Match": "*"},
    )
    assert asked.status == 200
    assert "ETag" not in asked.headers
