"""What of the platform's objects an overview counts for one caller (I5, I15)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge.apiserver.lists.kinds import RowKind, known
from edge.apiserver.mirrors.store import Collection, Stored
from edge.apiserver.overview.board import LETTERS, Part, TroubleRef
from edge.apiserver.rights.sight import Eyes, Sight
from edge.iam.scope import scope_text
from edge_kube.meta import Key
from edge_sdk.problem import Forbidden
from edge_sdk.scopes import APP_GROUP, EXT_GROUP, SCOPE_GROUP, is_host

SECTIONS: Final[Mapping[tuple[str, str], str]] = {
    (SCOPE_GROUP, "clusters"): "clusters",
    ("", "nodes"): "nodes",
    (APP_GROUP, "applicationdeployments"): "deployments",
    (EXT_GROUP, "components"): "components",
}
"""group, resource → where it is counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """One kind as the caller sees it. status, nodes: where these cells are in its rows."""

    collection: Collection
    kind: RowKind
    sight: Sight
    within: Callable[[Stored], bool] | None
    status: int
    nodes: int | None

    def part(self, key: Key) -> Part | None:
        stored = self.collection.get(key)
        if stored is None or not self.sight.sees(stored):
            return None
        if self.within is not None and not self.within(stored):
            return None
        served, item = self.collection.served, self.kind.item(stored)
        state, reason, message, since, next_ = item.cells[self.status]
        return Part(
            ref=TroubleRef(
                served.group, served.version, served.resource, item.name, item.namespace, item.uid
            ),
            state=state if state in LETTERS else "Unknown",
            reason=reason,
            message=message,
            since=since,
            next=next_,
            nodes=None if self.nodes is None else item.cells[self.nodes],
            is_host=self.nodes is not None and is_host(item.name, item.labels),
        )


class OverviewFeed:
    """sections: by name, those that the caller may list anything of. key: equal for equal overviews."""

    def __init__(
        self,
        eyes: Eyes,
        user: str,
        collections: Mapping[tuple[str, str], Collection],
        scope: str,
        verbs: Sequence[str] = ("list",),
    ) -> None:
        """Raises Forbidden for who may see none of the kinds, Problem (400) for no scope, Unavailable."""
        self.scope = scope_text(eyes.scope(scope or "platform"))
        self.is_bounded = self.scope != "platform"
        self.sections: dict[str, Section] = {}
        for about, name in SECTIONS.items():
            collection, kind = collections[about], known(*about)
            sight = eyes.of(user, verbs, collection.served)
            if sight is None or kind is None:
                continue
            at = {column.id: place for place, column in enumerate(kind.columns)}
            within = eyes.within(scope, collection.served)
            nodes = at["nodes"] if name == "clusters" else None
            self.sections[name] = Section(collection, kind, sight, within, at["status"], nodes)
        if not self.sections:
            raise Forbidden(
                "forbidden",
                what=f'User "{user}" cannot list anything that an overview counts',
                why="no role that is bound to you gives that",
                do="ask whoever administers the scope for a role that may list clusters or applications",
            )
        self.key = (self.scope, *((name, one.sight.key) for name, one in self.sections.items()))
