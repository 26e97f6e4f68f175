"""One object as a subscription shows it: whole, or without all but its status. Pure."""

import hashlib
from typing import Any, Literal

import msgspec

from edge.apiserver.masking import as_map
from edge.apiserver.mirrors.store import Stored


class ObjectView:
    """Each change is a new `snap`; an object that is gone ends the subscription, which others look after."""

    def __init__(self, stored: Stored, fields: Literal["status", "all"]) -> None:
        self.tick = 0
        self._fields = fields
        self.put(stored)

    def put(self, stored: Stored) -> bool:
        """True when what is shown has changed."""
        if self.tick and self.version == stored.resource_version:
            return False
        self.version = stored.resource_version
        raw = stored.raw if self._fields == "all" else _status_only(stored.raw)
        digest = hashlib.blake2b(raw, digest_size=9).hexdigest()
        if self.tick and digest == self.hash:
            return False
        self._raw, self.hash = raw, digest
        self.tick += 1
        return True

    @property
    def rv(self) -> str:
        return f"{self.version}-{self.hash}"

    def snap(self) -> bytes:
        head = msgspec.json.encode({"rv": self.rv, "hash": self.hash, "total": 1})
        return b'%s,"object":%s}' % (head[:-1], self._raw)

    def news(self, since: int) -> tuple[str, bytes]:
        return "snap", self.snap()


class Blank:
    """What is shown of a cluster that has not answered yet: nothing, until there is something."""

    tick = 0
    rv = "0-"
    hash = ""

    def __init__(self, *, is_object: bool) -> None:
        shown: dict[str, Any] = {"object": None} if is_object else {"columns": (), "rows": ()}
        self._body = msgspec.json.encode({"rv": self.rv, "hash": self.hash, "total": 0, **shown})

    def snap(self) -> bytes:
        return self._body

    def news(self, since: int) -> tuple[str, bytes]:
        return "snap", self._body


def _status_only(raw: bytes) -> bytes:
    obj: dict[str, Any] = as_map(msgspec.json.decode(raw))
    metadata = as_map(obj.get("metadata"))
    kept = {key: metadata[key] for key in ("name", "namespace", "uid", "generation") if key in metadata}
    if "deletionTimestamp" in metadata:
        kept["deletionTimestamp"] = metadata["deletionTimestamp"]
    shown = {key: obj.get(key) for key in ("apiVersion", "kind")}
    return msgspec.json.encode({**shown, "metadata": kept, "status": obj.get("status") or {}})
