"""Objects that confer nothing and are there to be written to: who has seen the beat on a kind has seen all
that was written to the kind before it (I6; design §5.2).

A Kubernetes watch is silent while nothing changes, so silence alone does not tell a quiet server from a watch
that was frozen on the way. Namespaces and nodes are not written to: they only say where a right holds.
"""

from typing import Final

from edge.iam.types import (
    GROUP,
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    RoleRef,
    RoleTemplate,
    User,
    UserSpec,
)
from edge_kube.meta import ObjectMeta
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

HEARTBEAT: Final = "edge-heartbeat"
BEATING: Final = (RoleTemplate, IAMRole, IAMRoleBinding, User)

_LABELS: Final = {
    "theriseunion.io/managed": "true",
    IAM_SCOPE_LABEL: "platform",
    IAM_SCOPE_VALUE_LABEL: "global",
}
_ABOUT: Final = "Gives no right. The gateway writes to it to learn that its picture of rights is new."


def heartbeat_objects() -> tuple[RoleTemplate | IAMRole | IAMRoleBinding | User, ...]:
    """One of each kind that gives or takes rights."""
    meta = ObjectMeta(name=HEARTBEAT, labels=_LABELS, annotations={"theriseunion.io/description": _ABOUT})
    ref = RoleRef(api_group=GROUP, kind="IAMRole", name=HEARTBEAT)
    return (
        RoleTemplate(metadata=meta),
        IAMRole(metadata=meta),
        IAMRoleBinding(metadata=meta, spec=IAMRoleBindingSpec(role_ref=ref)),
        User(metadata=meta, spec=UserSpec(description=_ABOUT)),
    )
