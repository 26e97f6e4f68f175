"""Release objects in their cluster: what is missing, changed, or not ready; and putting them back."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from edge.components.drift import differences, is_kept, is_transient, without
from edge.components.health import unhealthy_text
from edge.components.ports import Inspection
from edge_kube.client import Client
from edge_kube.errors import BadRequest, Conflict, Forbidden, Invalid, NotFound, ServerError
from edge_kube.meta import Kind, Manifest

log = structlog.stdlib.get_logger("edge.components")

MANAGER = "helm"
"""Repairs are made under Helm's name: another one would own the fields and stand in Helm's way."""
_AT_ONCE = 4


class _Looked(msgspec.Struct, frozen=True):
    name: str
    missing: bool = False
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    unhealthy: str = ""


async def inspect(client: Client, release: tuple[str, str], objects: Sequence[Manifest]) -> Inspection:
    """release: namespace and name. Two requests an object: a read, and a server-side apply as dry run."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def look(manifest: Manifest) -> _Looked:
        async with gate:
            try:
                return await _look(client, release, manifest)
            except (Invalid, BadRequest, Forbidden, Conflict, ServerError) as error:
                # Admission or the schema refuses the dry run: nothing can be said about this object.
                name = f"{manifest.get('kind')} {manifest['metadata']['name']}"
                log.debug("object_not_compared", object=name, error=str(error))
                return _Looked(name)

    looked = await asyncio.gather(*(look(manifest) for manifest in objects))
    return Inspection(
        missing=tuple(one.name for one in looked if one.missing),
        changed=tuple(f"{one.name}: {', '.join(one.changed)}" for one in looked if one.changed),
        kept=tuple(f"{one.name}: {', '.join(one.kept)}" for one in looked if one.kept),
        unhealthy=tuple(one.unhealthy for one in looked if one.unhealthy),
    )


async def repair(
    client: Client, release: tuple[str, str], objects: Sequence[Manifest], names: Sequence[str]
) -> None:
    """Apply the stored manifests of the named objects: no new revision, and no template is rendered anew,
    so that a chart that draws random passwords keeps them."""
    wanted = {name.partition(": ")[0] for name in names}
    for manifest in objects:
        kind, applied = await _prepare(client, release, manifest)
        if name_of(kind, applied) not in wanted:
            continue
        try:
            live = await client.read(
                kind, applied["metadata"]["name"], applied["metadata"].get("namespace", "")
            )
        except NotFound:
            await client.apply(applied, manager=MANAGER, rv="")
            continue
        dry = await client.apply(applied, manager=MANAGER, dry_run=True, rv="")
        kept = [d for d in differences(live, dry.obj) if is_kept(live, d)]
        await client.apply(without(applied, live, kept), manager=MANAGER, rv="")


async def _look(client: Client, release: tuple[str, str], manifest: Manifest) -> _Looked:
    kind, applied = await _prepare(client, release, manifest)
    name = name_of(kind, applied)
    try:
        live = await client.read(kind, applied["metadata"]["name"], applied["metadata"].get("namespace", ""))
    except NotFound:
        return _Looked(name, missing=not is_transient(manifest))
    if live["metadata"].get("deletionTimestamp"):
        return _Looked(name)  # it comes back once it is gone; until then applying it would be lost
    dry = await client.apply(applied, manager=MANAGER, dry_run=True, rv="")
    found = differences(live, dry.obj)
    return _Looked(
        name,
        changed=tuple(str(d) for d in found if not is_kept(live, d)),
        kept=tuple(str(d) for d in found if is_kept(live, d)),
        unhealthy=unhealthy_text(live),
    )


async def _prepare(client: Client, release: tuple[str, str], manifest: Manifest) -> tuple[Kind, Manifest]:
    """The manifest as Helm applies it: with its ownership marks, and a namespace where the kind has one."""
    namespace, name = release
    kind = await client.kind_for(manifest["apiVersion"], manifest["kind"])
    metadata: dict[str, Any] = dict(manifest["metadata"])
    if kind.namespaced:
        metadata["namespace"] = metadata.get("namespace") or namespace
    else:
        metadata.pop("namespace", None)
    labels: Mapping[str, str] = metadata.get("labels") or {}
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    metadata["labels"] = {**labels, "app.kubernetes.io/managed-by": "Helm"}
    metadata["annotations"] = {
        **annotations,
        "meta.helm.sh/release-name": name,
        "meta.helm.sh/release-namespace": namespace,
    }
    return kind, {**{k: v for k, v in manifest.items() if k != "status"}, "metadata": metadata}


def name_of(kind: Kind, manifest: Manifest) -> str:
    """ "Kind namespace/name", as Inspections write it."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace", "") if kind.namespaced else ""
    return f"{kind.kind} {namespace}/{metadata['name']}" if namespace else f"{kind.kind} {metadata['name']}"
