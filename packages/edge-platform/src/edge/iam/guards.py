"""Admission of templates, roles and bindings: what would give nothing, or move rights, is refused. Pure.

The scope labels of these objects are rights: changing one would carry what was granted at one scope over to
another, so they stay as they were made. Source: design §2; issue "bad input".
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from edge.iam.facts import SCOPE_CLUSTER_LABEL, SCOPE_UID_LABEL
from edge.iam.types import GROUP, IAMRole, IAMRoleBinding, PolicyRule, RoleTemplate, Subject
from edge_kube.meta import ObjectMeta
from edge_sdk.problem import Violation
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

FIXED: Final = (IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL, SCOPE_CLUSTER_LABEL)
SUBJECT_KINDS: Final = ("User", "Group", "ServiceAccount")
TOLD_MAX: Final = 20
"""An answer that lists what is wrong with thousands of subjects or rules is itself refused for its length."""
SYSTEM: Final = "system:"
ACCOUNTS_GROUP: Final = "system:serviceaccounts"
SYSTEM_GROUPS: Final = ("system:authenticated", "system:unauthenticated", ACCOUNTS_GROUP)
SYSTEM_SUBJECTS: Final = (
    *(f"Group {group}" for group in SYSTEM_GROUPS),
    f"Group {ACCOUNTS_GROUP}:NAMESPACE",
    "User system:anonymous",
    "User system:serviceaccount:NAMESPACE:NAME",
)


def check_template(new: RoleTemplate, old: RoleTemplate | None) -> Sequence[Violation]:
    found = [*_labels_kept(new.metadata, old and old.metadata)]
    if old is None or old.spec != new.spec:  # what is stored must keep taking labels and finalizers
        found += islice(_rules(new.spec.rules), TOLD_MAX)
    return found


def check_role(new: IAMRole, old: IAMRole | None) -> Sequence[Violation]:
    found = [*_labels_kept(new.metadata, old and old.metadata)]
    if old is None or old.spec.rules != new.spec.rules:
        found += islice(_rules(new.spec.rules), TOLD_MAX)
    return found


def check_binding(new: IAMRoleBinding, old: IAMRoleBinding | None) -> Sequence[Violation]:
    found = [*_labels_kept(new.metadata, old and old.metadata)]
    if old is not None and old.spec == new.spec:
        return found
    ref = new.spec.role_ref
    if ref.kind != "IAMRole":
        found.append(Violation("spec.roleRef.kind", ref.kind, "a binding gives an IAMRole", "IAMRole"))
    if ref.api_group not in ("", GROUP):
        found.append(Violation("spec.roleRef.apiGroup", ref.api_group, "IAMRole is in another group", GROUP))
    about_subjects = (one for n, who in enumerate(new.spec.subjects) for one in _subject(n, who))
    return [*found, *islice(about_subjects, TOLD_MAX)]


def _subject(n: int, subject: Subject) -> Iterator[Violation]:
    field = f"spec.subjects[{n}]"
    if subject.kind not in SUBJECT_KINDS:
        yield Violation(f"{field}.kind", subject.kind, "nobody is of this kind", SUBJECT_KINDS)
    if not subject.name:
        yield Violation(f"{field}.name", "", "it names nobody", "the name of a user or group")
    if subject.kind == "ServiceAccount" and not subject.namespace:
        why = "a service account is named together with its namespace"
        yield Violation(f"{field}.namespace", "", why, "the service account's namespace")
    if subject.name.startswith(SYSTEM) and not _acts_here(subject):
        why = "it is the cluster's own, and no right that is given here reaches it"
        yield Violation(f"{field}.name", subject.name, why, SYSTEM_SUBJECTS)


def _acts_here(subject: Subject) -> bool:
    """Whether the platform ever takes somebody for this `system:` subject."""
    if subject.kind == "Group":
        return subject.name in SYSTEM_GROUPS or subject.name.startswith(f"{ACCOUNTS_GROUP}:")
    return subject.kind == "User" and (
        subject.name == "system:anonymous" or subject.name.startswith("system:serviceaccount:")
    )


def _labels_kept(new: ObjectMeta, old: ObjectMeta | None) -> Iterator[Violation]:
    if old is None or new.deletion_timestamp:
        return
    for label in (*FIXED, SCOPE_UID_LABEL):
        before, now = old.labels.get(label, ""), new.labels.get(label, "")
        if before and now != before:
            yield Violation(
                f"metadata.labels[{label}]",
                now,
                "it says where the rights hold and stays as it was made; make another object instead",
                before,
            )


def _rules(rules: Sequence[PolicyRule]) -> Iterator[Violation]:
    for n, rule in enumerate(rules):
        field = f"spec.rules[{n}]"
        if not rule.verbs:
            why = "a rule without verbs allows nothing"
            yield Violation(f"{field}.verbs", [], why, "verbs such as get, list, watch, or *")
        if rule.resources and not rule.api_groups:
            why = "a rule about resources names their API groups"
            yield Violation(f"{field}.apiGroups", [], why, 'API groups; "" is the core group, * is every one')
        if not rule.resources and not rule.non_resource_urls:
            why = "the rule is about nothing"
            yield Violation(f"{field}.resources", [], why, "resources, or paths in nonResourceURLs")
        if "" in rule.resource_names:
            why = "no object has an empty name"
            yield Violation(
                f"{field}.resourceNames", list(rule.resource_names), why, "names, or no list at all"
            )
