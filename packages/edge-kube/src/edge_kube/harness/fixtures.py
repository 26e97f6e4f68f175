"""pytest fixtures; load them with `pytest_plugins = ("edge_kube.harness.fixtures",)` in the root conftest.

light_cluster  one LightCluster for the whole run; tests share it and use names of their own
client         an admin client of it, closed after the test
kube           runs rooms against it and removes what the test made
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from edge_kube.client import Client
from edge_kube.harness.kube import Kube
from edge_kube.harness.light import LightCluster


@pytest.fixture(scope="session")
def light_cluster() -> Iterator[LightCluster]:
    with LightCluster() as cluster:
        yield cluster


@pytest_asyncio.fixture
async def client(light_cluster: LightCluster) -> AsyncIterator[Client]:
    async with light_cluster.client() as made:
        yield made


@pytest_asyncio.fixture
async def kube(light_cluster: LightCluster, client: Client) -> AsyncIterator[Kube]:
    async with Kube(light_cluster, client.derive(limited=False)) as made:
        yield made
