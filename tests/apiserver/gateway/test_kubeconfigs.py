"""Kubeconfigs: real kubectl with a downloaded file, what it may and not, and how it ends (I3, C8)."""

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs
from tests.support.gateway import IAM, PATIENCE_S, RunningGateway, make_user
from tests.support.kubeconfigs import MINE, id_of, issue, kubectl, kubectl_command, token_of, written
from tests.support.projected import becomes
from tests.support.workspaces import Tenant

from edge.iam.kubeconfigs import SECRET_PREFIX, SECRET_TYPE
from edge.iam.passwords import hash_password
from edge.iam.tokens import Claims, Tokens
from edge.iam.types import User
from edge_kube.client import Client
from edge_kube.core import Secret as KubeSecret
from edge_kube.harness import LightCluster
from edge_kube.meta import Key

IN_FORCE_S = 0.25


async def let_natively(kube: Client, cluster: LightCluster, user: str, namespace: str) -> None:
    """What the projection does in a whole platform: the cluster's own RBAC lets the user in."""
    cluster.kubectl(
        *("create", "rolebinding", f"all-{user}", "-n", namespace),
        *("--clusterrole=cluster-admin", f"--user={user}"),
    )
    await becomes(kube, True, user, "list", "pods", namespace)


async def test_kubectl_reaches_what_its_user_may_and_nothing_else(
    gateway: RunningGateway, gateway_cluster: LightCluster, kube: Client, tenant: Tenant, tmp_path: Path
) -> None:
    mine, _ = tenant.namespaces
    await let_natively(kube, gateway_cluster, tenant.user, mine)
    document = await issue(gateway, await gateway.token(tenant.user), name="laptop")
    cluster = document["clusters"][0]["cluster"]
    assert "insecure-skip-tls-verify" not in cluster
    assert base64.b64decode(cluster["certificate-authority-data"]) == gateway.server.tls.ca
    file = written(tmp_path / "config", document)
    code, said = await kubectl(file, "get", "pods", "-n", mine)
    assert (code, said) == (0, f"No resources found in {mine} namespace.\n")
    code, said = await kubectl(file, "get", "pods", "-n", "kube-system")
    assert code == 1
    assert f'User "{tenant.user}" cannot list resource "pods"' in said
    who = json.loads((await kubectl(file, "auth", "whoami", "-o", "json"))[1])
    assert who["status"]["userInfo"]["username"] == tenant.user


async def test_a_members_kubeconfig_opens_that_member_and_no_other_cluster(
    gateway: RunningGateway, east: LightCluster, tenant: Tenant, tmp_path: Path
) -> None:
    east.kubectl("create", "namespace", "only-east")
    document = await issue(gateway, await gateway.token(), cluster="east")
    assert document["clusters"][0]["cluster"]["server"].endswith("/clusters/east")
    file = written(tmp_path / "config", document)
    code, said = await kubectl(file, "get", "namespaces")
    assert (code, "only-east" in said) == (0, True)
    plain = written(
        tmp_path / "plain", await issue(gateway, await gateway.token(tenant.user), cluster="east")
    )
    code, said = await kubectl(plain, "get", "pods", "-n", "only-east")
    assert code == 1
    assert "at cluster/east/namespace/only-east" in said
    for path in ("/api/v1/namespaces", "/clusters/host/api/v1/namespaces", MINE, f"{IAM}/users"):
        answer = await gateway.get(path, token=token_of(document))
        assert (answer.status, answer.json()["edge"]["code"]) == (403, "KubeconfigElsewhere")


async def test_a_kubeconfig_makes_no_other_kubeconfig_and_sets_no_password(gateway: RunningGateway) -> None:
    token = token_of(await issue(gateway, await gateway.token()))
    assert (await gateway.get("/api/v1/namespaces", token=token)).status == 200
    assert (await gateway.get("/clusters/host/api/v1/namespaces", token=token)).status == 200
    assert (await gateway.ask("POST", MINE, token=token, json={})).status == 403
    path = f"{IAM}/users/ada/password"
    assert (await gateway.ask("PUT", path, token=token, json={"newPassword": "mine"})).status == 403


async def time_until_refused(gateway: RunningGateway, token: str, began: float) -> float:
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.get("/api", token=token)).status != 401:  # noqa: ASYNC110 - it changes elsewhere
            await asyncio.sleep(0.005)
    return time.perf_counter() - began


async def time_to_revoke(gateways: Sequence[RunningGateway], token: str) -> float:
    """Of a kubeconfig that all know."""
    document = await issue(gateways[0], token)
    for one in gateways:
        await one.until("/api", 200, token=token_of(document))
    began = time.perf_counter()
    asked = [asyncio.ensure_future(time_until_refused(one, token_of(document), began)) for one in gateways]
    answer = await gateways[0].ask("DELETE", f"{MINE}/{id_of(document)}", token=token)
    assert (answer.status, answer.json()["items"][0]["id"]) == (200, id_of(document))
    return max(await asyncio.gather(*asked))


async def test_a_revoke_counts_on_every_replica_in_a_quarter_of_a_second_and_ends_a_running_watch(
    gateway: RunningGateway, gateway_cluster: LightCluster, tmp_path: Path
) -> None:
    token = await gateway.token()
    async with RunningGateway(gateway_cluster.connection) as other:
        document = await issue(gateway, token)
        file = written(tmp_path / "config", document)
        elsewhere = json.loads(json.dumps(document))
        elsewhere["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{other.server.addresses[-1][1]}"
        watching = [
            await asyncio.create_subprocess_exec(
                *kubectl_command(one, "get", "namespaces", "--watch"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for one in (file, written(tmp_path / "other", elsewhere))
        ]
        async with asyncio.timeout(PATIENCE_S):
            while not (gateway.server.streams_open and other.server.streams_open):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await gateway.ask("DELETE", f"{MINE}/{id_of(document)}", token=token)).status == 200
        async with asyncio.timeout(PATIENCE_S):
            for one in watching:
                await one.wait()
        code, said = await kubectl(file, "get", "namespaces")
        assert (code, "Unauthorized" in said or "logged in" in said) == (1, True)
        assert (await gateway.ask("DELETE", f"{MINE}/{id_of(document)}", token=token)).status == 404
        took_s: list[float] = []
        while not took_s or (min(took_s) >= IN_FORCE_S and len(took_s) < 30):
            took_s.append(await time_to_revoke((gateway, other), token))
        assert min(took_s) < IN_FORCE_S, "the quickest of several: others use this machine as well"


async def test_removing_the_record_by_kubectl_revokes_too(gateway: RunningGateway, kube: Client) -> None:
    document = await issue(gateway, await gateway.token())
    assert (await gateway.get("/api", token=token_of(document))).status == 200
    await kube.delete(KubeSecret, SECRET_PREFIX + id_of(document), "edge-system")
    await gateway.until("/api", 401, token=token_of(document))


async def test_a_kubeconfig_survives_a_restart_of_the_gateway(gateway_cluster: LightCluster) -> None:
    async with RunningGateway(gateway_cluster.connection) as before:
        document = await issue(before, await before.token(), ttl="30d")
    async with RunningGateway(gateway_cluster.connection) as after:
        assert (await after.get("/api", token=token_of(document))).status == 200
        assert id_of(document) in {
            one["id"] for one in (await after.get(MINE, token=await after.token())).json()["items"]
        }


async def test_an_expired_kubeconfig_is_refused_and_its_record_goes(
    gateway: RunningGateway, kube: Client
) -> None:
    document = await issue(gateway, await gateway.token(), ttl="1h")
    gateway.clock.ahead_s = 3600 + 31
    answer = await gateway.get("/api", token=token_of(document))
    assert (answer.status, answer.json()["edge"]["code"]) == (401, "TokenExpired")
    shown = (await gateway.get(MINE, token=await gateway.token())).json()["items"]
    assert id_of(document) not in {one["id"] for one in shown}
    assert await gateway.server.kubeconfigs.sweep() >= 1
    assert await kube.find(KubeSecret, SECRET_PREFIX + id_of(document), "edge-system") is None


@pytest.mark.parametrize("how", ["disabled", "deleted", "new password", "made again"])
async def test_it_ends_with_its_user(gateway: RunningGateway, kube: Client, how: str) -> None:
    name = f"kc-{how.replace(' ', '-')}"
    await make_user(kube, name)
    await gateway.knows(name)
    token = token_of(await issue(gateway, await gateway.token(name), ttl="7d"))
    assert (await gateway.get("/api", token=token)).status == 200
    if how == "disabled":
        await kube.merge(User, Key("", name), {"status": {"state": "Disabled"}}, sub="status")
    elif how == "new password":
        hashed = hash_password("another", cost=4)
        await kube.merge(User, Key("", name), {"spec": {"encryptedPassword": hashed}})
    else:
        await kube.delete(User, name)
    await gateway.until("/api", 401, token=token)
    if how == "made again":
        await make_user(kube, name)
        await gateway.knows(name)
        assert (await gateway.get("/api", token=token)).status == 401
    if how == "new password":
        shown = await gateway.get(MINE, token=await gateway.token(name, "another"))
        assert shown.json()["items"] == [], "what lets nobody in is not shown as in force"


async def test_forged_ones_are_refused(gateway: RunningGateway, kube: Client) -> None:
    """Even by who holds the key: without a record of this user and cluster a token counts for nothing."""
    await make_user(kube, "kc-mallory")
    await gateway.knows("kc-mallory")
    document = await issue(gateway, await gateway.token())
    tokens = Tokens(gateway.server.keys.ring, issuer="https://edge.example.com", lifetime_s=3600)
    users = {name: await kube.get(User, name) for name in ("admin", "kc-mallory")}

    def forged(user: str, token_id: str, cluster: str = "host") -> str:
        mark = tokens.password_mark(users[user].spec.encrypted_password)
        now = time.time()
        return tokens.issue_kubeconfig(
            Claims(user, users[user].metadata.uid, mark, token_id, now - 60, now + 600, cluster)
        )

    assert (await gateway.get("/api", token=forged("admin", id_of(document)))).status == 200
    for one in (
        forged("admin", "f" * 32),
        forged("kc-mallory", id_of(document)),
        forged("admin", id_of(document), "east"),
        token_of(document)[:-4] + "AAAA",
    ):
        answer = await gateway.get("/api", token=one)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"ttl": "31d"}, 422, "a duration from 1m to 30d"),
        ({"ttl": "5s"}, 422, "shorter than kubectl needs"),
        ({"ttl": "soon"}, 422, "it is no duration"),
        ({"ttl": -1}, 422, "it is no duration"),
        ({"cluster": "nowhere"}, 404, 'There is no cluster "nowhere"'),
        ({"cluster": "../host"}, 404, "There is no cluster"),
        ({"server": "http://edge.example.com"}, 422, "over TLS only"),
        ({"server": "https://a:b@evil"}, 422, "https://HOST"),
        ({"name": "x" * 64}, 422, "63 printable characters"),
        ({"name": "a\nb"}, 422, "63 printable characters"),
        ({"tll": "1h"}, 400, "tll"),
        ([], 400, "array"),
    ],
)
async def test_what_cannot_be_is_refused_with_what_can(
    gateway: RunningGateway, body: Any, status: int, says: str
) -> None:
    answer = await gateway.ask("POST", MINE, token=await gateway.token(), json=body)
    assert answer.status == status
    assert says in answer.json()["message"]


async def test_nothing_shows_a_token_but_the_answer_that_nobody_may_keep(
    gateway: RunningGateway, kube: Client
) -> None:
    token = await gateway.token()
    with capture_logs() as logged:
        await issue(gateway, token)  # so that rights are known to be new
        answer = await gateway.ask("POST", MINE, token=token, json={"name": "shown"})
        secret_part = token_of(yaml.safe_load(answer.body)).rpartition(".")[2]
        listed = await gateway.get(MINE, token=token)
        token_id = id_of(yaml.safe_load(answer.body))
        one = await gateway.get(f"{MINE}/{token_id}", token=token)
        await gateway.ask("DELETE", f"{MINE}/{token_id}", token=token)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/yaml"
    assert 'filename="edge-host.kubeconfig"' in answer.headers["Content-Disposition"]
    (item,) = [found for found in listed.json()["items"] if found["id"] == token_id]
    assert set(item) == {"id", "user", "name", "cluster", "issued", "expires"}
    assert (item["name"], one.json()) == ("shown", item)
    assert {found["event"] for found in logged} >= {"kubeconfig_issued", "kubeconfig_revoked"}
    assert secret_part not in str(logged) + listed.body.decode()


async def test_the_record_holds_no_token_and_cannot_be_prolonged(
    gateway: RunningGateway, gateway_cluster: LightCluster, kube: Client
) -> None:
    document = await issue(gateway, await gateway.token("ada"))
    record = await kube.get(KubeSecret, SECRET_PREFIX + id_of(document), "edge-system")
    assert (record.type, record.immutable) == (SECRET_TYPE, True)
    assert record.metadata.labels == {"iam.theriseunion.io/user": "ada"}
    assert set(record.data) == {"user", "uid", "name", "cluster", "issued", "expires", "passwordMark"}
    content = b"".join(base64.b64decode(text) for text in record.data.values())
    assert token_of(document).encode() not in content


async def test_administrators_list_and_revoke_those_of_others_and_make_none(
    gateway: RunningGateway, kube: Client
) -> None:
    await make_user(kube, "kc-owner")
    await gateway.knows("kc-owner")
    owner, admin, ada = [await gateway.token(name) for name in ("kc-owner", "admin", "ada")]
    theirs = f"{IAM}/users/kc-owner/kubeconfigs"
    documents = [await issue(gateway, owner) for _ in range(3)]
    for method, path in (("GET", theirs), ("DELETE", theirs), ("DELETE", f"{theirs}/{id_of(documents[0])}")):
        refused = await gateway.ask(method, path, token=ada)
        assert refused.status == 403
        assert "users/kubeconfigs" in refused.json()["message"]
    assert (await gateway.ask("DELETE", f"{MINE}/{id_of(documents[0])}", token=ada)).status == 404
    assert (await gateway.ask("POST", theirs, token=admin, json={})).status == 405
    assert (await gateway.get(f"{IAM}/users/nobody-here/kubeconfigs", token=admin)).status == 404
    shown = (await gateway.get(theirs, token=admin)).json()["items"]
    assert {one["id"] for one in shown} == {id_of(one) for one in documents}
    assert (await gateway.ask("DELETE", f"{theirs}/{id_of(documents[0])}", token=admin)).status == 200
    assert (await gateway.get("/api", token=token_of(documents[0]))).status == 401
    assert (await gateway.get("/api", token=token_of(documents[1]))).status == 200
    assert len((await gateway.ask("DELETE", theirs, token=admin)).json()["items"]) == 2
    assert (await gateway.get("/api", token=token_of(documents[1]))).status == 401
    assert (await gateway.get(theirs, token=owner)).json()["items"] == []


async def test_one_user_has_so_many_at_most(gateway_cluster: LightCluster, kube: Client) -> None:
    await make_user(kube, "kc-hoarder")
    async with RunningGateway(gateway_cluster.connection, {"kubeconfig.perUser": "2"}) as gateway:
        await gateway.knows("kc-hoarder")
        token = await gateway.token("kc-hoarder")
        first = await issue(gateway, token)
        await issue(gateway, token)
        refused = await gateway.ask("POST", MINE, token=token, json={})
        assert (refused.status, refused.json()["edge"]["code"]) == (409, "TooManyKubeconfigs")
        await gateway.ask("DELETE", f"{MINE}/{id_of(first)}", token=token)
        await issue(gateway, token)


async def test_a_password_that_must_change_gives_no_kubeconfig(gateway: RunningGateway, kube: Client) -> None:
    await make_user(kube, "kc-newcomer", must_change=True)
    await gateway.knows("kc-newcomer")
    token = await gateway.token("kc-newcomer")
    refused = await gateway.ask("POST", MINE, token=token, json={})
    assert (refused.status, refused.json()["edge"]["code"]) == (403, "PasswordChangeRequired")


async def test_the_address_in_it_is_the_one_that_the_installation_names(
    gateway_cluster: LightCluster,
) -> None:
    settings = {
        "kubeconfig.server": "https://edge.example.com/",
        "kubeconfig.maxTTL": "8h",
        "kubeconfig.ttl": "1h",
    }
    async with RunningGateway(gateway_cluster.connection, settings) as gateway:
        document = await issue(gateway, await gateway.token())
        assert document["clusters"][0]["cluster"] == {"server": "https://edge.example.com"}
        about = document["contexts"][0]["context"]["extensions"][0]["extension"]
        assert about["issued"][:10] <= about["expires"][:10]
        too_long = await gateway.ask("POST", MINE, token=await gateway.token(), json={"ttl": "9h"})
        assert "from 1m to 8h" in too_long.json()["message"]
        forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example.com"}
        said = await gateway.ask("POST", MINE, token=await gateway.token(), headers=forwarded)
        assert b"evil" not in said.body


async def test_without_tls_the_user_is_asked_where_it_is(gateway_cluster: LightCluster) -> None:
    async with RunningGateway(gateway_cluster.connection, {"server.tls.enabled": "false"}) as gateway:
        token = await gateway.token()
        refused = await gateway.ask("POST", MINE, token=token)
        assert (refused.status, refused.json()["edge"]["code"]) == (409, "NoTlsAddress")
        document = await issue(gateway, token, server="https://edge.example.com", cluster="host")
        assert document["clusters"][0]["cluster"] == {"server": "https://edge.example.com"}
