"""Makes a workspace's namespaces, reports on them, and keeps the workspace while it holds some."""

import structlog

from edge.iam.types import IAMRoleBinding
from edge.tenancy.plan import plan_workspace, released
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace
from edge_kube.meta import Key
from edge_kube.ownership import drop_finalizer, ensure_finalizer
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.scopes import FINALIZER

FIELD_MANAGER = "edge-tenancy"
BY_WORKSPACE = "workspace"
"""Index of bindings by the workspace whose scope they are for."""

log = structlog.stdlib.get_logger("edge.tenancy")


class WorkspaceReconciler:
    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        workspace = self._cache.get(Workspace, request.name)
        if workspace is None:
            return DONE
        namespaces = {one.metadata.name: one for one in self._cache.list(Namespace)}
        bindings = self._cache.by(IAMRoleBinding, BY_WORKSPACE, request.name)
        plan = plan_workspace(workspace, namespaces, bindings)
        for name in plan.release:
            await self._client.merge(Namespace, Key("", name), released(name))
            log.info("namespace_released", workspace=request.name, namespace=name)
        if plan.done:
            await drop_finalizer(self._client, workspace, FINALIZER)
            return DONE
        if not workspace.metadata.deletion_timestamp:
            workspace = await ensure_finalizer(self._client, workspace, FINALIZER)
        for namespace in plan.missing:
            # Create, not apply: the cache may be old, and apply would adopt a namespace that someone else
            # made since. AlreadyExists brings us back here with a newer cache.
            await self._client.create(namespace, manager=FIELD_MANAGER)
            log.info("namespace_created", workspace=request.name, namespace=namespace.metadata.name)
        return Result(status=plan.status)
