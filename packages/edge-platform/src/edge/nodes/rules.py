"""Pure decisions about nodes: taints as text, who belongs to a group (N1, R35)."""

import re
from typing import Final, NamedTuple

from edge.nodes.types import PRIMARY_ANNOTATION, NodeGroup
from edge_kube.core import Node
from edge_sdk.scopes import (
    CLUSTER_LABEL,
    GRANTED_WORKSPACES_ANNOTATION,
    NODE_GROUP_LABEL,
    NODE_GROUP_MEMBER_PREFIX,
)
from edge_sdk.selectors import selects

EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NAME: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_PREFIX: Final = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
KEY: Final = re.compile(rf"({_PREFIX}/)?{_NAME}")
VALUE: Final = re.compile(rf"({_NAME})?")
TAINT: Final = re.compile(rf"(?P<key>({_PREFIX}/)?{_NAME})(=(?P<value>({_NAME})?))?:(?P<effect>\w+)")

EVERY_WORKSPACE: Final = "*"


class TaintText(NamedTuple):
    """A taint as the template writes it: key[=value]:Effect. A node has one of each (key, effect)."""

    key: str
    effect: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


class BadTaint(ValueError):
    """A text is no taint; the message says what is wrong with it."""


def parse_taint(text: str) -> TaintText:
    """Raises BadTaint."""
    match = TAINT.fullmatch(text)
    if match is None:
        raise BadTaint("a taint is key[=value]:Effect")
    if match["effect"] not in EFFECTS:
        raise BadTaint(f'"{match["effect"]}" is no effect; it is one of {", ".join(EFFECTS)}')
    return TaintText(match["key"], match["effect"], match["value"] or "")


def parse_taints(texts: tuple[str, ...]) -> tuple[TaintText, ...]:
    """Those of the texts that are taints; the webhook refuses others, older objects may still hold them."""
    found: list[TaintText] = []
    for text in texts:
        try:
            found.append(parse_taint(text.strip()))
        except BadTaint:
            continue
    return tuple(found)


def cluster_of(group: NodeGroup) -> str:
    """Name of the group's cluster; "" without the label."""
    return group.metadata.labels.get(CLUSTER_LABEL, "")


def labelled_group(node: Node) -> str:
    """The group that a person labelled the node with; "" when the label is ours or absent."""
    value = node.metadata.labels.get(NODE_GROUP_LABEL, "")
    return "" if node.metadata.annotations.get(PRIMARY_ANNOTATION) == value else value


def granted_to(group: NodeGroup) -> tuple[str, ...] | None:
    """Workspaces whose applications may use the group (I18); None: every one, as without the annotation."""
    text = group.metadata.annotations.get(GRANTED_WORKSPACES_ANNOTATION)
    if text is None or text.strip() == EVERY_WORKSPACE:
        return None
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def is_granted(group: NodeGroup, workspace: str) -> bool:
    """workspace: "" for a namespace outside of any: it uses only what is granted to all."""
    names = granted_to(group)
    return names is None or workspace in names


def is_member(group: NodeGroup, node: Node) -> bool:
    """A group being deleted has no members any more: its nodes are given back."""
    if group.metadata.deletion_timestamp:
        return False
    return labelled_group(node) == group.metadata.name or selects(group.spec.selector, node.metadata.labels)


def is_ready(node: Node) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)


def groups_on(node: Node) -> list[str]:
    """Groups that the node was put into, by its membership labels."""
    return [
        label.removeprefix(NODE_GROUP_MEMBER_PREFIX)
        for label in node.metadata.labels
        if label.startswith(NODE_GROUP_MEMBER_PREFIX)
    ]
