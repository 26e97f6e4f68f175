"""What the tests of one file break: an API server with the platform's kinds, and a proxy before it."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.support.gateway import cluster_behind
from tests.support.patience import patience

from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.harness.proxy import FaultProxy

__all__ = ["patience"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LightCluster]:
    with cluster_behind() as started:
        yield started


@pytest_asyncio.fixture
async def admin(cluster: LightCluster) -> AsyncIterator[Client]:
    async with cluster.client() as client:
        yield client


@pytest_asyncio.fixture
async def proxy(cluster: LightCluster) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(cluster.connection) as between:
        yield between
