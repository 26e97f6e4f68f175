"""The tenancy room: workspaces, their namespaces, and the roles that each of them has."""

from functools import partial
from typing import Any, Final

from edge.iam.granting import Grants
from edge.iam.reconcilers.scoperoles import ScopeRoles, nobody, scope_named
from edge.iam.scope import SYSTEM_WORKSPACE
from edge.iam.types import GROUP as IAM_GROUP
from edge.iam.types import IAMRole, IAMRoleBinding
from edge.tenancy.ground import BY_SHARE
from edge.tenancy.limits import QUOTA_NAME, tells_of_refusal, workspace_named
from edge.tenancy.plan import owner_of
from edge.tenancy.reconcilers.quota import QuotaRefusals
from edge.tenancy.reconcilers.system import SystemNamespaceReconciler
from edge.tenancy.reconcilers.workspace import BY_WORKSPACE, WorkspaceReconciler
from edge.tenancy.types import GROUP, Workspace
from edge.tenancy.webhooks import (
    MOVES_ANYHOW,
    MOVES_NAMESPACE,
    NOT_YOURS,
    SHARE,
    STILL_BOUNDS,
    TAKES_SHARE,
    check_workspace,
    namespace_author_lacks,
    workspace_author_lacks,
)
from edge_kube.core import Deployment, Namespace, ResourceQuota
from edge_kube.runtime import Index, MemberWatch, Request, Watch
from edge_sdk.room import Loop, Rights, Room, Waker, Webhook
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL, OWNER_KIND_LABEL, WORKSPACE_LABEL
from edge_sdk.sites import Sites


def _workspace_of(namespace: Namespace) -> list[Request]:
    owner = owner_of(namespace)
    return [Request(owner)] if owner else []


def _in_workspace(namespace: Namespace) -> tuple[str, ...]:
    owner = owner_of(namespace)
    return (owner,) if owner else ()


def _workspace_in_member(namespace: Namespace, cluster: str) -> list[Request]:
    del cluster
    return _workspace_of(namespace)


def _workspace_sharing(quota: ResourceQuota) -> list[Request]:
    owner = workspace_named(quota)
    return [Request(owner)] if owner else []


def _workspace_sharing_in_member(quota: ResourceQuota, cluster: str) -> list[Request]:
    """The workspace; and what it has in this cluster, in case that it is not in it."""
    owner = workspace_named(quota)
    return [Request(owner), Request(owner, cluster=cluster)] if owner else []


def _shared_with(quota: ResourceQuota) -> tuple[str, ...]:
    owner = workspace_named(quota)
    return (owner,) if owner else ()


def _namespace_refused(deployment: Deployment) -> list[Request]:
    return [Request(deployment.metadata.namespace)] if tells_of_refusal(deployment) else []


def _namespace_shared(quota: ResourceQuota) -> list[Request]:
    return [Request(quota.metadata.namespace)] if quota.metadata.name == QUOTA_NAME else []


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


def _webhooks(grants: Grants | None) -> tuple[Webhook[Any], ...]:
    if grants is None:
        return (Webhook(Workspace, validate=check_workspace),)
    return (
        Webhook(
            Workspace,
            validate=check_workspace,
            stamp=grants.creator,
            authorize=grants.guard(workspace_author_lacks),
            warn=grants.warn,
            going=STILL_BOUNDS,
        ),
        Webhook(
            Namespace,
            stamp=grants.creator,
            authorize=grants.guard(namespace_author_lacks),
            warn=grants.warn,
            conditions=MOVES_NAMESPACE,
            going=MOVES_ANYHOW,
        ),
        Webhook(
            ResourceQuota,
            authorize=grants.ours(NOT_YOURS),
            conditions=SHARE,
            retain=grants.ours_to_delete(NOT_YOURS),
            retain_if=TAKES_SHARE,
        ),
    )


MEMBER_WATCHES: Final = (
    MemberWatch(Namespace, _workspace_in_member, labels=WORKSPACE_LABEL),
    MemberWatch(ResourceQuota, _workspace_sharing_in_member, labels=f"{OWNER_KIND_LABEL}=Workspace"),
)
"""What this room copies from members: namespaces and shares of workspaces; its `Sites` reads these copies."""


def room(grants: Grants | None = None, sites: Sites | None = None) -> Room:
    """grants: judges what authors give away; without it everybody may give everything.

    sites: the member clusters; without them a workspace holds the namespaces of the host only.
    """
    waker = Waker()
    return Room(
        name="tenancy",
        kinds=(Workspace,),
        loops=(
            Loop(
                Workspace,
                partial(WorkspaceReconciler, sites, waker),
                watches=(
                    Watch(Namespace, _workspace_of),
                    Watch(IAMRoleBinding, _workspace_bound),
                    Watch(ResourceQuota, _workspace_sharing),
                ),
                member_watches=MEMBER_WATCHES,
                attach=waker.attach,
            ),
            Loop(
                Namespace,
                QuotaRefusals,
                name="quotarefusals",
                watches=(Watch(Deployment, _namespace_refused), Watch(ResourceQuota, _namespace_shared)),
                resync_s=300,
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
        indexes=(
            Index(IAMRoleBinding, BY_WORKSPACE, _bound_to),
            Index(Namespace, BY_WORKSPACE, _in_workspace),
            Index(ResourceQuota, BY_SHARE, _shared_with),
        ),
        webhooks=_webhooks(grants),
        rights=(
            Rights(GROUP, "workspaces", ("get", "list", "watch", "create", "patch")),
            Rights(GROUP, "workspaces/status", ("get", "patch", "update")),
            Rights("", "namespaces", ("get", "list", "watch", "create", "patch")),
            Rights("", "resourcequotas", ("get", "list", "watch", "create", "patch", "delete")),
            Rights("apps", "deployments", ("get", "list", "watch")),
            Rights(IAM_GROUP, "iamroles", ("get", "list", "watch", "create", "patch")),
            Rights(IAM_GROUP, "iamrolebindings", ("get", "list", "watch", "create", "patch", "delete")),
        ),
    )
