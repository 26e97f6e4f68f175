"""What the iam room makes by itself when it starts: tests wait for it, and those of one file share it.

Each start of the room puts it right, so that no test finds what another has made of it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
import pytest_asyncio

from edge.iam.aggregation import template_of
from edge.iam.builtin import everything, roles
from edge.iam.plan import plan_role
from edge.iam.types import Category, IAMRole, IAMRoleBinding, RoleTemplate, User
from edge_kube.client import Client
from edge_kube.errors import NotFound
from edge_kube.harness import Kube, LightCluster
from edge_kube.harness.cleaning import remove_all
from edge_kube.meta import Resource

_KINDS = (Category, RoleTemplate, IAMRole, IAMRoleBinding, User)


_SHIPPED = {(type(one), one.metadata.name) for one in everything()}


@pytest_asyncio.fixture
async def kube(light_cluster: LightCluster, client: Client) -> AsyncIterator[Kube]:
    """As everywhere, but what ships is made once a file: that takes two seconds."""
    async with Kube(light_cluster, client.derive(limited=False), keeps=_is_shipped) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def shipped_goes(light_cluster: LightCluster) -> Iterator[None]:
    yield
    asyncio.run(_remove(light_cluster))


async def _remove(cluster: LightCluster) -> None:
    async with cluster.client() as client:
        for kind in _KINDS:
            with suppress(NotFound):
                await remove_all(client, kind)


def _is_shipped(obj: Resource) -> bool:
    return (type(obj), obj.metadata.name) in _SHIPPED


async def all_shipped(kube: Kube) -> None:
    """Until all built-in objects are there, roles with the templates that they take in, and the rooms know.

    They are made several at a time: the last one says nothing of those before it.
    """
    async with asyncio.timeout(120):
        while not (await _there(kube) >= _SHIPPED and await _are_resolved(kube)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await kube.caught_up()


async def _there(kube: Kube) -> set[tuple[type, str]]:
    return {(kind, one.metadata.name) for kind in _KINDS for one in await kube.list(kind)}


async def _are_resolved(kube: Kube) -> bool:
    templates = {one.metadata.name: template_of(one) for one in await kube.list(RoleTemplate)}
    found = {one.metadata.name: one for one in await kube.list(IAMRole)}
    return all(plan_role(found[name], templates, ()).templates is None for name in roles())
