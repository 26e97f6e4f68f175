"""The columns of the kinds that the gateway knows by heart, and their rows, worked out once per version.

kind = known("scope.theriseunion.io", "clusters")     # None: a kind that is asked upstream
items = [kind.item(stored) for stored in collection if shown(stored)]
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from edge.apiserver.mirrors.kinds import SERVED
from edge.apiserver.mirrors.store import Stored
from edge.apiserver.rows.columns import RowColumn, columns_of
from edge.apiserver.rows.project import Item, clean, project
from edge_kube.crd import printer_columns
from edge_kube.meta import kind_of


@dataclass(frozen=True, slots=True)
class RowKind:
    """One kind and all its columns; `item` is the only way from an object to its row."""

    group: str
    resource: str
    columns: tuple[RowColumn, ...]
    namespaced: bool = False

    def item(self, stored: Stored) -> Item:
        """Kept with the object: a list of ten thousand rows decodes none of them twice."""
        if not stored.memo:
            stored.memo.append(self.fetched(msgspec.json.decode(stored.raw)))
        return stored.memo[0]

    def prepare(self, objects: Iterable[Stored]) -> Iterator[None]:
        """Works out rows that are not yet, a step for each: for `edge.iam.turns`."""
        for stored in objects:
            self.item(stored)
            yield

    def fetched(self, obj: dict[str, Any], cluster: str = "") -> Item:
        """The row of an object that came straight from an API server."""
        return project(clean(self.group, self.resource, obj), self.columns, cluster)


def _known() -> dict[tuple[str, str], RowKind]:
    found: dict[tuple[str, str], RowKind] = {}
    for cls in SERVED:
        kind = kind_of(cls)
        columns = columns_of(
            kind.group, kind.plural, namespaced=kind.namespaced, printed=printer_columns(cls)
        )
        found[kind.group, kind.plural] = RowKind(kind.group, kind.plural, columns, kind.namespaced)
    return found


_KINDS: Final[Mapping[tuple[str, str], RowKind]] = _known()


def known(group: str, resource: str) -> RowKind | None:
    return _KINDS.get((group, resource))
