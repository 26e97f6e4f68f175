"""The key that the trail's checkpoints are signed with: made once, kept in a Secret, known by a ConfigMap.

The public halves of all keys that ever signed stay in the ConfigMap, apart from the records: who can write to
the volume alone cannot have a key of their own trusted. To turn the key, delete the Secret and restart.
"""

import base64
import contextlib
from collections.abc import Iterable
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge.apiserver.mirrors.secretrecords import MANAGER
from edge.audit.statements import key_name, public_text
from edge_kube.client import Client
from edge_kube.core import ConfigMap, Secret
from edge_kube.errors import AlreadyExists
from edge_kube.meta import Key

SECRET_NAME: Final = "edge-audit-key"  # noqa: S105
FIELD: Final = "ed25519"
KEYS_NAME: Final = "edge-audit-keys"

log = structlog.stdlib.get_logger("edge.apiserver")


async def find_audit_key(client: Client, namespace: str) -> Ed25519PrivateKey:
    """All replicas sign with the same key. Raises KubeError, ValueError for a Secret that holds no key."""
    kept = await client.find(Secret, SECRET_NAME, namespace)
    if kept is None:
        made = base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET_NAME, "namespace": namespace},
            "type": "Opaque",
            "data": {FIELD: made},
        }
        with contextlib.suppress(AlreadyExists):  # another replica was faster; its key counts
            await client.create(manifest, manager=MANAGER)
            log.info("audit_key_created", namespace=namespace, name=SECRET_NAME)
        kept = await client.get(Secret, SECRET_NAME, namespace)
    try:
        raw = base64.b64decode(dict(kept.data).get(FIELD, ""))
        return Ed25519PrivateKey.from_private_bytes(raw)
    except ValueError:
        raise ValueError(
            f"Secret {namespace}/{SECRET_NAME} has no Ed25519 key in {FIELD}; delete it, and one is made"
        ) from None


async def publish_keys(
    client: Client, namespace: str, own: Ed25519PublicKey, others: Iterable[Ed25519PublicKey] = ()
) -> None:
    """Make the own key known. others: what signed before anything was published. Raises KubeError."""
    kept = await client.find(ConfigMap, KEYS_NAME, namespace)
    if kept is None:
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": KEYS_NAME, "namespace": namespace},
            "data": {key_name(key): public_text(key) for key in (*others, own)},
        }
        with contextlib.suppress(AlreadyExists):
            await client.create(manifest, manager=MANAGER)
            return
        kept = await client.get(ConfigMap, KEYS_NAME, namespace)
    if kept.data.get(key_name(own)) != public_text(own):
        patch = {"data": {key_name(own): public_text(own)}}
        await client.merge(ConfigMap, Key(namespace, KEYS_NAME), patch, manager=MANAGER)
        log.info("audit_key_published", namespace=namespace, key=key_name(own))


async def known_keys(client: Client, namespace: str) -> list[str]:
    """Texts of the keys that are published. Raises KubeError."""
    kept = await client.find(ConfigMap, KEYS_NAME, namespace)
    return [] if kept is None else list(kept.data.values())
