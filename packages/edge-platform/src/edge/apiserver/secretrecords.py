"""Records that the gateway keeps as Secrets of a type of their own: every replica follows all of them."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from edge.apiserver.kinds import collection_of
from edge.apiserver.mirror import Mirror
from edge.apiserver.store import Listener
from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.meta import kind_of
from edge_kube.wire import ObjectDecoder, UndecodableError

GONE_REMEMBERED: Final = 10_000

Record = TypeVar("Record")
log = structlog.stdlib.get_logger("edge.apiserver")
_DECODER: Final = ObjectDecoder(Secret)


def mirror_of_secrets(
    client: Client, namespace: str, secret_type: str, changed: Listener, *, relist_s: float
) -> Mirror:
    """changed: told of each record, as it was and as it is. Other Secrets never reach this process."""
    kind = kind_of(Secret)
    return Mirror(
        client,
        kind,
        collection_of(kind, changed),
        relist_s=relist_s,
        namespace=namespace,
        fields=f"type={secret_type}",
    )


def record_in(raw: bytes, read: Callable[[Secret], Record | None], what: str) -> Record | None:
    """A record that cannot be read counts as absent, and the log says so. what: "a session"."""
    name = ""
    try:
        secret = _DECODER.decode(raw)
        name, record = secret.metadata.name, read(secret)
    except UndecodableError:
        record = None
    if record is None:
        log.warning("object_not_understood", name=name, error=f"no record of {what}")
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
