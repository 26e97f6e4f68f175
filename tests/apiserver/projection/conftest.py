"""The projection room against real API servers: a host and a member."""

from collections.abc import AsyncIterator

import pytest_asyncio
from tests.support.members import Members
from tests.support.projected import Projected, projected_goes
from tests.support.shipped import kube, shipped_goes

from edge.projection.room import MEMBER_WATCHES
from edge_kube.harness import Kube

__all__ = ["kube", "projected_goes", "shipped_goes"]


@pytest_asyncio.fixture
async def projected(kube: Kube) -> AsyncIterator[Projected]:
    """A host whose bindings are projected."""
    async with Members(MEMBER_WATCHES) as members:
        made = Projected(kube, members)
        await made.start()
        yield made
        await kube.stop()
