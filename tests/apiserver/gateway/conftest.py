"""One API server for the gateway's tests, with the platform's kinds, an administrator and a plain user."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.support.gateway import RunningGateway, cluster_behind, make_user
from tests.support.workspaces import WORKSPACES, Tenant

from edge.clusters.types import Cluster
from edge_kube.client import Client
from edge_kube.harness import LightCluster


async def people(cluster: LightCluster) -> None:
    async with cluster.client() as client:
        await make_user(client, "ada", groups=("ops",))
        await make_user(client, "fresh", admin=True, must_change=True)


@pytest.fixture(scope="session")
def gateway_cluster() -> Iterator[LightCluster]:
    with cluster_behind() as cluster:
        asyncio.run(people(cluster))
        yield cluster


@pytest_asyncio.fixture
async def gateway(gateway_cluster: LightCluster) -> AsyncIterator[RunningGateway]:
    async with RunningGateway(gateway_cluster.connection) as running:
        yield running


@pytest_asyncio.fixture
async def kube(gateway_cluster: LightCluster) -> AsyncIterator[Client]:
    """The API server itself, as its own admin."""
    async with gateway_cluster.client() as client:
        yield client


@pytest_asyncio.fixture
async def tenant(gateway: RunningGateway, kube: Client) -> Tenant:
    made = Tenant(kube)
    await made.make()
    await gateway.knows(made.user)
    await gateway.until(f"{WORKSPACES}/{made.workspace}", 200, token=await gateway.token(made.user))
    return made


@pytest_asyncio.fixture
async def east(
    gateway: RunningGateway, kube: Client, member_cluster: LightCluster
) -> AsyncIterator[LightCluster]:
    """A member cluster, known to the gateway as "east"; its own RBAC knows the platform's administrators."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "edge-platform-admins"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [
            {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Group",
                "name": "edge:platform-admins",
            }
        ],
    }
    member_cluster.kubectl("apply", "-f", "-", stdin=json.dumps(binding))
    content = base64.b64encode(member_cluster.kubeconfig.read_bytes()).decode()
    manifest = {
        "apiVersion": "scope.theriseunion.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "east"},
        "spec": {"connection": {"type": "direct", "kubeconfig": content}},
    }
    await kube.create(manifest, manager="test")
    await gateway.until("/oapis/tenant/v1alpha1/clusters/east", 200, token=await gateway.token())
    yield member_cluster
    await kube.delete(Cluster, "east")
