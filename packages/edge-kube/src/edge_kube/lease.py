"""The four requests an elector makes about its one Lease, outside the limits and gates of other requests."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from edge_kube.backoff import Backoff
from edge_kube.core import Lease
from edge_kube.errors import KubeError, NotFound
from edge_kube.meta import kind_of
from edge_kube.transport import Call, Transport
from edge_kube.wire import LineSplitter, ObjectDecoder, envelope_of, page_of

BOOT_ANNOTATION = "theriseunion.io/boot"
REQUEST_S = 3.0  # a lease request that takes longer is as good as lost; the next try opens a new connection
_IDLE_S = 70.0  # the server sends a bookmark each minute
_RECONNECT = Backoff(base_s=0.5, cap_s=5.0)


class LeaseApi:
    """One Lease by name. Methods raise KubeError; Conflict and AlreadyExists mean: somebody was faster."""

    def __init__(self, transport: Transport, name: str, namespace: str) -> None:
        self._transport = transport
        self._namespace = namespace
        self.name = name
        self._collection = kind_of(Lease).path(namespace)
        self._path = kind_of(Lease).path(namespace, name)
        self._decoder = ObjectDecoder(Lease)

    async def read(self) -> Lease | None:
        """The Lease as a quorum of etcd has it."""
        try:
            answer = await self._transport.request(self._call("GET", self._path, idempotent=True))
        except NotFound:
            return None
        return self._decoder.decode(answer.body)

    async def create(self, spec: dict[str, Any], boot: str) -> Lease:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self.name,
                "namespace": self._namespace,
                "annotations": {BOOT_ANNOTATION: boot},
            },
            "spec": spec,
        }
        return await self._send("POST", self._collection, body, "application/json")

    async def write(self, rv: str, spec: dict[str, Any], boot: str) -> Lease:
        """Change the Lease if it is still at version rv, else raise Conflict."""
        meta = {"resourceVersion": rv, "annotations": {BOOT_ANNOTATION: boot}}
        return await self._send(
            "PATCH", self._path, {"metadata": meta, "spec": spec}, "application/merge-patch+json"
        )

    async def follow(self, seen: Callable[[Lease | None], None]) -> None:
        """Report the Lease now and on each change, until cancelled. Survives any failure."""
        failures = 0
        while True:
            with suppress(KubeError, TimeoutError):
                rv = await self._list(seen)
                failures = 0
                await self._watch(rv, seen)
            failures += 1
            await asyncio.sleep(_RECONNECT.delay_s(failures))

    async def _list(self, seen: Callable[[Lease | None], None]) -> str:
        answer = await self._transport.request(
            self._call("GET", self._collection, idempotent=True, params=self._selector())
        )
        page = page_of(answer.body)
        seen(self._decoder.decode(page.items[0]) if page.items else None)
        return page.metadata.resource_version

    async def _watch(self, rv: str, seen: Callable[[Lease | None], None]) -> None:
        params = {
            **self._selector(),
            "watch": "1",
            "resourceVersion": rv,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": "200",
        }
        call = self._call("GET", self._collection, params=params)
        splitter = LineSplitter()
        async with self._transport.stream(call, sock_read_s=_IDLE_S) as response:
            async for chunk in response.content.iter_any():
                for line in splitter.feed(chunk):
                    event = envelope_of(line)
                    if event.type == "ERROR":
                        return
                    if event.type != "BOOKMARK":
                        lease = self._decoder.decode(event.object)
                        seen(None if event.type == "DELETED" else lease)

    async def _send(self, method: str, path: str, body: dict[str, Any], content_type: str) -> Lease:
        answer = await self._transport.request(
            Call(
                method,
                path,
                body=msgspec.json.encode(body),
                content_type=content_type,
                deadline_s=REQUEST_S,
                limited=False,
            )
        )
        return self._decoder.decode(answer.body)

    def _call(
        self, method: str, path: str, *, idempotent: bool = False, params: dict[str, str] | None = None
    ) -> Call:
        return Call(method, path, params=params, deadline_s=REQUEST_S, idempotent=idempotent, limited=False)

    def _selector(self) -> dict[str, str]:
        return {"fieldSelector": f"metadata.name={self.name}"}


def micro_time() -> str:
    """Now as MicroTime. For people to read: no candidate compares it with its own clock."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
