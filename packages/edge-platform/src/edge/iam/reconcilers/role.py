"""Shows on each role what it is made of and how many have it."""

from edge.iam.aggregation import Recipe, recipe_of, resolve, template_of
from edge.iam.plan import plan_role
from edge.iam.types import IAMRole, IAMRoleBinding, RoleTemplate
from edge_kube.errors import NotFound
from edge_kube.meta import Key
from edge_kube.reconcile import advance_fence
from edge_kube.runtime import DONE, Reader, Request, Result, Writer

BY_ROLE = "role"
"""Index of bindings by the role that they name."""


class RoleReconciler:
    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        role = self._cache.get(IAMRole, request.name)
        if role is None or role.metadata.deletion_timestamp:
            return DONE
        templates = {one.metadata.name: template_of(one) for one in self._cache.list(RoleTemplate)}
        plan = plan_role(role, templates, self._cache.by(IAMRoleBinding, BY_ROLE, request.name))
        if plan.templates is not None:
            await _show_templates(self._client, request.name, plan.templates)
        return Result(status=plan.status)


class TemplateReconciler:
    """Brings a changed, new or deleted template into the roles that take it in, without waiting for them."""

    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        templates = {one.metadata.name: template_of(one) for one in self._cache.list(RoleTemplate)}
        known: dict[Recipe, tuple[str, ...]] = {}
        for role in self._cache.list(IAMRole):
            recipe = recipe_of(role)
            if recipe is None or role.metadata.deletion_timestamp:
                continue
            if recipe not in known:  # instance roles by the thousand share a recipe
                known[recipe] = resolve(recipe, templates).templates
            if role.spec.aggregated_role_templates != known[recipe]:
                await _show_templates(self._client, role.metadata.name, known[recipe])
        return DONE


async def _show_templates(client: Writer, role: str, templates: tuple[str, ...]) -> None:
    """A patch, not an apply: an apply would bring back a role that has just been deleted."""
    patch = {"spec": {"aggregatedRoleTemplates": list(templates)}}
    try:
        advance_fence(await client.merge(IAMRole, Key("", role), patch))
    except NotFound:
        return
