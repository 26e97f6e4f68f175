"""Rights when what is known of them is missing, old or wrong: 503, not 403 or a wrong allow (I6; S11)."""

import asyncio
import secrets

import pytest
import pytest_asyncio
from aiohttp import web
from tests.support.gateway import IAM, USERS, RunningGateway
from tests.support.patience import PROOF_S
from tests.support.workspaces import Tenant

from edge.iam import beats
from edge.iam.freshness import STALE_S
from edge.iam.types import IAMRoleBinding
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.harness.proxy import Canned, FaultProxy

WORKSPACES = "/oapis/scope.theriseunion.io/v1alpha1/workspaces"
HOUR_S = 3600.0


@pytest_asyncio.fixture
async def tenant(admin: Client) -> Tenant:
    made = Tenant(admin)
    await made.make()
    return made


class Starting(RunningGateway):
    """A gateway that is asked before it has read everything."""

    async def __aenter__(self) -> "Starting":
        self.server.wait_synced = _at_once
        await super().__aenter__()
        return self


async def _at_once(within_s: float = 60) -> None:
    del within_s


async def changes(gateway: RunningGateway, token: str, namespace: str) -> tuple[int, str]:
    """Status and code of a request that changes something; nothing is changed by it."""
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c-{secrets.token_hex(3)}"}}
    path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
    answer = await gateway.ask("POST", path, token=token, json=manifest)
    return answer.status, answer.json().get("edge", {}).get("code", answer.json().get("reason", ""))


async def test_S11_a_gateway_that_has_not_read_the_bindings_decides_nothing(
    cluster: LightCluster, proxy: FaultProxy, tenant: Tenant
) -> None:
    async with RunningGateway(cluster.connection) as other:
        await other.knows(tenant.user)
        token = await other.token(tenant.user)
    broken = True

    def is_bindings(request: web.BaseRequest) -> bool:
        return broken and request.path.endswith("/iamrolebindings")

    proxy.answer(Canned(500, b"{}"), times=10_000, to=is_bindings)
    async with Starting(proxy.connection) as gateway:
        async with asyncio.timeout(60):  # first it learns who is who
            while (answer := await gateway.get(USERS, token=token)).status == 401 or (  # noqa: ASYNC110
                answer.json()["edge"]["code"] == "SessionsNotKnown"
            ):
                await asyncio.sleep(0.05)
        assert (answer.status, answer.json()["edge"]["code"]) == (503, "AuthorizationStale")
        assert "Retry-After" in answer.headers
        assert "have not been read yet" in answer.json()["message"]
        for method, path in (
            ("GET", f"{WORKSPACES}/{tenant.workspace}"),
            ("GET", f"/api/v1/namespaces/{tenant.namespaces[0]}/pods"),
            ("DELETE", f"{USERS}/admin"),
            ("GET", f"{IAM}/me/access"),
            ("GET", "/api/v1/namespaces/default/pods?watch=1"),
        ):
            assert (await gateway.ask(method, path, token=token)).status == 503, path
        assert (await gateway.get("/readyz")).status == 503
        assert (await gateway.get("/healthz")).status == 200
        broken = False
        await gateway.until(f"{WORKSPACES}/{tenant.workspace}", 200, token=token)


async def test_S11_a_frozen_watch_lets_reads_go_on_and_changes_wait(
    proxy: FaultProxy, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing breaks and nothing is said: only proof on demand tells it from quiet."""
    async with RunningGateway(proxy.connection) as gateway:
        await gateway.knows(tenant.user)
        token = await gateway.token(tenant.user)
        await gateway.until(f"{WORKSPACES}/{tenant.workspace}", 200, token=token)
        place = tenant.namespaces[0]
        status, _ = await changes(gateway, token, place)
        assert status == 403, "the engine lets it pass; the API server has no native right for it"
        proxy.stall()
        await tenant.unbind()  # and nobody is told
        await asyncio.sleep(STALE_S)  # the proof of the change before is too old by then
        with monkeypatch.context() as patch:
            patch.setattr(beats, "WITHIN_S", PROOF_S)
            assert await changes(gateway, token, place) == (503, "AuthorizationStale")
        assert (await gateway.get(f"{WORKSPACES}/{tenant.workspace}", token=token)).status == 200
        proxy.resume()
        await gateway.until(f"{WORKSPACES}/{tenant.workspace}", 403, token=token)
        answer = await gateway.ask("POST", f"/api/v1/namespaces/{place}/configmaps", token=token, json={})
        assert answer.status == 403
        assert f"at namespace/{place}" in answer.json()["message"], "it is the engine that refuses now"


async def test_S11_what_a_watch_has_lost_is_put_right_by_the_next_list(
    proxy: FaultProxy, admin: Client, tenant: Tenant
) -> None:
    """A revocation and a grant whose events never arrive (I6: nothing lives longer than the TTL)."""
    async with RunningGateway(proxy.connection, {"authorization.cacheTTL": "2s"}) as gateway:
        await gateway.knows(tenant.user)
        token = await gateway.token(tenant.user)
        path = f"{WORKSPACES}/{tenant.workspace}"
        await gateway.until(path, 200, token=token)
        lost: list[bytes] = []

        def lose(line: bytes) -> bool:
            is_ours = b'"kind":"IAMRoleBinding"' in line and tenant.binding.encode() in line
            return is_ours and not lost.append(line)

        proxy.lose = lose
        await tenant.unbind()
        await gateway.until(path, 403, token=token)
        await tenant.bind("workspace-viewer")
        await gateway.until(path, 200, token=token)
        assert lost, "the list of the next round would have hidden nothing"


@pytest.mark.parametrize("ahead_h", [5.0, -5.0])
async def test_S11_a_jump_of_the_clock_neither_gives_nor_takes_a_right(
    cluster: LightCluster, admin: Client, tenant: Tenant, ahead_h: float
) -> None:
    """Ages are measured on the monotonic clock; only tokens know the time of day."""
    async with RunningGateway(cluster.connection) as gateway:
        await gateway.knows(tenant.user)
        token = await gateway.token(tenant.user)
        path = f"{WORKSPACES}/{tenant.workspace}"
        await gateway.until(path, 200, token=token)
        gateway.clock.ahead_s = ahead_h * HOUR_S
        assert (await gateway.get(path, token=token)).status == 200
        next_door = await gateway.get(f"{WORKSPACES}/system-workspace", token=token)
        assert next_door.status == 403
        assert (await changes(gateway, token, tenant.namespaces[0]))[0] != 503
        await tenant.unbind()
        await gateway.until(path, 403, token=token)
        again = await admin.find(IAMRoleBinding, tenant.binding)
        assert again is None
        await tenant.bind()
        await gateway.until(path, 200, token=token)
