"""The native objects of a projection, as they are written and as they are read back. Pure.

Each carries the label that marks it as ours, and a binding says of which unit and which scope it is: what has
no such marks is somebody else's, and is neither changed nor deleted. Source: I3; design §7.2.
"""

import re
from typing import Final

from edge.iam.native import digest
from edge.iam.projection import Bound, Unit, native_subject
from edge_kube.core import ClusterRole, ClusterRoleBinding, RbacRoleRef, RbacRule, RbacSubject, RoleBinding
from edge_kube.meta import Key, ObjectMeta

RBAC: Final = "rbac.authorization.k8s.io"
MANAGED: Final = {"iam.theriseunion.io/managed-by": "edge-controller"}
MANAGED_SELECTOR: Final = ",".join(f"{name}={value}" for name, value in MANAGED.items())
UNIT: Final = "iam.theriseunion.io/unit"
SOURCE: Final = "iam.theriseunion.io/source"

_WIDE_UNIT: Final = re.compile(r"c/[^/ *]+|[wgd]/[^/ *]+/[^/ *]+")

Binding = ClusterRoleBinding | RoleBinding


def is_ours(obj: ClusterRole | Binding) -> bool:
    return MANAGED.items() <= obj.metadata.labels.items()


def cluster_role(name: str, rules: tuple[RbacRule, ...]) -> ClusterRole:
    return ClusterRole(metadata=ObjectMeta(name=name, labels=MANAGED), rules=rules)


def binding(unit: Unit, key: Key, bound: Bound) -> Binding:
    meta = ObjectMeta(
        name=key.name,
        namespace=key.namespace,
        labels=MANAGED,
        annotations={UNIT: unit.scope, SOURCE: bound.source},
    )
    cls = RoleBinding if key.namespace else ClusterRoleBinding
    ref = RbacRoleRef(api_group=RBAC, kind="ClusterRole", name=bound.role)
    return cls(metadata=meta, role_ref=ref, subjects=tuple(map(_subject, bound.subjects)))


def stands(wanted: Binding, there: Binding) -> bool:
    """Whether the object there says what is wanted."""
    return (
        there.role_ref == wanted.role_ref
        and there.subjects == wanted.subjects
        and wanted.metadata.labels.items() <= there.metadata.labels.items()
        and wanted.metadata.annotations.items() <= there.metadata.annotations.items()
    )


def is_as_named(role: ClusterRole) -> bool:
    """Whether a role holds the rules that its name was made of: nobody has changed it."""
    return role.metadata.name.rpartition(":")[2] == digest(role.rules)


def unit_of(there: Binding, cluster: str) -> str:
    """The scope of the unit that a binding belongs to; "" when a wide one does not say it as we would."""
    if there.metadata.namespace:
        return f"n/{cluster}/{there.metadata.namespace}"
    said = there.metadata.annotations.get(UNIT, "")
    return said if _WIDE_UNIT.fullmatch(said) else ""


def _subject(subject: str) -> RbacSubject:
    kind, name, namespace = native_subject(subject)
    return RbacSubject(
        kind=kind, name=name, namespace=namespace, api_group="" if kind == "ServiceAccount" else RBAC
    )
