"""What a call for rows asks: read from path and query, bound to the kind's columns once they are known.

GET …/rows/{group|core}/{version}/{resource}?cluster=&namespace=&scope=&columns=&labelSelector=&fieldSelector=
&q=&sort=&limit=&offset=&facets=&cursor=. Raises Problem (400) that names the parameter. Source: console §5.3.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge.apiserver.paths import Resource, Target, full_group
from edge.apiserver.rows.columns import RowColumn, choose
from edge.apiserver.rows.parameters import bad_parameter, number
from edge.apiserver.rows.selectors import read_fields, read_labels
from edge.apiserver.rows.window import WindowQuery, read_facets, read_order, read_search
from edge.iam.index import Index
from edge.iam.questions import scope_of
from edge.iam.scope import HOST, PLATFORM
from edge_sdk.problem import Missing, Problem

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 500
OFFSET_MAX: Final = 1_000_000
EVERY: Final = "*"
_WORD: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_OF_PAGE: Final = frozenset({"cursor", "limit"})


@dataclass(frozen=True, slots=True)
class Asked:
    """cluster: "" the host, "*" all of them. within: keys of the scopes asked about, None without `scope`."""

    resource: Resource
    cluster: str
    within: frozenset[str] | None
    target: Target

    @property
    def question(self) -> str:
        """What a cursor is good for: the same list, whichever page of it."""
        pairs = sorted(pair for pair in self.target.query if pair[0] not in _OF_PAGE)
        about = self.resource
        return repr((about.group, about.version, about.resource, about.namespace, self.cluster, pairs))

    @property
    def is_plain(self) -> bool:
        """Whether an API server can answer it page by page: nothing is sorted, searched or counted."""
        return self.within is None and not any(
            self.target.first(one) for one in ("sort", "q", "facets", "offset")
        )

    @property
    def limit(self) -> int:
        return number(self.target, "limit", LIMIT_MAX, least=1, default=LIMIT_DEFAULT)

    def check(self) -> None:
        """What can be known to be wrong before the columns are. Raises Problem (400)."""
        read_labels(self.target.first("labelSelector"))
        number(self.target, "offset", OFFSET_MAX)
        _ = self.limit

    def window(self, columns: Sequence[RowColumn], *, fields: bool = True) -> WindowQuery:
        """fields: False when the API server has selected by them already."""
        target = self.target
        return WindowQuery(
            namespace=self.resource.namespace,
            labels=read_labels(target.first("labelSelector")),
            fields=read_fields(target.first("fieldSelector"), columns) if fields else (),
            q=read_search(target.first("q")),
            order=read_order(target.first("sort"), columns),
            offset=number(target, "offset", OFFSET_MAX),
            limit=self.limit,
            facets=read_facets(target.first("facets"), columns),
        )

    def chosen(self, columns: Sequence[RowColumn]) -> tuple[RowColumn, ...]:
        return choose(columns, self.target.first("columns"))


def read_asked(index: Index, path: Resource, target: Target) -> Asked:
    """path: of the rows route: rows/GROUP/VERSION/RESOURCE."""
    resource = _resource(path, target.first("namespace"))
    cluster = target.first("cluster")
    if cluster and cluster != EVERY and not _WORD.fullmatch(cluster):
        raise bad_scope("cluster", cluster, "no cluster is called that", 'a cluster\'s name, "host", or *')
    cluster = "" if cluster == HOST else cluster
    scope = target.first("scope")
    within: frozenset[str] | None = None
    if scope:
        key = scope_of(index, scope)
        within = None if key == PLATFORM else frozenset(index.scopes.below(key))
        cluster = cluster or _cluster_of(key)
    return Asked(resource, cluster, within, target)


def _resource(path: Resource, namespace: str) -> Resource:
    resource = path.rest[0]
    if not all(map(_WORD.fullmatch, (path.name, path.subresource, resource))):
        raise Missing(
            "no-such-path",
            what="The path names no kind",
            do="use rows/GROUP/VERSION/RESOURCE, such as rows/core/v1/pods",
        )
    check_namespace(namespace)
    return full_group(Resource(path.name, path.subresource, resource, namespace))


def check_kind(group: str, version: str, resource: str) -> None:
    """These become parts of a path that the gateway asks in its own name. Raises Missing."""
    if not all(map(_WORD.fullmatch, (group or "core", version, resource))):
        raise Missing(
            "unknown-resource",
            what="There is no such kind",
            why="its group, version or resource is no name",
            do="see /apis and /api/v1 for what there is",
        )


def check_namespace(namespace: str) -> None:
    """Raises Problem (400)."""
    if namespace and not _WORD.fullmatch(namespace):
        raise bad_scope("namespace", namespace, "no namespace is called that", "a namespace's name")


def _cluster_of(key: str) -> str:
    """The cluster that a scope is in, as the parameter names it."""
    parts = key.split("/")
    name = parts[2] if parts[0] == "x" else parts[1]
    return "" if name == HOST else name


def bad_scope(parameter: str, value: str, why: str, accepted: str) -> Problem:
    return bad_parameter(parameter, value, why, accepted, code="bad-scope")
