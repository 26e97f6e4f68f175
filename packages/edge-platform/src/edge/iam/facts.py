"""From objects to what the engine keeps of them. Pure; the labels read here are rights.

An object whose scope labels are missing or make no sense confers nothing: never "the platform by default".
Source: design §2; spec/upstream-contract §1.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from edge.iam.aggregation import recipe_of
from edge.iam.index import Binding
from edge.iam.rolebook import ANYWHERE, RoleFacts
from edge.iam.scope import HOST, LETTERS, scope_key, workspace_of
from edge.iam.types import IAMRole, IAMRoleBinding, Subject
from edge_kube.meta import ObjectMeta
from edge_sdk.scopes import (
    CLUSTER_LABEL,
    IAM_GROUP,
    IAM_SCOPE_LABEL,
    IAM_SCOPE_VALUE_LABEL,
    NODE_GROUP_LABEL,
    NODE_GROUP_MEMBER_PREFIX,
    WORKSPACE_LABEL,
)

SCOPE_CLUSTER_LABEL: Final = "iam.theriseunion.io/scope-cluster"
"""Cluster of the scope that a role or binding is for; without it the scope's own object tells."""
SCOPE_UID_LABEL: Final = "iam.theriseunion.io/scope-uid"
"""uid of the scope's object at the time of binding: a scope made anew under the name is another one."""

MOVABLE: Final = ("workspace", "nodegroup")
"""Scope types whose object, on the host, says by a label in which cluster it is."""


class Label(NamedTuple):
    """The scope an object is labelled with; cluster "" is "wherever the scope's object says"."""

    kind: str
    value: str
    cluster: str

    def key(self, home: str = HOST) -> str | None:
        return scope_key(self.kind, self.value, self.cluster or home)


def label_of(meta: ObjectMeta) -> Label:
    return label_of_labels(meta.labels)


def label_of_labels(labels: Mapping[str, str]) -> Label:
    return Label(
        labels.get(IAM_SCOPE_LABEL, ""),
        labels.get(IAM_SCOPE_VALUE_LABEL, ""),
        labels.get(SCOPE_CLUSTER_LABEL, ""),
    )


def role_facts(role: IAMRole, home: str = HOST) -> RoleFacts | None:
    """What the engine keeps of a role; None when its labels give it no place. home: cluster of its scope."""
    label = label_of(role.metadata)
    # The pattern roles of a scope type carry no value.
    anchor = ANYWHERE if label.value in ("", "global") else label.key(home)
    if not label.kind or anchor is None:
        return None
    spec = role.spec
    return RoleFacts(
        role.metadata.name,
        label.kind,
        anchor,
        spec.rules,
        spec.ui_permissions,
        recipe_of(role),
        pinned=bool(label.cluster),
    )


def binding_facts(binding: IAMRoleBinding, home: str = HOST) -> Binding | None:
    """What the engine keeps of a binding; None when it confers nothing whatever else there is."""
    meta, ref = binding.metadata, binding.spec.role_ref
    label = label_of(meta)
    key = label.key(home)
    if key is None or ref.kind != "IAMRole" or ref.api_group not in ("", IAM_GROUP):
        return None
    subjects = dict.fromkeys(found for one in binding.spec.subjects if (found := subject_key(one)))
    return Binding(
        name=meta.name,
        role=ref.name,
        scope=key,
        subjects=tuple(subjects),
        uid=meta.labels.get(SCOPE_UID_LABEL, ""),
        born=meta.creation_timestamp,
        pinned=bool(label.cluster),
    )


def subject_key(subject: Subject) -> str:
    """User:<name>, Group:<name>; a service account is the user that Kubernetes makes of it. "" for others."""
    if not subject.name:
        return ""
    if subject.kind == "ServiceAccount":
        return f"User:system:serviceaccount:{subject.namespace}:{subject.name}" if subject.namespace else ""
    return f"{subject.kind}:{subject.name}" if subject.kind in ("User", "Group") else ""


def subject_of(key: str) -> tuple[str, str]:
    """Kind and name of a subject key, as people write them."""
    kind, _, name = key.partition(":")
    if name.startswith("system:serviceaccount:"):
        return "ServiceAccount", name.removeprefix("system:serviceaccount:").replace(":", "/")
    return kind, name


def home_of(meta: ObjectMeta) -> str:
    """The cluster in which a workspace or node group is."""
    return meta.labels.get(CLUSTER_LABEL, "") or HOST


def namespace_wants(meta: ObjectMeta, cluster: str) -> tuple[str, ...]:
    """The workspace that a namespace says it is in."""
    workspace = workspace_of(meta.name, meta.labels.get(WORKSPACE_LABEL, ""))
    return (f"w/{cluster}/{workspace}",) if workspace else ()


def node_wants(meta: ObjectMeta, cluster: str) -> tuple[str, ...]:
    """The node groups that a node is in, by the labels that the nodes room keeps (R35)."""
    groups = {key.removeprefix(NODE_GROUP_MEMBER_PREFIX) for key in meta.labels if _is_member_label(key)}
    if one := meta.labels.get(NODE_GROUP_LABEL):
        groups.add(one)
    return tuple(f"g/{cluster}/{group}" for group in sorted(groups))


def _is_member_label(key: str) -> bool:
    return key.startswith(NODE_GROUP_MEMBER_PREFIX) and len(key) > len(NODE_GROUP_MEMBER_PREFIX)


def is_known_type(kind: str) -> bool:
    """Whether a scope type is one of the six; others come from ScopePatterns."""
    return kind in LETTERS
