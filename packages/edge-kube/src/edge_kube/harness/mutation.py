"""Catches a reader that changes a cached object: frozen types are only frozen at their surface."""

import hashlib

import msgspec

from edge_kube.cache import Cache, Informer
from edge_kube.meta import Key, Resource, key_of
from edge_kube.store import Delta


class MutatedError(AssertionError):
    """A cached object is not what the server sent."""


class MutationDetector:
    """Remembers a digest of each cached object, from `attach` on; `check` at the end."""

    def __init__(self) -> None:
        self._digests: dict[tuple[type[Resource], Key], tuple[Resource, bytes]] = {}

    def attach(self, cache: Cache) -> None:
        for informer in cache.informers:
            self._follow(informer)

    def _follow(self, informer: Informer[Resource]) -> None:
        def handle(delta: Delta[Resource]) -> None:
            obj = delta.new or delta.old
            if obj is None or delta.op == "resync":
                return
            place = (type(obj), key_of(obj))
            if delta.new is None:
                self._digests.pop(place, None)
            else:
                self._digests[place] = (delta.new, _digest(delta.new))

        informer.on(handle)

    def check(self) -> None:
        """Raises MutatedError that names what was changed."""
        changed = [
            f"{cls.__name__} {key}"
            for (cls, key), (obj, digest) in self._digests.items()
            if _digest(obj) != digest
        ]
        if changed:
            raise MutatedError(
                f"cached objects were changed in place: {', '.join(changed)}; build new values instead"
            )


def _digest(obj: Resource) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(obj, order="deterministic")).digest()
