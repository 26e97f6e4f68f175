"""The first administrator (R12, I14). Pure.

The user and its binding are made when they are missing and then belong to the installation: a changed
password, name or group is never set back. The role that they are bound to is one of the built-in ones.
"""

from collections.abc import Iterable
from typing import Final

from edge.iam.accounts import MUST_CHANGE_ANNOTATION
from edge.iam.types import (
    GROUP,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    RoleRef,
    Subject,
    User,
    UserSpec,
)
from edge_kube.meta import Model, ObjectMeta
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

ADMIN_ROLE: Final = "platform-admin"
DEFAULT_USERNAME: Final = "admin"
DEFAULT_PASSWORD: Final = "P@88w0rd"  # noqa: S105  # published, so it only ever gives a restricted token (I16)
SCOPE_LABELS: Final = {IAM_SCOPE_LABEL: "platform", IAM_SCOPE_VALUE_LABEL: "global"}
PLATFORM_ROLE_ANNOTATION: Final = "iam.theriseunion.io/globalrole"
CLUSTERS_ANNOTATION: Final = "iam.theriseunion.io/granted-clusters"


class FirstAdminPlan(Model):
    """user, binding: to be created, in this order; None: leave alone."""

    user: User | None
    binding: IAMRoleBinding | None


def plan_first_admin(username: str, user: User | None, bindings: Iterable[IAMRoleBinding]) -> FirstAdminPlan:
    """bindings: all there are. Without an administrator nobody could make one: the first is bound again."""
    has_admin = any(_gives_admin(binding) for binding in bindings)
    return FirstAdminPlan(
        user=None if user is not None else first_admin(username),
        binding=None if has_admin else admin_binding(username),
    )


def _gives_admin(binding: IAMRoleBinding) -> bool:
    at_platform = binding.metadata.labels.get(IAM_SCOPE_LABEL) == "platform"
    return at_platform and binding.spec.role_ref.name == ADMIN_ROLE and bool(binding.spec.subjects)


def first_admin(username: str) -> User:
    """Without its password, which the reconciler puts in: a plan holds no secret."""
    return User(
        metadata=ObjectMeta(
            name=username,
            annotations={
                PLATFORM_ROLE_ANNOTATION: ADMIN_ROLE,
                CLUSTERS_ANNOTATION: "host",
                MUST_CHANGE_ANNOTATION: "true",
            },
        ),
        spec=UserSpec(display_name="Platform Administrator", lang="zh-CN"),
    )


def admin_binding(username: str) -> IAMRoleBinding:
    return IAMRoleBinding(
        metadata=ObjectMeta(name=f"{username}-{ADMIN_ROLE}", labels=SCOPE_LABELS),
        spec=IAMRoleBindingSpec(
            role_ref=RoleRef(api_group=GROUP, kind="IAMRole", name=ADMIN_ROLE),
            subjects=(Subject(kind="User", name=username),),
        ),
    )
