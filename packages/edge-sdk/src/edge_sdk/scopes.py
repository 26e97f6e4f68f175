"""Labels, annotations and scope order that all rooms agree on. Names as in the contract; pure constants."""

from collections.abc import Mapping
from typing import Final

PLATFORM_GROUP: Final = "theriseunion.io"
SCOPE_GROUP: Final = "scope.theriseunion.io"
IAM_GROUP: Final = "iam.theriseunion.io"
APP_GROUP: Final = "app.theriseunion.io"
EXT_GROUP: Final = "ext.theriseunion.io"
CONSOLE_GROUP: Final = "console.theriseunion.io"
"""No kinds: what pages ask the gateway for."""

SHORT_GROUPS: Final[Mapping[str, str]] = {
    "iam": IAM_GROUP,
    "scope": SCOPE_GROUP,
    "app": APP_GROUP,
    "ext": EXT_GROUP,
    "image": "image.theriseunion.io",
    "registry": "registry.theriseunion.io",
    "audit": "audit.theriseunion.io",
}
"""Groups as paths may shorten them (G11)."""
TENANT_GROUPS: Final = ("tenant", "tenant.theriseunion.io")
"""Groups in which paths name clusters, workspaces, node groups, namespaces and nodes."""

WORKSPACE_LABEL: Final = "theriseunion.io/workspace"
NODE_GROUP_LABEL: Final = "theriseunion.io/nodegroup"
NODE_GROUP_MEMBER_PREFIX: Final = (
    "nodegroup.theriseunion.io/"  # + group name, value "": a node may be in several
)
CLUSTER_LABEL: Final = "scope.theriseunion.io/cluster"
IAM_SCOPE_LABEL: Final = "iam.theriseunion.io/scope"
IAM_SCOPE_VALUE_LABEL: Final = "iam.theriseunion.io/scope-value"
IAM_CATEGORY_LABEL: Final = "iam.theriseunion.io/category"
PROVISIONER_LABEL: Final = "app.theriseunion.io/provisioner"
APP_CATEGORY_LABEL: Final = "app.theriseunion.io/category"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"

# Ownership across scopes and clusters: an owner reference would make the garbage collector delete the child.
OWNER_KIND_LABEL: Final = "theriseunion.io/owner-kind"
OWNER_NAME_LABEL: Final = "theriseunion.io/owner-name"
OWNER_UID_LABEL: Final = "theriseunion.io/owner-uid"

DISPLAY_NAME_ANNOTATION: Final = "theriseunion.io/display-name"
NODE_COUNT_ANNOTATION: Final = "theriseunion.io/node-count"
READY_NODE_COUNT_ANNOTATION: Final = "theriseunion.io/ready-node-count"
DISTRIBUTION_ANNOTATION: Final = "scope.theriseunion.io/distribution"
GRANTED_WORKSPACES_ANNOTATION: Final = "theriseunion.io/granted-workspaces"  # on a NodeGroup: "a,b" or "*"
FORCE_DELETE_ANNOTATION: Final = "theriseunion.io/force-delete"  # value: the object's uid (R4)
FINALIZER: Final = "theriseunion.io/finalizer"

SYSTEM_NAMESPACE: Final = "edge-system"
ADMINS_GROUP: Final = "edge:platform-admins"  # bound to cluster-admin in host and members (R13)
SCOPE_ADMINS_GROUP: Final = "edge:scope-administrators"
"""In whose name, beside the caller's, the gateway writes what somebody may write at their scope alone: native
RBAC cannot say "the bindings of this workspace" (decision 026)."""
GROUP_PREFIX: Final = "edge:group:"
"""Before the groups of a user where the gateway acts for them: in the host and in members, a group of the
platform is never one that a cluster's own RBAC knows by the same name (decision 008)."""

SCOPES: Final = ("platform", "cluster", "workspace", "nodegroup", "namespace", "node")
"""From the widest to the narrowest: a right at one scope holds in all scopes below it."""


def is_wider(scope: str, than: str) -> bool:
    """Whether `scope` stands above `than`. Raises ValueError for a word that is no scope."""
    return SCOPES.index(scope) < SCOPES.index(than)


HOST: Final = ""
HOST_NAMES: Final = (HOST, "host")
HOST_ROLE: Final = ("cluster.theriseunion.io/role", "host")
"""Label of the Cluster object that stands for the host itself, where there is one."""


def is_host(name: str, labels: Mapping[str, str]) -> bool:
    """Whether a cluster's name means the host. labels: of its Cluster object, empty where there is none."""
    return name in HOST_NAMES or labels.get(HOST_ROLE[0]) == HOST_ROLE[1]
