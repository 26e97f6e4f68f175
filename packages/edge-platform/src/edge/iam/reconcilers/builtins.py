"""Keeps the built-in categories, templates and roles as they ship (R12). Woken by namespace kube-system."""

import structlog

from edge.iam.builtin import everything
from edge.iam.plan import plan_builtins
from edge.iam.reconcilers.firstadmin import AGAIN_S, ANCHOR
from edge.iam.reconcilers.healing import put_back
from edge_kube.errors import KubeError
from edge_kube.meta import Resource
from edge_kube.runtime import DONE, Reader, Request, Result, Writer

log = structlog.stdlib.get_logger("edge.iam")


class BuiltinsReconciler:
    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        """Compares with the cache; nothing is sent while everything stands."""
        if request.name != ANCHOR:
            return DONE
        failed = 0
        for wanted in plan_builtins(everything(), self._find):
            try:
                await put_back(self._client, wanted, self._find(type(wanted), wanted.metadata.name))
            except KubeError as error:
                failed += 1
                log.warning("builtin_not_applied", name=wanted.metadata.name, error=str(error))
            else:
                log.info("builtin_applied", kind=type(wanted).__name__, name=wanted.metadata.name)
        return Result(after_s=AGAIN_S) if failed else DONE

    def _find(self, kind: type[Resource], name: str) -> Resource | None:
        return self._cache.get(kind, name)
