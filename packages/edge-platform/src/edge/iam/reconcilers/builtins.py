"""Keeps the built-in categories, templates and roles as they ship (R12). Woken by namespace kube-system."""

import asyncio
from typing import Final

import structlog

from edge.iam.builtin import Builtin, everything
from edge.iam.plan import plan_builtins
from edge.iam.reconcilers.firstadmin import AGAIN_S, ANCHOR
from edge.iam.reconcilers.healing import put_back
from edge_kube.errors import KubeError
from edge_kube.meta import Resource
from edge_kube.runtime import DONE, Reader, Request, Result, Writer

AT_ONCE: Final = 8

log = structlog.stdlib.get_logger("edge.iam")


class BuiltinsReconciler:
    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        """Compares with the cache; nothing is sent while everything stands."""
        if request.name != ANCHOR:
            return DONE
        limit = asyncio.Semaphore(AT_ONCE)
        plan = plan_builtins(everything(), self._find)
        applied = await asyncio.gather(*(self._applied(wanted, limit) for wanted in plan))
        return DONE if all(applied) else Result(after_s=AGAIN_S)

    async def _applied(self, wanted: Builtin, limit: asyncio.Semaphore) -> bool:
        async with limit:
            try:
                await put_back(self._client, wanted, self._find(type(wanted), wanted.metadata.name))
            except KubeError as error:
                log.warning("builtin_not_applied", name=wanted.metadata.name, error=str(error))
                return False
        log.info("builtin_applied", kind=type(wanted).__name__, name=wanted.metadata.name)
        return True

    def _find(self, kind: type[Resource], name: str) -> Resource | None:
        return self._cache.get(kind, name)
