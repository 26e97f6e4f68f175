"""Whether a binding counts, and for which object of its scope's name. Pure.

A binding is for the object that is there when it is made, whose uid admission writes to it; or, made before
any, for the first one that comes: then the controller does. Another object of that name is another scope, and
old rights do not come back to life with it (S7). Source: I1, I2; design §2; decision 021.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from edge.iam.facts import SCOPE_UID_LABEL, Label, binding_facts, is_known_type, label_of, role_facts
from edge.iam.graph import Place, is_meant
from edge.iam.index import Binding, Index
from edge.iam.plan import ACCEPTED, condition_of
from edge.iam.scope import HOST, LETTERS, kind_of_scope
from edge.iam.types import IAMRole, IAMRoleBinding, IAMRoleBindingStatus
from edge_kube.meta import Condition, Model
from edge_kube.runtime import condition
from edge_sdk.room import PatchOp
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

SCOPE_UNKNOWN: Final = "ScopeUnknown"
SCOPE_NOT_FOUND: Final = "ScopeNotFound"
TAKEN_TO_BE_THERE: Final = Place()
"""A scope without an object, or one in a member cluster, which may only be out of reach."""


class BindingPlan(Model):
    """pin: uid of the object that the binding is for from now on, to be written to it; "": nothing is."""

    pin: str
    status: IAMRoleBindingStatus


def plan_binding(
    binding: IAMRoleBinding,
    role: IAMRole | None,
    registered: Iterable[str],
    scope: Place | None = TAKEN_TO_BE_THERE,
    home: str = HOST,
) -> BindingPlan:
    """registered: scope types of ScopePatterns that are in force. scope: its object, None: there is none.

    home: the cluster that the object is in. The author of a binding that waited was judged in the cluster
    that it names, or in the host: in another one it gives nothing.
    """
    label = label_of(binding.metadata)
    pin = ""
    found = _without_a_type(binding, label, set(registered))
    if found is None and scope is None:
        found = _absent(binding, label)
    if found is None and scope is not None and not _is_for(binding, scope):
        waited = _reason(binding) == SCOPE_NOT_FOUND and SCOPE_UID_LABEL not in binding.metadata.labels
        pin = scope.uid if waited and home == (label.cluster or HOST) else ""
        found = None if pin else _replaced(binding, label)
    accepted = found or _given(binding, label, role)
    return BindingPlan(pin=pin, status=IAMRoleBindingStatus(conditions=(accepted,)))


def uid_noted(index: Index, new: IAMRoleBinding, old: IAMRoleBinding | None) -> Sequence[PatchOp]:
    """The uid of the scope's object, for a binding that does not say it; once there, it stays."""
    if SCOPE_UID_LABEL in new.metadata.labels:
        return ()
    uid = ""
    if old is not None:
        uid = old.metadata.labels.get(SCOPE_UID_LABEL, "")
    elif (facts := _facts(index, new)) is not None:
        place = index.scopes.place(facts.scope)
        uid = place.uid if place is not None else ""
    path = f"/metadata/labels/{SCOPE_UID_LABEL.replace('/', '~1')}"
    return ({"op": "add", "path": path, "value": uid},) if uid else ()


def _facts(index: Index, binding: IAMRoleBinding) -> Binding | None:
    label = label_of(binding.metadata)
    return binding_facts(binding, index.scopes.homes.get((label.kind, label.value), HOST))


def _without_a_type(binding: IAMRoleBinding, label: Label, registered: Collection[str]) -> Condition | None:
    key = label.key()
    types = ", ".join((*LETTERS, *sorted(registered)))
    if key is None:
        return _nothing(
            binding, SCOPE_UNKNOWN,
            f"its labels {IAM_SCOPE_LABEL}={label.kind or '(none)'} and "
            f"{IAM_SCOPE_VALUE_LABEL}={label.value or '(none)'} name no scope. For the platform use "
            "platform and global; else a scope type and the name of its object.",
        )  # fmt: skip
    if not (is_known_type(label.kind) or label.kind in registered):
        return _nothing(
            binding, SCOPE_UNKNOWN,
            f"there is no scope type {label.kind} (label {IAM_SCOPE_LABEL}). It counts once a ScopePattern "
            f"registers it. There are {types}.",
        )  # fmt: skip
    return None


def _absent(binding: IAMRoleBinding, label: Label) -> Condition:
    never_counted = _reason(binding) in ("", SCOPE_NOT_FOUND, SCOPE_UNKNOWN)
    if never_counted and SCOPE_UID_LABEL not in binding.metadata.labels:
        why = f"there is no {_shown(label)} yet. It counts once that is made."
        return _nothing(binding, SCOPE_NOT_FOUND, why)
    why = f"its {_shown(label)} is gone, and a new one of that name is another. Delete the binding."
    return _nothing(binding, "ScopeGone", why)


def _replaced(binding: IAMRoleBinding, label: Label) -> Condition:
    return _nothing(
        binding, "ScopeReplaced",
        f"it was made for another {_shown(label)} than there is today. Delete it; if the right is still "
        "wanted, make it anew.",
    )  # fmt: skip


def _given(binding: IAMRoleBinding, label: Label, role: IAMRole | None) -> Condition:
    """What it comes to at a scope that is there."""
    name, key = binding.spec.role_ref.name, label.key() or ""
    if role is None:
        return _nothing(binding, "RoleMissing", f"there is no IAMRole {name}. Make it, or bind another one.")
    facts = role_facts(role)
    if facts is None or facts.scope != kind_of_scope(key) or facts.anchor not in ("", key):
        theirs = label_of(role.metadata)
        return _nothing(
            binding, "ScopeMismatch",
            f"the role {name} is for {theirs.kind or 'no scope'} {theirs.value or '(any)'}, the binding for "
            f"{_shown(label)}. Bind a role of that scope, or change the labels of the role.",
        )  # fmt: skip
    if not binding.spec.subjects:
        return _accepted(binding, True, "NoSubjects", "Nobody is bound: spec.subjects is empty.")
    return _accepted(binding, True, "InForce", "")


def _is_for(binding: IAMRoleBinding, scope: Place) -> bool:
    facts = binding_facts(binding)
    return facts is None or is_meant(scope, facts.uid, facts.born)


def _reason(binding: IAMRoleBinding) -> str:
    """What its status has said so far; "" for one that nobody has looked at."""
    said = condition(binding.status.conditions, ACCEPTED)
    return said.reason if said is not None else ""


def _shown(label: Label) -> str:
    inside = f" in cluster {label.cluster}" if label.cluster else ""
    return f"{label.kind} {label.value}{inside}"


def _nothing(binding: IAMRoleBinding, reason: str, why: str) -> Condition:
    return _accepted(binding, False, reason, f"The binding gives nothing: {why}")


def _accepted(binding: IAMRoleBinding, holds: bool, reason: str, message: str) -> Condition:
    return condition_of(ACCEPTED, holds, reason, message, binding.metadata.generation)
