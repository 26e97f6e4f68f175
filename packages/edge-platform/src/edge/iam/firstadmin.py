"""The first administrator (R12, I14). Pure.

The user and its binding are made when they are missing and then belong to the installation: a changed
password, name or group is never set back. The role that they are bound to is one of the built-in ones.
"""

from collections.abc import Collection, Mapping
from typing import Final

from edge.iam.accounts import MUST_CHANGE_ANNOTATION, is_disabled
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
    """user: to be created. binding: to be created, or put back as it is here. None: leave alone."""

    user: User | None
    binding: IAMRoleBinding | None

    @property
    def is_empty(self) -> bool:
        return self.user is None and self.binding is None


def plan_first_admin(
    username: str, users: Collection[User], bindings: Collection[IAMRoleBinding]
) -> FirstAdminPlan:
    """users: all there are; bindings: all of ADMIN_ROLE.

    Without an administrator nobody could make one, so there always is one.
    While somebody else administers the platform, a first administrator that was deleted stays deleted: it
    would come back with a published password. One that was disabled stays disabled.
    """
    known = {user.metadata.name: user for user in users}
    active = {name: user for name, user in known.items() if not is_disabled(user)}
    if any(_has_admin(binding, active) for binding in bindings):
        return FirstAdminPlan(user=None, binding=None)
    wanted = admin_binding(username)
    bound = any(one.metadata.name == wanted.metadata.name and _stands(one, wanted) for one in bindings)
    return FirstAdminPlan(
        user=None if username in known else first_admin(username), binding=None if bound else wanted
    )


def _has_admin(binding: IAMRoleBinding, active: Mapping[str, User]) -> bool:
    """Whether somebody who can sign in administers the platform by this binding."""
    labels = binding.metadata.labels
    counts = SCOPE_LABELS.items() <= labels.items() and binding.spec.role_ref.name == ADMIN_ROLE
    if not counts or binding.metadata.deletion_timestamp:
        return False
    people = {subject.name for subject in binding.spec.subjects if subject.kind == "User"}
    groups = {subject.name for subject in binding.spec.subjects if subject.kind == "Group"}
    in_groups = (group in groups for user in active.values() for group in user.spec.groups)
    return not people.isdisjoint(active) or any(in_groups)


def _stands(found: IAMRoleBinding, wanted: IAMRoleBinding) -> bool:
    return found.spec == wanted.spec and not found.metadata.deletion_timestamp


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
