"""Whether a live object does what it is there for. Pure; kinds without such a notion are healthy."""

from collections.abc import Mapping
from typing import Any

from edge_kube.meta import Manifest


def unhealthy_text(live: Manifest) -> str:
    """ "" when healthy, else for example "Deployment a/web: 1 of 3 ready"."""
    kind = live.get("kind", "")
    spec: Mapping[str, Any] = live.get("spec") or {}
    status: Mapping[str, Any] = live.get("status") or {}
    metadata: Mapping[str, Any] = live.get("metadata") or {}
    if kind in ("Deployment", "StatefulSet"):
        wanted, ready = int(spec.get("replicas", 1)), int(status.get("readyReplicas", 0))
        updated = int(status.get("updatedReplicas", 0 if wanted else wanted))
    elif kind == "DaemonSet":
        wanted, ready = int(status.get("desiredNumberScheduled", 0)), int(status.get("numberReady", 0))
        updated = int(status.get("updatedNumberScheduled", wanted if not wanted else 0))
    else:
        return ""
    name = f"{kind} {metadata.get('namespace', '')}/{metadata.get('name', '')}"
    if int(status.get("observedGeneration", 0)) < int(metadata.get("generation", 0)):
        return f"{name}: not looked at by its controller yet"
    if _on_delete(spec):
        updated = wanted  # such a workload is updated when its pods are deleted, by whoever deletes them
    if min(ready, updated) < wanted:
        what = "ready" if ready < wanted else "up to date"
        return f"{name}: {min(ready, updated)} of {wanted} {what}"
    return ""


def _on_delete(spec: Mapping[str, Any]) -> bool:
    strategy: Mapping[str, Any] = spec.get("updateStrategy") or {}
    return strategy.get("type") == "OnDelete"
