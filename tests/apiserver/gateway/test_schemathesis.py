"""Every operation of the document, with made-up parameters and bodies: no answer is a mistake (G2)."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from tests.support.fuzz import Fuzz, Tried
from tests.support.gateway import RunningGateway, cluster_behind
from tests.support.workspaces import WORKSPACES, Tenant

from edge.apiserver.openapi.routes import document_bytes
from edge_kube.harness import LightCluster

DOCUMENT = json.loads(document_bytes())
VALID, INVALID = 2, 1


async def tried(gateway: RunningGateway, user: str, tenant: Tenant) -> Tried:
    loop = asyncio.get_running_loop()
    known = {
        "name": (tenant.workspace, tenant.namespaces[0], tenant.user, tenant.binding, "platform-admin"),
        "namespace": tenant.namespaces,
        "user": (tenant.user, user),
        "cluster": ("host", "host", "nowhere"),
        "group": ("apps", "core", "iam.theriseunion.io", "rbac.authorization.k8s.io"),
        "version": ("v1", "v1alpha1"),
        "resource": ("pods", "configmaps", "secrets", "deployments", "users", "roles"),
        "path": ("api/v1/pods", "apis/apps/v1/deployments"),
    }

    def token() -> str:
        return asyncio.run_coroutine_threadsafe(gateway.token(user), loop).result(30)

    def work() -> Tried:
        return Fuzz(DOCUMENT, gateway.url, token, known).run(valid=VALID, invalid=INVALID)

    return await asyncio.to_thread(work)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LightCluster]:
    """Of its own: an administrator's calls at random leave little as it was."""
    with cluster_behind() as started:
        yield started


@pytest.mark.filterwarnings(
    "ignore::hypothesis.errors.HypothesisDeprecationWarning"
)  # of other threads' chance
@pytest.mark.parametrize("caller", ["tenant", "admin"])
async def test_no_call_that_the_document_allows_is_answered_with_a_mistake(
    cluster: LightCluster, caller: str
) -> None:
    settings = {"rateLimit.enabled": "false"}
    async with cluster.client() as kube, RunningGateway(cluster.connection, settings) as gateway:
        tenant = Tenant(kube)
        await tenant.make()
        await gateway.knows(tenant.user)
        await gateway.until(f"{WORKSPACES}/{tenant.workspace}", 200, token=await gateway.token(tenant.user))
        found = await tried(gateway, tenant.user if caller == "tenant" else "admin", tenant)
    print(caller, found.calls, sorted(found.statuses.items()))
    assert found.bugs == []
    assert found.untold == []
    assert found.calls > 500
