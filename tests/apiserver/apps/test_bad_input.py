"""What people get wrong, at the real API server: refusals, applying twice, dying namespaces, kills (P3, P4).

Bad input: an override or a version that contradicts itself, an unknown plugin's settings, a namespace being
deleted; and a controller killed at any moment.
"""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.members import Members

from edge.apps.render import PLACEMENT_LABEL
from edge.apps.room import MEMBER_WATCHES, room
from edge.apps.settings import AppsSettings
from edge.apps.types import ApplicationDeployment
from edge.nodes import room as nodes
from edge_kube.core import ConfigMap, Deployment, Namespace, Service
from edge_kube.harness import Kube
from edge_kube.meta import ObjectMeta

NAMESPACE = "team-b"

STORE = """
apiVersion: scope.theriseunion.io/v1alpha1
kind: NodeGroup
metadata: {name: paint}
spec:
  selector: {matchLabels: {region: north}}
  template: {labels: {tier: edge}, taints: ["edge=true:NoSchedule"]}
---
apiVersion: app.theriseunion.io/v1alpha1
kind: AppCategory
metadata: {name: tools}
spec: {icon: wrench, order: 1, displayName: {zh: 工具, en: Tools}}
---
apiVersion: app.theriseunion.io/v1alpha1
kind: Application
metadata:
  name: mixer
  labels: {app.theriseunion.io/provisioner: workload, app.theriseunion.io/category: tools}
spec: {}
---
apiVersion: app.theriseunion.io/v1alpha1
kind: ApplicationVersion
metadata: {name: mixer-v1.0.0}
spec:
  applicationRef: mixer
  version: v1.0.0
  workloadConfig:
    deployments:
    - name: mixer
      spec: {replicas: 2, template: {spec: {containers: [{name: main, image: nginx}]}}}
    services:
    - {name: mixer, spec: {ports: [{port: 80}]}}
---
apiVersion: app.theriseunion.io/v1alpha1
kind: ApplicationDeployment
metadata: {name: mixer, namespace: team-b}
spec:
  application: mixer
  version: latest
  topologies: [{nodeGroup: paint}, {nodeName: n1}]
"""


@pytest_asyncio.fixture
async def members() -> AsyncIterator[Members]:
    async with Members((*MEMBER_WATCHES, *nodes.MEMBER_WATCHES)) as made:
        yield made


@pytest_asyncio.fixture
async def host(kube: Kube, members: Members) -> AsyncIterator[Kube]:
    rooms = (nodes.room(members.sites), room(members.sites, AppsSettings()))
    members.connect(await kube.start(*rooms, webhooks=True))
    await kube.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    yield kube


def applied(kube: Kube, text: str) -> list[str]:
    """Last word of each line that kubectl prints: created, configured, unchanged."""
    said = kube.cluster.kubectl("apply", "-f", "-", stdin=text)
    return [line.split()[-1] for line in said.splitlines()]


async def test_applying_twice_says_created_then_unchanged(host: Kube) -> None:
    assert await asyncio.to_thread(applied, host, STORE) == ["created"] * 5
    await host.eventually(
        ApplicationDeployment, "mixer", lambda it: it.status.total_replicas == 4, namespace=NAMESPACE
    )
    assert await asyncio.to_thread(applied, host, STORE) == ["unchanged"] * 5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("version: latest", "version: newest"), ["spec.version", '"newest"', "accepted: latest, v1.2.0"]),
        (("{nodeName: n1}", "{nodeGroup: paint}"), ["spec.topologies[1]", "names the same place"]),
        (("NoSchedule", "Never"), ["spec.template.taints[0]", '"Never" is no effect', "NoExecute"]),
        (("image: nginx", "tty: true"), ["containers[0].image", "is required"]),
        (("order: 1", "order: first"), ["order"]),
    ],
    ids=["version", "topologies", "taint", "container", "schema"],
)
async def test_a_refusal_names_field_value_reason_and_what_is_accepted(
    host: Kube, change: tuple[str, str], told: list[str]
) -> None:
    text = STORE.replace(*change)
    said = await asyncio.to_thread(host.cluster.kubectl, "apply", "-f", "-", stdin=text, check=False)
    for words in told:
        assert words in said


async def test_a_version_that_names_itself_anew_is_refused(host: Kube) -> None:
    await asyncio.to_thread(applied, host, STORE)
    changed = STORE.replace("version: v1.0.0", "version: v2.0.0")
    said = await asyncio.to_thread(host.cluster.kubectl, "apply", "-f", "-", stdin=changed, check=False)
    assert "make another ApplicationVersion" in said


async def test_a_namespace_being_deleted_shows_and_lets_the_deployment_go(host: Kube) -> None:
    empty = STORE.replace("topologies: [{nodeGroup: paint}, {nodeName: n1}]", "topologies: []")
    await asyncio.to_thread(applied, host, empty)
    await host.eventually(
        ApplicationDeployment, "mixer", lambda it: it.status.phase == "Pending", namespace=NAMESPACE
    )
    await asyncio.to_thread(host.cluster.kubectl, "delete", "namespace", NAMESPACE, "--wait=false")
    topologies = {"spec": {"topologies": [{"nodeGroup": "paint"}]}}
    await host.patch(ApplicationDeployment, "mixer", topologies, NAMESPACE)
    failed = await host.eventually(
        ApplicationDeployment, "mixer", lambda it: it.status.phase == "Failed", namespace=NAMESPACE
    )
    assert "being terminated" in failed.status.message
    await host.client.delete(ApplicationDeployment, "mixer", NAMESPACE)
    await host.gone(ApplicationDeployment, "mixer", namespace=NAMESPACE)


async def test_a_controller_killed_at_any_moment_converges_and_leaves_nothing(
    kube: Kube, members: Members
) -> None:
    dice = random.Random(7)

    async def restart() -> None:
        await kube.kill()
        apps = room(members.sites, AppsSettings())
        members.connect(await kube.start(nodes.room(members.sites), apps))

    await restart()
    await kube.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    await asyncio.to_thread(applied, kube, STORE)
    for _ in range(4):
        await asyncio.sleep(dice.uniform(0, 0.15))
        await restart()
    for name in ("mixer-paint", "mixer-n1"):
        await kube.eventually(Deployment, name, namespace=NAMESPACE)
        await kube.eventually(Service, name, namespace=NAMESPACE)
    await kube.client.delete(ApplicationDeployment, "mixer", NAMESPACE)
    for _ in range(2):
        await asyncio.sleep(dice.uniform(0, 0.05))
        await restart()
    await kube.gone(ApplicationDeployment, "mixer", namespace=NAMESPACE)
    for kind in (Deployment, Service, ConfigMap):
        assert await kube.list(kind, labels=PLACEMENT_LABEL) == []
