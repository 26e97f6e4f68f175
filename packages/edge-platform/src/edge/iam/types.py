"""Types of the iam room; the CRDs come from here. Fields as in spec/crd-contract.txt (I2, I9, I14)."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType, field

from edge_kube.crd import Column, resource
from edge_kube.meta import Condition, LabelSelector, Model, Resource

GROUP = "iam.theriseunion.io"
VERSION = "v1alpha1"
CATEGORIES = ("edge", "iam")

SCOPE_PATH = r".metadata.labels['iam\.theriseunion\.io/scope']"
SCOPE_VALUE_PATH = r".metadata.labels['iam\.theriseunion\.io/scope-value']"
CATEGORY_PATH = r".metadata.labels['iam\.theriseunion\.io/category']"
AGE = Column("Age", ".metadata.creationTimestamp", type="date")

Conditions = Annotated[
    tuple[Condition, ...], Meta(description="What the platform made of this object, and why.")
]


class PolicyRule(Model):
    """One rule, with the meaning of a Kubernetes RBAC rule: it only ever allows."""

    verbs: Annotated[
        tuple[str, ...], Meta(description="Verbs that the rule allows: get, list, watch, create, …, or *.")
    ]
    api_groups: Annotated[
        tuple[str, ...],
        Meta(description='API groups of the resources; "" is the core group, * is every one.'),
    ] = ()
    resources: Annotated[
        tuple[str, ...],
        Meta(description="Resources or resource/subresource pairs; * is every resource and subresource."),
    ] = ()
    resource_names: Annotated[
        tuple[str, ...], Meta(description="Names the rule is limited to; empty means every name.")
    ] = ()
    non_resource_urls: Annotated[
        tuple[str, ...],
        Meta(description="Paths outside the resource API; a trailing * matches every longer path."),
    ] = field(default=(), name="nonResourceURLs")


Rules = Annotated[tuple[PolicyRule, ...], Meta(description="Rights that this object gives.")]
UiPermissions = Annotated[
    tuple[str, ...],
    Meta(description="Console rights, such as workspace/projects.view; they open pages, never APIs."),
]


class RoleTemplateSpec(Model):
    rules: Rules
    ui_permissions: UiPermissions = ()


class RoleTemplateStatus(Model):
    conditions: Conditions = ()


@resource(
    group=GROUP,
    version=VERSION,
    plural="roletemplates",
    scope="Cluster",
    categories=CATEGORIES,
    columns=(Column("Scope", SCOPE_PATH), Column("Category", CATEGORY_PATH)),
    status=True,
)
class RoleTemplate(Resource):
    """A reusable bundle of rules and console rights, put together into roles by name or by label."""

    spec: RoleTemplateSpec = RoleTemplateSpec(rules=())
    status: RoleTemplateStatus = RoleTemplateStatus()


class RoleAggregation(Model):
    role_selector: Annotated[
        LabelSelector | UnsetType, Meta(description="Takes in every RoleTemplate that carries these labels.")
    ] = UNSET
    template_names: Annotated[
        tuple[str, ...],
        Meta(description="RoleTemplates taken in by name, with the templates they depend on."),
    ] = ()


class IAMRoleSpec(Model):
    aggregation_role_templates: Annotated[
        RoleAggregation | UnsetType, Meta(description="Which RoleTemplates the role is put together from.")
    ] = UNSET
    aggregated_role_templates: Annotated[
        tuple[str, ...], Meta(description="Output: templates in force. The platform never reads it.")
    ] = ()
    rules: Rules = ()
    ui_permissions: UiPermissions = ()


class IAMRoleStatus(Model):
    member_count: Annotated[
        int | UnsetType,
        Meta(description="Subjects bound to the role.", extra_json_schema={"format": "int32"}),
    ] = UNSET
    conditions: Conditions = ()


@resource(
    group=GROUP,
    version=VERSION,
    plural="iamroles",
    scope="Cluster",
    categories=CATEGORIES,
    columns=(
        Column("Scope", SCOPE_PATH),
        Column("Scope-Value", SCOPE_VALUE_PATH),
        Column("Templates", ".spec.aggregationRoleTemplates.templateNames[*]"),
    ),
    status=True,
)
class IAMRole(Resource):
    """A role at one scope, named by its labels iam.theriseunion.io/scope and …/scope-value."""

    spec: IAMRoleSpec = IAMRoleSpec()
    status: IAMRoleStatus = IAMRoleStatus()


class RoleRef(Model):
    api_group: Annotated[str, Meta(description="iam.theriseunion.io.")]
    kind: Annotated[str, Meta(description="IAMRole.")]
    name: Annotated[str, Meta(description="Name of the role.")]


class Subject(Model):
    kind: Annotated[str, Meta(description="User, Group or ServiceAccount.")]
    name: Annotated[str, Meta(description="Name of the user, group or service account.")]
    api_group: Annotated[str, Meta(description="API group of the subject; may be left out.")] = ""
    namespace: Annotated[str, Meta(description="Namespace of a ServiceAccount.")] = ""


class IAMRoleBindingSpec(Model):
    role_ref: Annotated[RoleRef, Meta(description="The role that the subjects get.")]
    subjects: Annotated[tuple[Subject, ...], Meta(description="Who gets the role at this scope.")] = ()


class IAMRoleBindingStatus(Model):
    conditions: Conditions = ()


@resource(
    group=GROUP,
    version=VERSION,
    plural="iamrolebindings",
    scope="Cluster",
    categories=CATEGORIES,
    columns=(
        Column("Role", ".spec.roleRef.name"),
        Column("Scope-Type", SCOPE_PATH),
        Column("Scope-Target", SCOPE_VALUE_PATH),
        Column("Subjects", ".spec.subjects[*]"),
    ),
    status=True,
)
class IAMRoleBinding(Resource):
    """Gives a role to users, groups and service accounts at the scope its labels name."""

    spec: IAMRoleBindingSpec = IAMRoleBindingSpec(role_ref=RoleRef(api_group="", kind="", name=""))
    status: IAMRoleBindingStatus = IAMRoleBindingStatus()


class UserSpec(Model):
    description: Annotated[str, Meta(description="Free text about the user.")] = ""
    display_name: Annotated[str, Meta(description="Name that the console shows.")] = ""
    email: Annotated[str, Meta(description="Mail address.")] = ""
    encrypted_password: Annotated[
        str,
        Meta(
            description="Write-only. A plain password of at most 72 bytes, stored as its bcrypt hash, "
            "or a bcrypt hash. The gateway never shows it."
        ),
    ] = ""
    groups: Annotated[
        tuple[str, ...],
        Meta(description="Groups that bindings may name; system:* is kept as data and gives no right."),
    ] = ()
    lang: Annotated[str, Meta(description="Preferred language, such as zh-CN or en.")] = ""


class UserStatus(Model):
    last_login_time: Annotated[
        str, Meta(description="Last successful sign-in.", extra_json_schema={"format": "date-time"})
    ] = ""
    reason: Annotated[str, Meta(description="Why the user is in this state.")] = ""
    state: Annotated[str, Meta(description="Active or Disabled; a disabled user cannot sign in.")] = ""


@resource(
    group=GROUP,
    version=VERSION,
    plural="users",
    scope="Cluster",
    categories=CATEGORIES,
    columns=(
        Column("Email", ".spec.email"),
        Column("DisplayName", ".spec.displayName"),
        Column("State", ".status.state"),
        AGE,
    ),
    status=True,
)
class User(Resource):
    """Somebody who can sign in."""

    spec: UserSpec = UserSpec()
    status: UserStatus = UserStatus()


class LoginRecordSpec(Model):
    provider: Annotated[str, Meta(description="Who checked the password: local, or an identity provider.")]
    reason: Annotated[str, Meta(description="Why it succeeded or failed, as one word.")]
    source_ip: Annotated[str, Meta(description="Address the attempt came from.")] = field(name="sourceIP")
    success: Annotated[bool, Meta(description="Whether a token was given.")]
    type: Annotated[str, Meta(description="Way of signing in: Password, Token or OAuth.")]
    user_agent: Annotated[str, Meta(description="Program that asked.")] = ""


class LoginRecordStatus(Model):
    pass


@resource(
    group=GROUP,
    version=VERSION,
    plural="loginrecords",
    scope="Cluster",
    categories=CATEGORIES,
    columns=(
        Column("Type", ".spec.type"),
        Column("Provider", ".spec.provider"),
        Column("From", ".spec.sourceIP"),
        Column("Success", ".spec.success", type="boolean"),
        Column("Reason", ".spec.reason"),
        AGE,
    ),
    status=True,
)
class LoginRecord(Resource):
    """One attempt to sign in; label iam.theriseunion.io/user names the user."""

    spec: LoginRecordSpec = LoginRecordSpec(provider="", reason="", source_ip="", success=False, type="")
    status: LoginRecordStatus = LoginRecordStatus()


class ScopePatternSpec(Model):
    pattern: Annotated[
        str,
        Meta(
            description=(
                "URL pattern: literal segments, {name} or {_} for one segment, * at the end for the rest; no "
                "regular expressions."
            ),
            max_length=512,
        ),
    ]
    scope_type: Annotated[
        str,
        Meta(
            description="Scope type that the pattern registers: the name of one of its parameters.",
            max_length=64,
        ),
    ]
    description: Annotated[str, Meta(description="What the scope type stands for.")] = ""
    labels: Annotated[Mapping[str, str], Meta(description="Labels that scopes of this type carry.")] = {}


class ScopePatternStatus(Model):
    last_used: Annotated[
        str, Meta(description="Last request that matched.", extra_json_schema={"format": "date-time"})
    ] = ""
    match_count: Annotated[
        int | UnsetType,
        Meta(description="Requests that matched.", extra_json_schema={"format": "int64"}),
    ] = UNSET
    message: Annotated[str, Meta(description="Why the pattern was refused, if it was.")] = ""
    registered: Annotated[bool | UnsetType, Meta(description="Whether the pattern is in force.")] = UNSET
    conditions: Conditions = ()


@resource(
    group=GROUP,
    version=VERSION,
    plural="scopepatterns",
    scope="Namespaced",
    categories=("edge",),
    columns=(
        Column("Pattern", ".spec.pattern"),
        Column("ScopeType", ".spec.scopeType"),
        Column("Registered", ".status.registered", type="boolean"),
        AGE,
    ),
    status=True,
)
class ScopePattern(Resource):
    """Registers a new scope type from a URL pattern, without a restart."""

    spec: ScopePatternSpec = ScopePatternSpec(pattern="", scope_type="")
    status: ScopePatternStatus = ScopePatternStatus()


class CategorySpec(Model):
    description: Annotated[Mapping[str, str], Meta(description="Text by language: zh, en.")] = {}
    display_name: Annotated[Mapping[str, str], Meta(description="Shown name by language: zh, en.")] = {}
    icon: Annotated[str, Meta(description="Icon name of the Lucide set.")] = ""


@resource(
    group=GROUP,
    version=VERSION,
    plural="categories",
    scope="Cluster",
    categories=CATEGORIES,
    columns=(Column("Icon", ".spec.icon"), AGE),
    status=False,
)
class Category(Resource):
    """Groups RoleTemplates in the console's role editor."""

    spec: CategorySpec = CategorySpec()


KINDS = (User, IAMRole, IAMRoleBinding, RoleTemplate, LoginRecord, ScopePattern, Category)
