"""Puts the cluster's own namespaces into the system workspace, where existing consoles look for them."""

from contextlib import suppress

from edge.iam.scope import SYSTEM_NAMESPACES
from edge.tenancy.plan import SYSTEM_LABELS, system_workspace
from edge.tenancy.reconcilers.workspace import FIELD_MANAGER
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace
from edge_kube.errors import AlreadyExists
from edge_kube.meta import Key
from edge_kube.runtime import DONE, Reader, Request, Result, Writer


class SystemNamespaceReconciler:
    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        namespace = self._cache.get(Namespace, request.name)
        if namespace is None or namespace.metadata.deletion_timestamp:
            return DONE
        if request.name not in SYSTEM_NAMESPACES:
            return DONE
        wanted = system_workspace()
        if self._cache.get(Workspace, wanted.metadata.name) is None:
            with suppress(AlreadyExists):  # another system namespace was quicker
                await self._client.create(wanted, manager=FIELD_MANAGER)
        if not SYSTEM_LABELS.items() <= namespace.metadata.labels.items():
            # A patch, not an apply: an apply would bring back a namespace that has just been deleted.
            patch = {"metadata": {"labels": SYSTEM_LABELS}}
            await self._client.merge(Namespace, Key("", request.name), patch)
        return DONE
