"""What people call a scope: the display name of its object (R36)."""

from collections.abc import Mapping
from typing import Final

from edge.apiserver.mirrors.store import Collection
from edge.iam.scope import HOST, cluster_of_scope, kind_of_scope, name_of_scope
from edge_kube.meta import Key
from edge_sdk.scopes import SCOPE_GROUP

_OBJECTS: Final = {
    "cluster": (SCOPE_GROUP, "clusters"),
    "workspace": (SCOPE_GROUP, "workspaces"),
    "nodegroup": (SCOPE_GROUP, "nodegroups"),
    "namespace": ("", "namespaces"),
    "node": ("", "nodes"),
}


class ScopeTitles:
    def __init__(self, collections: Mapping[tuple[str, str], Collection]) -> None:
        self._collections = collections

    def __call__(self, key: str) -> str:
        """key: of a scope. "" for one that has no display name, or whose object is in a member cluster."""
        kind = kind_of_scope(key)
        collection = self._collections.get(_OBJECTS.get(kind, ("", "")))
        if collection is None or (kind in ("namespace", "node") and cluster_of_scope(key) != HOST):
            return ""
        found = collection.get(Key("", name_of_scope(key)))
        return found.display_name if found is not None else ""
