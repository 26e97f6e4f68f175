"""The clusters room against a real API server; member clusters and the etcd's tenants are played."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from tests.support.tenants import PlayedMembers, PlayedStores

from edge.clusters.types import SYSTEM_NAMESPACE
from edge_kube.core import Namespace
from edge_kube.errors import AlreadyExists
from edge_kube.harness import Kube
from edge_kube.meta import ObjectMeta


@pytest_asyncio.fixture
async def system(kube: Kube) -> AsyncIterator[Kube]:
    """A cluster with namespace edge-system."""
    with suppress(AlreadyExists):
        await kube.client.create(Namespace(metadata=ObjectMeta(name=SYSTEM_NAMESPACE)), manager="test")
    yield kube


@pytest.fixture
def members() -> PlayedMembers:
    return PlayedMembers()


@pytest.fixture
def stores() -> PlayedStores:
    return PlayedStores()
