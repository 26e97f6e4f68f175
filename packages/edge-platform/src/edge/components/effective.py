"""The effective spec of a Component and its SHA-256 (K2): equal hash and healthy release → no Helm call.

In the hash: what decides the release (target, chart name, version and digest, release name and namespace,
merged values). Not in it: metadata, timeouts, retry and drift settings, and dependencies, which gate a
release and do not change it. The digest is in it because a museum may replace a version's bytes.
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, cast

from edge.components.types import Component, ResolvedChart
from edge_kube.meta import Key, Model

COMPONENT_LABEL = "ext.theriseunion.io/component"
HASH_LABEL = "ext.theriseunion.io/hash"
_HASH_LABEL_LENGTH = 40  # a label holds 63 characters, a SHA-256 has 64; 160 bits tell versions apart
RELEASE_NAME_MAX = 53


class Release(Model):
    """Where a Component's chart lives: one release of one cluster ("" is the host)."""

    cluster: str
    namespace: str
    name: str

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}"
        return f"{where} in cluster {self.cluster}" if self.cluster else where


def release_of(component: Component) -> Release:
    chart = component.spec.chart
    return Release(
        cluster=component.spec.target_cluster,
        namespace=chart.namespace or component.metadata.namespace,
        name=chart.release_name or component.metadata.name,
    )


def chart_name(component: Component) -> str:
    return component.spec.chart.name or component.metadata.name


def canonical_json(value: Any) -> bytes:
    """One byte string a value: keys sorted, no spaces, NFC texts, 1.0 as 1. Raises ValueError for NaN."""
    return json.dumps(
        _normal(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def deep_merge(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Later layers win; maps are merged, everything else is replaced. A null stays: it removes a default."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer)
    return merged


def effective_hash(
    component: Component, chart: ResolvedChart, values: Mapping[str, Any], target_uid: str = ""
) -> str:
    """Hex SHA-256 of what would be installed. target_uid: tells two clusters of one name apart."""
    release = release_of(component)
    effective = {
        "v": 1,
        "target": target_uid or release.cluster,
        "chart": {"name": chart.name, "version": chart.version, "digest": chart.digest},
        "release": {"name": release.name, "namespace": release.namespace},
        "values": values,
    }
    return hashlib.sha256(canonical_json(effective)).hexdigest()


def mark_of(key: Key) -> str:
    """Value of COMPONENT_LABEL on a release, which says whose it is; long names are cut and told apart."""
    text = f"{key.namespace}.{key.name}"
    if len(text) <= 63:
        return text
    return f"{text[:52].rstrip('-._')}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def hash_label(full: str) -> str:
    return full[:_HASH_LABEL_LENGTH]


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        have = merged.get(key)
        if isinstance(have, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(cast("Mapping[str, Any]", have), cast("Mapping[str, Any]", value))
        else:
            merged[key] = value
    return merged


def _normal(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {unicodedata.normalize("NFC", str(key)): _normal(item) for key, item in items}
    if isinstance(value, (list, tuple)):
        return [_normal(item) for item in cast("list[Any]", value)]
    return value
