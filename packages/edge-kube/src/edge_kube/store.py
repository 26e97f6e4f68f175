"""Objects of one kind by key, with indexes, kept in one step. No I/O, no task.

Promises: readers never see an index that disagrees with the store; `by` costs its hits, not the store;
a version never falls except when the server's own history did (R2); another uid under the same key is a
deletion and a creation (R3); an equal version is no change (R4). Objects are shared: never change one.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic, Literal, TypeVar

import msgspec
import structlog

from edge_kube.meta import Key, Resource, key_of
from edge_kube.reflector import OutOfOrderError
from edge_kube.wire import Broken

log = structlog.stdlib.get_logger("edge_kube.store")

T = TypeVar("T", bound=Resource)


class Delta(msgspec.Struct, Generic[T], frozen=True):
    """One change. initial: part of the first list after the start, or told to a late subscriber."""

    op: Literal["added", "modified", "deleted", "resync"]
    old: T | None
    new: T | None
    initial: bool = False


Handler = Callable[[Delta[T]], None]


class Store(Generic[T]):
    """emit: called once a change is in place, for each change. index functions must be pure."""

    def __init__(
        self,
        emit: Handler[T],
        indexes: Mapping[str, Callable[[T], Iterable[Hashable]]] | None = None,
        transform: Callable[[T], T] | None = None,
    ) -> None:
        self._emit = emit
        self._objects: dict[Key, T] = {}
        self._of = dict(indexes or {})
        self._indexes: dict[str, dict[Hashable, dict[Key, T]]] = {name: {} for name in self._of}
        self._by_namespace: dict[str, dict[Key, T]] = {}
        self._transform = transform
        self.broken: dict[Key, str] = {}
        """Keys of objects that could not be decoded, with the reason."""
        self.initial = True
        self._ahead: set[Key] = set()  # keys whose stored version is the answer to a write of our own

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> T | None:
        return self._objects.get(key)

    def all(self, namespace: str = "") -> Sequence[T]:
        """A snapshot; namespace "" is all of them."""
        return list(self._by_namespace.get(namespace, {}).values() if namespace else self._objects.values())

    def add_index(self, name: str, of: Callable[[T], Iterable[Hashable]]) -> None:
        """Only while nothing is stored; raises ValueError afterwards."""
        if self._objects or name in self._of:
            raise ValueError(f"index {name!r} was declared {'twice' if name in self._of else 'too late'}")
        self._of[name] = of
        self._indexes[name] = {}

    def by(self, index: str, value: Hashable) -> Sequence[T]:
        """Raises LookupError for an index that was not declared before the start."""
        entries = self._indexes.get(index)
        if entries is None:
            raise LookupError(
                f"there is no index {index!r}, only {', '.join(self._indexes) or 'none'}; "
                "declare it in the room"
            )
        return list(entries.get(value, {}).values())

    def stored(self, obj: T) -> T:
        have = self._objects.get(key_of(obj))
        if have is None or have.metadata.uid != obj.metadata.uid:
            return obj
        return have if have.metadata.resource_version == obj.metadata.resource_version else obj

    def replace(self, objects: Sequence[T | Broken], *, went_back: bool) -> None:
        """Take over a complete list; what it lacks is deleted (R1)."""
        self.broken = {obj.key: obj.why for obj in objects if isinstance(obj, Broken)}
        listed = {key_of(obj): obj for obj in objects if not isinstance(obj, Broken)}
        for key in [key for key in self._objects if key not in listed]:
            self._drop(key, self._objects[key])
        for key, obj in listed.items():
            have = self._objects.get(key)
            if have is obj:
                continue  # most of a relist: the reflector hands back what is stored already
            if went_back and have is not None and have != obj:
                # Versions were given out again: an equal one may be other content.
                self._put(key, obj, same_version=True)
            elif have is None or have.metadata.uid != obj.metadata.uid or _version(obj) >= _version(have):
                # Older than what we have: our own write is in place already, and the watch will show it.
                self._ahead.discard(key)
                self._put(key, obj)
        self.initial = False

    def put(self, obj: T | Broken) -> None:
        if isinstance(obj, Broken):
            self.broken[obj.key] = obj.why
            if (old := self._objects.get(obj.key)) is not None:
                self._drop(obj.key, old)
            return
        key = key_of(obj)
        self.broken.pop(key, None)
        have = self._objects.get(key)
        if have is not None and have.metadata.uid == obj.metadata.uid and _version(obj) < _version(have):
            # Our own write may be ahead of the watch; then the older version is on its way to it.
            if key in self._ahead:
                return
            raise OutOfOrderError(f"{key} went from {have.metadata.resource_version} back")
        self._ahead.discard(key)
        self._put(key, obj)

    def remove(self, obj: T) -> None:
        key = key_of(obj)
        self.broken.pop(key, None)
        self._ahead.discard(key)
        have = self._objects.get(key)
        if have is not None and have.metadata.uid == obj.metadata.uid:
            self._drop(key, have)

    def write_through(self, obj: T) -> bool:
        """Show the answer to a write of our own before the watch does. False: nothing was to be shown.

        Only for a key that is there, with the same uid and a newer version: an overlay must not bring a
        deleted object back.
        """
        key = key_of(obj)
        have = self._objects.get(key)
        if have is None or have.metadata.uid != obj.metadata.uid or _version(obj) <= _version(have):
            return False
        self._ahead.add(key)
        self._put(key, obj)
        return True

    def _put(self, key: Key, obj: T, *, same_version: bool = False) -> None:
        if self._transform is not None:
            obj = self._transform(obj)
        old = self._objects.get(key)
        if old is not None and old.metadata.uid != obj.metadata.uid:
            self._drop(key, old)
            old = None
        if (
            old is not None
            and old.metadata.resource_version == obj.metadata.resource_version
            and not same_version
        ):
            return
        self._unindex(key, old)
        self._objects[key] = obj
        self._by_namespace.setdefault(obj.metadata.namespace, {})[key] = obj
        for name, of in self._of.items():
            entries = self._indexes[name]
            for value in self._values(name, of, obj):
                entries.setdefault(value, {})[key] = obj
        self._emit(Delta("modified" if old is not None else "added", old, obj, self.initial))

    def _drop(self, key: Key, old: T) -> None:
        self._unindex(key, old)
        del self._objects[key]
        self._ahead.discard(key)
        peers = self._by_namespace[key.namespace]
        del peers[key]
        if not peers:
            del self._by_namespace[key.namespace]
        self._emit(Delta("deleted", old, None, self.initial))

    def _unindex(self, key: Key, old: T | None) -> None:
        if old is None:
            return
        for name, of in self._of.items():
            entries = self._indexes[name]
            for value in self._values(name, of, old):
                peers = entries.get(value)
                if peers is not None:
                    peers.pop(key, None)
                    if not peers:
                        del entries[value]

    def _values(self, name: str, of: Callable[[T], Iterable[Hashable]], obj: T) -> Sequence[Hashable]:
        try:
            return tuple(of(obj))
        except Exception:
            # The object is stored all the same, and found under no value of this index.
            log.exception("index_failed", index=name, key=str(key_of(obj)))
            return ()


def _version(obj: Resource) -> int:
    rv = obj.metadata.resource_version
    return int(rv) if rv.isdigit() else 0
