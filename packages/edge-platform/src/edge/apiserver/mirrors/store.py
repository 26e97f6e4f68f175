"""What the gateway knows by heart: the platform's objects, encoded once per version, fed by watches (G3).

An answer is a join of bytes. Secret fields are taken out when an object comes in, so that no list, search,
error or table can show them; the few that the gateway itself needs go to the collection's listener.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from edge.apiserver.masking import Json, as_map, mask_object
from edge.apiserver.rows.project import display_name_of
from edge.iam.heartbeat import HEARTBEAT
from edge_kube.meta import Key
from edge_kube.wire import bare


@dataclass(frozen=True, slots=True)
class Stored:
    """One object: what lists select and sort by, and the bytes that go out."""

    key: Key
    resource_version: str
    created: str
    labels: Mapping[str, str]
    display_name: str
    raw: bytes
    memo: list[Any] = field(default_factory=list[Any], compare=False, repr=False)
    """What readers worked out about this version of the object, such as its row."""


class Change(NamedTuple):
    """One object came (no old), changed, or went (no new). version: of the kind after it."""

    version: int
    key: Key
    old: Stored | None
    new: Stored | None


@dataclass(frozen=True, slots=True)
class Served:
    """A kind that the gateway answers from memory."""

    group: str
    version: str
    resource: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


CHANGES_KEPT: Final = 1000

Listener = Callable[[Key, bytes | None, bytes | None], None]
"""Called with the object as it was stored, and as it came, secrets and all; None: not there. Be quick."""


class Collection:
    """All objects of one kind. `version` grows with each change; readers never see half of one."""

    def __init__(self, served: Served, listener: Listener | None = None) -> None:
        self.served = served
        self.epoch = secrets.token_hex(4)  # versions of two processes are not comparable
        self.version = 0
        self.listed = asyncio.Event()
        self.resource_version = ""
        self.followers: set[Callable[[Change], None]] = set()
        """Called after each change, once it can be read here."""
        self._objects: dict[Key, Stored] = {}
        self._listener = listener
        self._number = 0  # resource_version as a number
        self._changes: deque[Change] = deque(maxlen=CHANGES_KEPT)
        self._known_from = 0
        self._ordered: tuple[Stored, ...] | None = None
        self._whole: bytes | None = None

    @property
    def synced(self) -> bool:
        """Whether the kind has been listed once."""
        return self.listed.is_set()

    def put(self, raw: bytes) -> None:
        """Take in an object as the API server sent it; one that is here in this version is skipped."""
        meta = bare(raw)
        key = Key(meta.namespace, meta.name)
        have = self._objects.get(key)
        if have is not None and have.resource_version == meta.resource_version:
            return
        if self._listener is not None:
            self._listener(key, have.raw if have is not None else None, raw)
        if key.name == HEARTBEAT:  # nothing that people have made
            self.reached(meta.resource_version)
            return
        new = self._objects[key] = self._stored(key, msgspec.json.decode(raw))
        self._changed(key, have, new, meta.resource_version)

    def drop(self, key: Key, resource_version: str = "") -> None:
        have = self._objects.pop(key, None)
        if have is None:
            return
        if self._listener is not None:
            self._listener(key, have.raw, None)
        self._changed(key, have, None, resource_version)

    def reached(self, resource_version: str) -> bool:
        """Nothing else has changed up to this version, says the server. False when we were further."""
        number = int(resource_version) if resource_version.isdecimal() else 0
        if number <= self._number:
            return False
        self._number, self.resource_version = number, resource_version
        return True

    def keep_only(self, seen: Container[Key], resource_version: str) -> None:
        """The end of a list whose objects were put one by one: what it lacked is gone."""
        for key in [key for key in self._objects if key not in seen]:
            self.drop(key, resource_version)
        if self.reached(resource_version):
            self._whole = None
        # What happened before the first list, or in which order a later one brought changes, is not known.
        if not self.synced or self._known_from > self._number:
            self._known_from = self._number
        self.listed.set()

    def changes_since(self, resource_version: int) -> list[Change] | None:
        """What has happened after a version, in order; None when that is not known any more."""
        if resource_version < self._known_from:
            return None
        return [change for change in self._changes if change.version > resource_version]

    def as_of(self, resource_version: int) -> tuple[Stored, ...] | None:
        """All objects as they were at a version, ordered; None when that is known no more, or not yet."""
        changes = self.changes_since(resource_version) if resource_version <= self._number else None
        if not changes:
            return None if changes is None else self.ordered()
        objects = dict(self._objects)
        for change in reversed(changes):
            if change.old is None:
                objects.pop(change.key, None)
            else:
                objects[change.key] = change.old
        return tuple(sorted(objects.values(), key=attrgetter("key")))

    def get(self, key: Key) -> Stored | None:
        return self._objects.get(key)

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Stored]:
        return iter(self.ordered())

    def ordered(self) -> tuple[Stored, ...]:
        """By namespace, then name."""
        if self._ordered is None:
            self._ordered = tuple(sorted(self._objects.values(), key=attrgetter("key")))
        return self._ordered

    def whole(self) -> bytes:
        """The body of the unfiltered list: the same bytes until an object changes (G10)."""
        if self._whole is None:
            self._whole = self.body(self.ordered(), total=len(self._objects))
        return self._whole

    def body(
        self, items: Iterable[Stored], *, total: int, after: str = "", remaining: int = 0, version: str = ""
    ) -> bytes:
        """A Kubernetes list with totalItems. after: token of the next page; remaining: items behind it.

        version: of the list, when it is not that of now.
        """
        meta: Json = {"resourceVersion": version or self.resource_version}
        if after:
            meta |= {"continue": after, "remainingItemCount": remaining}
        head: Json = {
            "kind": f"{self.served.kind}List",
            "apiVersion": self.served.api_version,
            "metadata": meta,
            "totalItems": total,
        }
        return b"".join(
            (
                msgspec.json.encode(head)[:-1],
                b',"items":[',
                b",".join([item.raw for item in items]),
                b"]}\n",
            )
        )

    def _changed(self, key: Key, old: Stored | None, new: Stored | None, resource_version: str) -> None:
        self.version += 1
        self._ordered = None
        self._whole = None
        in_order = self.reached(resource_version)
        change = Change(self._number, key, old, new)
        if in_order:
            if len(self._changes) == CHANGES_KEPT:
                self._known_from = self._changes[0].version
            self._changes.append(change)
        else:  # a later list brought what a watch had lost
            self._changes.clear()
            self._known_from = self._number + 1
        for follow in tuple(self.followers):
            follow(change)

    def _stored(self, key: Key, obj: Json) -> Stored:
        served = self.served
        metadata = as_map(obj.get("metadata"))
        metadata.pop("managedFields", None)
        mask_object(served.group, served.resource, obj)
        raw = msgspec.json.encode({"apiVersion": served.api_version, "kind": served.kind, **obj})
        return Stored(
            key=key,
            resource_version=metadata.get("resourceVersion", ""),
            created=metadata.get("creationTimestamp", ""),
            labels=metadata.get("labels") or {},
            display_name=display_name_of(obj),
            raw=raw,
        )
