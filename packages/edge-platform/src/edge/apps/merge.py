"""Strategic merge of an override into a pod template, as kubectl merges a patch (A5). Pure.

Lists whose items have a key are merged item by item; other lists are replaced. `null` deletes a field,
`$patch: delete` an item, `$patch: replace` replaces a whole map or list, `$retainKeys` keeps only the
named keys. The keys are those of the Kubernetes API types (struct tag patchMergeKey).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

Value = Any
Map = Mapping[str, Any]

MERGE_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "volumes": "name",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "schedulingGates": "name",
    "resourceClaims": "name",
    "ownerReferences": "uid",
}
PRIMITIVE_SETS: Final = frozenset({"finalizers"})
DIRECTIVES: Final = ("$patch", "$retainKeys")


class MergeProblem(ValueError):
    """An override cannot be merged; the message names the field."""


def strategic_merge(base: Map, patch: Map, path: str = "") -> dict[str, Any]:
    """`base` with `patch` merged in; neither is changed. Raises MergeProblem."""
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key not in DIRECTIVES}
    merged = dict(base)
    if "$retainKeys" in patch:
        kept = set(cast("Sequence[str]", patch["$retainKeys"]))
        merged = {key: value for key, value in merged.items() if key in kept}
    for key, value in patch.items():
        if key in DIRECTIVES or key.startswith("$setElementOrder/"):
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            merged[name] = [item for item in merged.get(name, ()) if item not in value]
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged_value(key, merged.get(key), value, f"{path}.{key}".lstrip("."))
    return merged


def _merged_value(key: str, old: Value, new: Value, path: str) -> Value:
    if isinstance(new, Mapping):
        new = cast("Map", new)
        return strategic_merge(cast("Map", old) if isinstance(old, Mapping) else {}, new, path)
    if not isinstance(new, list):
        return new
    items = cast("list[Any]", new)
    have = cast("list[Any]", old) if isinstance(old, list) else []
    if key in MERGE_KEYS:
        return _merged_list(MERGE_KEYS[key], have, items, path)
    if key in PRIMITIVE_SETS:
        return [*have, *(item for item in items if item not in have)]
    return items


def _merged_list(merge_key: str, old: Sequence[Any], new: Sequence[Any], path: str) -> list[Any]:
    if {"$patch": "replace"} in new:
        return [item for item in new if item != {"$patch": "replace"}]
    merged: list[dict[str, Any]] = list(old)
    for index, value in enumerate(new):
        item: Map = cast("Map", value) if isinstance(value, Mapping) else {}
        if merge_key not in item:
            raise MergeProblem(f'{path}[{index}] has no "{merge_key}", by which items are matched')
        found = [at for at, one in enumerate(merged) if one.get(merge_key) == item[merge_key]]
        if item.get("$patch") == "delete":
            merged = [one for one in merged if one.get(merge_key) != item[merge_key]]
        elif found:
            where = f"{path}[{item[merge_key]}]"
            merged[found[0]] = strategic_merge(merged[found[0]], item, where)
        else:
            merged.append(strategic_merge({}, item, path))
    return merged
