"""The one writer of status: at most once a reconcile, fenced, and only when something differs (P6, R2).

Promises
- Equal status, no request. Absent equals empty, the order of conditions does not matter.
- The write carries uid and resourceVersion of what the reconcile read: from a stale view, or by a deposed
  leader, it ends in a Conflict and the request is simply made again.
- One field manager per room; fields that others own in the same status stay.
Not promised: that a status which nobody reconciles is kept true.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from edge_kube.conditions import condition, stamp
from edge_kube.meta import Condition, Manifest, Model, Resource, kind_of
from edge_kube.reconcile import Fence, Writer

READY = "Ready"


class StatusWriter:
    """Keeps, for each object it wrote, what it meant to say; `forget` when the object is gone."""

    def __init__(self, client: Writer, manager: str, now: Callable[[], str]) -> None:
        """manager: edge-<room>-status. now: RFC 3339 time, whole seconds."""
        self._client = client
        self._manager = manager
        self._trouble_manager = manager.removesuffix("-status") + "-trouble"
        self._now = now
        self._intents: dict[str, Manifest] = {}  # uid → compared form of the last intent
        self._settled: dict[str, str] = {}  # uid → resourceVersion at which the intent was in place

    async def write(self, obj: Resource, status: Model, fence: Fence) -> bool:
        """Bring obj's status to `status`; whether a request was sent. Raises Conflict from a stale view."""
        wanted = self._complete(obj, status)
        intent = comparable(wanted)
        uid = obj.metadata.uid
        if intent == comparable(_status_of(obj)):
            self._intents[uid] = intent
            return False
        if self._intents.get(uid) == intent and self._settled.get(uid) == obj.metadata.resource_version:
            return False  # the rest of the status is somebody else's
        self._intents[uid] = intent  # before the request: its echo may come first
        applied = await self._client.apply(
            _body(obj, wanted, fence), manager=self._manager, sub="status", rv=fence.rv
        )
        version = str(applied.obj["metadata"]["resourceVersion"])
        self._settled[uid] = version
        fence.rv = version
        return True

    async def write_trouble(self, obj: Resource, reason: str, message: str, fence: Fence) -> bool:
        """Say in the Ready condition why there was no result. False where the kind has no conditions.

        A manager of its own: the room's other fields, which it could not compute, are not given up.
        """
        have = _conditions(obj)
        if have is None:
            return False
        want = Condition(type=READY, status="False", reason=reason, message=message)
        ready = condition(have, READY)
        if ready is not None and (ready.status, ready.reason, ready.message) == ("False", reason, message):
            return False
        (want,) = stamp((want,), have, obj.metadata.generation, self._now())
        body = _body(obj, {"conditions": [msgspec.to_builtins(want)]}, fence)
        others = tuple(item for item in have if item.type != READY)
        expected = msgspec.structs.replace(_status_of(obj), conditions=(*others, want))
        self._intents[obj.metadata.uid] = comparable(expected)
        applied = await self._client.apply(body, manager=self._trouble_manager, sub="status", rv=fence.rv)
        fence.rv = str(applied.obj["metadata"]["resourceVersion"])
        return True

    def is_echo(self, obj: Resource) -> bool:
        """Whether obj's status is what this writer last meant to say."""
        intent = self._intents.get(obj.metadata.uid)
        return intent is not None and intent == comparable(_status_of(obj))

    def forget(self, uid: str) -> None:
        self._intents.pop(uid, None)
        self._settled.pop(uid, None)

    def _complete(self, obj: Resource, status: Model) -> Manifest:
        """Fill what rooms leave to the runtime: the generation that was read, and times of transition."""
        generation = obj.metadata.generation
        changes: dict[str, Any] = {}
        if not getattr(status, "observed_generation", 1):
            changes["observed_generation"] = generation
        wanted = getattr(status, "conditions", ())
        if wanted:
            changes["conditions"] = stamp(wanted, _conditions(obj) or (), generation, self._now())
        return msgspec.to_builtins(msgspec.structs.replace(status, **changes) if changes else status)


def comparable(status: Any) -> Manifest:
    """A form in which equal statuses are equal: empty values left out, conditions by type."""
    plain = msgspec.to_builtins(status) if isinstance(status, msgspec.Struct) else status
    if not isinstance(plain, Mapping):
        return {}
    slim: Manifest = _without_empty(plain)
    conditions = slim.get("conditions")
    if conditions:
        slim["conditions"] = {item["type"]: item for item in conditions}
    return slim


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        slim = {name: _without_empty(item) for name, item in items}
        return {name: item for name, item in slim.items() if item not in (None, "", [], {})}
    if isinstance(value, list | tuple):
        return [_without_empty(item) for item in cast("Sequence[Any]", value)]
    return value


def _status_of(obj: Resource) -> Any:
    return getattr(obj, "status", None)


def _conditions(obj: Resource) -> tuple[Condition, ...] | None:
    return getattr(_status_of(obj), "conditions", None)


def _body(obj: Resource, status: Manifest, fence: Fence) -> Manifest:
    kind = kind_of(type(obj))
    meta = {"name": obj.metadata.name, "uid": fence.uid, "resourceVersion": fence.rv}
    if kind.namespaced:
        meta["namespace"] = obj.metadata.namespace
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta, "status": status}
