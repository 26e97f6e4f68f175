"""Lists from a Kubernetes API in the caller's name: which kinds it serves, page by page, and all of some.

Everything has a bound: a page, the objects of one answer, the lists under way. Source: G1–G3; design §8.3.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import msgspec

from edge.apiserver.masking import Json, as_map
from edge.apiserver.paths import Resource, Target, native_segments
from edge.apiserver.rows.cursors import expired
from edge.apiserver.upstreams.members import Members
from edge.apiserver.upstreams.upstream import Headers, Upstream
from edge_sdk.problem import Forbidden, Missing, Problem, Unavailable

PAGE: Final = 500
OBJECTS_MAX: Final = 2_000
AT_ONCE: Final = 8
BODY_MAX_BYTES: Final = 128 * 1024 * 1024
KINDS_KEPT_S: Final = 60.0
KINDS_KEPT: Final = 2_000
TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io"
PLAIN: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked of upstream lists, whichever cluster or namespace they are of."""

    identity: Headers
    labels: str = ""
    fields: str = ""
    table: bool = False
    timeout_s: float = 30.0
    most: int = OBJECTS_MAX
    """Objects of one cluster or namespace; what is beyond them is not read."""


@dataclass(slots=True)
class Fetched:
    """objects: decoded, as they came. more: upstream's token, "" at the end. remaining: what is behind it.

    columns, cells: of a table, the cells for each object.
    """

    objects: list[Json] = field(default_factory=list[Json])
    more: str = ""
    remaining: int = 0
    columns: list[Json] = field(default_factory=list[Json])
    cells: list[list[Any]] = field(default_factory=list[list[Any]])

    def add(self, other: "Fetched") -> None:
        self.objects += other.objects
        self.cells += other.cells
        self.columns = self.columns or other.columns
        self.more, self.remaining = other.more, other.remaining


class Lists:
    def __init__(self, host: Upstream, members: Members) -> None:
        self._host = host
        self._members = members
        self._kinds: dict[tuple[str, str, str], tuple[float, dict[str, bool]]] = {}

    async def is_namespaced(self, resource: Resource, cluster: str, identity: Headers) -> bool:
        """Raises Missing (404) for a kind that the cluster does not serve."""
        about = (cluster, resource.group, resource.version)
        known = self._kinds.get(about)
        if known is None or time.monotonic() > known[0]:
            root = f"/apis/{resource.group}" if resource.group else "/api"
            found = await self.get(f"{root}/{resource.version}", cluster, identity, PLAIN, 10.0)
            kinds = {str(one.get("name")): bool(one.get("namespaced")) for one in _maps(found, "resources")}
            if len(self._kinds) >= KINDS_KEPT:
                self._kinds.clear()
            known = self._kinds[about] = (time.monotonic() + KINDS_KEPT_S, kinds)
        if resource.resource not in known[1]:
            raise _no_such_kind(resource)
        return known[1][resource.resource]

    async def page(
        self, resource: Resource, cluster: str, asking: Asking, *, limit: int = PAGE, more: str = ""
    ) -> Fetched:
        """One page. Raises Missing, Forbidden, Expired, Problem, Unavailable, Unreachable, TimeoutError."""
        query = {"limit": str(limit), "continue": more}
        query |= {"labelSelector": asking.labels, "fieldSelector": asking.fields}
        query |= {"includeObject": "Object"} if asking.table else {}
        wanted = Target(native_segments(resource), ()).rebuilt()
        path = f"{wanted}?{urlencode({key: value for key, value in query.items() if value})}"
        accept = TABLE if asking.table else PLAIN
        return _read(await self.get(path, cluster, asking.identity, accept, asking.timeout_s))

    async def all(
        self, resource: Resource, cluster: str, asking: Asking, namespaces: Sequence[str] | None
    ) -> Fetched:
        """Everything there is, up to a bound; `more` tells when it was reached."""
        if namespaces is None:
            return await self._whole(resource, cluster, asking)
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(namespace: str) -> Fetched:
            inside = _in_namespace(resource, namespace)
            async with gate:
                return await self._whole(inside, cluster, asking)

        out = Fetched()
        for found in await _together([one(namespace) for namespace in namespaces]):
            more = out.more or found.more
            out.add(found)
            out.more = more
        return out

    async def _whole(self, resource: Resource, cluster: str, asking: Asking) -> Fetched:
        size = min(PAGE, asking.most)
        out = await self.page(resource, cluster, asking, limit=size)
        while out.more and len(out.objects) < asking.most:
            out.add(await self.page(resource, cluster, asking, limit=size, more=out.more))
        return out

    async def get(self, path: str, cluster: str, identity: Headers, accept: str, timeout_s: float) -> Json:
        """A document of the Kubernetes API. path: encoded path and query. Raises as `page`."""
        headers = [("Accept", accept)]
        return _document(*await self.ask("GET", path, cluster, identity, headers, timeout_s))

    async def ask(
        self,
        method: str,
        path: str,
        cluster: str,
        identity: Headers,
        headers: Headers,
        timeout_s: float,
        body: bytes | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of an answer. Raises Missing, Unavailable, Unreachable, TimeoutError."""

        async def send(upstream: Upstream) -> tuple[int, bytes]:
            response = await upstream.request(
                method, path, identity=identity, headers=headers, body=body, timeout_s=timeout_s
            )
            async with response:
                return response.status, await _bounded(response)

        if cluster:
            return await self._members.member(cluster).call(send)
        return await send(self._host)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """A member is not ours: what it sends must not fill this process."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > BODY_MAX_BYTES:
            raise Unavailable(
                "upstream-failed",
                what="The Kubernetes API answered with more than was asked for",
                why=f"one page is longer than {BODY_MAX_BYTES >> 20} MiB",
                do="ask with a smaller limit, or narrow the list",
                status=502,
            )
    return bytes(body)


async def _together(work: Sequence[Any]) -> list[Fetched]:
    """All or nothing: the first failure ends the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _in_namespace(resource: Resource, namespace: str) -> Resource:
    return Resource(resource.group, resource.version, resource.resource, namespace)


def _read(found: Json) -> Fetched:
    meta = as_map(found.get("metadata"))
    more, remaining = str(meta.get("continue") or ""), meta.get("remainingItemCount")
    out = Fetched(more=more, remaining=remaining if isinstance(remaining, int) else 0)
    if "rows" in found or "columnDefinitions" in found:
        out.columns = _maps(found, "columnDefinitions")
        for one in _maps(found, "rows"):
            out.objects.append(as_map(one.get("object")))
            out.cells.append(list(one.get("cells") or ()))
    else:
        out.objects = _maps(found, "items")
    return out


def _maps(found: Json, key: str) -> list[Json]:
    return [as_map(one) for one in found.get(key) or ()]


def _document(status: int, body: bytes) -> Json:
    try:
        found = as_map(msgspec.json.decode(body))
    except msgspec.DecodeError:
        found = {}
    if status == 200 and found:
        return found
    said = str(found.get("message") or f"status {status}")[:500]
    if status == 404:
        raise Missing("not-found", what="The cluster does not serve this kind", why=said)
    if status == 403:
        raise Forbidden("forbidden", what=said, do="a right that was just given may take a second; try again")
    if status == 410:
        raise expired()
    if status in (400, 422):
        raise Problem("bad-selector", what="The Kubernetes API refuses the list", why=said, do="correct it")
    raise Unavailable(
        "upstream-failed", what="The Kubernetes API did not answer the list", why=said, do="try again"
    )


def _no_such_kind(resource: Resource) -> Missing:
    about = f"{resource.group or 'core'}/{resource.version}"
    return Missing(
        "unknown-resource",
        what=f'There is no resource "{resource.resource}" in {about}',
        do="use one that /apis lists, by its plural name",
    )
