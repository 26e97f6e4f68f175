"""The iam room: everything that identity adds to the platform, in one place."""

from functools import partial

from edge.iam.firstadmin import ADMIN_ROLE
from edge.iam.reconcilers.firstadmin import ANCHOR, FirstAdminReconciler
from edge.iam.reconcilers.loginrecord import LoginRecordReconciler
from edge.iam.reconcilers.user import UserReconciler
from edge.iam.settings import AdminSettings
from edge.iam.types import GROUP, KINDS, IAMRole, IAMRoleBinding, LoginRecord, User
from edge.iam.webhooks import check_user, hash_plain_password
from edge_kube.core import Namespace
from edge_kube.runtime import Request, Watch
from edge_sdk.room import Loop, Rights, Room, Webhook


def _anchor_for_role(role: IAMRole) -> list[Request]:
    return [Request(name=ANCHOR)] if role.metadata.name == ADMIN_ROLE else []


def _anchor(_: User | IAMRoleBinding) -> list[Request]:
    return [Request(name=ANCHOR)]


def room(admin: AdminSettings | None = None) -> Room:
    """admin: how the first administrator is made; the documented defaults without it."""
    return Room(
        name="iam",
        kinds=KINDS,
        loops=(
            Loop(
                Namespace,
                partial(FirstAdminReconciler, admin=admin or AdminSettings()),
                name="firstadmin",
                watches=(
                    Watch(IAMRole, _anchor_for_role),
                    Watch(User, _anchor),
                    Watch(IAMRoleBinding, _anchor),
                ),
                workers=1,
                resync_s=300,
            ),
            Loop(User, UserReconciler),
            Loop(LoginRecord, LoginRecordReconciler, resync_s=3600),
        ),
        webhooks=(Webhook(User, default=hash_plain_password, validate=check_user),),
        rights=(
            Rights(GROUP, "users", ("get", "list", "watch", "create", "patch")),
            Rights(GROUP, "users/status", ("get", "patch", "update")),
            Rights(GROUP, "iamroles", ("get", "list", "watch", "create", "patch")),
            Rights(GROUP, "iamrolebindings", ("get", "list", "watch", "create", "patch")),
            Rights(GROUP, "loginrecords", ("get", "list", "watch", "delete")),
            Rights("", "namespaces", ("get", "list", "watch")),
        ),
    )
