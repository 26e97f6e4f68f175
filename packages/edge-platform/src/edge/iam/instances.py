"""The roles that each workspace, node group, namespace and cluster has of its own. Pure.

An instance role copies the pattern role of its scope type, as it is at the moment, and is bound to one scope.
Its name is made from the scope's: people's repositories refer to it.
Source: I11; spec/upstream-contract §3.3.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from msgspec import structs

from edge.iam.aggregation import strays
from edge.iam.builtin import BUILTIN_LABEL, MANAGED_LABEL
from edge.iam.facts import SCOPE_CLUSTER_LABEL, SCOPE_UID_LABEL
from edge.iam.scope import HOST
from edge.iam.types import (
    GROUP,
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    IAMRoleSpec,
    RoleRef,
    Subject,
)
from edge_kube.meta import ObjectMeta, Resource, owner_reference
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

CREATOR_ANNOTATION: Final = "theriseunion.io/creator"
"""On a scope's object: the user who made it, as the gateway notes; that user becomes its admin."""

_PREFIX_LENGTH: Final = 15
_HASH_LENGTH: Final = 8

_OF_EACH: Final = {
    "cluster": ("admin", "viewer"),
    "nodegroup": ("admin", "operator", "viewer"),
    "workspace": ("admin", "viewer", "regular", "self-provisioner"),
    "namespace": ("admin", "operator", "viewer"),
}


def instance_role_name(scope: str, name: str, role: str) -> str:
    """workspace, dev-team, admin → workspace-dev-team-1b1ad1a3-admin."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{scope}-{name[:_PREFIX_LENGTH]}-{digest}-{role}"


def pattern_names(scope: str) -> tuple[str, ...]:
    """The pattern roles that a scope of this type gets a copy of."""
    return tuple(f"{scope}-{role}" for role in _OF_EACH[scope])


def instance_roles(
    scope: str, owner: Resource, patterns: Iterable[IAMRole], cluster: str = HOST
) -> tuple[IAMRole, ...]:
    """The roles of one scope. owner: its object, on the host; patterns: at least those of the scope type."""
    wanted = {f"{scope}-{role}": role for role in _OF_EACH[scope]}
    made: list[IAMRole] = []
    for pattern in patterns:
        role = wanted.get(pattern.metadata.name)
        if role is not None and pattern.metadata.labels.get(BUILTIN_LABEL) == "true":
            spec = IAMRoleSpec(
                aggregation_role_templates=pattern.spec.aggregation_role_templates,
                rules=pattern.spec.rules,
                ui_permissions=pattern.spec.ui_permissions,
            )
            name = instance_role_name(scope, owner.metadata.name, role)
            made.append(IAMRole(metadata=_meta(name, scope, owner, cluster), spec=spec))
    return tuple(sorted(made, key=lambda one: one.metadata.name))


def admin_binding(scope: str, owner: Resource, user: str, cluster: str = HOST) -> IAMRoleBinding:
    """Makes a user the admin of a scope; named after the role and the user, so there is one of them."""
    digest = hashlib.sha256(user.encode()).hexdigest()[:_HASH_LENGTH]
    return _admin(digest, scope, owner, user, cluster)


def manager_binding(scope: str, owner: Resource, user: str, cluster: str = HOST) -> IAMRoleBinding:
    """Makes a scope's manager its admin. One a scope, so that another manager takes the place of the first;
    apart from the creator's, who stays admin when somebody else manages."""
    return _admin("manager", scope, owner, user, cluster)


def _admin(tail: str, scope: str, owner: Resource, user: str, cluster: str) -> IAMRoleBinding:
    role = instance_role_name(scope, owner.metadata.name, "admin")
    return IAMRoleBinding(
        metadata=_meta(f"{role}-{tail}", scope, owner, cluster),
        spec=IAMRoleBindingSpec(
            role_ref=RoleRef(api_group=GROUP, kind="IAMRole", name=role),
            subjects=(Subject(kind="User", name=user),),
        ),
    )


def stands(wanted: IAMRole | IAMRoleBinding, found: IAMRole | IAMRoleBinding | None) -> bool:
    """Whether what is there is what is wanted; the list of templates in force is output."""
    if found is None or not wanted.metadata.labels.items() <= found.metadata.labels.items():
        return False
    if strays(wanted.metadata, found.metadata):
        return False
    if isinstance(found, IAMRole):
        return wanted.spec == structs.replace(found.spec, aggregated_role_templates=())
    return wanted.spec == found.spec


def _meta(name: str, scope: str, owner: Resource, cluster: str) -> ObjectMeta:
    labels = {
        MANAGED_LABEL: "true",
        IAM_SCOPE_LABEL: scope,
        IAM_SCOPE_VALUE_LABEL: owner.metadata.name,
        SCOPE_UID_LABEL: owner.metadata.uid,
    }
    if cluster != HOST:
        labels[SCOPE_CLUSTER_LABEL] = cluster
    # Owner and owned are both cluster-scoped objects of the host, so its garbage collector clears up.
    return ObjectMeta(name=name, labels=labels, owner_references=(owner_reference(owner, controller=False),))
