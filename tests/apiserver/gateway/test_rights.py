"""The permission engine decides every request of the gateway (I4–I6, I15, G3; design §3, §5, §8.3)."""

import asyncio
from contextlib import suppress

import aiohttp
from tests.support.gateway import IAM, PATIENCE_S, USERS, RunningGateway
from tests.support.workspaces import WORKSPACES, Tenant

from edge.iam.heartbeat import HEARTBEAT
from edge.iam.types import IAMRole
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.meta import ObjectMeta

NAMESPACES = "/oapis/tenant/v1alpha1/namespaces"


async def test_a_tenant_lists_what_is_theirs_and_counts_nothing_else(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    token = await gateway.token(tenant.user)
    found = (await gateway.get(WORKSPACES, token=token)).json()
    assert [one["metadata"]["name"] for one in found["items"]] == [tenant.workspace]
    assert found["totalItems"] == 1
    page = (await gateway.get(f"{NAMESPACES}?limit=1", token=token)).json()
    assert (page["totalItems"], page["metadata"]["remainingItemCount"]) == (2, 1)
    rest = (
        await gateway.get(f"{NAMESPACES}?limit=1&continue={page['metadata']['continue']}", token=token)
    ).json()
    listed = [one["metadata"]["name"] for one in (*page["items"], *rest["items"])]
    assert listed == sorted(tenant.namespaces)


async def test_next_door_is_refused_with_the_sentence_that_says_what_is_missing(
    gateway: RunningGateway, tenant: Tenant, kube: Client
) -> None:
    other = Tenant(kube)
    await other.make()
    await gateway.until(f"{WORKSPACES}/{other.workspace}", 200, token=await gateway.token())
    token = await gateway.token(tenant.user)
    for path in (
        f"{WORKSPACES}/{other.workspace}",
        f"/api/v1/namespaces/{other.namespaces[0]}/pods",
        f"{IAM}/iamrolebindings/{other.binding}",
        f"/oapis/app.theriseunion.io/v1alpha1/namespaces/{other.namespaces[0]}/applicationdeployments",
    ):
        refused = await gateway.get(path, token=token)
        assert refused.status == 403, path
        assert f'User "{tenant.user}" cannot' in refused.json()["message"]
    nowhere = await gateway.get(f"{IAM}/loginrecords", token=token)
    assert nowhere.status == 403, "an empty list would say that there is nothing"


async def test_a_list_of_a_part_has_a_tag_of_its_own_that_moves_with_the_rights(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    token = await gateway.token(tenant.user)
    first = await gateway.get(WORKSPACES, token=token)
    tag = first.headers["ETag"]
    assert (await gateway.get(WORKSPACES, token=token, headers={"If-None-Match": tag})).status == 304
    assert (await gateway.get(WORKSPACES, token=await gateway.token())).headers["ETag"] != tag
    await tenant.unbind()
    await gateway.until(f"{WORKSPACES}/{tenant.workspace}", 403, token=token)
    again = await gateway.get(WORKSPACES, token=token, headers={"If-None-Match": tag})
    assert again.status == 403


async def test_a_right_that_is_taken_is_gone_at_the_next_request_and_ends_the_watch(
    gateway: RunningGateway, tenant: Tenant
) -> None:
    """The API server lets this user through, so that it is the gateway that decides."""
    place = tenant.namespaces[0]
    await _let_through(gateway, tenant.user, place)
    token = await gateway.token(tenant.user)
    pods = f"/api/v1/namespaces/{place}/pods"
    headers = {"Authorization": f"Bearer {token}"}
    async with gateway.session.get(f"{gateway.url}{pods}?watch=1", headers=headers) as response:
        assert response.status == 200
        await tenant.unbind()
        await asyncio.wait_for(_end_of(response), PATIENCE_S)
    assert (await gateway.get(pods, token=token)).status == 403


async def _let_through(gateway: RunningGateway, user: str, namespace: str) -> None:
    token = await gateway.token()
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "native"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "system:aggregate-to-view",
        },
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
    assert (await gateway.ask("POST", path, token=token, json=binding)).status == 201
    await gateway.until(f"/api/v1/namespaces/{namespace}/pods", 200, token=await gateway.token(user))


async def _end_of(response: aiohttp.ClientResponse) -> None:
    with suppress(aiohttp.ClientError):
        while await response.content.readany():
            pass


async def test_a_change_waits_for_proof_and_is_unavailable_without_it(
    gateway: RunningGateway, kube: Client
) -> None:
    """Without its heartbeat a picture of rights cannot be shown to be new: 503, never 403."""
    token = await gateway.token()
    assert (await _configmap(gateway, token)) == 201
    role = await kube.get(IAMRole, HEARTBEAT)
    await kube.delete(IAMRole, HEARTBEAT)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (status := await _configmap(gateway, token)) == 201:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert status == 503
        assert (await gateway.get(USERS, token=token)).status == 200, "reads are served"
    finally:
        meta = ObjectMeta(name=HEARTBEAT, labels=role.metadata.labels)
        await kube.create(IAMRole(metadata=meta), manager="test")
    async with asyncio.timeout(PATIENCE_S):
        while await _configmap(gateway, token) != 201:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _configmap(gateway: RunningGateway, token: str) -> int:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "proof-"}}
    answer = await gateway.ask("POST", "/api/v1/namespaces/default/configmaps", token=token, json=manifest)
    return answer.status


async def test_heartbeats_are_in_no_list(gateway: RunningGateway) -> None:
    token = await gateway.token()
    for kind in ("users", "iamroles", "iamrolebindings", "roletemplates"):
        assert HEARTBEAT not in (await gateway.get(f"{IAM}/{kind}", token=token)).body.decode()


async def test_I5_always_allow_asks_who_it_is_and_says_in_every_answer_that_it_asks_no_more(
    gateway_cluster: LightCluster,
) -> None:
    async with RunningGateway(gateway_cluster.connection, {"authorization.mode": "AlwaysAllow"}) as open_one:
        await open_one.knows("ada")
        assert (await open_one.get(f"{IAM}/users")).status == 401
        token = await open_one.token("ada")
        answer = await open_one.get(f"{IAM}/users", token=token)
        assert answer.json()["totalItems"] > 1
        assert answer.headers["X-Edge-Authz"] == "mode=AlwaysAllow"
        assert (await open_one.get("/api/v1/secrets", token=token)).status == 200
        assert b'edge_authz_mode{mode="AlwaysAllow"} 1.0' in (await open_one.get("/metrics")).body
