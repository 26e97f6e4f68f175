"""Who owns an object, and finalizers.

Owner references work only within one cluster, and from an owner that is cluster-scoped or in the child's own
namespace; anywhere else the garbage collector treats the owner as absent and deletes the child. `own` refuses
that; across scopes and clusters the owner is named by labels, with a finalizer on the owner.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from edge_kube.errors import Conflict, NotFound
from edge_kube.meta import Manifest, Resource, key_of, kind_of, owner_reference
from edge_kube.reconcile import Writer, advance_fence

T = TypeVar("T", bound=Resource)

OWNER_KIND = "theriseunion.io/owner-kind"
OWNER_NAME = "theriseunion.io/owner-name"
OWNER_UID = "theriseunion.io/owner-uid"

_TRIES = 4  # a fresh read each; more means that someone writes in a loop, and the queue's back-off helps more


def own(child: Manifest, owner: Resource) -> Manifest:
    """A copy of child with a controller reference to owner. Raises ValueError across scopes."""
    meta: dict[str, Any] = dict(child["metadata"])
    if kind_of(type(owner)).namespaced and owner.metadata.namespace != meta.get("namespace", ""):
        raise ValueError(
            f"{child['kind']} {meta.get('name')} in namespace {meta.get('namespace', '')!r} cannot be owned "
            f"by {kind_of(type(owner)).kind} {key_of(owner)}: the garbage collector would delete it; "
            "use owner labels"
        )
    meta["ownerReferences"] = [msgspec.to_builtins(owner_reference(owner))]
    return {**child, "metadata": meta}


def owner_labels(owner: Resource) -> dict[str, str]:
    """Labels that name an owner in another scope or cluster. The uid tells apart two owners of one name."""
    return {
        OWNER_KIND: kind_of(type(owner)).kind,
        OWNER_NAME: owner.metadata.name[:63],
        OWNER_UID: owner.metadata.uid,
    }


async def ensure_finalizer(client: Writer, obj: T, name: str) -> T:
    """Put a finalizer on obj, before the first effect outside of it; nothing once it is being deleted.

    Returns the object as it is now. Raises NotFound when it has gone meanwhile.
    """
    if name in obj.metadata.finalizers or obj.metadata.deletion_timestamp:
        return obj
    return await _set_finalizers(client, obj, lambda have: have if name in have else (*have, name))


async def drop_finalizer(client: Writer, obj: Resource, name: str) -> None:
    """Take a finalizer off; an object that has gone, or does not carry it, is success.

    A merge patch of the whole list, not server-side apply: after a backup was restored another manager owns
    the entry, and leaving it out of our own fields would not remove it.
    """
    if name not in obj.metadata.finalizers:
        return
    try:
        await _set_finalizers(client, obj, lambda have: tuple(item for item in have if item != name))
    except NotFound:
        return


async def _set_finalizers(client: Writer, obj: T, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> T:
    """change: old finalizers → new ones. Re-reads live after a conflict; another uid counts as gone."""
    current = obj
    for attempt in range(_TRIES):
        wanted = change(current.metadata.finalizers)
        if wanted == current.metadata.finalizers:
            return current
        patch = {"metadata": {"finalizers": list(wanted), "uid": obj.metadata.uid}}
        try:
            written = await client.merge(type(obj), key_of(obj), patch, rv=current.metadata.resource_version)
        except Conflict:
            if attempt == _TRIES - 1:
                raise
            current = await client.get(type(obj), obj.metadata.name, obj.metadata.namespace)
            if current.metadata.uid != obj.metadata.uid:
                raise NotFound(404, "NotFound", f"{key_of(obj)} was deleted and made anew") from None
            continue
        advance_fence(written)
        return written
    return current
