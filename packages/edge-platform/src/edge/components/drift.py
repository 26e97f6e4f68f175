"""What differs between a live object and what applying its manifest again would give. Pure.

The API server itself says what the manifest would come to (a server-side apply as dry run): defaults,
quantities and conversions are its own, so that nothing is taken for drift that is only written differently.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from edge_kube.meta import Manifest, Model

OWN_MANAGERS = ("helm", "edge-")
CONTROLLERS = {"kube-controller-manager", "kube-scheduler", "cainjector", "cert-manager-cainjector", "k3s"}
"""Managers that fill in what a chart leaves to them, such as replicas under an autoscaler or a caBundle."""
IGNORE_ANNOTATION = "ext.theriseunion.io/drift-ignore"
PLATFORM_LABEL = ("app.kubernetes.io/name", "edge-platform")
_WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "Service"}
_SERVER_SIDE = {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"}
Path = tuple[str | int, ...]


class Difference(Model):
    """One field. by: its managers besides Helm and us, () where nobody claims it."""

    path: Path
    by: tuple[str, ...] = ()

    def __str__(self) -> str:
        dotted = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in self.path).lstrip(".")
        return f"{dotted} by {', '.join(self.by)}" if self.by else dotted


def differences(live: Manifest, applied: Manifest) -> tuple[Difference, ...]:
    """Fields in which the two differ; status, bookkeeping, and what is a controller's to set are left out.

    Also left out: what the annotation `ext.theriseunion.io/drift-ignore` names, as JSON pointers with commas.
    """
    fields, ignored = _managed(live), _ignored(live)
    found = (
        Difference(path=path, by=tuple(m for m, owned in fields if _claims(owned, path, live)))
        for path in _changed(_content(live), _content(applied), ())
        if not any(path[: len(prefix)] == prefix for prefix in ignored)
    )
    return tuple(d for d in found if not d.by or not CONTROLLERS.issuperset(d.by))


def is_transient(obj: Manifest) -> bool:
    """Kubernetes removes such an object by itself, so that its absence is no loss."""
    spec: Mapping[str, Any] = obj.get("spec") or {}
    return obj.get("kind") == "Job" and "ttlSecondsAfterFinished" in spec


def is_kept(obj: Manifest, difference: Difference) -> bool:
    """P13: what people changed on the platform's own workloads stays (`set env`, `scale`, Service type)."""
    label, value = PLATFORM_LABEL
    labels: Mapping[str, str] = obj.get("metadata", {}).get("labels") or {}
    return bool(difference.by) and obj.get("kind") in _WORKLOADS and labels.get(label) == value


def without(manifest: Manifest, live: Manifest, kept: Sequence[Difference]) -> Manifest:
    """The manifest with the kept fields as they are in the live object, so that applying it changes none."""
    copy: Manifest = msgspec.json.decode(msgspec.json.encode(manifest))
    for difference in kept:
        _graft(copy, live, difference.path)
    return copy


def _graft(target: Any, source: Any, path: Path) -> None:
    """Set target[path] = source[path]. Lists are taken over as a whole: their members have no fixed place."""
    for position, part in enumerate(path):
        is_last = position == len(path) - 1 or isinstance(path[position + 1], int)
        if not isinstance(target, dict) or not isinstance(source, Mapping):
            return
        mapping, other = cast("dict[str, Any]", target), cast("Mapping[str, Any]", source)
        key = str(part)
        if is_last:
            if key in other:
                mapping[key] = other[key]
            else:
                mapping.pop(key, None)
            return
        target, source = mapping.setdefault(key, {}), other.get(key, {})


def _content(obj: Manifest) -> Manifest:
    metadata = {k: v for k, v in obj.get("metadata", {}).items() if k not in _SERVER_SIDE}
    return {**{k: v for k, v in obj.items() if k != "status"}, "metadata": metadata}


def _changed(live: Any, applied: Any, path: Path) -> Iterator[Path]:
    if live == applied:
        return
    if isinstance(live, Mapping) and isinstance(applied, Mapping):
        one, two = cast("Mapping[str, Any]", live), cast("Mapping[str, Any]", applied)
        for key in sorted({*one, *two}):
            yield from _changed(one.get(key), two.get(key), (*path, key))
    elif isinstance(live, list) and isinstance(applied, list):
        first, second = cast("list[Any]", live), cast("list[Any]", applied)
        if len(first) != len(second):
            yield path
            return
        for index, (left, right) in enumerate(zip(first, second, strict=True)):
            yield from _changed(left, right, (*path, index))
    else:
        yield path


def _managed(live: Manifest) -> list[tuple[str, Mapping[str, Any]]]:
    entries: list[Mapping[str, Any]] = live.get("metadata", {}).get("managedFields") or []
    return [
        (str(e.get("manager", "")), e.get("fieldsV1") or {})
        for e in entries
        if not str(e.get("manager", "")).startswith(OWN_MANAGERS) and e.get("subresource") != "status"
    ]


def _ignored(live: Manifest) -> list[tuple[str, ...]]:
    annotations: Mapping[str, str] = live.get("metadata", {}).get("annotations") or {}
    pointers = annotations.get(IGNORE_ANNOTATION, "").split(",")
    return [
        tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.strip().split("/")[1:])
        for pointer in pointers
        if pointer.strip().startswith("/")
    ]


def _claims(fields: Mapping[str, Any], path: Path, obj: Any) -> bool:
    """Whether a manager's field set names the field, something above it as a whole, or something below."""
    node: Mapping[str, Any] = fields
    for part in path:
        if isinstance(part, int):
            items = cast("list[Any]", obj) if isinstance(obj, list) else []
            item: Any = items[part] if part < len(items) else None
            key = next((k for k in node if k.startswith("k:") and _names(k, item)), None)
            obj = item
        else:
            key = f"f:{part}" if f"f:{part}" in node else None
            obj = cast("Mapping[str, Any]", obj).get(part) if isinstance(obj, Mapping) else {}
        if key is None:
            return False
        node = node[key]
        if not node:  # the manager owns this field as a whole
            return True
    return True


def _names(key: str, item: Any) -> bool:
    """Whether k:{"name":"x"} is the key of this list item."""
    if not isinstance(item, Mapping):
        return False
    wanted: Mapping[str, Any] = msgspec.json.decode(key[2:])
    have = cast("Mapping[str, Any]", item)
    return all(have.get(name) == value for name, value in wanted.items())
