"""The scopes there are, and the order in which a question climbs them. Pure.

    Namespace → Workspace → Cluster → Platform → Anonymous
    Node → NodeGroup(s) → Cluster → Platform → Anonymous

A scope nobody has seen has no level of its own: what is bound to its name counts for nothing, only the levels
above it do. Source: I1, I4; design §2.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from edge.iam.patternbook import PatternBook
from edge.iam.scope import ANONYMOUS, HOST_SCOPE, PLATFORM, cluster_of_scope

TOP: Final = (PLATFORM, ANONYMOUS)


class Place(NamedTuple):
    """A known scope. wants: scopes it would lie in, those that exist count; uid, born: of its object."""

    wants: tuple[str, ...] = ()
    uid: str = ""
    born: str = ""


def is_meant(place: Place, uid: str, born: str) -> bool:
    """Whether a binding made for the object `uid`, or made at `born`, is about the object that is there."""
    return uid == place.uid if uid and place.uid else born >= place.born


class ScopeGraph:
    """Known scopes and their cascades. Chains of known scopes are kept until a parent changes."""

    def __init__(self) -> None:
        self._known: dict[str, Place] = {HOST_SCOPE: Place()}
        self._inside: dict[str, set[str]] = {}
        self._chains: dict[str, tuple[str, ...]] = {}
        self.homes: dict[tuple[str, str], str] = {}
        """(workspace or nodegroup, name) → the cluster it is in: their objects are all on the host."""
        self.registered = PatternBook()
        """Scope types that ScopePatterns have added."""

    def put(self, key: str, wants: Iterable[str] = (), uid: str = "", born: str = "") -> set[str]:
        """Learn of a scope; returns the scopes whose bindings now reach other places than before."""
        old, new = self._known.get(key), Place(tuple(wants), uid, born)
        if old == new:
            return set()
        before = set(self.chain(key))
        self._known[key] = new
        self._chains.clear()
        for parent in old.wants if old else ():
            self._leave(parent, key)
        for parent in new.wants:
            self._inside.setdefault(parent, set()).add(key)
        if not key.startswith("c/"):
            self._inside.setdefault(f"c/{cluster_of_scope(key)}", set()).add(key)
        changed = before ^ set(self.chain(key))
        return changed | {key} if old is None or old[1:] != new[1:] else changed

    def drop(self, key: str) -> set[str]:
        """Forget a scope; returns the scopes whose bindings no longer reach what they did."""
        old = self._known.pop(key, None)
        if old is None or key == HOST_SCOPE:
            self._known.setdefault(HOST_SCOPE, Place())
            return set()
        self._chains.clear()
        for parent in (*old.wants, f"c/{cluster_of_scope(key)}"):
            self._leave(parent, key)
        return {key, *old.wants}

    def _leave(self, parent: str, key: str) -> None:
        inside = self._inside.get(parent)
        if inside is not None:
            inside.discard(key)
            if not inside:
                del self._inside[parent]

    def knows(self, key: str) -> bool:
        if key == PLATFORM or key in self._known:
            return True
        return key.startswith("x/") and self.is_typed(key)

    def is_typed(self, key: str) -> bool:
        """Whether there are scopes of the key's type; a type of a ScopePattern comes and goes with it."""
        return not key.startswith("x/") or key.split("/", 2)[1] in self.registered

    def place(self, key: str) -> Place | None:
        return self._known.get(key)

    def admits(self, key: str, uid: str, born: str) -> bool:
        """Whether a binding made for the object `uid`, or made at `born`, is about the scope as it is today.

        A scope that was deleted and made again is another one: old bindings must not come back to life.
        """
        place = self._known.get(key)
        return place is None or is_meant(place, uid, born)

    def chain(self, key: str) -> tuple[str, ...]:
        """The cascade of a scope, nearest first, always ending with platform and anonymous."""
        found = self._chains.get(key)
        if found is None:
            found = self._climb(key)
            if key in self._known:  # the names of unknown scopes come from callers: not kept
                self._chains[key] = found
        return found

    def _climb(self, key: str) -> tuple[str, ...]:
        out: list[str] = []
        level = [key] if self.knows(key) else self._cluster_above(key)
        while level:
            out += [scope for scope in level if scope not in out and scope not in TOP]
            level = list(dict.fromkeys(parent for scope in level for parent in self._parents(scope)))
        return (*out, *TOP)

    def _parents(self, key: str) -> list[str]:
        place = self._known.get(key)
        wanted = [parent for parent in place.wants if parent in self._known] if place else []
        return wanted or self._cluster_above(key)

    def _cluster_above(self, key: str) -> list[str]:
        if key[:2] == "c/" or "/" not in key:
            return []
        cluster = f"c/{cluster_of_scope(key)}"
        return [cluster] if cluster in self._known else []

    def inside(self) -> dict[str, set[str]]:
        """Scope → those that say they are in it, whether or not it exists. Not to be changed."""
        return self._inside

    def below(self, key: str) -> set[str]:
        """The scope and every known one in it: what a right at `key` reaches."""
        if key == PLATFORM:
            return {PLATFORM, *self._known}
        found: set[str] = set()
        todo = [key]
        while todo:
            scope = todo.pop()
            if scope not in found and self.knows(scope):
                found.add(scope)
                todo += [inner for inner in self._inside.get(scope, ()) if scope in self.chain(inner)]
        return found

    def all(self, letter: str) -> list[str]:
        """Known scopes of one kind, by its letter."""
        return [key for key in self._known if key[0] == letter]
