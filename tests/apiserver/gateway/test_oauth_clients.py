"""OAuth clients as Secrets: made, known on every replica, renewed, gone; what their grants allow (I12)."""

import asyncio
import base64
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.support.browser import Browser, Pkce, answered, authorize
from tests.support.gateway import IAM, PASSWORD, PATIENCE_S, Answer, RunningGateway, make_user, somebody
from tests.support.oauth import WIKI, credentials, drop_client, knows_client, make_client
from tests.support.projected import binding

from edge.iam.firstadmin import ADMIN_ROLE, SCOPE_LABELS
from edge.iam.oauthclients import CODE, CREDENTIALS, REFRESH, SECRET_PREFIX, OAuthClient, hash_secret
from edge.iam.types import (
    GROUP,
    IAMRole,
    IAMRoleSpec,
    PolicyRule,
)
from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import tool
from edge_kube.meta import Key, ObjectMeta

PAGE = Path(__file__).parents[3] / "docs" / "authentication.md"
CLIENTS = f"{IAM}/oauthclients"
ME = f"{IAM}/me"
EDGE = "import sys; from edge.cli.main import main; sys.exit(main())"


@pytest_asyncio.fixture(autouse=True)
async def clean(kube: Client) -> AsyncIterator[None]:
    yield
    for secret in await kube.list(Secret, "edge-system", fields="type=iam.theriseunion.io/oauth-client"):
        await kube.delete(Secret, secret.metadata.name, "edge-system")


async def bind(kube: Client, user: str, role: str) -> None:
    await kube.create(binding(f"{user}-{role}", role, "platform", "global", user), manager="test")


async def make(gateway: RunningGateway, token: str, **body: Any) -> Answer:
    return await gateway.ask("POST", CLIENTS, token=token, json=body)


async def test_a_client_is_made_listed_and_deleted_and_its_secret_is_shown_once(
    gateway: RunningGateway, kube: Client
) -> None:
    token = await gateway.token()
    made = await make(gateway, token, id="wiki", redirectURIs=[WIKI])
    assert made.status == 201, made.body
    secret = made.json()["secret"]
    assert len(secret) >= 43
    listed = await gateway.get(CLIENTS, token=token)
    assert {"edge-console", "wiki"} <= {one["id"] for one in listed.json()["items"]}
    kept = await kube.get(Secret, f"{SECRET_PREFIX}wiki", "edge-system")
    for shown in (listed.body, (await gateway.get(f"{CLIENTS}/wiki", token=token)).body):
        assert secret.encode() not in shown
        assert b"hmac" not in shown
    assert secret not in str(kept.data)
    again = await make(gateway, token, id="wiki", redirectURIs=[WIKI])
    assert (again.status, again.json()["reason"]) == (409, "Conflict")
    assert (await gateway.ask("DELETE", f"{CLIENTS}/wiki", token=token)).status == 200
    assert (await gateway.get(f"{CLIENTS}/wiki", token=token)).status == 404
    assert (await gateway.ask("DELETE", f"{CLIENTS}/edge-console", token=token)).status == 409
    assert (await gateway.ask("PUT", f"{CLIENTS}/wiki", token=token, json={})).status == 405


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"id": "Wiki", "redirectURIs": [WIKI]}, "id"),
        ({"id": "wiki"}, "redirectURIs"),
        ({"id": "wiki", "redirectURIs": ["http://wiki.example.com/cb"]}, "redirectURIs"),
        ({"id": "wiki", "redirectURIs": ["javascript:alert(1)"]}, "redirectURIs"),
        ({"id": "wiki", "redirectURIs": ["https://wiki.example.com/#x"]}, "redirectURIs"),
        ({"id": "wiki", "redirectURIs": ["https://me@wiki.example.com/"]}, "redirectURIs"),
        ({"id": "wiki", "grants": ["magic"]}, "grants"),
        ({"id": "wiki", "grants": [CREDENTIALS]}, "user"),
        ({"id": "wiki", "grants": [CREDENTIALS], "user": "nobody"}, "user"),
        ({"id": "wiki", "grants": ["password"], "public": True}, "grants"),
        ({"id": "wiki", "redirectURIs": [WIKI], "accessTokenLife": "1s"}, "accessTokenLife"),
        ({"id": "wiki", "redirectURIs": [WIKI], "accessTokenLife": "soon"}, "accessTokenLife"),
    ],
)
async def test_a_bad_client_is_refused_with_the_field(
    gateway: RunningGateway, body: dict[str, Any], field: str
) -> None:
    answer = await make(gateway, await gateway.token(), **body)
    assert answer.status == 422, answer.body
    assert field in {cause["field"] for cause in answer.json()["details"]["causes"]}


async def test_clients_are_made_by_who_may_and_act_only_as_whom_their_maker_may_act_as(
    gateway: RunningGateway, kube: Client
) -> None:
    user = await somebody(gateway, kube)
    token = await gateway.token(user)
    for answer in (
        await gateway.get(CLIENTS, token=token),
        await make(gateway, token, id="wiki", redirectURIs=[WIKI]),
        await gateway.ask("DELETE", f"{CLIENTS}/wiki", token=token),
        await gateway.ask("POST", f"{CLIENTS}/wiki/secret", token=token, json={}),
    ):
        assert answer.status == 403, answer.body
    fresh = await gateway.token("fresh")  # an administrator who must change the password first
    refused = await make(gateway, fresh, id="wiki", redirectURIs=[WIKI])
    assert refused.json()["edge"]["code"] == "PasswordChangeRequired"
    role = await kube.create(  # may make clients, and act as nobody else
        IAMRole(
            metadata=ObjectMeta(name="client-maker", labels=SCOPE_LABELS),
            spec=IAMRoleSpec(
                rules=(PolicyRule(verbs=("*",), api_groups=(GROUP,), resources=("oauthclients",)),)
            ),
        ),
        manager="test",
    )
    await bind(kube, user, role.metadata.name)
    await gateway.until(CLIENTS, 200, token=token)
    refused = await make(gateway, token, id="up", grants=[CREDENTIALS], user="admin")
    assert (refused.status, "impersonate" in refused.json()["message"]) == (403, True)
    assert (await make(gateway, token, id="wiki", redirectURIs=[WIKI])).status == 201


async def test_a_client_counts_on_every_replica_without_a_restart_and_so_does_its_end(
    gateway: RunningGateway, gateway_cluster: LightCluster, kube: Client
) -> None:
    async with RunningGateway(gateway_cluster.connection) as second:
        secret = await make_client(kube, gateway, OAuthClient(id="wiki", redirect_uris=(WIKI,)))
        await knows_client(second, "wiki")
        pkce = Pkce()
        asked = {
            "response_type": "code",
            "client_id": "wiki",
            "redirect_uri": WIKI,
            "code_challenge": pkce.challenge,
            "code_challenge_method": "S256",
        }
        code = answered(await Browser(gateway).sign_in(asked), WIKI)["code"]
        form = {
            "grant_type": CODE,
            "code": code,
            "code_verifier": pkce.verifier,
            "redirect_uri": WIKI,
            "client_id": "wiki",
            "client_secret": secret,
        }
        granted = (await second.ask("POST", "/oauth/token", data=form)).json()
        await gateway.until(ME, 200, token=granted["access_token"])
        await drop_client(kube, "wiki")
        for one in (gateway, second):
            await knows_client(one, "wiki", gone=True)
            refresh = {"grant_type": REFRESH, "refresh_token": granted["refresh_token"]} | {
                "client_id": "wiki", "client_secret": secret,
            }  # fmt: skip
            answer = await one.ask("POST", "/oauth/token", data=refresh)
            assert (answer.status, answer.json()["error"]) == (401, "invalid_client")
            # What it was given ends with it.
            await one.until(ME, 401, token=granted["access_token"])


async def test_a_client_that_went_while_no_gateway_ran_leaves_no_session(
    gateway_cluster: LightCluster, kube: Client
) -> None:
    async with RunningGateway(gateway_cluster.connection) as before:
        name = await somebody(before, kube)
        client = OAuthClient(id="left-behind", grants=frozenset({CREDENTIALS}), user=name)
        secret = await make_client(kube, before, client)
        form = {"grant_type": CREDENTIALS, "client_id": client.id, "client_secret": secret}
        token = (await before.ask("POST", "/oauth/token", data=form)).json()["access_token"]
        other = await before.token(name)
    await drop_client(kube, client.id)
    async with RunningGateway(gateway_cluster.connection) as after:
        after.clock.ahead_s = 90
        await after.server.sessions.keeper.sweep()
        assert (await after.get(ME, token=token)).status == 401
        assert (await after.get(ME, token=other)).status == 200


async def test_a_program_acts_as_its_user_with_the_rights_of_that_users_bindings(
    gateway: RunningGateway, kube: Client
) -> None:
    await make_user(kube, "svc-backup")
    await gateway.knows("svc-backup")
    token = await gateway.token()
    made = await make(
        gateway, token, id="backup", grants=[CREDENTIALS], user="svc-backup", accessTokenLife="5m"
    )
    assert made.status == 201, made.body
    answer = await credentials(gateway, "backup", made.json()["secret"])
    assert answer.status == 200, answer.body
    granted = answer.json()
    assert (granted["expires_in"], "refresh_token" in granted, "id_token" in granted) == (300, False, False)
    assert (await gateway.get(ME, token=granted["access_token"])).json()["user"] == "svc-backup"
    path = "/api/v1/namespaces"
    own, namespace = granted["access_token"], {"metadata": {"name": "made-by-backup"}}
    assert (await gateway.ask("POST", path, token=own, json=namespace)).status == 403
    await bind(kube, "svc-backup", ADMIN_ROLE)
    await gateway.until(f"{IAM}/iamrolebindings/svc-backup-platform-admin", 200, token=token)
    assert (await gateway.ask("POST", path, token=own, json=namespace)).status == 201
    gateway.clock.ahead_s = 360
    assert (await gateway.get(ME, token=granted["access_token"])).json()["edge"]["code"] == "TokenExpired"
    gateway.clock.ahead_s = 0
    for grant in ("password", CODE, REFRESH):
        form = {"grant_type": grant, "client_id": "backup", "client_secret": made.json()["secret"]}
        other = await gateway.ask(
            "POST", "/oauth/token", data=form | {"username": "ada", "password": PASSWORD}
        )
        assert other.json()["error"] == "unauthorized_client"
    console = await gateway.sign_in(grant_type=CREDENTIALS)
    assert console.json()["error"] == "unauthorized_client"


async def test_a_new_secret_replaces_the_old_one_or_stands_beside_it_for_a_while(
    gateway: RunningGateway, kube: Client
) -> None:
    await make_user(kube, "svc-rotate")
    await gateway.knows("svc-rotate")
    token = await gateway.token()
    client = {"id": "rotated", "grants": [CREDENTIALS], "user": "svc-rotate"}
    secrets = [(await make(gateway, token, **client)).json()["secret"]]
    path = f"{CLIENTS}/rotated/secret"
    for body in ({"keepPreviousFor": "1h"}, {}):
        secrets.append((await gateway.ask("POST", path, token=token, json=body)).json()["secret"])
        if body:
            found = [(await credentials(gateway, "rotated", one)).status for one in secrets]
            assert found == [200, 200]
            gateway.clock.ahead_s = 3700
            assert (await credentials(gateway, "rotated", secrets[0])).status == 401
            gateway.clock.ahead_s = 0
    assert [(await credentials(gateway, "rotated", one)).status for one in secrets] == [401, 401, 200]


async def test_a_new_secret_brings_no_address_back_that_was_taken_away_at_the_same_moment(
    gateway: RunningGateway, kube: Client
) -> None:
    await make_client(kube, gateway, OAuthClient(id="moved", redirect_uris=(WIKI, f"{WIKI}&old")))
    clients = gateway.server.oauth.clients
    before = clients.find("moved")
    assert before is not None
    uris = {"data": {"redirectURIs": base64.b64encode(WIKI.encode()).decode()}}
    await kube.merge(Secret, Key("edge-system", f"{SECRET_PREFIX}moved"), uris)
    assert await clients.change("moved", lambda one: replace(one, secret_hash=hash_secret("another")))
    async with asyncio.timeout(PATIENCE_S):
        while (now := clients.find("moved")) is None or now.secret_hash == before.secret_hash:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert now.redirect_uris == (WIKI,)


async def test_guessing_a_client_secret_is_slowed_down_for_that_name_alone(
    gateway: RunningGateway, kube: Client
) -> None:
    await make_client(kube, gateway, OAuthClient(id="guessed", redirect_uris=(WIKI,)))
    answers = [await credentials(gateway, "guessed", f"guess-{n}") for n in range(13)]
    assert {answer.status for answer in answers[:10]} == {401}
    assert answers[-1].status == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
    unknown = await credentials(gateway, "nobody", "x")
    assert unknown.body == answers[0].body, "nobody learns which clients there are"
    assert (await gateway.sign_in("ada")).status == 200


async def test_a_client_says_who_it_is_in_one_way(gateway: RunningGateway) -> None:
    basic = {"Authorization": "Basic ZWRnZS1jb25zb2xlOmVkZ2Utc2VjcmV0"}
    fields = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    twice = {"client_id": "edge-console", "client_secret": "edge-secret"}
    for more, status in ((twice, 400), ({"client_id": "other"}, 400), ({"client_id": "edge-console"}, 200)):
        answer = await gateway.ask("POST", "/oauth/token", data=fields | more, headers=basic)
        assert answer.status == status, answer.body


async def test_the_command_line_makes_lists_rotates_and_deletes(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    token = await gateway.token()

    async def edge(*words: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", EDGE, "oauth-client", *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "EDGE_SERVER": gateway.url,
                "EDGE_TOKEN": token,
            },
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    code, said = await edge("create", "grafana", "--redirect-uri", "https://grafana.example.com/login")
    assert code == 0, said
    secret = re.search(r"client_secret\s+(\S+)", said)
    assert secret is not None
    code, said = await edge("list")
    (row,) = [line.split() for line in said.splitlines() if line.startswith("grafana")]
    assert (row[1], row[-1], secret[1] in said) == (
        "confidential",
        "https://grafana.example.com/login",
        False,
    )
    code, said = await edge("rotate", "grafana", "--keep-previous", "24h")
    assert (code, "client_secret" in said, secret[1] in said) == (0, True, False)
    assert await edge("delete", "grafana") == (0, "deleted grafana\n")
    code, said = await edge("create", "bad", "--redirect-uri", "http://bad.example.com/")
    assert (code, "whoever is on the way could read the code" in said) == (2, True)


async def test_the_commands_of_the_page_work_as_they_stand(
    gateway: RunningGateway, gateway_cluster: LightCluster, tmp_path: Path
) -> None:
    section = PAGE.read_text().split("\n## Programs that sign users in\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.S)
    assert blocks
    kubectl = f'exec {tool("kube")} kubectl --kubeconfig={gateway_cluster.kubeconfig} "$@"'
    for name, command in {"kubectl": kubectl, "edge": f'exec {sys.executable} -c "{EDGE}" "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{command}\n")
        (tmp_path / name).chmod(0o755)
    waits = 'curl() { for _ in $(seq 50); do command curl "$@" && return; sleep 0.2; done; return 1; }\n'
    creates = 'edge() { for _ in $(seq 50); do command edge "$@" && return; sleep 0.2; done; return 1; }\n'
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", waits + creates + "\n".join(blocks)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "API": gateway.url.removeprefix("http://"),
            "EDGE_SERVER": gateway.url,
            "EDGE_TOKEN": await gateway.token(),
        },
    )
    out, _ = await asyncio.wait_for(process.communicate(), 300)
    said = out.decode()
    assert process.returncode == 0, said
    assert said.count("client_secret") == 2, said
    assert '"access_token"' in said


async def test_over_tls_cookies_of_the_sign_in_page_belong_to_this_very_host(
    gateway: RunningGateway, kube: Client
) -> None:
    await make_client(kube, gateway, OAuthClient(id="wiki", redirect_uris=(WIKI,)))
    query = authorize(
        {
            "response_type": "code",
            "client_id": "wiki",
            "redirect_uri": WIKI,
            "code_challenge": Pkce().challenge,
            "code_challenge_method": "S256",
        }
    )
    host, port = gateway.server.addresses[-1]
    async with gateway.session.get(f"https://{host}:{port}{query}", ssl=False) as answer:
        (cookie,) = answer.headers.getall("Set-Cookie")
    assert cookie.startswith("__Host-edge-oauth-form=")
    for attribute in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert f"; {attribute}" in cookie


async def test_a_public_client_learns_nothing_about_tokens(gateway: RunningGateway, kube: Client) -> None:
    """Anybody can say that they are one."""
    phone = OAuthClient(id="phone", public=True, redirect_uris=("com.example.phone:/in",))
    await make_client(kube, gateway, phone)
    token = await gateway.token("ada")
    asked = await gateway.ask("POST", "/oauth/introspect", data={"token": token, "client_id": "phone"})
    assert (asked.status, asked.json()["error"]) == (401, "invalid_client")
    await gateway.ask("POST", "/oauth/revoke", data={"token": token, "client_id": "phone"})
    assert (await gateway.get(ME, token=token)).status == 200
