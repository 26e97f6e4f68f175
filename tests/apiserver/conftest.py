"""Fixtures of tests against real API servers."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.support.patience import patience

from edge_kube.harness import Kube, LightCluster

__all__ = ["patience"]


@pytest.fixture(scope="session")
def member_cluster() -> Iterator[LightCluster]:
    """A second API server, that stands for a member cluster."""
    with LightCluster() as cluster:
        yield cluster


@pytest_asyncio.fixture
async def member(member_cluster: LightCluster) -> AsyncIterator[Kube]:
    """The member in the words of a test; no room runs there."""
    async with member_cluster.client() as admin, Kube(member_cluster, admin.derive(limited=False)) as made:
        yield made
