"""Verbs on API objects. Typed where the caller has a type, plain manifests where any kind may come.

    async with Client(load_kubeconfig(path)) as client:
        cluster = await client.get(Cluster, "plant-a")
        applied = await client.apply(manifest, manager="edge-apps")      # applied.result == "unchanged"

Promises: reads are quorum reads unless said otherwise; errors are those of `edge_kube.errors`; a typed object
is created or applied, never put back whole (it lacks the fields that its type does not name).
Not promised: that what `apply` reports as "configured" was changed by this call and not by a neighbour in the
same millisecond. Source: P4; design kube-runtime §3, §4 and §8.
"""

import dataclasses
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypeVar, overload
from urllib.parse import quote

import aiohttp
import msgspec
from multidict import CIMultiDict

from edge_kube.config import Connection
from edge_kube.discovery import Discovery
from edge_kube.errors import Gone, NotFound
from edge_kube.meta import Key, Kind, Manifest, Resource, kind_of, to_manifest
from edge_kube.metrics import Metrics
from edge_kube.transport import REQUEST_DEADLINE_S, Answer, Call, Guard, Limits, Transport
from edge_kube.wire import Bare, ObjectDecoder, Page, page_of

T = TypeVar("T", bound=Resource)
Propagation = Literal["Background", "Foreground", "Orphan"]

PAGE_SIZE = 500
LIST_DEADLINE_S = 30.0
_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_bare = msgspec.json.Decoder(Bare)
_decoders: dict[type[Resource], ObjectDecoder[Any]] = {}


class Applied(msgspec.Struct, frozen=True):
    """What a server-side apply came to (P4), and the object as it is now."""

    result: Literal["created", "configured", "unchanged"]
    obj: Manifest


def decoder_of(cls: type[T]) -> ObjectDecoder[T]:
    decoder = _decoders.get(cls)
    if decoder is None:
        decoder = _decoders[cls] = ObjectDecoder(cls)
    return decoder


class Client:
    """One API server as one user. Views made by `impersonate` and `derive` share its connections.

    gate: asked before each write; False raises NotLeader. limited False: never waits for a seat or a token,
    for leases and probes.
    """

    def __init__(
        self,
        connection: Connection | Transport,
        *,
        limits: Limits | None = None,
        guard: Guard | None = None,
        metrics: Metrics | None = None,
        host_label: str = "",
    ) -> None:
        """Opens nothing yet; close the client when done, or use it as an async context manager."""
        self.transport = (
            connection
            if isinstance(connection, Transport)
            else Transport(connection, limits=limits, guard=guard, metrics=metrics, host_label=host_label)
        )
        self._discovery = Discovery(self._fetch)
        self._headers: CIMultiDict[str] = CIMultiDict()
        self._gate: Callable[[], bool] | None = None
        self._limited = True
        self._deadline_s = REQUEST_DEADLINE_S

    @property
    def connection(self) -> Connection:
        return self.transport.connection

    async def close(self) -> None:
        await self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def derive(
        self,
        *,
        gate: Callable[[], bool] | None = None,
        limited: bool | None = None,
        deadline_s: float | None = None,
        headers: CIMultiDict[str] | None = None,
    ) -> "Client":
        """A view with other settings on the same connections; what is not given stays."""
        view = Client(self.transport)
        view._discovery = self._discovery
        view._headers = self._headers if headers is None else headers
        view._gate = gate or self._gate
        view._limited = self._limited if limited is None else limited
        view._deadline_s = deadline_s or self._deadline_s
        return view

    def impersonate(
        self, user: str, groups: Sequence[str] = (), extra: Mapping[str, Sequence[str]] | None = None
    ) -> "Client":
        """A view that acts as somebody else. Raises ValueError without a user, which would be ourselves."""
        if not user:
            raise ValueError("impersonation needs a user name")
        return self.derive(headers=impersonation_headers(user, groups, extra or {}))

    # -- reads ---------------------------------------------------------------------------------------------

    async def get(self, cls: type[T], name: str, namespace: str = "") -> T:
        """Raises NotFound."""
        answer = await self._send(Call("GET", kind_of(cls).path(namespace, name), idempotent=True))
        return decoder_of(cls).decode(answer.body)

    async def find(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        try:
            return await self.get(cls, name, namespace)
        except NotFound:
            return None

    async def read(self, kind: Kind, name: str, namespace: str = "") -> Manifest:
        """An object of any kind, whole. Raises NotFound."""
        answer = await self._send(Call("GET", kind.path(namespace, name), idempotent=True))
        return msgspec.json.decode(answer.body, type=Manifest)

    async def list(self, cls: type[T], namespace: str = "", *, labels: str = "", fields: str = "") -> list[T]:
        """All objects of a kind, in pages. labels, fields: selectors as kubectl takes them."""
        found: list[T] = []
        decoder = decoder_of(cls)
        async for page in self.pages(kind_of(cls), namespace, labels=labels, fields=fields):
            if page is None:
                found.clear()
            else:
                found.extend(decoder.decode(raw) for raw in page.items or ())
        return found

    async def read_all(
        self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> Sequence[Manifest]:
        """All objects of any kind, whole, but without apiVersion and kind, which lists leave out."""
        found: list[Manifest] = []
        async for page in self.pages(kind, namespace, labels=labels, fields=fields):
            if page is None:
                found.clear()
            else:
                found.extend(msgspec.json.decode(raw, type=Manifest) for raw in page.items or ())
        return found

    async def pages(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        rv: str = "",
        page_size: int = PAGE_SIZE,
    ) -> AsyncGenerator[Page | None]:
        """Pages of one consistent list. None means: forget all pages so far, the list starts anew.

        That happens once at most, when the continue token grew too old (410): then the rest comes whole.
        rv: not older than this version; "" is a quorum read.
        """
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        base = {name: value for name, value in selectors.items() if value}
        if rv:
            base |= {"resourceVersion": rv, "resourceVersionMatch": "NotOlderThan"}
        paging = {"limit": str(page_size)} if page_size else {}
        path = kind.path(namespace)
        restarted = False
        while True:
            try:
                answer = await self._send(
                    Call("GET", path, params=base | paging, idempotent=True, deadline_s=LIST_DEADLINE_S)
                )
            except Gone:
                if restarted or "continue" not in paging:
                    raise
                restarted, paging = True, {}
                yield None
                continue
            page = page_of(answer.body)
            yield page
            if not page.metadata.continue_:
                return
            # The token names the version; the server refuses both together.
            base = {name: value for name, value in selectors.items() if value}
            paging = {"limit": str(page_size), "continue": page.metadata.continue_}

    # -- writes --------------------------------------------------------------------------------------------

    @overload
    async def create(self, obj: T, *, manager: str, dry_run: bool = False) -> T: ...
    @overload
    async def create(self, obj: Manifest, *, manager: str, dry_run: bool = False) -> Manifest: ...

    async def create(
        self, obj: Resource | Manifest, *, manager: str, dry_run: bool = False
    ) -> Resource | Manifest:
        """Raises AlreadyExists. Not repeated when the connection breaks in between: look again first."""
        kind, manifest = await self._resolve(obj)
        params = {"fieldManager": manager} | ({"dryRun": "All"} if dry_run else {})
        path = kind.path(_place(kind, manifest)[0])
        answer = await self._send(Call("POST", path, params=params, body=msgspec.json.encode(manifest)))
        if isinstance(obj, Resource):
            return decoder_of(type(obj)).decode(answer.body)
        return msgspec.json.decode(answer.body, type=Manifest)

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
        """Server-side apply: the whole intent of `manager`; fields it had and leaves out are given up.

        sub: "status" for the status. rv: version the caller knows to be the live one ("" for absent), which
        saves the look before. Raises Conflict when another manager owns a field and force is False.
        """
        kind, manifest = await self._resolve(obj)
        namespace, name = _place(kind, manifest)
        before = await self.version_of(kind, name, namespace) if rv is None else rv
        params = {"fieldManager": manager, "force": "true" if force else "false"}
        if dry_run:
            params["dryRun"] = "All"
        call = Call(
            "PATCH",
            kind.path(namespace, name, sub),
            params=params,
            body=msgspec.json.encode(manifest),
            content_type="application/apply-patch+yaml",
            idempotent=True,
        )
        answer = await self._send(call)
        written = msgspec.json.decode(answer.body, type=Manifest)
        if answer.status == 201:
            return Applied("created", written)
        same = written.get("metadata", {}).get("resourceVersion") == before
        return Applied("unchanged" if same and not dry_run else "configured", written)

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
        """JSON merge patch. rv: raises Conflict unless this is the live version."""
        if rv is not None:
            patch = patch | {"metadata": {**patch.get("metadata", {}), "resourceVersion": rv}}
        return await self._patch(
            cls, key, patch, "application/merge-patch+json", sub, manager, idempotent=rv is not None
        )

    async def json_patch(
        self, cls: type[T], key: Key, ops: Sequence[Mapping[str, Any]], *, sub: str = "", manager: str = ""
    ) -> T:
        """RFC 6902 operations. A failed "test" operation raises Invalid."""
        return await self._patch(cls, key, ops, "application/json-patch+json", sub, manager, idempotent=False)

    async def _patch(
        self,
        cls: type[T],
        key: Key,
        body: object,
        content_type: str,
        sub: str,
        manager: str,
        *,
        idempotent: bool,
    ) -> T:
        call = Call(
            "PATCH",
            kind_of(cls).path(key.namespace, key.name, sub),
            params={"fieldManager": manager} if manager else None,
            body=msgspec.json.encode(body),
            content_type=content_type,
            idempotent=idempotent,
        )
        return decoder_of(cls).decode((await self._send(call)).body)

    async def delete(
        self,
        cls: type[Resource] | Kind,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        rv: str = "",
        propagation: Propagation = "Background",
        grace_period_s: int | None = None,
    ) -> bool:
        """False: it was not there. uid, rv: raises Conflict when the live object is another one."""
        kind = cls if isinstance(cls, Kind) else kind_of(cls)
        options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        preconditions = {"uid": uid, "resourceVersion": rv}
        if any(preconditions.values()):
            options["preconditions"] = {name: value for name, value in preconditions.items() if value}
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        call = Call(
            "DELETE", kind.path(namespace, name), body=msgspec.json.encode(options), idempotent=bool(uid)
        )
        try:
            await self._send(call)
        except NotFound:
            return False
        return True

    # -- other ---------------------------------------------------------------------------------------------

    async def raw(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | CIMultiDict[str] | None = None,
        data: bytes | AsyncIterable[bytes] | None = None,
        content_type: str = "application/json",
        deadline_s: float = LIST_DEADLINE_S,
        sock_read_s: float | None = None,
    ) -> aiohttp.ClientResponse:
        """The answer as it comes, whatever its code, for reading piece by piece; use it as `async with`.

        path: may carry a query. headers: replace ours of the same name. The body is not inflated.
        deadline_s: until the head of the answer; sock_read_s: longest silence within the body.
        """
        together = CIMultiDict(self._headers)
        if headers:
            given = CIMultiDict(headers)
            for name in set(given):
                together.popall(name, None)
            together.extend(given)
        call = Call(
            method,
            path,
            params=params,
            headers=together,
            body=data,
            content_type=content_type,
            deadline_s=deadline_s,
            limited=False,
            gate=self._gate,
        )
        return await self.transport.raw(call, sock_read_s=sock_read_s)

    async def kind_for(self, api_version: str, kind: str) -> Kind:
        """Where objects of a kind live, from the known types or from discovery. Raises NotFound."""
        return await self._discovery.kind_for(api_version, kind)

    async def version_of(self, kind: Kind, name: str, namespace: str = "") -> str:
        """The live resourceVersion; "" when there is no such object."""
        call = Call("GET", kind.path(namespace, name), headers={"Accept": _METADATA_ONLY}, idempotent=True)
        try:
            return _bare.decode((await self._send(call)).body).metadata.resource_version
        except NotFound:
            return ""

    async def _send(self, call: Call) -> Answer:
        changed: dict[str, Any] = {"gate": self._gate, "limited": self._limited}
        if call.deadline_s == REQUEST_DEADLINE_S:
            changed["deadline_s"] = self._deadline_s
        if self._headers:
            together = CIMultiDict(self._headers)
            together.update(call.headers or {})
            changed["headers"] = together
        return await self.transport.request(dataclasses.replace(call, **changed))

    async def _fetch(self, path: str) -> bytes:
        return (await self._send(Call("GET", path, idempotent=True))).body

    async def _resolve(self, obj: Resource | Manifest) -> tuple[Kind, Manifest]:
        if isinstance(obj, Resource):
            return kind_of(type(obj)), to_manifest(obj)
        return await self.kind_for(str(obj.get("apiVersion", "")), str(obj.get("kind", ""))), obj


def impersonation_headers(
    user: str, groups: Sequence[str], extra: Mapping[str, Sequence[str]]
) -> CIMultiDict[str]:
    """Impersonate-* headers. Raises ValueError for a value that would end its header line."""
    headers = CIMultiDict[str]({"Impersonate-User": user})
    for group in groups:
        headers.add("Impersonate-Group", group)
    for name, values in extra.items():
        for value in values:
            headers.add(f"Impersonate-Extra-{quote(name, safe='')}", value)
    for value in headers.values():
        if any(ord(char) < 32 or ord(char) == 127 for char in value):
            raise ValueError("user, groups and extra must not hold control characters")
    return headers


def _place(kind: Kind, manifest: Manifest) -> tuple[str, str]:
    """Namespace and name of a manifest; without a namespace it is "default", as kubectl has it."""
    meta: Mapping[str, Any] = manifest.get("metadata") or {}
    namespace = str(meta.get("namespace") or "default") if kind.namespaced else ""
    return namespace, str(meta.get("name") or "")
