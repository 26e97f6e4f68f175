"""The API server or etcd behind a running controller goes away and comes back: nothing is lost (P3, K10)."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from edge.iam.room import room as iam
from edge.iam.types import IAMRole
from edge.tenancy.room import room as tenancy
from edge.tenancy.types import Workspace, WorkspaceSpec, WorkspaceTemplate
from edge_kube.core import Namespace
from edge_kube.harness import Kube, LightCluster
from edge_kube.meta import ObjectMeta

WITHIN_S = 180.0  # watches come back after a back-off of up to 30 s, and a busy machine starts slowly

Fault = Callable[[LightCluster], None]


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Kube]:
    """Rooms on a cluster of their own, which the test may hurt."""
    with LightCluster() as cluster:
        async with cluster.client() as client, Kube(cluster, client.derive(limited=False)) as kube:
            await kube.start(iam(), tenancy())
            await kube.eventually(IAMRole, "workspace-admin", within_s=WITHIN_S)
            yield kube


def workspace(name: str, *namespaces: str) -> Workspace:
    return Workspace(
        metadata=ObjectMeta(name=name), spec=WorkspaceSpec(template=WorkspaceTemplate(namespaces=namespaces))
    )


@pytest.mark.parametrize(
    "fault",
    [LightCluster.restart_apiserver, LightCluster.restart_etcd],
    ids=["the API server is killed", "etcd is killed"],
)
async def test_work_goes_on_after_a_restart_and_what_changed_meanwhile_is_seen(
    running: Kube, fault: Fault
) -> None:
    await running.create(workspace("before", "press"))
    await running.eventually(Namespace, "press", within_s=WITHIN_S)

    fault(running.cluster)

    await running.eventually(Namespace, "press", within_s=WITHIN_S)
    await running.create(workspace("after", "paint"))
    await running.eventually(Namespace, "paint", within_s=WITHIN_S)
    await running.delete(Namespace, "press")
    await running.eventually(Namespace, "press", within_s=WITHIN_S)
    assert running.manager is not None
    cached = {one.metadata.name for one in running.manager.cache.list(Workspace)}
    assert {"before", "after"} <= cached
