"""Records that the gateway keeps as Secrets of a type of their own: every replica follows all of them.

That what is known of them is new is proven as it is for rights, when somebody needs it: by writing to a
Secret of the type that holds nothing, and waiting until the same watch is as far (I12; docs/decisions/006).
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from edge.apiserver.mirrors.kinds import collection_of
from edge.apiserver.mirrors.mirror import Mirror
from edge.apiserver.mirrors.store import Listener
from edge.iam.beats import Beats, write_beat
from edge.iam.freshness import CUT_OFF_S, is_new
from edge.iam.heartbeat import HEARTBEAT
from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.meta import Key, Manifest, kind_of
from edge_kube.wire import ObjectDecoder, UndecodableError
from edge_sdk.problem import Unavailable

MANAGER: Final = "edge-apiserver"
"""Of all fields that the gateway writes for itself."""
GONE_REMEMBERED: Final = 10_000
_ABOUT: Final = "Holds nothing. The gateway writes to it to learn that it knows all records of this type."

Record = TypeVar("Record")
log = structlog.stdlib.get_logger("edge.apiserver")
_DECODER: Final = ObjectDecoder(Secret)


class SecretRecords:
    """The records of one type, as this process knows them. Run `mirror`; ask `require` before each use."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        secret_type: str,
        changed: Listener,
        *,
        of: str,
        unknown: str,
        relist_s: float,
    ) -> None:
        """changed: told of each record, as it was and as it is. Other Secrets never reach this process.

        of: what they are, as a word of names and codes. unknown: the question that is open without them.
        """
        self._client = client
        self._of = of
        self._unknown = unknown
        self._beat: Manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": secret_type,
            "metadata": {"name": f"{HEARTBEAT}-{of}", "namespace": namespace},
        }
        self.beats = Beats(of, {of: self._write})
        kind = kind_of(Secret)
        self.mirror = Mirror(
            client,
            kind,
            collection_of(kind, self._without_beat(changed)),
            relist_s=relist_s,
            namespace=namespace,
            fields=f"type={secret_type}",
            reached=lambda version: self.beats.heard(of, version),
        )

    @property
    def is_known(self) -> bool:
        """Whether it is known which records there are."""
        return self.mirror.collection.synced and self.mirror.silence_s() <= CUT_OFF_S

    def require(self) -> None:
        """Raises Unavailable (503) unless `is_known`."""
        if not self.is_known:
            raise self._unavailable("the Kubernetes API has not been heard of")

    @property
    def is_new(self) -> bool:
        """Whether the latest of `beats` shows that no record has gone since the question came."""
        return is_new(self.beats.age_s())

    def require_new(self) -> None:
        """Raises Unavailable (503) unless `is_new`."""
        if not self.is_new:
            raise self._unavailable(
                "that may have changed since it was last heard of, and this request changes something"
            )

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(
            f"{self._of}-not-known",
            what="The request was not decided",
            why=f"{self._unknown} is not known: {why}",
            do="try again in a second",
        )

    def _without_beat(self, changed: Listener) -> Listener:
        name = self._beat["metadata"]["name"]

        def told(key: Key, old: bytes | None, new: bytes | None) -> None:
            if key.name != name:
                changed(key, old, new)

        return told

    async def _write(self) -> int:
        # An apply that changes nothing would give an old version, so each brings a text of its own.
        notes = {"theriseunion.io/description": _ABOUT, "iam.theriseunion.io/beat": secrets.token_hex(8)}
        metadata = {**self._beat["metadata"], "annotations": notes}
        return await write_beat(self._client, {**self._beat, "metadata": metadata}, MANAGER)


def record_in(key: Key, raw: bytes, read: Callable[[Secret], Record | None], what: str) -> Record | None:
    """A record that cannot be read counts as absent, and the log says so. what: "a session"."""
    try:
        record = read(_DECODER.decode(raw))
    except UndecodableError:
        record = None
    if record is None:
        log.warning("object_not_understood", name=key.name, error=f"no record of {what}")
    return record


class Gone:
    """Ids of the records that went last: an event or a token that was under way brings none of them back."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids

    def add(self, id_: str) -> None:
        self._ids[id_] = None
        if len(self._ids) > GONE_REMEMBERED:
            self._ids.popitem(last=False)
