"""Admission of NodeGroups: templates a node would refuse, and groups that select themselves."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from edge.iam.escalation import Lack, moved_lacks, node_lacks, selection_lacks, waiting_lacks
from edge.iam.index import Index, Who
from edge.nodes.rules import EFFECTS, KEY, VALUE, BadTaint, granted_to, parse_taint
from edge.nodes.types import APPLIED_TAINTS_ANNOTATION, PRIMARY_ANNOTATION, NodeGroup
from edge_kube.core import Node
from edge_kube.meta import LabelSelector
from edge_sdk.cel import changes, changes_keys
from edge_sdk.problem import Violation
from edge_sdk.scopes import GRANTED_WORKSPACES_ANNOTATION, NODE_GROUP_LABEL, NODE_GROUP_MEMBER_PREFIX
from edge_sdk.selectors import OPERATORS, selects

RESERVED: Final = (
    NODE_GROUP_LABEL,
    PRIMARY_ANNOTATION,
    APPLIED_TAINTS_ANNOTATION,
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
)
MOVES_NODE: Final = {
    "group-changes": f"oldObject != null && ({changes('labels', NODE_GROUP_LABEL)} || "
    f"{changes_keys(NODE_GROUP_MEMBER_PREFIX)})",
    "not-the-node-itself": "!('system:nodes' in request.userInfo.groups)",
}
"""Nodes are everybody's and change all the time: only their groups are ours to ask about. Whoever runs a node
registers it, with the labels that it was started with."""
WORKSPACE_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
KEY_RULE: Final = "[prefix/]name of letters, digits, '-', '_', '.'; name at most 63 characters"


def check_node_group(new: NodeGroup, old: NodeGroup | None) -> list[Violation]:
    """Every violation names field, value, reason and what is accepted.

    An unchanged spec is never judged anew: an older object must keep taking labels and finalizers.
    """
    granted = list(_granted(new, old))
    if old is not None and old.spec == new.spec:
        return granted
    return [
        *granted,
        *check_selector(new.spec.selector, "spec.selector"),
        *_map(new.spec.template.labels, "spec.template.labels", values=True),
        *_map(new.spec.template.annotations, "spec.template.annotations", values=False),
        *_taints(new.spec.template.taints),
        *_loop(new),
    ]


def _granted(new: NodeGroup, old: NodeGroup | None) -> Iterator[Violation]:
    """The annotation of grants, when it is new. Workspaces that are not there yet are told by a condition."""
    text = new.metadata.annotations.get(GRANTED_WORKSPACES_ANNOTATION, "")
    if old is not None and old.metadata.annotations.get(GRANTED_WORKSPACES_ANNOTATION, "") == text:
        return
    for name in granted_to(new) or ():
        if not WORKSPACE_NAME.fullmatch(name):
            field = f"metadata.annotations[{GRANTED_WORKSPACES_ANNOTATION}]"
            accepted = 'names of workspaces, as in "dev-team,qa", or "*" alone for all'
            yield Violation(field, name, "is no name of a workspace", accepted)


def node_group_author_lacks(index: Index, who: Who, new: NodeGroup, old: NodeGroup | None) -> Iterator[Lack]:
    """Rights at a group reach the nodes that it selects, in the cluster that it is in."""
    yield from moved_lacks(index, who, "nodegroup", new.metadata, old and old.metadata)
    if old is None:
        yield from waiting_lacks(index, who, "nodegroup", new.metadata)
    before = LabelSelector() if old is None else old.spec.selector
    if new.spec.selector != before:
        yield from selection_lacks(index, who, new.metadata)


def node_author_lacks(index: Index, who: Who, new: Node, old: Node | None) -> Iterator[Lack]:
    """Rights at a group reach the nodes that are labelled for it."""
    if old is not None:
        yield from node_lacks(index, who, new.metadata, old.metadata)


def check_selector(selector: LabelSelector, path: str) -> list[Violation]:
    found = _map(selector.match_labels, f"{path}.matchLabels", values=True, reserved=())
    for index, requirement in enumerate(selector.match_expressions):
        where = f"{path}.matchExpressions[{index}]"
        if requirement.operator not in OPERATORS:
            found.append(Violation(f"{where}.operator", requirement.operator, "no operator", OPERATORS))
        elif requirement.operator in ("In", "NotIn") and not requirement.values:
            found.append(Violation(f"{where}.values", (), f"{requirement.operator} needs values", "a list"))
        elif requirement.operator in ("Exists", "DoesNotExist") and requirement.values:
            why = f"{requirement.operator} takes no values"
            found.append(Violation(f"{where}.values", list(requirement.values), why, "no values"))
        if not KEY.fullmatch(requirement.key):
            found.append(Violation(f"{where}.key", requirement.key, "no label key", KEY_RULE))
    return found


def _map(
    entries: Mapping[str, str], path: str, *, values: bool, reserved: Sequence[str] = RESERVED
) -> list[Violation]:
    found: list[Violation] = []
    for key, value in entries.items():
        where = f"{path}[{key}]"
        if not KEY.fullmatch(key):
            found.append(Violation(where, key, "is no key", KEY_RULE))
        elif key in reserved or (reserved and key.startswith(NODE_GROUP_MEMBER_PREFIX)):
            found.append(Violation(where, key, "is kept by the platform or the node itself", "another key"))
        if values and not VALUE.fullmatch(value):
            rule = "letters, digits, '-', '_', '.', at most 63 characters"
            found.append(Violation(where, value, "is no label value", rule))
    return found


def _taints(taints: Sequence[str]) -> list[Violation]:
    found: list[Violation] = []
    seen: set[tuple[str, str]] = set()
    for index, text in enumerate(taints):
        where = f"spec.template.taints[{index}]"
        try:
            taint = parse_taint(text)
        except BadTaint as error:
            accepted = [f"key[=value]:{effect}" for effect in EFFECTS]
            found.append(Violation(where, text, str(error), accepted))
            continue
        if (taint.key, taint.effect) in seen:
            why = "a node has one taint of each key and effect"
            found.append(Violation(where, text, why, "one of them"))
        seen.add((taint.key, taint.effect))
    return found


def _loop(group: NodeGroup) -> list[Violation]:
    """A selector that its own template satisfies never lets a node go again."""
    selector, labels = group.spec.selector, group.spec.template.labels
    own = LabelSelector(
        match_labels={key: value for key, value in selector.match_labels.items() if key in labels},
        match_expressions=tuple(one for one in selector.match_expressions if one.key in labels),
    )
    if not selects(own, labels):
        return []
    keys = sorted({*own.match_labels, *(one.key for one in own.match_expressions)})
    why = "the template sets what the selector looks for, so that no node could ever leave the group"
    return [Violation("spec.selector", ", ".join(keys), why, "keys that spec.template.labels does not set")]
