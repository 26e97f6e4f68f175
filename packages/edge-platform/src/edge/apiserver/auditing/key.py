"""The key that the trail's checkpoints are signed with: made once, kept in a Secret."""

import base64
import contextlib
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.apiserver.mirrors.secretrecords import MANAGER
from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.errors import AlreadyExists

SECRET_NAME: Final = "edge-audit-key"  # noqa: S105
FIELD: Final = "ed25519"

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
