"""A host whose bindings are projected into native RBAC, and questions to its API server."""

import asyncio
import secrets
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import pytest
from tests.support.members import Members

from edge.clusters.types import Cluster
from edge.iam.projection import Projection
from edge.iam.room import room as iam
from edge.iam.types import (
    GROUP,
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    IAMRoleSpec,
    PolicyRule,
    RoleRef,
    Subject,
    User,
    UserSpec,
)
from edge.iam.watching import PLACES, Watching
from edge.nodes.types import NodeGroup
from edge.projection.objects import MANAGED_SELECTOR
from edge.projection.room import room as projection_room
from edge.tenancy.types import Workspace
from edge_kube.client import Client
from edge_kube.core import ClusterRole, ClusterRoleBinding, RoleBinding
from edge_kube.harness import Kube, LightCluster
from edge_kube.harness.kube import RoomWithKinds
from edge_kube.meta import ObjectMeta, Resource
from edge_kube.transport import Call
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

SCOPES: Mapping[type[Resource], str] = {Workspace: "workspace", NodeGroup: "nodegroup", Cluster: "cluster"}


class Projected:
    """rights: the index that is projected. members: the pool through which members are reached."""

    def __init__(self, kube: Kube, members: Members) -> None:
        self.kube = kube
        self.members = members
        self.rights = Projection()
        self.tail = secrets.token_hex(2)

    async def start(self, *more: RoomWithKinds, webhooks: bool = False) -> None:
        """more: rooms that run beside iam and projection."""
        rooms = (iam(), projection_room(self.rights, self.members.sites, kept_s=0.5), *more)
        await self.kube.install(*SCOPES)
        manager = await self.kube.start(*rooms, webhooks=webhooks)
        watching = Watching(manager.cache, self.rights, SCOPES)
        self.members.connect(manager)
        for kind in PLACES:
            self.members.pool.watch(kind, watching.in_member)
        await manager.cache.wait_synced(60)

    async def user(self, name: str, *groups: str) -> str:
        """Its name, which is of this test alone: what was projected for another goes a moment later."""
        name = f"{name}-{self.tail}"
        await self.kube.create(User(metadata=ObjectMeta(name=name), spec=UserSpec(groups=groups)))
        return name

    async def role(self, name: str, scope: str, *rules: PolicyRule) -> str:
        labels = {
            IAM_SCOPE_LABEL: scope,
            **({IAM_SCOPE_VALUE_LABEL: "global"} if scope == "platform" else {}),
        }
        await self.kube.create(
            IAMRole(metadata=ObjectMeta(name=name, labels=labels), spec=IAMRoleSpec(rules=rules))
        )
        return name

    async def bind(self, role: str, scope: str, value: str, *subjects: str, **labels: str) -> str:
        """subjects: names of users, or group:NAME."""
        name = f"{role}-{secrets.token_hex(3)}"
        await self.kube.create(binding(name, role, scope, value, *subjects, labels=labels))
        return name


def binding(
    name: str, role: str, scope: str, value: str, *subjects: str, labels: Mapping[str, str] | None = None
) -> IAMRoleBinding:
    """subjects: names of users, group:NAME, or serviceaccount:NAMESPACE:NAME."""
    marks = {IAM_SCOPE_LABEL: scope, IAM_SCOPE_VALUE_LABEL: value, **(labels or {})}
    return IAMRoleBinding(
        metadata=ObjectMeta(name=name, labels=marks),
        spec=IAMRoleBindingSpec(
            role_ref=RoleRef(api_group=GROUP, kind="IAMRole", name=role),
            subjects=tuple(map(_subject, subjects)),
        ),
    )


def _subject(text: str) -> Subject:
    kind, _, name = text.rpartition(":")
    if kind.startswith("serviceaccount:"):
        return Subject(kind="ServiceAccount", name=name, namespace=kind.partition(":")[2])
    return Subject(kind="Group" if kind == "group" else "User", name=name)


@pytest.fixture(scope="module", autouse=True)
def projected_goes(light_cluster: LightCluster) -> Iterator[None]:
    """Other files ask the same API server about users of the same names."""
    yield
    asyncio.run(_sweep(light_cluster))


async def _sweep(cluster: LightCluster) -> None:
    async with cluster.client() as client:
        for kind in (RoleBinding, ClusterRoleBinding, ClusterRole):
            for one in await client.list(kind, labels=MANAGED_SELECTOR):
                await client.delete(kind, one.metadata.name, one.metadata.namespace)


async def may(
    client: Client,
    user: str,
    verb: str,
    resource: str,
    namespace: str = "",
    name: str = "",
    groups: Sequence[str] = (),
) -> bool:
    """What the API server's own RBAC says. resource: plural, plural/sub or plural.group."""
    plain, _, group = resource.partition(".")
    plain, _, sub = plain.partition("/")
    spec = {
        "user": user,
        "groups": ["system:authenticated", *groups],
        "resourceAttributes": {
            "verb": verb, "group": group, "resource": plain, "subresource": sub, "name": name,
            "namespace": namespace,
        },
    }  # fmt: skip
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = await client.transport.request(Call("POST", path, body=msgspec.json.encode(review)))
    return bool(msgspec.json.decode(answer.body)["status"].get("allowed"))


async def becomes(
    client: Client,
    wanted: bool,
    user: str,
    verb: str,
    resource: str,
    namespace: str = "",
    name: str = "",
    groups: Sequence[str] = (),
) -> None:
    """Wait until the answer is so; two seconds are promised (I3), and a busy machine gets more."""
    async with asyncio.timeout(60):
        while await may(client, user, verb, resource, namespace, name, groups) is not wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
