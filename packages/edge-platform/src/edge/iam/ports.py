"""What the iam room needs from outside."""

from typing import Protocol

from edge_kube.runtime import Author


class NativeRights(Protocol):
    """The RBAC of the host itself, for people and programs that are no users of the platform."""

    async def may(self, author: Author, verb: str, group: str, resource: str, name: str) -> bool:
        """Whether the API server lets the author do it, anywhere. Raises KubeError."""
        ...
