"""The iam room: everything that identity adds to the platform, in one place."""

from functools import partial
from types import MappingProxyType

from edge.iam.builtin import categories, roles, templates
from edge.iam.escalation import pattern_lacks, role_lacks, template_lacks, user_lacks
from edge.iam.firstadmin import DEFAULT_PASSWORD, DEFAULT_USERNAME
from edge.iam.foretelling import AT_PLATFORM
from edge.iam.granting import Grants
from edge.iam.guards import check_binding, check_role, check_template
from edge.iam.heartbeat import HEARTBEAT
from edge.iam.reconcilers.binding import BY_SCOPE, INSIDE, BindingReconciler, Kinds, scope_labelled
from edge.iam.reconcilers.builtins import BuiltinsReconciler
from edge.iam.reconcilers.firstadmin import ANCHOR, FirstAdminReconciler
from edge.iam.reconcilers.loginrecord import BY_USER, LoginRecordReconciler, user_of
from edge.iam.reconcilers.role import BY_ROLE, RoleReconciler, TemplateReconciler
from edge.iam.reconcilers.scopepattern import (
    BY_RESOURCE,
    BY_SCOPE_TYPE,
    Concerned,
    ScopePatternReconciler,
    scope_type_labelled,
)
from edge.iam.reconcilers.user import UserReconciler
from edge.iam.registration import resource_of
from edge.iam.types import (
    GROUP,
    KINDS,
    Category,
    IAMRole,
    IAMRoleBinding,
    LoginRecord,
    RoleTemplate,
    ScopePattern,
    User,
)
from edge.iam.webhooks import check_pattern, check_user, hash_plain_password
from edge_kube.core import Namespace
from edge_kube.runtime import Index, Request, Watch
from edge_sdk.room import Loop, Rights, Room, Webhook
from edge_sdk.secret import Secret

_SHIPPED = {RoleTemplate: templates, IAMRole: roles, Category: categories}


def _anchor_for_builtin(obj: RoleTemplate | IAMRole | Category) -> list[Request]:
    name = obj.metadata.name
    return [Request(name=ANCHOR)] if name == HEARTBEAT or name in _SHIPPED[type(obj)]() else []


def _anchor_for_heartbeat(obj: User | IAMRoleBinding) -> list[Request]:
    return [Request(name=ANCHOR)] if obj.metadata.name == HEARTBEAT else []


def _role_of(binding: IAMRoleBinding) -> list[Request]:
    return [Request(name=binding.spec.role_ref.name)]


def _anchor(_: User | IAMRoleBinding) -> list[Request]:
    return [Request(name=ANCHOR)]


def _role_named(binding: IAMRoleBinding) -> tuple[str, ...]:
    return (binding.spec.role_ref.name,)


def room(
    username: str = "",
    password: Secret | None = None,
    grants: Grants | None = None,
    scopes: Kinds = MappingProxyType({}),
) -> Room:
    """username, password: of the first administrator; the documented ones where empty, or a bcrypt hash.

    grants: judges what authors give away; without it (tests of other things) everybody may give everything.
    scopes: cluster, workspace, nodegroup → the kind of their objects; bindings at others are taken to count.
    """
    first_admin = partial(
        FirstAdminReconciler,
        username=username or DEFAULT_USERNAME,
        password=password or Secret(DEFAULT_PASSWORD),
    )
    concerned = Concerned()
    return Room(
        name="iam",
        kinds=KINDS,
        loops=(
            Loop(
                Namespace,
                first_admin,
                name="firstadmin",
                watches=(
                    Watch(User, _anchor),
                    Watch(IAMRoleBinding, _anchor),
                ),
                workers=1,
                resync_s=300,
            ),
            Loop(
                Namespace,
                BuiltinsReconciler,
                name="builtins",
                watches=(
                    Watch(RoleTemplate, _anchor_for_builtin),
                    Watch(IAMRole, _anchor_for_builtin),
                    Watch(Category, _anchor_for_builtin),
                    Watch(User, _anchor_for_heartbeat),
                    Watch(IAMRoleBinding, _anchor_for_heartbeat),
                ),
                workers=1,
                resync_s=300,
            ),
            Loop(
                IAMRole,
                RoleReconciler,
                watches=(Watch(IAMRoleBinding, _role_of),),
                reads=(RoleTemplate,),
                resync_s=300,
            ),
            Loop(RoleTemplate, TemplateReconciler, reads=(IAMRole,), workers=1, resync_s=3600),
            Loop(
                IAMRoleBinding,
                partial(BindingReconciler, scopes),
                watches=(
                    Watch(ScopePattern, concerned.bindings),
                    *(Watch(cls, partial(concerned.bindings_at, kind)) for kind, cls in scopes.items()),
                    *(Watch(cls, partial(concerned.bindings_at, kind)) for kind, cls in INSIDE.items()),
                ),
                reads=(IAMRole,),
                resync_s=60,
            ),
            Loop(
                ScopePattern,
                partial(ScopePatternReconciler, concerned=concerned),
                watches=(Watch(ScopePattern, concerned.rivals),),
                resync_s=300,
            ),
            Loop(User, UserReconciler),
            Loop(LoginRecord, LoginRecordReconciler, resync_s=3600),
        ),
        indexes=(
            Index(IAMRoleBinding, BY_ROLE, _role_named),
            Index(IAMRoleBinding, BY_SCOPE, scope_labelled),
            Index(IAMRoleBinding, BY_SCOPE_TYPE, scope_type_labelled),
            Index(LoginRecord, BY_USER, user_of),
            Index(ScopePattern, BY_RESOURCE, resource_of),
        ),
        webhooks=(
            Webhook(
                User,
                default=hash_plain_password,
                validate=check_user,
                authorize=grants and grants.guard(user_lacks),
                warn=grants and grants.warn,
            ),
            Webhook(
                RoleTemplate,
                validate=check_template,
                authorize=grants and grants.guard(template_lacks),
                warn=grants and grants.warn,
            ),
            Webhook(
                IAMRole,
                validate=check_role,
                authorize=grants and grants.guard(role_lacks),
                warn=grants and grants.warn,
            ),
            Webhook(
                IAMRoleBinding,
                validate=check_binding,
                stamp=grants and grants.scope_uid,
                authorize=grants and grants.bindings,
                warn=grants and grants.warn,
                retain=grants and grants.keep_last_admin,
                retain_if=AT_PLATFORM,
            ),
            Webhook(ScopePattern, validate=check_pattern, authorize=grants and grants.guard(pattern_lacks)),
        ),
        rights=(
            Rights(GROUP, "users", ("get", "list", "watch", "create", "patch")),
            Rights(GROUP, "users/status", ("get", "patch", "update")),
            Rights(GROUP, "iamroles", ("get", "list", "watch", "create", "patch")),
            Rights(GROUP, "iamroles/status", ("get", "patch", "update")),
            Rights(GROUP, "iamrolebindings", ("get", "list", "watch", "create", "patch")),
            Rights(GROUP, "iamrolebindings/status", ("get", "patch", "update")),
            Rights(GROUP, "roletemplates", ("get", "list", "watch", "create", "patch")),
            Rights(GROUP, "roletemplates/status", ("get", "patch")),
            Rights(GROUP, "categories", ("get", "list", "watch", "create", "patch")),
            Rights(GROUP, "scopepatterns", ("get", "list", "watch")),
            Rights(GROUP, "scopepatterns/status", ("get", "patch", "update")),
            Rights(GROUP, "loginrecords", ("get", "list", "watch", "delete")),
            Rights("", "namespaces", ("get", "list", "watch")),
            Rights("", "nodes", ("get", "list", "watch")),
            Rights("authorization.k8s.io", "subjectaccessreviews", ("create",)),
        ),
    )
