"""Who may put a node into a group: rights at the group reach it from then on (I1, I4, I15; S6, S8)."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.admitted import Admitted, bound, user
from tests.support.members import Members, clear_nodes

from edge.nodes.room import MEMBER_WATCHES, room
from edge.nodes.types import NodeGroup
from edge.tenancy.types import Workspace
from edge_kube.core import Node
from edge_kube.errors import Forbidden
from edge_kube.harness import Kube
from edge_kube.meta import Key, Manifest, ObjectMeta
from edge_sdk.scopes import NODE_GROUP_LABEL, NODE_GROUP_MEMBER_PREFIX

KUBELET = "system:node:own"


@pytest_asyncio.fixture
async def town(kube: Kube) -> AsyncIterator[Admitted]:
    """ann administers the group ovens, root the platform; both may write every node natively."""
    async with Members(MEMBER_WATCHES) as members:
        made = await Admitted.begin(
            kube,
            lambda grants: room(members.sites, grants),
            {Workspace: "workspace", NodeGroup: "nodegroup"},
        )
        for name in ("ann", "root"):
            await made.person(name)
        for name in ("ovens", "belts"):
            await kube.create(NodeGroup(metadata=ObjectMeta(name=name)))
        await kube.create(bound("ann-ovens", "nodegroup-admin", "nodegroup", "ovens", user("ann")))
        await kube.create(bound("root-admin", "platform-admin", "platform", "global", user("root")))
        await made.knows("ann", "g/host/ovens", "update", "nodegroups", "scope.theriseunion.io")
        await made.knows("root", "p", "delete", "secrets")
        await made.may_write("ann", "root", KUBELET)
        yield made
        await kube.stop()
        await clear_nodes(kube)


def put(group: str | None) -> Manifest:
    return {"metadata": {"labels": {NODE_GROUP_LABEL: group}}}


def member_of(group: str) -> Manifest:
    return {"metadata": {"labels": {f"{NODE_GROUP_MEMBER_PREFIX}{group}": ""}}}


async def test_S8_a_node_changes_groups_only_with_a_right_on_all_sides(town: Admitted) -> None:
    ann, root = town.as_user("ann"), town.as_user("root")
    for name, group in (("free", ""), ("in-belts", "belts"), ("in-ovens", "ovens")):
        labels = {NODE_GROUP_LABEL: group} if group else {}
        await town.kube.client.create(Node(metadata=ObjectMeta(name=name, labels=labels)), manager="test")
    for name, change, why in (
        ("free", put("ovens"), "falls to the administrators of the one that it joins"),
        ("free", member_of("ovens"), "falls to the administrators"),
        ("in-belts", put("ovens"), "move rights at nodegroup/belts; it needs update on the node group"),
        ("in-belts", member_of("ovens"), "move rights at nodegroup/belts"),
        ("in-ovens", put("belts"), "move rights at nodegroup/belts"),
    ):
        with pytest.raises(Forbidden, match=why):
            await ann.merge(Node, Key("", name), change)
    await ann.merge(Node, Key("", "free"), {"metadata": {"labels": {"colour": "blue"}}})
    await ann.merge(Node, Key("", "in-ovens"), put(None))
    await root.merge(Node, Key("", "free"), put("ovens"))


async def test_a_node_says_itself_which_group_it_was_started_for(town: Admitted) -> None:
    """The kubelet is not asked: whoever runs it has the node anyway."""
    kubelet = town.as_user(KUBELET, "system:nodes")
    await kubelet.create(Node(metadata=ObjectMeta(name="own")), manager="test")
    await kubelet.merge(Node, Key("", "own"), put("ovens"))
