"""Keeps a ResourceQuota in each namespace of a workspace; together they stay within its quota (I15)."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Final, NamedTuple
from uuid import uuid4

import msgspec
import structlog

from edge.iam.facts import home_of
from edge.tenancy.ground import Found, Ground
from edge.tenancy.limits import (
    QUOTA_NAME,
    REFUSED_ANNOTATION,
    TERM_ANNOTATION,
    Told,
    amounts_of,
    is_ours,
    quota_manifest,
    quota_patch,
    refused_in,
    share_of,
    tell,
    totals,
)
from edge.tenancy.plan import owner_of
from edge.tenancy.quota import Amounts, Share, next_step, raises
from edge.tenancy.types import Workspace, WorkspaceQuota
from edge_kube.core import Deployment, Namespace, ResourceQuota
from edge_kube.errors import AlreadyExists, Conflict
from edge_kube.meta import Key
from edge_kube.runtime import DONE, Reader, Request, Result, Writer
from edge_sdk.scopes import OWNER_UID_LABEL

FIELD_MANAGER: Final = "edge-tenancy"
SHOWN_EVERY_S: Final = 5.0
"""How often figures of use are written to a workspace at most: each new pod changes them."""
AT_ONCE: Final = 8

log = structlog.stdlib.get_logger("edge.tenancy")


class _Seen(NamedTuple):
    used: Mapping[str, str]
    order: int


class QuotaKeeper:
    """Used by the reconciler of workspaces; one for the process, since it remembers who grew last.

    A raise that was sent by a controller before it was killed, or before its reconcile was cut off, may still
    be on its way. So a term of writing begins with a mark on every share of the workspace: each write names
    the version that it was made from, and what is on its way from an earlier term is refused from then on.
    """

    def __init__(self, cache: Reader, clock: Callable[[], float] = time.monotonic) -> None:
        self._cache = cache
        self._clock = clock
        self._seen: dict[str, dict[str, _Seen]] = {}
        self._shown: dict[str, float] = {}
        self._turns = count(1)
        self._term = uuid4().hex

    async def keep(self, workspace: Workspace, namespaces: Sequence[Namespace], ground: Ground) -> Told:
        """Take the next step. namespaces: those of the workspace, in the cluster that it is in.

        Raises Conflict from an old view.
        """
        name, total = workspace.metadata.name, totals(workspace)
        names = [one.metadata.name for one in namespaces]
        await self.clear(name, ground, keep=names if total else ())
        if not total:
            self.forget(name)
            return tell(workspace, {})
        found = await ground.quotas_in(names)
        shares = self._shares(name, namespaces, found)
        step = next_step(total, shares)
        if raises(shares, step):
            # What others may come to must not be taken from a copy that is behind: theirs might have been
            # raised by the leader before us, or by hand.
            found = await self._asked(found, ground.writer)
            shares = self._shares(name, namespaces, found)
            step = next_step(total, shares)
        step = {**_taken_over(workspace, found, shares), **step}
        await self._carry_out(workspace, found, step, ground.writer)
        return tell(workspace, shares)

    def due(self, workspace: Workspace, told: Told) -> tuple[WorkspaceQuota, float | None]:
        """The figures to show, and when to look again where newer ones are held back for a while."""
        name, shown = workspace.metadata.name, workspace.status.quota
        now = self._clock()
        rest = self._shown.get(name, now - SHOWN_EVERY_S) + SHOWN_EVERY_S - now
        if told.figures == shown:
            return shown, None
        if told.figures.hard == shown.hard and rest > 0:
            return shown, rest
        self._shown[name] = now
        return told.figures, None

    def forget(self, name: str) -> None:
        self._seen.pop(name, None)
        self._shown.pop(name, None)

    async def _asked(self, found: Found, writer: Writer) -> Found:
        """The shares as they are, each marked with our term."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def look(namespace: str) -> ResourceQuota | None:
            async with limit:
                live = await writer.find(ResourceQuota, QUOTA_NAME, namespace)
                if live is None or not is_ours(live):
                    return live
                if live.metadata.annotations.get(TERM_ANNOTATION) == self._term:
                    return live
                patch = {"metadata": {"annotations": {TERM_ANNOTATION: self._term}}}
                key, version = Key(namespace, QUOTA_NAME), live.metadata.resource_version
                return await writer.merge(ResourceQuota, key, patch, rv=version, manager=FIELD_MANAGER)

        return dict(zip(found, await asyncio.gather(*map(look, found)), strict=True))

    def _shares(self, name: str, namespaces: Sequence[Namespace], found: Found) -> dict[str, Share]:
        before = self._seen.get(name, {})
        seen: dict[str, _Seen] = {}
        shares: dict[str, Share] = {}
        for namespace in namespaces:
            key = namespace.metadata.name
            quota = found[key]
            used: Mapping[str, str] = quota.status.used if quota is not None else {}
            seen[key] = last = before.get(key, _Seen(used, 0))
            share = share_of(namespace, quota, last.order)
            if share is None:
                continue
            if last.used != used:
                seen[key] = last = _Seen(used, next(self._turns) if _grew(last.used, share) else last.order)
                share = msgspec.structs.replace(share, order=last.order)
            shares[key] = share
        self._seen[name] = seen
        return shares

    async def _carry_out(
        self, workspace: Workspace, found: Found, step: Mapping[str, Amounts], writer: Writer
    ) -> None:
        try:
            for namespace, hard in step.items():
                await self._write(workspace, namespace, found[namespace], hard, writer)
        except (Conflict, AlreadyExists):
            raise  # it was refused, so nothing is on its way
        except BaseException:
            self._term = uuid4().hex
            raise

    async def _write(
        self,
        workspace: Workspace,
        namespace: str,
        quota: ResourceQuota | None,
        hard: Amounts,
        writer: Writer,
    ) -> None:
        if quota is None:
            manifest = quota_manifest(workspace, namespace, hard, self._term)
            await writer.create(manifest, manager=FIELD_MANAGER)
        else:
            patch, version = quota_patch(workspace, quota, hard, self._term), quota.metadata.resource_version
            key = Key(namespace, QUOTA_NAME)
            await writer.merge(ResourceQuota, key, patch, rv=version, manager=FIELD_MANAGER)
        log.info("quota_shared", workspace=workspace.metadata.name, namespace=namespace, hard=dict(hard))

    async def clear(self, name: str, ground: Ground, keep: Collection[str] = ()) -> None:
        """Take away shares that are no longer wanted; one that another workspace takes over is left to it."""
        for quota in ground.shares_of(name):
            meta = quota.metadata
            if meta.namespace in keep or self._is_anothers(meta.namespace, name, ground):
                continue
            await ground.writer.delete(ResourceQuota, meta.name, meta.namespace, uid=meta.uid)
            log.info("quota_removed", workspace=name, cluster=ground.cluster, namespace=meta.namespace)

    def _is_anothers(self, namespace: str, name: str, ground: Ground) -> bool:
        """Whether the namespace is now in another workspace with a quota: between the two is no gap."""
        found = ground.namespace(namespace)
        owner = owner_of(found) if found is not None else ""
        other = self._cache.get(Workspace, owner) if owner not in ("", name) else None
        return other is not None and home_of(other.metadata) == ground.cluster and bool(totals(other))


class QuotaRefusals:
    """Notes on a namespace's share what its Deployments could not make for want of it."""

    def __init__(self, cache: Reader, client: Writer) -> None:
        self._cache = cache
        self._client = client

    async def reconcile(self, request: Request) -> Result:
        quota = self._cache.get(ResourceQuota, QUOTA_NAME, request.name)
        if quota is None or not is_ours(quota):
            return DONE
        refused = refused_in(self._cache.list(Deployment, request.name))
        if refused != quota.metadata.annotations.get(REFUSED_ANNOTATION, ""):
            meta = {"uid": quota.metadata.uid, "annotations": {REFUSED_ANNOTATION: refused or None}}
            key = Key(request.name, QUOTA_NAME)
            await self._client.merge(ResourceQuota, key, {"metadata": meta}, manager=FIELD_MANAGER)
        return DONE


def _taken_over(workspace: Workspace, found: Found, shares: Mapping[str, Share]) -> Mapping[str, Amounts]:
    """Shares that bear another workspace's name, with the namespaces that have moved from it to this one."""
    uid = workspace.metadata.uid
    return {
        name: shares[name].hard
        for name, quota in found.items()
        if quota is not None and is_ours(quota) and quota.metadata.labels.get(OWNER_UID_LABEL) != uid
    }


def _grew(before: Mapping[str, str], share: Share) -> bool:
    known = amounts_of(before)
    return any(amount > known.get(name, 0) for name, amount in share.used.items())
