"""Rooms with admission that knows authors, on a real API server, and the index by which it judges.

admitted = await Admitted.begin(kube)
await admitted.knows("ann", "w/host/press", "list", "pods")
await admitted.as_user("eve").create(…)
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.support.shipped import all_shipped

from edge.adapters.native_rights import HostRights
from edge.iam.beats import beats_of_rights
from edge.iam.freshness import Freshness
from edge.iam.granting import Grants
from edge.iam.index import Index
from edge.iam.room import room as iam
from edge.iam.types import (
    GROUP,
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    RoleRef,
    Subject,
    User,
    UserSpec,
)
from edge.iam.watching import Watching
from edge.tenancy.room import room as tenancy
from edge.tenancy.types import Workspace
from edge_kube.client import Client
from edge_kube.errors import Forbidden
from edge_kube.harness.kube import Kube
from edge_kube.meta import ObjectMeta, Resource
from edge_sdk.room import Room
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

RBAC = "rbac.authorization.k8s.io"
WRITERS = "edge-test-writers"


@dataclass
class Admitted:
    """Authors of `may_write` may natively write every object, so what stops them is admission alone."""

    kube: Kube
    index: Index

    @classmethod
    async def begin(
        cls,
        kube: Kube,
        more: Callable[[Grants], Room] | None = None,
        scopes: Mapping[type[Resource], str] = {Workspace: "workspace"},
    ) -> "Admitted":
        """more: a further room, that asks the same judge. scopes: kinds whose objects the index knows."""
        index = Index()
        watchings: list[Watching] = []
        beats = beats_of_rights(kube.client, "test")
        freshness = Freshness(lambda: watchings[0].silence_s() if watchings else None, beats.age_s)
        grants = Grants(index, freshness, HostRights(kube.client), prove=beats.prove)
        rooms = [iam(grants=grants), tenancy(grants), *([more(grants)] if more else [])]
        manager = await kube.start(*rooms, webhooks=True)
        watchings.append(Watching(manager.cache, index, scopes))
        watchings[0].hear(beats)
        await manager.cache.wait_synced(60)
        await all_shipped(kube)
        return cls(kube, index)

    async def person(self, name: str, *groups: str) -> str:
        await self.kube.create(User(metadata=ObjectMeta(name=name), spec=UserSpec(groups=groups)))
        return name

    async def knows(
        self, user: str, scope: str, verb: str, resource: str, group: str = "", *, wanted: bool = True
    ) -> None:
        """Wait until the index answers so."""
        async with asyncio.timeout(60):
            while self.index.check(user, scope, verb, group, resource) is not wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def as_user(self, name: str, *groups: str) -> Client:
        return self.kube.client.impersonate(name, groups)

    async def may_write(self, *users: str) -> None:
        """Every verb but escalate and bind on the platform's objects, and on namespaces."""
        verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
        rules = [
            {
                "apiGroups": [GROUP, "scope.theriseunion.io", "ext.theriseunion.io", ""],
                "resources": ["*"],
                "verbs": verbs,
            }
        ]
        about = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": WRITERS}}
        await self.kube.apply({**about, "kind": "ClusterRole", "rules": rules})
        ref = {"apiGroup": RBAC, "kind": "ClusterRole", "name": WRITERS}
        people = [{"apiGroup": RBAC, "kind": "User", "name": user} for user in users]
        await self.kube.apply({**about, "kind": "ClusterRoleBinding", "roleRef": ref, "subjects": people})
        async with asyncio.timeout(60):
            for user in users:
                while not await _may_list(self.as_user(user)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)


async def _may_list(client: Client) -> bool:
    """The API server's RBAC hears of a binding by a watch of its own."""
    try:
        await client.list(IAMRole)
    except Forbidden:
        return False
    return True


def labels(scope: str, value: str) -> Mapping[str, str]:
    return {IAM_SCOPE_LABEL: scope, IAM_SCOPE_VALUE_LABEL: value} if value else {IAM_SCOPE_LABEL: scope}


def bound(name: str, role: str, scope: str, value: str, *subjects: Subject) -> IAMRoleBinding:
    return IAMRoleBinding(
        metadata=ObjectMeta(name=name, labels=labels(scope, value)),
        spec=IAMRoleBindingSpec(
            role_ref=RoleRef(api_group=GROUP, kind="IAMRole", name=role), subjects=subjects
        ),
    )


def user(name: str) -> Subject:
    return Subject(kind="User", name=name)


def group(name: str) -> Subject:
    return Subject(kind="Group", name=name)
