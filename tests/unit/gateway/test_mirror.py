"""What a mirror takes of what its watch brings (I6, I12)."""

import json

from edge.apiserver.mirrors.kinds import collection_of
from edge.apiserver.mirrors.mirror import Mirror
from edge_kube.client import Client
from edge_kube.config import Connection
from edge_kube.core import Secret
from edge_kube.meta import Key, kind_of

KEY = Key("edge-system", "one")


def secret(version: int, text: str) -> bytes:
    metadata = {"name": KEY.name, "namespace": KEY.namespace, "resourceVersion": str(version)}
    return json.dumps({"metadata": metadata, "type": text}).encode()


def event(kind: str, raw: bytes) -> bytes:
    return b'{"type":"%s","object":%s}' % (kind.encode(), raw)


def test_an_event_that_comes_late_takes_nothing_back_that_this_process_has_written() -> None:
    """As when a program's secret is renewed here while somebody else's change of it is still under way."""
    kind = kind_of(Secret)
    collection = collection_of(kind, None)
    mirror = Mirror(Client(Connection("http://127.0.0.1:1")), kind, collection)
    collection.keep_only((), "1")
    mirror._take(event("ADDED", secret(5, "at first")))
    collection.put(secret(9, "written here"))
    assert mirror._take(event("MODIFIED", secret(8, "by somebody else"))) == "8"
    kept = collection.get(KEY)
    assert kept is not None
    assert kept.resource_version == "9"
    mirror._take(event("MODIFIED", secret(12, "later")))
    kept = collection.get(KEY)
    assert kept is not None
    assert kept.resource_version == "12"
