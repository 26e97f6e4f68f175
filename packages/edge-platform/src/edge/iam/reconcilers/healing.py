"""Puts an object of ours back as it ships, whatever was added to or taken from it."""

from typing import Any

import msgspec

from edge.iam.aggregation import strays
from edge.iam.types import Category, IAMRole, IAMRoleBinding, RoleTemplate, User
from edge_kube.meta import Resource, key_of
from edge_kube.runtime import Writer

FIELD_MANAGER = "edge-iam"

Ours = Category | RoleTemplate | IAMRole | IAMRoleBinding | User


async def put_back(client: Writer, wanted: Ours, found: Resource | None) -> None:
    """Make it, or make it right.

    Server-side apply alone would leave what others have added: a rule list that we do not send is theirs. So
    a changed spec is replaced as a whole, for this very object (its uid is tested by the server).
    """
    if isinstance(found, Ours) and found.spec != wanted.spec:
        spec: dict[str, Any] = msgspec.to_builtins(wanted.spec)
        if isinstance(found, IAMRole) and found.spec.aggregated_role_templates:
            spec["aggregatedRoleTemplates"] = list(found.spec.aggregated_role_templates)
        await client.json_patch(
            type(wanted),
            key_of(wanted),
            [
                {"op": "test", "path": "/metadata/uid", "value": found.metadata.uid},
                {"op": "replace", "path": "/spec", "value": spec},
            ],
        )
    if found is not None and (patch := strays(wanted.metadata, found.metadata)):
        await client.merge(type(wanted), key_of(wanted), patch)
    await client.apply(wanted, manager=FIELD_MANAGER)
