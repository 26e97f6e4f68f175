"""Tokens of the host cluster's service accounts at the gateway (I13)."""

import asyncio
import contextlib
import json

import aiohttp
import jwt
import pytest
from tests.support.acting import grant
from tests.support.gateway import IAM, USERS, RunningGateway
from tests.support.projected import becomes

from edge.apiserver.federation import accounts
from edge.iam.types import GROUP, PolicyRule
from edge_kube.client import Client
from edge_kube.harness import LightCluster

AUDIENCE = "edge-platform"
CONFIGMAPS = "/api/v1/namespaces/pipeline/configmaps"


@pytest.fixture(scope="module")
def pipeline(gateway_cluster: LightCluster) -> LightCluster:
    """Namespace and service account "pipeline", that may make config maps there natively."""
    gateway_cluster.kubectl("create", "namespace", "pipeline")
    gateway_cluster.kubectl("-n", "pipeline", "create", "serviceaccount", "pipeline")
    rule = ("create", "role", "maps", "--verb=get,list,create,watch", "--resource=configmaps")
    gateway_cluster.kubectl("-n", "pipeline", *rule)
    bound = ("create", "rolebinding", "maps", "--role=maps", "--serviceaccount=pipeline:pipeline")
    gateway_cluster.kubectl("-n", "pipeline", *bound)
    asyncio.run(let_in(gateway_cluster, "pipeline"))
    return gateway_cluster


async def let_in(cluster: LightCluster, name: str) -> None:
    """Until the API server's RBAC knows of it."""
    async with cluster.client() as client:
        await becomes(
            client, True, f"system:serviceaccount:pipeline:{name}", "watch", "configmaps", "pipeline"
        )


def token_of(cluster: LightCluster, name: str = "pipeline", audience: str = AUDIENCE) -> str:
    """A token of a service account of namespace pipeline."""
    return cluster.kubectl("-n", "pipeline", "create", "token", name, f"--audience={audience}").strip()


async def bind(kube: Client, gateway: RunningGateway, name: str) -> None:
    await grant(
        gateway,
        kube,
        f"serviceaccount:pipeline:{name}",
        PolicyRule(verbs=("*",), api_groups=("",), resources=("configmaps",)),
        PolicyRule(verbs=("list",), api_groups=(GROUP,), resources=("users",)),
    )


async def test_a_service_account_does_what_a_binding_gives_it_and_is_itself_upstream(
    gateway: RunningGateway, kube: Client, pipeline: LightCluster
) -> None:
    token = token_of(pipeline)
    assert (await gateway.get(USERS, token=token)).status == 403, "nothing is bound to it yet"
    await bind(kube, gateway, "pipeline")
    assert (await gateway.get(USERS, token=token)).status == 200
    me = (await gateway.get(f"{IAM}/me", token=token)).json()
    assert me["user"] == "system:serviceaccount:pipeline:pipeline"
    body = {"metadata": {"name": "made"}, "data": {"a": "b"}}
    made = await gateway.ask("POST", CONFIGMAPS, token=token, json=body)
    assert made.status == 201, made.body
    elsewhere = await gateway.ask(
        "POST", CONFIGMAPS.replace("/pipeline/", "/default/"), token=token, json=body
    )
    assert elsewhere.status == 403, "the cluster's own rights are its own"
    assert "system:serviceaccount:pipeline:pipeline" in elsewhere.json()["message"]


async def test_it_is_nobody_in_a_member(
    gateway: RunningGateway, pipeline: LightCluster, east: LightCluster
) -> None:
    """A member's own service account of that name is somebody else."""
    answer = await gateway.get(f"/clusters/east{CONFIGMAPS}", token=token_of(pipeline))
    assert answer.status == 403


async def test_a_token_for_others_a_forged_one_and_one_of_a_gone_account_are_401(
    gateway: RunningGateway, pipeline: LightCluster
) -> None:
    good = token_of(pipeline)
    for_others = token_of(pipeline, audience="https://kubernetes.default.svc.cluster.local")
    claims = jwt.decode(good, options={"verify_signature": False})
    forged = jwt.encode(claims, "k" * 32, "HS256")
    unsigned = good.rpartition(".")[0] + "."
    pipeline.kubectl("-n", "pipeline", "create", "serviceaccount", "short")
    gone = token_of(pipeline, "short")
    pipeline.kubectl("-n", "pipeline", "delete", "serviceaccount", "short")
    for bad in (for_others, forged, unsigned, gone):
        answer = await gateway.get(f"{IAM}/me", token=bad)
        assert answer.status == 401, answer.body
    assert (await gateway.get(f"{IAM}/me", token=good)).status == 200


async def test_a_flood_of_made_up_tokens_keeps_none_out_who_was_known_before(
    gateway: RunningGateway, pipeline: LightCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "GOOD_S", 0.2)
    good = token_of(pipeline)
    assert (await gateway.get(f"{IAM}/me", token=good)).status == 200
    await asyncio.sleep(0.5)  # the verdict is forgotten
    made_up = [f"{good[:-8]}{number:08}" for number in range(98)]
    *answers, known = await asyncio.gather(*(gateway.get(f"{IAM}/me", token=one) for one in (*made_up, good)))
    assert {one.status for one in answers} == {401, 429}
    assert known.status == 200


async def test_a_token_is_reviewed_once_in_ten_seconds_however_often_it_comes(
    gateway: RunningGateway, pipeline: LightCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    review = accounts.ServiceAccounts._review  # pyright: ignore[reportPrivateUsage]

    async def noted(self: accounts.ServiceAccounts, token: str) -> object:
        asked.append(token)
        return await review(self, token)

    monkeypatch.setattr(accounts.ServiceAccounts, "_review", noted)
    token = token_of(pipeline)
    answers = await asyncio.gather(*(gateway.get(f"{IAM}/me", token=token) for _ in range(10)))
    assert {one.status for one in answers} == {200}
    bad = f"{token[:-6]}AAAAAA"
    answers = [await gateway.get(f"{IAM}/me", token=bad) for _ in range(5)]
    assert {one.status for one in answers} == {401}
    assert asked.count(token) <= 2, "at most twice, on a slow machine"
    assert asked.count(bad) <= 2


async def test_a_stream_ends_when_the_account_is_gone(
    gateway: RunningGateway, kube: Client, pipeline: LightCluster
) -> None:
    pipeline.kubectl("-n", "pipeline", "create", "serviceaccount", "watcher")
    bound = ("create", "rolebinding", "watch", "--role=maps", "--serviceaccount=pipeline:watcher")
    pipeline.kubectl("-n", "pipeline", *bound)
    await let_in(pipeline, "watcher")
    await bind(kube, gateway, "watcher")
    token = token_of(pipeline, "watcher")
    url = f"{gateway.url}{CONFIGMAPS}?watch=true"
    async with gateway.session.get(url, headers={"Authorization": f"Bearer {token}"}) as stream:
        assert stream.status == 200, await stream.text()
        pipeline.kubectl("-n", "pipeline", "delete", "serviceaccount", "watcher")
        # A stream that is ended in the middle is cut, so that no client takes it for complete.
        with contextlib.suppress(aiohttp.ClientPayloadError):
            async with asyncio.timeout(120):
                async for line in stream.content:
                    assert json.loads(line)["type"] in ("ADDED", "BOOKMARK", "MODIFIED")


async def test_it_has_no_kubeconfig_and_no_password_here(
    gateway: RunningGateway, pipeline: LightCluster
) -> None:
    """What is a user's own is for users."""
    token = token_of(pipeline)
    name = "system:serviceaccount:pipeline:pipeline"
    body = {"currentPassword": "a", "newPassword": "b"}
    assert (await gateway.ask("PUT", f"{USERS}/{name}/password", token=token, json=body)).status in (403, 404)
