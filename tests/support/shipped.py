"""What the iam room makes by itself when it starts, as tests wait for it."""

import asyncio

from edge.iam.aggregation import template_of
from edge.iam.builtin import everything, roles
from edge.iam.plan import plan_role
from edge.iam.types import Category, IAMRole, IAMRoleBinding, RoleTemplate, User
from edge_kube.harness import Kube

_KINDS = (Category, RoleTemplate, IAMRole, IAMRoleBinding, User)


async def all_shipped(kube: Kube) -> None:
    """Until all built-in objects are there, roles with the templates that they take in, and the rooms know.

    They are made several at a time: the last one says nothing of those before it.
    """
    wanted = {(type(one), one.metadata.name) for one in everything()}
    async with asyncio.timeout(120):
        while not (wanted <= await _there(kube) and await _are_resolved(kube)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await kube.caught_up()


async def _there(kube: Kube) -> set[tuple[type, str]]:
    return {(kind, one.metadata.name) for kind in _KINDS for one in await kube.list(kind)}


async def _are_resolved(kube: Kube) -> bool:
    templates = {one.metadata.name: template_of(one) for one in await kube.list(RoleTemplate)}
    found = {one.metadata.name: one for one in await kube.list(IAMRole)}
    return all(plan_role(found[name], templates, ()).templates is None for name in roles())
