"""Asking the host's API server what somebody may do: a SubjectAccessReview."""

from typing import Any

from edge_kube.client import Client
from edge_kube.runtime import Author


class HostRights:
    def __init__(self, client: Client) -> None:
        """client: ungated, since every replica serves admission."""
        self._client = client

    async def may(self, author: Author, verb: str, group: str, resource: str, name: str) -> bool:
        """Whether the API server lets the author do it, anywhere. Raises KubeError."""
        review: dict[str, Any] = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": author.username,
                "groups": list(author.groups),
                "uid": author.uid,
                "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "name": name},
            },
        }
        answer = await self._client.create(review, manager="edge-iam")
        return bool(answer.get("status", {}).get("allowed"))
