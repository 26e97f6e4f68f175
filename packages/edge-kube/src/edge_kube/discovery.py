"""Which resource holds the objects of a kind: known types first, then the server's own discovery, cached."""

import time
from collections.abc import Awaitable, Callable

import msgspec

from edge_kube.errors import NotFound
from edge_kube.meta import Kind, known_kind

_RETRY_S = 1.0


class _ApiResource(msgspec.Struct, frozen=True):
    name: str
    kind: str
    namespaced: bool = False


class _ApiResources(msgspec.Struct, frozen=True):
    resources: list[_ApiResource] | None = None


class Discovery:
    """fetch: path → body. A kind that is not found is asked for again, at most once a second and version."""

    def __init__(self, fetch: Callable[[str], Awaitable[bytes]]) -> None:
        self._fetch = fetch
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._asked_at: dict[str, float] = {}

    async def kind_for(self, api_version: str, kind: str) -> Kind:
        """Raises NotFound with the reason NoSuchKind."""
        known = known_kind(api_version, kind) or self._kinds.get((api_version, kind))
        if known is not None:
            return known
        if not api_version or not kind:
            raise NotFound(404, "NoSuchKind", "the manifest has no apiVersion or no kind")
        if time.monotonic() - self._asked_at.get(api_version, -_RETRY_S) >= _RETRY_S:
            await self._ask(api_version)
        found = self._kinds.get((api_version, kind))
        if found is None:
            raise NotFound(
                404,
                "NoSuchKind",
                f'the cluster serves no kind "{kind}" in {api_version}; '
                "is its CustomResourceDefinition installed?",
            )
        return found

    async def _ask(self, api_version: str) -> None:
        group, _, version = api_version.rpartition("/")
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            body = await self._fetch(path)
        except NotFound:
            self._asked_at[api_version] = time.monotonic()
            return
        self._asked_at[api_version] = time.monotonic()
        for item in msgspec.json.decode(body, type=_ApiResources).resources or ():
            if "/" not in item.name:
                kind = Kind(group, version, item.kind, item.name, item.namespaced)
                self._kinds[(api_version, item.kind)] = kind
