"""Which scope holds an object that the gateway knows by heart. Pure.

The answer is the key of the narrowest scope: a right to read at that scope, or at one above it, shows the
object. Source: I1, I15; design §2, §8.3.
"""

from collections.abc import Callable, Mapping
from typing import Final

from edge.iam.facts import MOVABLE, label_of_labels
from edge.iam.scope import HOST, LETTERS, PLATFORM
from edge_kube.meta import Key
from edge_sdk.scopes import CLUSTER_LABEL, IAM_GROUP, SCOPE_GROUP, WORKSPACE_LABEL

Homes = Mapping[tuple[str, str], str]
"""(workspace or nodegroup, name) → the cluster it is in."""
Place = Callable[[Key, Mapping[str, str]], str]
"""From an object's key and labels to the key of its scope."""

_SCOPES: Final[Mapping[tuple[str, str], str]] = {
    ("scope.theriseunion.io", "clusters"): "cluster",
    ("scope.theriseunion.io", "workspaces"): "workspace",
    ("scope.theriseunion.io", "nodegroups"): "nodegroup",
    ("", "namespaces"): "namespace",
    ("", "nodes"): "node",
}
_LABELLED: Final = frozenset({(IAM_GROUP, "iamroles"), (IAM_GROUP, "iamrolebindings")})


def place_of(group: str, resource: str, homes: Homes) -> Place:
    """How the objects of one kind of the host are placed."""
    kind = _SCOPES.get((group, resource))
    if kind == "cluster":
        return lambda key, _: f"c/{key.name}"
    if kind in MOVABLE:
        letter = LETTERS[kind]
        return lambda key, labels: f"{letter}/{labels.get(CLUSTER_LABEL) or HOST}/{key.name}"
    if kind is not None:
        letter = LETTERS[kind]
        return lambda key, _: f"{letter}/{HOST}/{key.name}"
    if (group, resource) in _LABELLED:
        return lambda _, labels: _labelled(labels, homes)
    return lambda key, _: f"n/{HOST}/{key.namespace}" if key.namespace else PLATFORM


def place_of_new(group: str, resource: str, labels: Mapping[str, str], homes: Homes) -> str | None:
    """The scope that an object will be in which is not there yet: of whoever may make some in that scope.

    None for kinds that are the platform's or the whole cluster's to make, whatever is written on them.
    """
    if (group, resource) in _LABELLED:
        return _labelled(labels, homes)
    if (group, resource) == (SCOPE_GROUP, "nodegroups"):
        return f"c/{labels.get(CLUSTER_LABEL) or HOST}"
    workspace = labels.get(WORKSPACE_LABEL, "") if (group, resource) == ("", "namespaces") else ""
    return f"w/{HOST}/{workspace}" if workspace else None


def _labelled(labels: Mapping[str, str], homes: Homes) -> str:
    """Where a role or binding holds. One that holds nowhere, or anywhere, is the platform's."""
    label = label_of_labels(labels)
    return label.key(homes.get((label.kind, label.value), HOST)) or PLATFORM
