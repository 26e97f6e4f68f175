"""A cluster whose quota controller runs: without it no ResourceQuota is enforced."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.support.shipped import kube, shipped_goes

from edge_kube.harness import Kube, LightCluster

__all__ = ["kube", "shipped_goes"]


@pytest.fixture(scope="module")
def quota_cluster() -> Iterator[LightCluster]:
    with LightCluster(
        controllers=("resourcequota-controller", "deployment-controller", "replicaset-controller")
    ) as cluster:
        yield cluster


@pytest_asyncio.fixture
async def quotas(quota_cluster: LightCluster) -> AsyncIterator[Kube]:
    async with quota_cluster.client() as admin, Kube(quota_cluster, admin.derive(limited=False)) as made:
        yield made
