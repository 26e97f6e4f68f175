"""A workspace with namespaces and a user who administers it, made without a controller."""

import secrets
from collections.abc import Mapping

from tests.support.gateway import RunningGateway, make_user

from edge.iam.types import GROUP, IAMRoleBinding, IAMRoleBindingSpec, RoleRef, Subject
from edge.tenancy.types import Workspace
from edge_kube.client import Client
from edge_kube.core import Namespace
from edge_kube.meta import ObjectMeta
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL, WORKSPACE_LABEL

WORKSPACES = "/oapis/scope.theriseunion.io/v1alpha1/workspaces"
NAMESPACES = "/oapis/tenant/v1alpha1/namespaces"


class Tenant:
    """A workspace with two namespaces, and a user who administers it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        tail = secrets.token_hex(3)
        self.workspace, self.user, self.namespaces = f"ws-{tail}", f"u-{tail}", (f"a-{tail}", f"b-{tail}")
        self.binding = f"admin-{tail}"

    async def make(self) -> None:
        await self._client.create(Workspace(metadata=ObjectMeta(name=self.workspace)), manager="test")
        for name in self.namespaces:
            labels = {WORKSPACE_LABEL: self.workspace}
            await self._client.create(
                Namespace(metadata=ObjectMeta(name=name, labels=labels)), manager="test"
            )
        await make_user(self._client, self.user)
        await self.bind()

    async def bind(self, role: str = "workspace-admin") -> None:
        await self.bind_at("workspace", self.workspace, role, self.binding)

    async def bind_at(self, scope: str, value: str, role: str, binding: str) -> None:
        """Give the user a role at any scope."""
        await self._client.create(
            IAMRoleBinding(
                metadata=ObjectMeta(name=binding, labels=_labels(scope, value)),
                spec=IAMRoleBindingSpec(
                    role_ref=RoleRef(api_group=GROUP, kind="IAMRole", name=role),
                    subjects=(Subject(kind="User", name=self.user),),
                ),
            ),
            manager="test",
        )

    async def unbind(self, binding: str = "") -> None:
        await self._client.delete(IAMRoleBinding, binding or self.binding)


async def known(gateway: RunningGateway, tenant: Tenant) -> str:
    """Until the gateway knows all of it, of which each kind comes by a watch of its own; the user's token."""
    await gateway.knows(tenant.user)
    token = await gateway.token(tenant.user)
    for path in (f"{WORKSPACES}/{tenant.workspace}", *(f"{NAMESPACES}/{one}" for one in tenant.namespaces)):
        await gateway.until(path, 200, token=token)
    return token


def _labels(scope: str, value: str) -> Mapping[str, str]:
    return {IAM_SCOPE_LABEL: scope, IAM_SCOPE_VALUE_LABEL: value}
