"""Rows of kinds that no cache holds: asked upstream in the caller's name, at one cluster or at many.

One cluster is read page by page where that answers the question, and up to a bound where rows are sorted,
searched or counted. Many clusters are asked at the same time with a short budget each: one that is late or
dead is named in `stale` and holds nothing up. Source: console §5.3; design §8.3; P4.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import aiohttp

from edge.apiserver.answers import camel
from edge.apiserver.callers.identity import Session
from edge.apiserver.headers import in_the_name_of
from edge.apiserver.lists.asked import Asked
from edge.apiserver.lists.cached import CachedRows, not_namespaced
from edge.apiserver.lists.kinds import RowKind, known
from edge.apiserver.lists.reach import NAMESPACES_MAX, TOO_MANY, Reach, forbidden, reach_of
from edge.apiserver.lists.shape import positions, row
from edge.apiserver.lists.tables import items_of, kind_of_fetched, needs_table
from edge.apiserver.lists.upstream import Asking, Fetched, Lists
from edge.apiserver.paths import OWN_SUFFIX, Resource
from edge.apiserver.rights.actions import Letters
from edge.apiserver.rights.picture import Rights
from edge.apiserver.rows.cursors import Cursors
from edge.apiserver.rows.project import Item
from edge.apiserver.rows.window import Window, pick
from edge.apiserver.upstreams.breaker import Unreachable
from edge.iam.scope import HOST, PLATFORM
from edge_sdk.clock import Clock
from edge_sdk.problem import Forbidden, Missing, Problem

CLUSTER_BUDGET_S: Final = 2.0
ALL_CLUSTERS_S: Final = 6.0
CLUSTERS_AT_ONCE: Final = 64
OBJECTS_IN_ALL: Final = 20_000
OBJECTS_LEAST: Final = 50


class Stale(NamedTuple):
    """A cluster whose rows are missing. since: epoch seconds at which it was first found so."""

    cluster: str
    since: int
    code: str


class Answered(NamedTuple):
    """What one cluster of many answered."""

    reach: Reach
    fetched: Fetched
    namespaced: bool


@dataclass(slots=True)
class Gathered:
    """What came, cluster by cluster."""

    fetched: dict[str, tuple[Reach, Fetched]] = field(default_factory=dict[str, tuple[Reach, Fetched]])
    stale: list[Stale] = field(default_factory=list[Stale])
    here: list[Item] | None = None
    """Rows of the host from memory; None when it was asked like the others, or nothing may be seen there."""
    namespaced: bool = False
    cursor: str = ""
    before: int = 0
    """Rows on the pages before this one."""
    as_it_came: bool = False
    """Whether it is one page in the order of the API server."""


class LiveRows:
    def __init__(self, rights: Rights, lists: Lists, cursors: Cursors, clock: Clock) -> None:
        self._rights = rights
        self._lists = lists
        self._cursors = cursors
        self._clock = clock
        self._stale_since: dict[str, int] = {}

    async def answer(
        self,
        session: Session,
        asked: Asked,
        clusters: Sequence[str] | None,
        host: CachedRows | None = None,
    ) -> dict[str, Any]:
        """A RowList. clusters: names of those to ask, None for the one that `asked` names.

        host: the host's rows, where they are known by heart; then they are not among the clusters.

        Raises Forbidden, Missing, Problem (400), Expired, Unavailable, Unreachable.
        """
        if clusters is None:
            gathered = await self._one(session, asked)
        else:
            gathered = await self._many(session, asked, clusters, host)
        first = next(iter(gathered.fetched.values()), None)
        fetched = first[1] if first is not None else Fetched()
        kind = kind_of_fetched(asked.resource, fetched, namespaced=gathered.namespaced)
        return self._rows(session, asked, gathered, kind)

    async def kind(self, session: Session, asked: Asked) -> RowKind:
        """The kind with its columns. Raises as `answer`."""
        reach, namespaced = await self._reach(session, asked, asked.cluster)
        about = _inside(asked.resource, reach)
        fetched = Fetched()
        if needs_table(asked.resource):
            asking = Asking(self._identity(session), table=True)
            fetched = await self._lists.page(about, reach.cluster, asking, limit=1)
        return kind_of_fetched(asked.resource, fetched, namespaced=namespaced)

    async def _reach(self, session: Session, asked: Asked, cluster: str) -> tuple[Reach, bool]:
        """Rights come first: who has none learns nothing about the cluster, not even that it is there."""
        caller, resource = session.caller, asked.resource
        reach = reach_of(
            self._rights, caller, resource, cluster, namespaced=True, within=asked.within, target=asked.target
        )
        if reach is None:
            raise forbidden(self._rights, caller, resource, cluster)
        namespaced = await self._lists.is_namespaced(resource, cluster, self._identity(session))
        if namespaced:
            return reach, True
        if resource.namespace:
            raise not_namespaced(resource.namespace)
        whole = reach_of(self._rights, caller, resource, cluster, namespaced=False, target=asked.target)
        if whole is None:
            raise forbidden(self._rights, caller, resource, cluster)
        return whole, False

    async def _one(self, session: Session, asked: Asked) -> Gathered:
        reach, namespaced = await self._reach(session, asked, asked.cluster)
        out = Gathered(namespaced=namespaced)
        asking = self._asking(session, asked)
        alone = reach.namespaces is None or len(reach.namespaces) == 1
        if not (asked.is_plain and alone):
            out.fetched[reach.cluster] = (reach, await self._all(asked.resource, reach, asking))
            return out
        more, question, user = "", asked.question, session.caller.name
        if token := asked.target.first("cursor"):
            more, out.before = self._cursors.open(user, question, token, tuple[str, int])
        about = _inside(asked.resource, reach)
        fetched = await self._lists.page(about, reach.cluster, asking, limit=asked.limit, more=more)
        out.as_it_came = True
        out.fetched[reach.cluster] = (reach, fetched)
        if fetched.more:
            out.cursor = self._cursors.seal(user, question, (fetched.more, out.before + len(fetched.objects)))
        return out

    async def _all(self, resource: Resource, reach: Reach, asking: Asking) -> Fetched:
        whole = reach.namespaces is None or len(reach.namespaces) > NAMESPACES_MAX
        return await self._lists.all(resource, reach.cluster, asking, None if whole else reach.namespaces)

    async def _many(
        self, session: Session, asked: Asked, clusters: Sequence[str], host: CachedRows | None
    ) -> Gathered:
        """Every cluster in which the caller may see something; the others are not spoken of."""
        out = Gathered()
        if host is not None:
            out.namespaced = host.kind.namespaced
            with contextlib.suppress(Forbidden):
                shown = host.sight(session.caller, asked)
                out.here = await host.items(shown)
        gate = asyncio.Semaphore(CLUSTERS_AT_ONCE)
        most = max(OBJECTS_LEAST, OBJECTS_IN_ALL // max(1, len(clusters)))
        tasks = {
            cluster: asyncio.ensure_future(self._budgeted(session, asked, cluster, gate, most))
            for cluster in clusters
            if self._sees_some(session, asked, cluster)
        }
        if not tasks and out.here is None:
            raise forbidden(self._rights, session.caller, asked.resource, "")
        if not tasks:
            return out
        try:
            await asyncio.wait(tasks.values(), timeout=ALL_CLUSTERS_S)
        finally:
            for task in tasks.values():
                task.cancel()
        ended = await asyncio.gather(*tasks.values(), return_exceptions=True)
        for cluster, answer in zip(tasks, ended, strict=True):
            code = _took(out, cluster, answer)
            since = self._since(cluster, code)
            if code:
                out.stale.append(Stale(cluster or HOST, since, code))
        if not out.fetched and not out.stale and out.here is None:
            raise forbidden(self._rights, session.caller, asked.resource, "")
        return out

    def _sees_some(self, session: Session, asked: Asked, cluster: str) -> bool:
        caller, resource = session.caller, asked.resource
        kind = known(resource.group, resource.resource)
        namespaced = kind is None or kind.namespaced
        try:
            reach = reach_of(
                self._rights, caller, resource, cluster, namespaced=namespaced, within=asked.within
            )
            return reach is not None
        except Problem as problem:
            if problem.status != 403:
                raise
            return True  # in too many namespaces: said of that cluster

    async def _budgeted(
        self, session: Session, asked: Asked, cluster: str, gate: asyncio.Semaphore, most: int
    ) -> Answered | None:
        """None: the caller may see nothing there after all, since the kind has no namespaces."""
        async with gate, asyncio.timeout(CLUSTER_BUDGET_S):
            try:
                reach, namespaced = await self._reach(session, asked, cluster)
            except Forbidden as problem:
                if problem.code == TOO_MANY:
                    raise
                return None
            asking = replace(self._asking(session, asked), most=most)
            return Answered(reach, await self._all(asked.resource, reach, asking), namespaced)

    def _since(self, cluster: str, code: str) -> int:
        now = int(self._clock.now_s())
        if not code:
            self._stale_since.pop(cluster, None)
            return now
        return self._stale_since.setdefault(cluster, now)

    def _rows(self, session: Session, asked: Asked, gathered: Gathered, kind: RowKind) -> dict[str, Any]:
        query, chosen = asked.window(kind.columns, fields=False), asked.chosen(kind.columns)
        items: list[Item] = list(gathered.here or ())
        remaining = 0
        for cluster, (reach, fetched) in gathered.fetched.items():
            remaining += fetched.remaining
            items += _kept(items_of(kind, fetched, cluster), asked, reach, kind)
        as_it_came = Window(items, len(items), {})
        window = as_it_came if gathered.as_it_came else pick(items, query, kind.columns)
        letters = Letters(self._rights, session.caller.name, kind.group, kind.resource)
        places = positions(chosen, kind.columns)
        out: dict[str, Any] = {
            "kind": "RowList",
            "rv": "",
            "total": gathered.before + window.total + remaining,
            "totalIsExact": False,
            "offset": query.offset + gathered.before,
            "columns": [column.shown() for column in chosen],
            "rows": [row(one, places, letters.of((place_of(kind, one),), one.name)) for one in window.rows],
            "facets": window.facets,
            "stale": [one._asdict() for one in gathered.stale],
        }
        return out | ({"cursor": gathered.cursor} if gathered.cursor else {})

    def _asking(self, session: Session, asked: Asked) -> Asking:
        """The selectors are checked first: what is no selector is the caller's fault, not a cluster's."""
        asked.check()
        return Asking(
            self._identity(session),
            labels=asked.target.first("labelSelector"),
            fields=asked.target.first("fieldSelector"),
            table=needs_table(asked.resource),
        )

    def _identity(self, session: Session) -> list[tuple[str, str]]:
        return in_the_name_of(session.caller, is_admin=session.is_admin)


def _took(out: Gathered, cluster: str, answer: Answered | BaseException | None) -> str:
    """Take in what a cluster answered; the code of its trouble, "" for none. Raises Problem (400)."""
    match answer:
        case Answered(reach, fetched, namespaced):
            out.fetched[cluster] = (reach, fetched)
            out.namespaced = out.namespaced or namespaced
            return ""
        case None | Missing():  # nothing to see, or that cluster does not serve the kind
            return ""
        case Problem() if answer.status != 400:
            return camel(answer.code)
        case TimeoutError() | asyncio.CancelledError():
            return "UpstreamTimeout"
        case Unreachable() | aiohttp.ClientError() | OSError():
            return "ClusterUnreachable"
        case _:
            raise answer


def _inside(resource: Resource, reach: Reach) -> Resource:
    """The resource in the only namespace that is asked, where there is one."""
    if not reach.namespaces:
        return resource
    return Resource(resource.group, resource.version, resource.resource, reach.namespaces[0])


def _kept(items: Iterable[Item], asked: Asked, reach: Reach, kind: RowKind) -> Iterable[Item]:
    """Without what lies outside the scope that is asked about."""
    within = asked.within
    if within is None:
        return items
    return (one for one in items if reach.holds(one.namespace) and place_of(kind, one) in within)


def place_of(kind: RowKind, item: Item) -> str:
    """The key of the narrowest scope that holds an object that came from upstream."""
    cluster = item.cluster or HOST
    if item.namespace:
        return f"n/{cluster}/{item.namespace}"
    letter = {"namespaces": "n", "nodes": "d"}.get(kind.resource) if not kind.group else None
    if letter is not None:
        return f"{letter}/{cluster}/{item.name}"
    return PLATFORM if not item.cluster and kind.group.endswith(OWN_SUFFIX) else f"c/{cluster}"
