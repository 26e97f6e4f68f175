"""The key that tokens are signed with: the configured one, or one made once and kept in a Secret (X30)."""

import base64
import secrets
from typing import Final

import structlog

from edge.iam.tokens import PLACEHOLDERS, signing_key
from edge_kube.client import Client
from edge_kube.core import Secret as KubeSecret
from edge_kube.errors import AlreadyExists
from edge_sdk.secret import Secret

SECRET_NAME: Final = "edge-platform-secret"  # noqa: S105
SECRET_FIELD: Final = "jwt-secret"  # noqa: S105
MANAGER: Final = "edge-apiserver"

log = structlog.stdlib.get_logger("edge.apiserver")


async def find_signing_key(client: Client, namespace: str, configured: Secret) -> bytes:
    """All replicas come to the same key: whoever creates the Secret first decides. Raises KubeError."""
    if configured.reveal() not in PLACEHOLDERS:
        return signing_key(configured)
    if configured:
        log.warning("jwt_secret_ignored", why="the configured value is published in documents")
    kept = await client.find(KubeSecret, SECRET_NAME, namespace)
    if kept is None:
        kept = await _create(client, namespace)
    value = base64.b64decode(dict(kept.data).get(SECRET_FIELD, "")).decode()
    if value in PLACEHOLDERS:
        raise ValueError(
            f"Secret {namespace}/{SECRET_NAME} has no usable {SECRET_FIELD}; delete it, and one is made"
        )
    return signing_key(Secret(value))


async def _create(client: Client, namespace: str) -> KubeSecret:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET_NAME, "namespace": namespace},
        "type": "Opaque",
        "data": {SECRET_FIELD: base64.b64encode(secrets.token_urlsafe(48).encode()).decode()},
    }
    try:
        await client.create(manifest, manager=MANAGER)
        log.info("jwt_secret_created", namespace=namespace, name=SECRET_NAME)
    except AlreadyExists:
        pass  # another replica was faster; its key counts
    return await client.get(KubeSecret, SECRET_NAME, namespace)
