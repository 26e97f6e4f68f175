"""Which row actions a caller is allowed, as letters; worked out from what is in memory, without any call.

    g get · u update · d delete, for every kind; and for some: e exec · l logs · f port-forward · s scale ·
    k kubeconfig · w set a password

Letters only say what to offer: the request itself is asked about again. Source: console §5.3.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from edge.apiserver.rights.picture import Rights
from edge.iam.ofscope import may


class RowAction(NamedTuple):
    """letter: as in rows. verb, subresource: the permission that the action needs."""

    letter: str
    action: str
    verb: str
    subresource: str = ""


COMMON: Final = (
    RowAction("g", "get", "get"),
    RowAction("u", "update", "update"),
    RowAction("d", "delete", "delete"),
)
_SCALE: Final = (RowAction("s", "scale", "update", "scale"),)
SPECIAL: Final[Mapping[tuple[str, str], tuple[RowAction, ...]]] = {
    ("", "pods"): (
        RowAction("e", "exec", "create", "exec"),
        RowAction("l", "logs", "get", "log"),
        RowAction("f", "port-forward", "create", "portforward"),
    ),
    ("apps", "deployments"): _SCALE,
    ("apps", "statefulsets"): _SCALE,
    ("apps", "replicasets"): _SCALE,
    ("scope.theriseunion.io", "clusters"): (RowAction("k", "kubeconfig", "get", "kubeconfig"),),
    ("iam.theriseunion.io", "users"): (RowAction("w", "set-password", "update", "password"),),
}


def actions_of(group: str, resource: str) -> tuple[RowAction, ...]:
    return (*COMMON, *SPECIAL.get((group, resource), ()))


class Letters:
    """The letters of one caller for the objects of one kind."""

    def __init__(self, rights: Rights, user: str, group: str, resource: str) -> None:
        self._rights = rights
        self._user = user
        self._group = group
        self._asked = [
            (one.letter, one.verb, f"{resource}/{one.subresource}" if one.subresource else resource)
            for one in actions_of(group, resource)
        ]

    def of(self, scopes: tuple[str, ...], name: str) -> str:
        """scopes: keys at which a right reaches the object; the narrowest, and one that a pattern names."""
        if self._rights.allow_all:
            return "".join(letter for letter, _, _ in self._asked)
        index = self._rights.index
        return "".join(
            letter
            for letter, verb, resource in self._asked
            if any(may(index, self._user, scope, verb, self._group, resource, name) for scope in scopes)
        )
