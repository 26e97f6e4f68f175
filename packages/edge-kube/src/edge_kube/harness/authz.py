"""How a kube-apiserver is told to ask an authorization webhook (AuthorizationConfiguration, from 1.32 on)."""

import base64
from pathlib import Path
from typing import Any, Final

import yaml

from edge_kube.harness.pki import TestAuthority

CLIENT_NAME: Final = "kube-apiserver-reviews"
CACHED: Final = "500ms"


def authorization_config(folder: Path, url: str, authority: TestAuthority) -> dict[str, Any]:
    """Webhook, then Node and RBAC. Writes the kubeconfig with the webhook's address into the folder."""
    client = authority.issue(CLIENT_NAME)
    kubeconfig = folder / "reviews.kubeconfig"
    cluster = {"server": url, "certificate-authority-data": _base64(authority.cert)}
    user = {"client-certificate-data": _base64(client.cert), "client-key-data": _base64(client.key)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "reviews", "cluster": cluster}],
        "users": [{"name": "apiserver", "user": user}],
        "contexts": [{"name": "reviews", "context": {"cluster": "reviews", "user": "apiserver"}}],
        "current-context": "reviews",
    }
    kubeconfig.write_text(yaml.safe_dump(content))
    webhook = {
        "authorizedTTL": CACHED,
        "unauthorizedTTL": CACHED,
        "timeout": "1s",
        "subjectAccessReviewVersion": "v1",
        "matchConditionSubjectAccessReviewVersion": "v1",
        "failurePolicy": "NoOpinion",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(kubeconfig)},
        "matchConditions": [{"expression": "!('system:masters' in request.groups)"}],
    }
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": [
            {"type": "Webhook", "name": "edge", "webhook": webhook},
            {"type": "Node", "name": "node"},
            {"type": "RBAC", "name": "rbac"},
        ],
    }


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
