"""Node groups granted to workspaces (I18), reviewed as bindings are: dangling, unused, too wide (I19)."""

from collections.abc import Generator, Iterator, Mapping
from typing import Final

from edge.apiserver.mirrors.store import Collection
from edge.apps.types import ApplicationDeployment
from edge.iam.facts import home_of
from edge.iam.index import Index, Who
from edge.iam.review import Finding
from edge.iam.scope import HOST, name_of_scope, scope_text
from edge.nodes.rules import granted_to
from edge.nodes.types import NodeGroup
from edge_kube.wire import ObjectDecoder, UndecodableError
from edge_sdk.scopes import APP_GROUP, GRANTED_WORKSPACES_ANNOTATION, SCOPE_GROUP

_GROUPS: Final = ObjectDecoder(NodeGroup)
_DEPLOYMENTS: Final = ObjectDecoder(ApplicationDeployment)


class GroupGrants:
    def __init__(self, index: Index, collections: Mapping[tuple[str, str], Collection]) -> None:
        self._index = index
        self._groups = collections[SCOPE_GROUP, "nodegroups"]
        self._deployments = collections[APP_GROUP, "applicationdeployments"]

    def findings(self, who: Who) -> Iterator[Finding | None]:
        """About the groups that the asker may read, in short steps; None: nothing was found."""
        used: set[tuple[str, str]] | None = None
        for stored in tuple(self._groups.ordered()):
            yield None
            try:
                group = _GROUPS.decode(stored.raw)
            except UndecodableError:
                continue
            name, scope = group.metadata.name, f"g/{home_of(group.metadata)}/{group.metadata.name}"
            if not self._index.check(who, scope, "get", SCOPE_GROUP, "nodegroups", name):
                continue
            if (granted := granted_to(group)) is None:
                why = "the applications of every workspace may use its nodes"
                do = f"kubectl annotate nodegroup {name} {GRANTED_WORKSPACES_ANNOTATION}=WORKSPACE,…"
                yield _finding("tooWide", scope, "", why, do)
                continue
            if used is None:
                used = yield from self._used()
            for workspace in granted:
                yield self._of(scope, workspace, (name, workspace) in used)

    def _of(self, scope: str, workspace: str, is_used: bool) -> Finding | None:
        do = f"take {workspace} out of annotation {GRANTED_WORKSPACES_ANNOTATION} of the group"
        if ("workspace", workspace) not in self._index.scopes.homes:
            return _finding("dangling", scope, workspace, f"the workspace {workspace} does not exist", do)
        why = f"no application deployment of the workspace {workspace} names the group"
        return None if is_used else _finding("unused", scope, workspace, why, do)

    def _used(self) -> Generator[None, None, set[tuple[str, str]]]:
        """Returns the pairs of group and workspace that some deployment brings together."""
        found: set[tuple[str, str]] = set()
        for stored in tuple(self._deployments.ordered()):
            yield None
            place = self._index.scopes.place(f"n/{HOST}/{stored.key.namespace}")
            if place is None or not place.wants:
                continue
            try:
                topologies = _DEPLOYMENTS.decode(stored.raw).spec.topologies
            except UndecodableError:
                continue
            workspace = name_of_scope(place.wants[0])
            found |= {(one.node_group, workspace) for one in topologies if one.node_group}
        return found


def _finding(kind: str, scope: str, workspace: str, reason: str, remedy: str) -> Finding:
    subject = f"Workspace {workspace}" if workspace else ""
    return Finding(kind, "", "", scope_text(scope), subject, reason, remedy)
