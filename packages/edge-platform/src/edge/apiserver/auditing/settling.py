"""What became of a change whose outcome nobody knows: its object is read back in its author's name.

Only what can be told for certain is told: whether something that was to be created or deleted is there, and
since when. The rest stays `unknown`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from edge.apiserver.headers import sent_as
from edge.apiserver.paths import Resource, Target, native_segments
from edge.apiserver.upstreams.members import Members
from edge.apiserver.upstreams.upstream import Upstream
from edge.audit.record import Record
from edge_sdk.access import Caller

WITHIN_S: Final = 10.0
SKEW_S: Final = 5
"""How far the clocks of a gateway and of an API server may be apart."""
MADE: Final = "read back: it was made"
NOT_MADE: Final = "read back: it was not made"


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str = ""


class _Object(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()


class Settler:
    def __init__(self, host: Upstream, members: Members, is_admin: Callable[[str], bool]) -> None:
        self._host = host
        self._members = members
        self._is_admin = is_admin

    async def settle(self, record: Record) -> tuple[int, str, str] | None:
        """(code, reason, resourceVersion), None for what cannot be told. Raises what requests raise."""
        req = record.req
        if req.verb not in ("create", "delete") or not (req.name and req.resource) or req.sub or req.dry_run:
            return None
        found = await self._read(record)
        if found is None:
            return None
        status, meta = found
        if status == 404:
            return (200, MADE, "") if req.verb == "delete" else (503, NOT_MADE, "")
        older_s = record.began // 1000 - _seconds(meta.creation_timestamp)
        if 0 < older_s <= SKEW_S:
            return None  # two machines' clocks: it may have been there before, or be what was made
        made_since = older_s <= 0
        if req.verb == "create":
            return (
                (201, MADE, meta.resource_version) if made_since else (503, NOT_MADE, meta.resource_version)
            )
        if meta.deletion_timestamp:
            return 202, MADE, meta.resource_version
        return (200, MADE, "") if made_since else (503, NOT_MADE, meta.resource_version)

    async def _read(self, record: Record) -> tuple[int, _Meta] | None:
        req = record.req
        resource = Resource(req.group, req.version, req.resource, req.namespace, req.name)
        path = Target(native_segments(resource), ()).rebuilt()
        author = Caller(record.actor.user, groups=record.actor.groups)
        identity = sent_as(author, is_admin=self._is_admin(author.name), member=bool(req.cluster))

        async def send(upstream: Upstream) -> tuple[int, _Meta] | None:
            response = await upstream.request("GET", path, identity=identity, timeout_s=WITHIN_S)
            async with response:
                if response.status not in (200, 404):
                    return None
                body = await response.read()
            return response.status, msgspec.json.decode(body, type=_Object).metadata

        if req.cluster:
            return await self._members.member(req.cluster).call(send)
        return await send(self._host)


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) if text else 0
