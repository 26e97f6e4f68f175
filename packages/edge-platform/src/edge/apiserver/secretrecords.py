"""Records that the gateway keeps as Secrets of a type of their own: every replica follows all of them."""

from edge.apiserver.kinds import collection_of
from edge.apiserver.mirror import Mirror
from edge.apiserver.store import Listener
from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.meta import kind_of


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
