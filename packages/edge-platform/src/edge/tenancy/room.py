"""The tenancy room: workspaces, their namespaces, and the roles that each of them has."""

from functools import partial
from typing import Any

from edge.iam.granting import Grants
from edge.iam.reconcilers.scoperoles import ScopeRoles, nobody, scope_named
from edge.iam.scope import SYSTEM_WORKSPACE
from edge.iam.types import GROUP as IAM_GROUP
from edge.iam.types import IAMRole, IAMRoleBinding
from edge.tenancy.plan import owner_of
from edge.tenancy.reconcilers.system import SystemNamespaceReconciler
from edge.tenancy.reconcilers.workspace import BY_WORKSPACE, WorkspaceReconciler
from edge.tenancy.types import GROUP, Workspace
from edge.tenancy.webhooks import MOVES_NAMESPACE, namespace_author_lacks, workspace_author_lacks
from edge_kube.core import Namespace
from edge_kube.runtime import Index, Request, Watch
from edge_sdk.room import Loop, Rights, Room, Webhook
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL


def _workspace_of(namespace: Namespace) -> list[Request]:
    owner = owner_of(namespace)
    return [Request(owner)] if owner else []


def _bound_to(binding: IAMRoleBinding) -> tuple[str, ...]:
    labels = binding.metadata.labels
    return (labels.get(IAM_SCOPE_VALUE_LABEL, ""),) if labels.get(IAM_SCOPE_LABEL) == "workspace" else ()


def _workspace_bound(binding: IAMRoleBinding) -> list[Request]:
    return [Request(name) for name in _bound_to(binding) if name]


def _is_tenants(namespace: Namespace) -> bool:
    return owner_of(namespace) not in ("", SYSTEM_WORKSPACE)


def _is_not_the_systems(workspace: Workspace) -> bool:
    return workspace.metadata.name != SYSTEM_WORKSPACE


def _manager_of(workspace: Workspace) -> str:
    return workspace.spec.manager


def _webhooks(grants: Grants) -> tuple[Webhook[Any], ...]:
    return (
        Webhook(
            Workspace,
            stamp=grants.creator,
            authorize=grants.guard(workspace_author_lacks),
            warn=grants.warn,
        ),
        Webhook(
            Namespace,
            stamp=grants.creator,
            authorize=grants.guard(namespace_author_lacks),
            warn=grants.warn,
            conditions=MOVES_NAMESPACE,
        ),
    )


def room(grants: Grants | None = None) -> Room:
    """grants: judges what authors give away; without it everybody may give everything."""
    return Room(
        name="tenancy",
        kinds=(Workspace,),
        loops=(
            Loop(
                Workspace,
                WorkspaceReconciler,
                watches=(Watch(Namespace, _workspace_of), Watch(IAMRoleBinding, _workspace_bound)),
            ),
            Loop(
                Workspace,
                partial(ScopeRoles, Workspace, "workspace", _is_not_the_systems, _manager_of),
                name="workspaceroles",
                watches=(
                    Watch(IAMRole, partial(scope_named, "workspace")),
                    Watch(IAMRoleBinding, partial(scope_named, "workspace")),
                ),
                resync_s=300,
            ),
            Loop(
                Namespace,
                partial(ScopeRoles, Namespace, "namespace", _is_tenants, nobody),
                name="namespaceroles",
                watches=(Watch(IAMRole, partial(scope_named, "namespace")),),
                reads=(IAMRoleBinding,),
                resync_s=300,
            ),
            Loop(
                Namespace,
                SystemNamespaceReconciler,
                name="systemnamespace",
                reads=(Workspace,),
                resync_s=300,
            ),
        ),
        indexes=(Index(IAMRoleBinding, BY_WORKSPACE, _bound_to),),
        webhooks=_webhooks(grants) if grants is not None else (),
        rights=(
            Rights(GROUP, "workspaces", ("get", "list", "watch", "create", "patch")),
            Rights(GROUP, "workspaces/status", ("get", "patch", "update")),
            Rights("", "namespaces", ("get", "list", "watch", "create", "patch")),
            Rights(IAM_GROUP, "iamroles", ("get", "list", "watch", "create", "patch")),
            Rights(IAM_GROUP, "iamrolebindings", ("get", "list", "watch", "create", "patch", "delete")),
        ),
    )
