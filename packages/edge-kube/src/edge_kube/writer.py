"""The writer that reconcilers get: server-side apply without a request when the last one still stands.

A reconciler says on every run what it wants; asking the API server each time would make idling costly.
An apply is skipped while the cache shows the object unchanged since we applied the same intent (P3, Q0):
same uid, and same resourceVersion, or same generation with our labels and annotations in place (others write
its status). An object of a kind that nobody watches is always sent: its drift could not be seen.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, overload

import msgspec

from edge_kube.client import Applied, decoder_of
from edge_kube.meta import Key, Manifest, Resource, to_manifest
from edge_kube.reconcile import Writer

T = TypeVar("T", bound=Resource)

INTENTS_MAX = 20_000


class Known(Protocol):
    """What the cache tells about a kind that may not be cached at all."""

    def type_of(self, api_version: str, kind: str) -> type[Resource] | None: ...
    def get(self, cls: type[Resource], name: str, namespace: str = "") -> Resource | None: ...
    def write_through(self, obj: Resource) -> None: ...


class _Intent(NamedTuple):
    manager: str
    api_version: str
    kind: str
    key: Key


class _Stand(NamedTuple):
    """What an apply left behind."""

    digest: bytes
    uid: str
    rv: str
    generation: int


class RoomWriter:
    """A `Writer` over a client and the cache of the same cluster."""

    def __init__(self, client: Writer, cache: Known) -> None:
        self._client = client
        self._cache = cache
        self._stands: OrderedDict[_Intent, _Stand] = OrderedDict()

    async def get(self, cls: type[T], name: str, namespace: str = "") -> T:
        return await self._client.get(cls, name, namespace)

    async def find(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        return await self._client.find(cls, name, namespace)

    async def list(self, cls: type[T], namespace: str = "") -> Sequence[T]:
        return await self._client.list(cls, namespace)

    @overload
    async def create(self, obj: T, *, manager: str) -> T: ...
    @overload
    async def create(self, obj: Manifest, *, manager: str) -> Manifest: ...

    async def create(self, obj: Any, *, manager: str) -> Any:
        return await self._client.create(obj, manager=manager)

    async def apply(
        self,
        obj: Resource | Manifest,
        *,
        manager: str,
        force: bool = True,
        sub: str = "",
        dry_run: bool = False,
        rv: str | None = None,
    ) -> Applied:
        manifest = to_manifest(obj) if isinstance(obj, Resource) else obj
        if sub or dry_run:
            applied = await self._client.apply(
                manifest, manager=manager, force=force, sub=sub, dry_run=dry_run, rv=rv
            )
            if not dry_run:
                self._show(manifest, applied)
            return applied
        intent = _intent_of(manifest, manager)
        digest = hashlib.sha256(msgspec.json.encode(manifest, order="deterministic")).digest()
        live = self._live(intent)
        if live is not None and self._stands_still(intent, digest, manifest, live):
            return Applied("unchanged", to_manifest(live))
        if rv is None and live is not None:
            rv = live.metadata.resource_version  # saves the look before; decides only how the result is named
        applied = await self._client.apply(manifest, manager=manager, force=force, rv=rv)
        self._show(manifest, applied)
        meta: Mapping[str, Any] = applied.obj["metadata"]
        self._stands[intent] = _Stand(digest, meta["uid"], meta["resourceVersion"], meta.get("generation", 0))
        self._stands.move_to_end(intent)
        if len(self._stands) > INTENTS_MAX:
            self._stands.popitem(last=False)
        return applied

    async def merge(
        self,
        cls: type[T],
        key: Key,
        patch: Manifest,
        *,
        rv: str | None = None,
        sub: str = "",
        manager: str = "",
    ) -> T:
        written = await self._client.merge(cls, key, patch, rv=rv, sub=sub, manager=manager)
        self._cache.write_through(written)
        return written

    async def json_patch(
        self, cls: type[T], key: Key, ops: Sequence[Mapping[str, Any]], *, sub: str = "", manager: str = ""
    ) -> T:
        written = await self._client.json_patch(cls, key, ops, sub=sub, manager=manager)
        self._cache.write_through(written)
        return written

    async def delete(
        self,
        cls: type[Resource],
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    ) -> bool:
        return await self._client.delete(cls, name, namespace, uid=uid, propagation=propagation)

    def _show(self, manifest: Manifest, applied: Applied) -> None:
        """Let readers of the cache see our own write at once, not only when the watch brings it."""
        cls = self._cache.type_of(str(manifest["apiVersion"]), str(manifest["kind"]))
        if cls is not None and applied.result != "unchanged":
            self._cache.write_through(decoder_of(cls).decode(msgspec.json.encode(applied.obj)))

    def _live(self, intent: _Intent) -> Resource | None:
        cls = self._cache.type_of(intent.api_version, intent.kind)
        return None if cls is None else self._cache.get(cls, intent.key.name, intent.key.namespace)

    def _stands_still(self, intent: _Intent, digest: bytes, manifest: Manifest, live: Resource) -> bool:
        stand = self._stands.get(intent)
        if stand is None or stand.digest != digest or stand.uid != live.metadata.uid:
            return False
        if stand.rv == live.metadata.resource_version:
            return True
        if not stand.generation or stand.generation != live.metadata.generation:
            return False  # no generation: a change of anything moves only the resourceVersion
        if not _has_meta(manifest["metadata"], live):
            return False
        self._stands[intent] = stand._replace(rv=live.metadata.resource_version)
        return True


def _intent_of(manifest: Manifest, manager: str) -> _Intent:
    meta = manifest["metadata"]
    key = Key(str(meta.get("namespace", "")), str(meta["name"]))
    return _Intent(manager, str(manifest["apiVersion"]), str(manifest["kind"]), key)


def _has_meta(wanted: Mapping[str, Any], live: Resource) -> bool:
    """Whether labels, annotations, finalizers and owners are in place: the generation does not cover them."""
    labels = (wanted.get("labels") or {}).items() <= live.metadata.labels.items()
    annotations = (wanted.get("annotations") or {}).items() <= live.metadata.annotations.items()
    finalizers = set(wanted.get("finalizers") or ()) <= set(live.metadata.finalizers)
    owners = {str(owner["uid"]) for owner in wanted.get("ownerReferences") or ()}
    return (
        labels
        and annotations
        and finalizers
        and owners <= {owner.uid for owner in live.metadata.owner_references}
    )
