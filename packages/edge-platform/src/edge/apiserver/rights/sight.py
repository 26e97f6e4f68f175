"""What a caller may see of a kind, as a filter for live queries, and as a name for it (I5, I6, I15).

Callers with equal sights share queries. A sight is what the rights were when it was made: whoever holds one
makes it anew when the caller's rights have changed.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from edge.apiserver.mirrors.store import Served, Stored
from edge.apiserver.paths import Resource, native_segments
from edge.apiserver.rights.actions import actions_of
from edge.apiserver.rights.picture import Rights
from edge.apiserver.rights.places import Place, place_of
from edge.apiserver.upstreams.members import HOST
from edge.iam import visible as visibility
from edge.iam.patterns import path_of
from edge.iam.questions import access_at, scope_of
from edge.iam.scope import cluster_of_scope
from edge_kube.meta import Key
from edge_sdk.problem import Forbidden

EVERYTHING: Final = "everything"
_ALL: Final = visibility.Sight(True, frozenset(), {})
_CLUSTERED: Final = ("c", "n", "d")
_OWN_PLACES: Final = {("", "namespaces"): "n", ("", "nodes"): "d"}


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """key: equal for equal sights. namespaces: outside of which nothing is seen; None: no such bound."""

    key: Hashable
    sees: Callable[[Stored], bool]
    namespaces: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """Row actions. key: equal for callers who may do the same. of: the letters of one object."""

    key: Hashable
    of: Callable[[Stored], str]


@dataclass(frozen=True, slots=True, eq=False)
class Sights:
    """What may be seen of a kind, by cluster; "": the host from memory. key: equal for equal sights."""

    key: Hashable
    at: Callable[[str], Sight | None]


@dataclass(frozen=True, slots=True, eq=False)
class AllAllowed:
    """Row actions, by cluster. key: equal for callers who may do the same."""

    key: Hashable
    at: Callable[[str], Allowed]


class Eyes:
    def __init__(self, rights: Rights) -> None:
        self._rights = rights
        self._index = rights.index

    def generation(self, user: str) -> str:
        """Another one whenever the caller's rights may have changed."""
        return self._index.generation(user)

    def access(self, user: str, scope: str) -> str:
        """The etag of `me/access` at a scope as people write it. Raises Problem (400), Unavailable."""
        self._rights.freshness.require("get")
        return access_at(self._index, user, scope_of(self._index, scope)).etag

    def of(self, user: str, verbs: Sequence[str], served: Served, cluster: str = "") -> Sight | None:
        """What may be seen with all of these verbs; None for nothing. cluster "": the host, from memory.

        Raises Unavailable when too little is known of the rights.
        """
        return self.everywhere(user, verbs, served).at(cluster)

    def everywhere(self, user: str, verbs: Sequence[str], served: Served) -> Sights:
        """The same in whichever cluster, by the rights of now. Raises Unavailable."""
        self._rights.freshness.require(verbs[0])
        if self._rights.allow_all:
            return Sights(EVERYTHING, lambda _: Sight(EVERYTHING, _everything))
        found = [visibility.visible(self._index, user, verb, served.group, served.resource) for verb in verbs]
        return Sights(tuple(map(_content, found)), partial(self._at, served, found))

    def _at(self, served: Served, found: Sequence[visibility.Sight], cluster: str) -> Sight | None:
        parts = [_in(cluster, sight) if cluster else sight for sight in found if not sight.everything]
        if not parts:
            return Sight(EVERYTHING, _everything)
        if not all(sight.scopes or sight.names for sight in parts):
            return None
        names = tuple((sight.scopes, frozenset(sight.names.items())) for sight in parts)
        levels = self._levels(served, cluster)

        def sees(item: Stored) -> bool:
            at = levels(item)
            return all(any(sight.sees(level, item.key.name) for level in at) for sight in parts)

        return Sight(names, sees, None if cluster else self._namespaces(served, parts))

    def scope(self, text: str) -> str:
        """The key of a scope as people write it. Raises Problem (400)."""
        return scope_of(self._index, text)

    def actions(self, user: str, served: Served, cluster: str = "") -> Allowed:
        """What of the row actions of a kind the caller is allowed, as rows of a list tell it (§5.3)."""
        return self.actions_everywhere(user, served).at(cluster)

    def actions_everywhere(self, user: str, served: Served) -> AllAllowed:
        """The same in whichever cluster, by the rights of now."""
        found: list[tuple[str, visibility.Sight]] = []
        for one in actions_of(served.group, served.resource):
            resource = f"{served.resource}/{one.subresource}" if one.subresource else served.resource
            sight = _ALL
            if not self._rights.allow_all:
                sight = visibility.visible(self._index, user, one.verb, served.group, resource)
            found.append((one.letter, sight))
        key = tuple((letter, _content(sight)) for letter, sight in found)
        return AllAllowed(key, partial(self._allowed, served, found))

    def _allowed(
        self, served: Served, found: Sequence[tuple[str, visibility.Sight]], cluster: str
    ) -> Allowed:
        sights: list[tuple[str, visibility.Sight]] = []
        known: dict[Hashable, visibility.Sight] = {}
        for letter, sight in found:
            there = _in(cluster, sight) if cluster and not sight.everything else sight
            sights.append((letter, known.setdefault(_content(there), there)))  # equal ones are kept once
        key = tuple((letter, _content(sight)) for letter, sight in sights)
        if all(sight.everything or not (sight.scopes or sight.names) for sight in known.values()):
            letters = "".join(letter for letter, sight in sights if sight.everything)
            return Allowed(key, lambda _: letters)
        levels = self._levels(served, cluster)

        def of(item: Stored) -> str:
            at, name = levels(item), item.key.name
            return "".join(letter for letter, sight in sights if any(sight.sees(level, name) for level in at))

        return Allowed(key, of)

    def may_ask(self, user: str, cluster: str, group: str, version: str, resource: str) -> None:
        """Before a cluster is asked at all: whether the caller may see anything of the kind there.

        Raises Forbidden, Unavailable.
        """
        served = Served(group, version, resource, "")
        if all(self.of(user, (verb, "watch"), served, cluster) is None for verb in ("list", "get")):
            raise Forbidden(
                "forbidden",
                what=f'User "{user}" cannot watch {resource} in cluster "{cluster}"',
                why="no role that is bound to you gives that",
                do="ask whoever administers that scope for a role that has this right",
            )

    def within(self, scope: str, served: Served, cluster: str = "") -> Callable[[Stored], bool] | None:
        """Whether an object lies in a scope as people write it, whenever asked; None when that is no bound.

        Raises Problem (400) for a text that names no scope.
        """
        if not scope or scope == "platform":
            return None
        key, levels, chain = self.scope(scope), self._levels(served, cluster), self._index.scopes.chain
        return lambda item: any(key in chain(level) for level in levels(item))

    def clusters_within(self, scope: str) -> frozenset[str] | None:
        """Names of the clusters that a scope is about; None when that is no bound. Raises Problem (400)."""
        return frozenset({self.cluster_of(scope)}) if scope and scope != "platform" else None

    def cluster_of(self, scope: str) -> str:
        """The cluster that a scope lies in, HOST for the host. Raises Problem (400)."""
        return cluster_of_scope(self.scope(scope or "platform"))

    def _levels(self, served: Served, cluster: str) -> Callable[[Stored], Sequence[str]]:
        """The narrowest scopes that hold an object: where it is, and what a ScopePattern makes of it (I9)."""
        scopes, about = self._index.scopes, (served.group, served.resource)
        place = member_place(served, cluster) if cluster else place_of(*about, scopes.homes)
        if cluster or not scopes.registered.about(*about):
            return lambda item: (place(item.key, item.labels),)

        def levels(item: Stored) -> Sequence[str]:
            one = Resource(served.group, served.version, served.resource, item.key.namespace, item.key.name)
            named = scopes.registered.scope(*about, path_of("", native_segments(one)))
            return (place(item.key, item.labels), *(scopes.chain(named) if named else ()))

        return levels

    def _namespaces(self, served: Served, parts: Sequence[visibility.Sight]) -> frozenset[str] | None:
        """Where objects of this kind lie in namespaces: those in which anything may be seen."""
        about = (served.group, served.resource)
        probe = place_of(*about, self._index.scopes.homes)(Key("probe", "probe"), {})
        if probe != f"n/{HOST}/probe" or self._index.scopes.registered.about(*about):
            return None
        found = [level for sight in parts for level in (*sight.scopes, *sight.names)]
        return frozenset({"", *(level.split("/")[2] for level in found if level.startswith(f"n/{HOST}/"))})


def member_place(served: Served, cluster: str) -> Place:
    """Where an object is that the gateway does not know by heart: in a member, or (HOST) in the host."""
    letter = _OWN_PLACES.get((served.group, served.resource))
    if letter is not None:
        return lambda key, _: f"{letter}/{cluster}/{key.name}"
    return lambda key, _: f"n/{cluster}/{key.namespace}" if key.namespace else f"c/{cluster}"


def _in(cluster: str, sight: visibility.Sight) -> visibility.Sight:
    """The part of it that lies in one cluster: who has no right there is not told anything of it."""

    def lies_there(level: str) -> bool:
        letter, _, rest = level.partition("/")
        return letter in _CLUSTERED and rest.partition("/")[0] == cluster

    return visibility.Sight(
        False,
        frozenset(filter(lies_there, sight.scopes)),
        {level: names for level, names in sight.names.items() if lies_there(level)},
    )


def _content(sight: visibility.Sight) -> Hashable:
    return sight.everything, sight.scopes, frozenset(sight.names.items())


def _everything(_: Stored) -> bool:
    return True
