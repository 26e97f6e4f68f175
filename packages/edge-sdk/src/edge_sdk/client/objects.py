"""Objects of one kind behind a gateway: list by pages, get, create, replace, patch, apply, delete, watch."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec

from edge_kube.meta import Manifest, Resource, kind_of, to_manifest
from edge_sdk.client.http import Http, status_in
from edge_sdk.client.models.shared import ListMeta

T = TypeVar("T", bound=Resource)

PAGE: Final = 500
MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"


class ObjectList(msgspec.Struct, Generic[T], rename="camel"):
    """One page. total_items: in all pages."""

    items: list[T]
    metadata: ListMeta = ListMeta()
    total_items: int = 0


class Change(msgspec.Struct, Generic[T]):
    """One event of a watch."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: T


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class Objects(Generic[T]):
    """namespace "": of all namespaces, or a kind without. All calls raise CallError."""

    def __init__(self, http: Http, cls: type[T]) -> None:
        self._http = http
        self._cls = cls
        self._kind = kind_of(cls)

    async def list(self, namespace: str = "", **query: Any) -> ObjectList[T]:
        """query: limit, continue_, page, sort, q, labelSelector, fieldSelector."""
        query = {key.rstrip("_"): value for key, value in query.items()}
        return await self._http.call("GET", self._path(namespace), ObjectList[self._cls], query=query)  # pyright: ignore[reportReturnType]

    async def pages(self, namespace: str = "", *, limit: int = PAGE, **query: Any) -> AsyncIterator[T]:
        """Every object, however many pages that takes."""
        token = ""
        while True:
            page = await self.list(namespace, limit=limit, continue_=token, **query)
            for one in page.items:
                yield one
            token = page.metadata.continue_
            if not token:
                return

    async def get(self, name: str, namespace: str = "") -> T:
        return await self._http.call("GET", self._path(namespace, name), self._cls)

    async def create(self, obj: T | Manifest, *, dry_run: bool = False) -> T:
        return await self._write("POST", obj, "", dry_run)

    async def replace(self, obj: T | Manifest, *, dry_run: bool = False) -> T:
        """A typed object names all its fields and no other: what it does not name is dropped."""
        return await self._write("PUT", obj, _named(obj)[1], dry_run)

    async def patch(
        self, name: str, patch: Mapping[str, Any], namespace: str = "", *, dry_run: bool = False
    ) -> T:
        """A merge patch: fields are set, None removes one."""
        query = {"dryRun": "All" if dry_run else ""}
        path = self._path(namespace, name)
        return await self._http.call("PATCH", path, self._cls, query=query, body=patch, body_as=MERGE)

    async def apply(
        self, obj: T | Manifest, *, manager: str, force: bool = False, dry_run: bool = False
    ) -> T:
        """Server-side apply: `manager` owns the fields that the object names, and no other."""
        namespace, name = _named(obj)
        query = {"fieldManager": manager, "force": force, "dryRun": "All" if dry_run else ""}
        return await self._http.call(
            "PATCH", self._path(namespace, name), self._cls, query=query, body=_manifest(obj), body_as=APPLY
        )

    async def delete(self, name: str, namespace: str = "", *, dry_run: bool = False) -> None:
        query = {"dryRun": "All" if dry_run else ""}
        await self._http.send("DELETE", self._path(namespace, name), query=query)

    async def watch(
        self, namespace: str = "", *, resource_version: str = "", **query: Any
    ) -> AsyncIterator[Change[T]]:
        """Changes as they come. Ends when the gateway ends it: list again, and watch from there."""
        asked = {"watch": True, "resourceVersion": resource_version, **query}
        async for line in self._http.lines(self._path(namespace), asked, {"Accept": "application/json"}):
            event = msgspec.json.decode(line, type=_Event)
            if event.type == "ERROR":
                raise status_in(bytes(event.object))
            yield Change(event.type, msgspec.json.decode(event.object, type=self._cls))  # pyright: ignore[reportArgumentType]

    async def _write(self, method: str, obj: T | Manifest, name: str, dry_run: bool) -> T:
        path = self._path(_named(obj)[0], name)
        query = {"dryRun": "All" if dry_run else ""}
        return await self._http.call(method, path, self._cls, query=query, body=_manifest(obj))

    def _path(self, namespace: str, name: str = "") -> str:
        return gateway_path(self._kind.group, self._kind.version, self._kind.plural, namespace, name)


def gateway_path(group: str, version: str, plural: str, namespace: str = "", name: str = "") -> str:
    """Where objects are in the gateway's resource API."""
    parts = ["oapis", group or "core", version, *(("namespaces", namespace) if namespace else ()), plural]
    return "/" + "/".join(quote(part, safe="") for part in [*parts, *((name,) if name else ())])


def _manifest(obj: Resource | Manifest) -> Manifest:
    return to_manifest(obj) if isinstance(obj, Resource) else obj


def _named(obj: Resource | Manifest) -> tuple[str, str]:
    if isinstance(obj, Resource):
        return obj.metadata.namespace, obj.metadata.name
    metadata: Mapping[str, Any] = obj.get("metadata") or {}
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))
