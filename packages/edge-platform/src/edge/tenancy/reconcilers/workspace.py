"""Makes a workspace's namespaces, keeps its quota, and keeps the workspace while it holds namespaces."""

from collections.abc import Callable, Sequence

import msgspec
import structlog

from edge.iam.facts import home_of
from edge.iam.scope import HOST
from edge.iam.types import IAMRoleBinding
from edge.tenancy.ground import HostGround
from edge.tenancy.plan import WorkspacePlan, plan_workspace, released
from edge.tenancy.reconcilers.elsewhere import Elsewhere
from edge.tenancy.reconcilers.quota import FIELD_MANAGER as FIELD_MANAGER
from edge.tenancy.reconcilers.quota import QuotaKeeper
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace
from edge_kube.meta import Key
from edge_kube.ownership import drop_finalizer, ensure_finalizer
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.scopes import FINALIZER
from edge_sdk.sites import Sites

BY_WORKSPACE = "workspace"
"""Index of bindings by the workspace whose scope they are for, and of namespaces by the one they are in."""

Wake = Callable[[Request], None]

log = structlog.stdlib.get_logger("edge.tenancy")


class WorkspaceReconciler:
    def __init__(self, sites: Sites | None, wake: Wake, cache: Reader, client: Writer) -> None:
        """wake: puts a request into the queue of this loop."""
        self._cache = cache
        self._client = client
        self._wake = wake
        self._host = HostGround(cache, client)
        self._quotas = QuotaKeeper(cache)
        self._elsewhere = Elsewhere(sites)
        self._homes: dict[str, str] = {}

    async def reconcile(self, request: Request) -> Result:
        """A request with a cluster is about what the workspace may have left behind there."""
        workspace = self._cache.get(Workspace, request.name)
        home = home_of(workspace.metadata) if workspace is not None else ""
        if request.cluster:
            left = request.cluster != home
            return await self._elsewhere.clear_quota(request, self._quotas) if left else DONE
        self._moved(request.name, home)
        if workspace is None:
            self._quotas.forget(request.name)
            return DONE
        mine = self._cache.by(Namespace, BY_WORKSPACE, request.name)
        elsewhere = await self._elsewhere.namespaces_of(workspace)
        bindings = self._cache.by(IAMRoleBinding, BY_WORKSPACE, request.name)
        plan = plan_workspace(workspace, self._known(workspace, mine), bindings, elsewhere)
        if plan.release:
            for namespace in mine:
                name = namespace.metadata.name
                await self._client.merge(Namespace, Key("", name), released(name))
                log.info("namespace_released", workspace=request.name, namespace=name)
            await self._elsewhere.release(elsewhere)
        if not workspace.metadata.deletion_timestamp:
            workspace = await ensure_finalizer(self._client, workspace, FINALIZER)
        for namespace in plan.missing:
            # Create, not apply: the cache may be old, and apply would adopt a namespace that someone else
            # made since. AlreadyExists brings us back here with a newer cache.
            await self._client.create(namespace, manager=FIELD_MANAGER)
            log.info("namespace_created", workspace=request.name, namespace=namespace.metadata.name)
        result = await self._with_quota(workspace, mine, plan)
        if not plan.done:
            return result
        await self._unbind(bindings)
        await drop_finalizer(self._client, workspace, FINALIZER)
        return DONE

    def _moved(self, name: str, home: str) -> None:
        """Look after the cluster that it was in. After a restart the copies of the members ask for it."""
        before = self._homes.get(name, home)
        self._homes[name] = home
        if not home:
            del self._homes[name]
        if before != home:
            self._quotas.forget(name)
            if before != HOST:
                self._wake(Request(name, cluster=before))

    async def _unbind(self, bindings: Sequence[IAMRoleBinding]) -> None:
        """What was given at a workspace ends with it: another one of that name is another workspace (S7)."""
        for one in bindings:
            await self._client.delete(IAMRoleBinding, one.metadata.name, uid=one.metadata.uid)

    async def _with_quota(
        self, workspace: Workspace, mine: Sequence[Namespace], plan: WorkspacePlan
    ) -> Result:
        if home_of(workspace.metadata) == HOST:
            told = await self._quotas.keep(workspace, mine, self._host)
        else:
            await self._quotas.clear(workspace.metadata.name, self._host)
            told = await self._elsewhere.keep_quota(workspace, self._quotas)
        figures, again_in_s = self._quotas.due(workspace, told)
        conditions = (*plan.status.conditions, *((told.condition,) if told.condition else ()))
        status = msgspec.structs.replace(plan.status, quota=figures, conditions=conditions)
        return Result(status=status, after_s=again_in_s)

    def _known(self, workspace: Workspace, mine: Sequence[Namespace]) -> dict[str, Namespace]:
        """The workspace's namespaces, and those that it wants."""
        found = {one.metadata.name: one for one in mine}
        for name in workspace.spec.template.namespaces:
            if (one := self._cache.get(Namespace, name)) is not None:
                found[name] = one
        return found
