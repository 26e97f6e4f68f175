"""One API server for the gateway's tests, with the platform's kinds, an administrator and a plain user."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.support.gateway import RunningGateway, cluster_behind, make_user
from tests.support.projected import becomes
from tests.support.provider import ProviderProcess, gateway_settings, provider
from tests.support.workspaces import Tenant, known

from edge.apiserver.account import routes as account
from edge.apiserver.auditing import copies as audit_copies
from edge.apiserver.callers import kubeconfigs
from edge.apiserver.federation import accounts, directory, fetch, linking
from edge.apiserver.reverse import service
from edge.apiserver.reviews import reviewer as reviews
from edge.apiserver.sessions import keeping
from edge.apiserver.upstreams import upstream
from edge.clusters.types import Cluster
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import free_port


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As tests.support.patience has it for rights; and nobody notes uses of sessions but the test."""
    monkeypatch.setattr(reviews, "PROOF_WITHIN_S", 5.0)
    monkeypatch.setattr(account, "KNOWN_WITHIN_S", 30.0)
    monkeypatch.setattr(audit_copies, "FLUSHED_WITHIN_S", 30.0)
    monkeypatch.setattr(kubeconfigs, "ARRIVES_WITHIN_S", 30.0)
    monkeypatch.setattr(linking, "KNOWN_WITHIN_S", 30.0)
    monkeypatch.setattr(accounts, "WITHIN_S", 30.0)
    monkeypatch.setattr(directory, "TIMEOUT_S", 30.0)
    monkeypatch.setattr(fetch, "TIMEOUT_S", 30.0)
    monkeypatch.setattr(keeping, "SEEN_EVERY_S", 3600.0)
    for module in (upstream, service):  # a server that is busy is not away
        monkeypatch.setattr(module, "CONNECT_WITHIN_S", 20.0)


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
async def admin(gateway_cluster: LightCluster) -> str:
    """An administrator's token for gateways where requests are too short for a sign-in on a busy machine."""
    async with RunningGateway(gateway_cluster.connection) as patient:
        return await patient.token()


@pytest_asyncio.fixture
async def tenant(gateway: RunningGateway, kube: Client) -> Tenant:
    made = Tenant(kube)
    await made.make()
    await known(gateway, made)
    return made


@pytest.fixture(scope="module")
def oidc_port() -> int:
    """Of the gateway that the provider sends people back to."""
    return free_port()


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory, oidc_port: int) -> Iterator[ProviderProcess]:
    with provider(tmp_path_factory.mktemp("provider"), oidc_port) as running:
        yield running


@pytest_asyncio.fixture
async def with_oidc(
    gateway_cluster: LightCluster, idp: ProviderProcess, oidc_port: int
) -> AsyncIterator[RunningGateway]:
    """A gateway whose users may sign in at the provider."""
    settings = gateway_settings(idp.issuer, oidc_port)
    async with RunningGateway(gateway_cluster.connection, settings) as running:
        yield running


@pytest.fixture(scope="session")
def administered(member_cluster: LightCluster) -> LightCluster:
    """A member cluster whose own RBAC knows the platform's administrators."""
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

    async def counts() -> None:
        async with member_cluster.client() as client:
            await becomes(client, True, "somebody", "list", "nodes", groups=("edge:platform-admins",))

    asyncio.run(counts())
    return member_cluster


@pytest_asyncio.fixture
async def east(
    gateway: RunningGateway, kube: Client, administered: LightCluster
) -> AsyncIterator[LightCluster]:
    """The member, known to the gateway as "east"."""
    content = base64.b64encode(administered.kubeconfig.read_bytes()).decode()
    manifest = {
        "apiVersion": "scope.theriseunion.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "east"},
        "spec": {"connection": {"type": "direct", "kubeconfig": content}},
    }
    await kube.create(manifest, manager="test")
    await gateway.until("/oapis/tenant/v1alpha1/clusters/east", 200, token=await gateway.token())
    yield administered
    await kube.delete(Cluster, "east")
