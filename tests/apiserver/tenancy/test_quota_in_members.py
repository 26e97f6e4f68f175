"""The quota of a workspace whose namespaces are in a member cluster is kept there (I15, C9)."""

from collections.abc import AsyncIterator

import msgspec
import pytest_asyncio
from tests.support.members import Members
from tests.support.quotas import LABEL, OBJECTS, enforced, note, noted, team, told

from edge.tenancy.limits import QUOTA_NAME
from edge.tenancy.room import MEMBER_WATCHES
from edge.tenancy.room import room as tenancy
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace, ResourceQuota
from edge_kube.harness import Kube
from edge_kube.meta import ObjectMeta
from edge_sdk.scopes import CLUSTER_LABEL

THERE = {CLUSTER_LABEL: "factory"}


class Factory:
    """A host, and a member whose quota controller runs."""

    def __init__(self, host: Kube, member: Kube) -> None:
        self.host = host
        self.member = member
        self.members = Members(MEMBER_WATCHES)

    async def start(self) -> None:
        """As after a restart, where rooms ran before."""
        await self.host.stop()
        await self.members.pool.close()
        self.members = Members(MEMBER_WATCHES)
        self.members.connect(await self.host.start(tenancy(sites=self.members.sites)))
        self.members.join("factory", self.member.cluster)

    async def namespaces(self, *names: str) -> None:
        for name in names:
            await self.member.create(Namespace(metadata=ObjectMeta(name=name, labels={LABEL: "team"})))

    async def moves(self, cluster: str | None) -> None:
        await self.host.patch(Workspace, "team", {"metadata": {"labels": {CLUSTER_LABEL: cluster}}})


@pytest_asyncio.fixture
async def factory(kube: Kube, quotas: Kube) -> AsyncIterator[Factory]:
    made = Factory(kube, quotas)
    await made.start()
    yield made
    await kube.stop()
    await made.members.pool.close()


async def test_namespaces_in_a_member_get_the_total_together_and_lend_to_each_other(factory: Factory) -> None:
    member = factory.member
    await factory.namespaces("m-a", "m-b")
    await factory.host.create(team({OBJECTS: "8"}, labels=THERE))
    await enforced(member, "m-a", OBJECTS, 4)
    await enforced(member, "m-b", OBJECTS, 4)
    for number in range(6):
        await noted(member, "m-a", f"n{number}")
    await noted(member, "m-b", "one")
    await noted(member, "m-b", "last")  # what cannot be divided goes to who grew last
    assert not any([await note(member, one, "over") for one in ("m-a", "m-b")])
    live = await factory.host.eventually(
        Workspace, "team", lambda one: one.status.quota.used.get(OBJECTS) == "8"
    )
    assert live.status.quota.hard == {OBJECTS: "8"}
    assert (await told(factory.host, "InPlace")).status == "True"


async def test_shares_in_a_member_come_back_and_go_with_quota_label_and_workspace(factory: Factory) -> None:
    host, member = factory.host, factory.member
    await factory.namespaces("g-a", "g-b")
    await host.create(team({OBJECTS: "8"}, labels=THERE))
    for name in ("g-a", "g-b"):
        await enforced(member, name, OBJECTS, 4)
    await member.client.delete(ResourceQuota, QUOTA_NAME, "g-a")
    await enforced(member, "g-a", OBJECTS, 4)
    await member.patch(Namespace, "g-b", {"metadata": {"labels": {LABEL: None}}})
    await member.gone(ResourceQuota, QUOTA_NAME, namespace="g-b")
    await host.patch(Workspace, "team", {"spec": {"template": {"resourceQuotas": None}}})
    await member.gone(ResourceQuota, QUOTA_NAME, namespace="g-a")
    await host.patch(Workspace, "team", {"spec": {"template": {"resourceQuotas": {OBJECTS: "3"}}}})
    uid = (await host.get(Workspace, "team")).metadata.uid
    await enforced(member, "g-a", OBJECTS, 3)
    await host.client.delete(Workspace, "team")
    await host.patch(Workspace, "team", {"metadata": {"annotations": {"theriseunion.io/force-delete": uid}}})
    await host.gone(Workspace, "team")
    await member.gone(ResourceQuota, QUOTA_NAME, namespace="g-a")


async def test_a_workspace_that_moves_leaves_no_share_behind_also_when_nobody_saw_it_move(
    factory: Factory,
) -> None:
    host, member = factory.host, factory.member
    await factory.namespaces("v-a")
    await host.create(team({OBJECTS: "8"}, labels=THERE))
    await enforced(member, "v-a", OBJECTS, 8)
    await factory.moves(None)
    await member.gone(ResourceQuota, QUOTA_NAME, namespace="v-a")
    await factory.moves("factory")
    await enforced(member, "v-a", OBJECTS, 8)
    await host.kill()
    await factory.moves(None)
    await factory.start()
    await member.gone(ResourceQuota, QUOTA_NAME, namespace="v-a")


async def test_a_member_that_is_away_is_told_of_and_holds_nothing_up(factory: Factory) -> None:
    host = factory.host
    factory.members.join_dead("lost", factory.member.cluster)
    await host.create(team({OBJECTS: "8"}, labels={CLUSTER_LABEL: "lost"}, name="away"))
    await host.create(team({OBJECTS: "8"}, "h-a"))
    found = await told(host, "ClusterUnreachable", name="away")
    assert (found.status, "Cluster lost does not answer" in found.message) == ("Unknown", True)
    await host.eventually(ResourceQuota, QUOTA_NAME, namespace="h-a")


async def test_somebodys_own_quota_of_the_shares_name_in_a_member_stays_and_is_reported(
    factory: Factory,
) -> None:
    await factory.namespaces("o-a")
    own = {"metadata": {"name": QUOTA_NAME, "namespace": "o-a"}, "spec": {"hard": {"pods": "3"}}}
    await factory.member.create(msgspec.convert(own, ResourceQuota))
    await factory.host.create(team({OBJECTS: "10"}, labels=THERE))
    assert "o-a" in (await told(factory.host, "QuotaNameTaken")).message
    assert (await factory.member.get(ResourceQuota, QUOTA_NAME, "o-a")).spec.hard == {"pods": "3"}
