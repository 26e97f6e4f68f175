"""The iam room: everything that identity adds to the platform, in one place."""

from functools import partial

from edge.iam.firstadmin import ADMIN_ROLE, DEFAULT_PASSWORD, DEFAULT_USERNAME
from edge.iam.reconcilers.firstadmin import ANCHOR, FirstAdminReconciler
from edge.iam.reconcilers.loginrecord import LoginRecordReconciler
from edge.iam.reconcilers.user import UserReconciler
from edge.iam.types import GROUP, KINDS, IAMRole, IAMRoleBinding, LoginRecord, User
from edge.iam.webhooks import check_user, hash_plain_password
from edge_kube.core import Namespace
from edge_kube.runtime import Request, Watch
from edge_sdk.room import Loop, Rights, Room, Webhook
from edge_sdk.secret import Secret


def _anchor_for_role(role: IAMRole) -> list[Request]:
    return [Request(name=ANCHOR)] if role.metadata.name == ADMIN_ROLE else []


def _anchor(_: User | IAMRoleBinding) -> list[Request]:
    return [Request(name=ANCHOR)]


def room(username: str = "", password: Secret | None = None) -> Room:
    """Of the first administrator; the documented ones where empty. The password may be a bcrypt hash."""
    first_admin = partial(
        FirstAdminReconciler,
        username=username or DEFAULT_USERNAME,
        password=password or Secret(DEFAULT_PASSWORD),
    )
    return Room(
        name="iam",
        kinds=KINDS,
        loops=(
            Loop(
                Namespace,
                first_admin,
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
