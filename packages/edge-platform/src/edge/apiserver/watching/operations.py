"""Long work that the platform is doing, read off the objects: no log, no memory, true after any restart.

    operation_of(component)     # → Operation, or None when nothing is going on

Component: install, upgrade, roll back, uninstall. Cluster: create, delete. ApplicationDeployment: roll out,
delete. What has failed for good is no work any more: it shows as the object's status. Pure. Source: issue 5
§2; console §4, §5.4 (`ops`), operations feed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import UnsetType

from edge.apps.types import ApplicationDeployment
from edge.clusters.types import Cluster
from edge.components.types import Component
from edge_kube.meta import Condition, Resource, kind_of

What = Literal["Install", "Upgrade", "RollBack", "Uninstall", "Create", "RollOut", "Delete"]
State = Literal["Waiting", "Running", "Retrying"]
KINDS: Final[tuple[type[Resource], ...]] = (Component, Cluster, ApplicationDeployment)
COLUMNS: Final = ("kind", "what", "state", "progress", "since", "message", "next")
_COMPONENT_WORK: Final[Mapping[str, What]] = {
    "Installing": "Install",
    "Upgrading": "Upgrade",
    "RollingBack": "RollBack",
    "Uninstalling": "Uninstall",
}


class Progress(msgspec.Struct, frozen=True):
    """Parts that are done, of those there are."""

    done: int
    total: int


class ObjectRef(msgspec.Struct, frozen=True):
    group: str
    version: str
    resource: str
    kind: str
    name: str
    namespace: str
    uid: str


class Operation(msgspec.Struct, frozen=True):
    """since: epoch seconds. progress: None where it is not known how much there is. next: what comes next."""

    ref: ObjectRef
    what: What
    state: State
    progress: Progress | None
    since: int
    message: str
    next: str = ""

    def values(self) -> tuple[Any, ...]:
        """In the order of COLUMNS."""
        progress = None if self.progress is None else (self.progress.done, self.progress.total)
        ref = f"{self.ref.group}/{self.ref.version}/{self.ref.resource}"
        return (ref, self.what, self.state, progress, self.since, self.message, self.next)


@dataclass(frozen=True, slots=True)
class _Work:
    what: What
    state: State
    since: str
    message: str
    progress: Progress | None = None
    next: str = ""


def operation_of(obj: Resource) -> Operation | None:
    work = _work_of(obj)
    if work is None:
        return None
    kind, meta = kind_of(type(obj)), obj.metadata
    ref = ObjectRef(kind.group, kind.version, kind.plural, kind.kind, meta.name, meta.namespace, meta.uid)
    since = _unix(work.since) or _unix(meta.creation_timestamp)
    return Operation(ref, work.what, work.state, work.progress, since, work.message, work.next)


def _work_of(obj: Resource) -> _Work | None:
    if isinstance(obj, Component):
        return _of_component(obj)
    if isinstance(obj, Cluster):
        return _of_cluster(obj)
    return _of_deployment(obj) if isinstance(obj, ApplicationDeployment) else None


def _of_component(component: Component) -> _Work | None:
    status, deleted = component.status, component.metadata.deletion_timestamp
    if component.spec.suspend and not deleted:
        return None
    what = _COMPONENT_WORK.get(status.phase)
    since = _text(status.last_transition_time)
    if deleted:
        return _Work("Uninstall", "Running", deleted, status.message)
    if what is not None:
        retry = _text(status.next_retry_time)
        state: State = "Retrying" if retry and status.retry_count else "Running"
        return _Work(what, state, since, status.message, next=f"tries again at {retry}" if retry else "")
    if status.waiting_for and component.spec.enabled:
        what = "Upgrade" if status.observed_hash else "Install"
        waits = f"goes on when Ready: {', '.join(status.waiting_for)}"
        return _Work(what, "Waiting", since, status.message, next=waits)
    if status.phase == "Failed" and (retry := _text(status.next_retry_time)):
        what = "Upgrade" if status.observed_hash else "Install"
        return _Work(what, "Retrying", since, status.message, next=f"tries again at {retry}")
    return None


def _of_cluster(cluster: Cluster) -> _Work | None:
    conditions, deleted = cluster.status.conditions, cluster.metadata.deletion_timestamp
    ready = next((one for one in conditions if one.type == "Ready"), None)
    message = ready.message if ready is not None else ""
    if deleted:
        return _Work("Delete", "Running", deleted, message)
    if cluster.status.phase not in ("", "Pending", "Provisioning"):
        return None
    state: State = "Running" if cluster.status.phase == "Provisioning" else "Waiting"
    return _Work(
        "Create", state, cluster.metadata.creation_timestamp, message, _steps(conditions), _unmet(conditions)
    )


def _steps(conditions: Iterable[Condition]) -> Progress | None:
    """Conditions that are met, without the sum of them, Ready, and the remarks that are not steps."""
    steps = [one for one in conditions if one.type.endswith("Ready") and one.type != "Ready"]
    return Progress(sum(one.status == "True" for one in steps), len(steps)) if steps else None


def _unmet(conditions: Iterable[Condition]) -> str:
    return next((one.type for one in conditions if one.type != "Ready" and one.status == "False"), "")


def _of_deployment(deployment: ApplicationDeployment) -> _Work | None:
    status, meta = deployment.status, deployment.metadata
    done = _number(status.ready_workload_count)
    total = _number(status.workload_count)
    progress = Progress(min(done, total), total) if total else None
    if meta.deletion_timestamp:
        return _Work("Delete", "Running", meta.deletion_timestamp, status.message)
    begun = status.history[0].timestamp if status.history else meta.creation_timestamp
    if status.phase == "Progressing":
        return _Work("RollOut", "Running", begun, status.message, progress)
    if status.phase in ("", "Pending") and deployment.spec.topologies:
        return _Work("RollOut", "Waiting", begun, status.message, progress)
    return None


def _text(value: str | UnsetType) -> str:
    return "" if isinstance(value, UnsetType) else value


def _number(value: int | UnsetType) -> int:
    return 0 if isinstance(value, UnsetType) else value


def _unix(text: str) -> int:
    """Epoch seconds of an RFC 3339 time; 0 for what is none."""
    try:
        return int(datetime.fromisoformat(text).timestamp()) if text else 0
    except ValueError:
        return 0
