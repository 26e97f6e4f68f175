"""Roles and bindings of one scope: templates of that scope call them its `roles` and `members`. Pure.

Who holds `members` at a workspace looks after the bindings that are for this workspace, and after no others;
a node group's and a cluster's are named with their parent. Source: spec/upstream-contract §4.2, §4.12.
"""

from collections.abc import Mapping
from typing import Final

from edge.iam.index import Index, Who
from edge_sdk.scopes import IAM_GROUP

PARENTS: Final[Mapping[str, str]] = {
    "w": "workspaces",
    "g": "nodegroups",
    "n": "namespaces",
    "c": "clusters",
}
"""Letter of a scope's key → the plural of its objects."""
_CALLED: Final = {"iamrolebindings": "members", "iamroles": "roles"}


def names_by_letter(group: str, resource: str) -> Mapping[str, str]:
    """Letter of a scope → the other name of such objects there; nothing for all but roles and bindings."""
    called = _CALLED.get(resource) if group == IAM_GROUP else None
    return {letter: f"{plural}/{called}" for letter, plural in PARENTS.items()} if called else {}


def also_called(scope: str, group: str, resource: str) -> str:
    """workspaces/members for the bindings of a workspace; "" for what has one name."""
    return names_by_letter(group, resource).get(scope[0], "")


def may(index: Index, who: Who, scope: str, verb: str, group: str, resource: str, name: str = "") -> bool:
    """`Index.check` for an object that is for the scope, by either name."""
    if index.check(who, scope, verb, group, resource, name):
        return True
    other = also_called(scope, group, resource)
    return bool(other) and index.check(who, scope, verb, group, other, name)
