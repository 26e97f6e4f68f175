"""Which columns a kind has: the console's own, then the printer columns of its CRD, then defaults. Pure.

The console's table below is ours to change; a column of a CRD comes by itself. Ids are lowerCamelCase and
unique in a kind: what is defined first wins, so `Status` of a CRD does not hide the console's `status`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edge.apiserver.rows.jsonpath import BadPath, compile_path
from edge_kube.crd import Column
from edge_sdk.problem import Problem

ColumnType = Literal[
    "name", "status", "text", "number", "quantity", "percent", "age", "time", "ref", "labels", "image", "bool"
]


@dataclass(frozen=True, slots=True)
class RowColumn:
    """path: where its value is in the object, "" for what is worked out (name, namespace, status).

    wide: shown only when asked for. of: for a ref, the resource that it names, as GROUP/RESOURCE.
    """

    id: str
    type: ColumnType = "text"
    path: str = ""
    title: str = ""
    wide: bool = False
    of: str = ""

    def shown(self) -> dict[str, object]:
        """As the API names it."""
        out: dict[str, object] = {"id": self.id, "type": self.type}
        out |= {"title": self.title} if self.title else {}
        out |= {"wide": True} if self.wide else {}
        return out | ({"of": self.of} if self.of else {})


NAME: Final = RowColumn("name", "name", title="Name")
NAMESPACE: Final = RowColumn("namespace", "ref", title="Namespace", of="/namespaces")
CLUSTER: Final = RowColumn("cluster", "ref", title="Cluster", of="scope.theriseunion.io/clusters", wide=True)
STATUS: Final = RowColumn("status", "status", title="Status")
AGE: Final = RowColumn("age", "age", ".metadata.creationTimestamp", title="Age")
LABELS: Final = RowColumn("labels", "labels", ".metadata.labels", title="Labels", wide=True)
_WORKSPACES: Final = "scope.theriseunion.io/workspaces"
_PODS_IMAGES: Final = ".spec.template.spec.containers[*].image"


def _c(
    id_: str, type_: ColumnType, path: str, *, title: str = "", of: str = "", wide: bool = False
) -> RowColumn:
    return RowColumn(id_, type_, path, title or _title(id_), wide, of)


def _title(id_: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", id_)
    return words[:1].upper() + words[1:].lower()


def _workload(wanted: str, ready: str) -> tuple[RowColumn, ...]:
    return (
        STATUS,
        _c("ready", "number", ready),
        _c("wanted", "number", wanted),
        _c("images", "image", _PODS_IMAGES),
    )


_REPLICAS: Final = _workload(".spec.replicas", ".status.readyReplicas")
DEFINED: Final[Mapping[tuple[str, str], tuple[RowColumn, ...]]] = {
    ("scope.theriseunion.io", "clusters"): (
        STATUS,
        _c("nodes", "number", ".status.nodeCount"),
        _c("version", "text", ".status.kubernetesVersion"),
        _c("distribution", "text", ".status.distribution.served"),
        _c("region", "text", ".status.region"),
    ),
    ("scope.theriseunion.io", "workspaces"): (
        STATUS,
        _c("namespaces", "number", ".status.namespaceCount"),
        _c("members", "number", ".status.memberCount"),
    ),
    ("scope.theriseunion.io", "nodegroups"): (
        STATUS,
        _c("nodes", "number", r".metadata.annotations['theriseunion\.io/node-count']"),
        _c("ready", "number", r".metadata.annotations['theriseunion\.io/ready-node-count']"),
    ),
    ("ext.theriseunion.io", "components"): (
        STATUS,
        _c("version", "text", ".spec.version"),
        _c("installed", "text", ".status.chart.version"),
        _c("release", "number", ".status.releaseVersion"),
    ),
    ("app.theriseunion.io", "applications"): (
        STATUS,
        _c("latestVersion", "text", ".status.latestVersion"),
        _c("versions", "number", ".status.versionCount"),
        _c("workspace", "ref", r".metadata.labels['theriseunion\.io/workspace']", of=_WORKSPACES),
    ),
    ("app.theriseunion.io", "applicationversions"): (STATUS,),
    ("app.theriseunion.io", "applicationdeployments"): (
        STATUS,
        _c("application", "ref", ".spec.application", of="app.theriseunion.io/applications"),
        _c("version", "text", ".status.applicationVersion"),
        _c("ready", "number", ".status.readyReplicas"),
        _c("wanted", "number", ".status.totalReplicas"),
        _c("places", "number", ".status.workloadCount"),
    ),
    ("iam.theriseunion.io", "users"): (
        STATUS,
        _c("displayName", "text", ".spec.displayName"),
        _c("groups", "text", ".spec.groups[*]"),
        _c("lastLogin", "time", ".status.lastLoginTime"),
    ),
    ("iam.theriseunion.io", "loginrecords"): (_c("success", "bool", ".spec.success"),),
    ("iam.theriseunion.io", "reverseproxies"): (STATUS,),
    ("", "namespaces"): (
        STATUS,
        _c("phase", "text", ".status.phase", wide=True),
        _c("workspace", "ref", r".metadata.labels['theriseunion\.io/workspace']", of=_WORKSPACES),
    ),
    ("", "nodes"): (
        STATUS,
        _c("version", "text", ".status.nodeInfo.kubeletVersion"),
        _c("cpu", "quantity", ".status.allocatable.cpu", title="CPU"),
        _c("memory", "quantity", ".status.allocatable.memory"),
        _c("address", "text", '.status.addresses[?(@.type=="InternalIP")].address'),
        _c("os", "text", ".status.nodeInfo.osImage", title="OS"),
        _c("arch", "text", ".status.nodeInfo.architecture"),
        _c("unschedulable", "bool", ".spec.unschedulable", wide=True),
    ),
    ("", "pods"): (
        STATUS,
        _c("restarts", "number", ".status.containerStatuses[*].restartCount"),
        _c("node", "ref", ".spec.nodeName", of="/nodes"),
        _c("address", "text", ".status.podIP"),
        _c("images", "image", ".spec.containers[*].image"),
    ),
    ("", "services"): (
        _c("type", "text", ".spec.type"),
        _c("address", "text", ".spec.clusterIP"),
        _c("ports", "text", ".spec.ports[*].port"),
    ),
    ("", "secrets"): (_c("type", "text", ".type"),),
    ("", "events"): (
        _c("type", "text", ".type"),
        _c("reason", "text", ".reason"),
        _c("object", "text", ".involvedObject.name"),
        _c("message", "text", ".message"),
        _c("count", "number", ".count"),
        _c("lastSeen", "time", ".lastTimestamp"),
    ),
    ("", "persistentvolumeclaims"): (
        STATUS,
        _c("capacity", "quantity", ".status.capacity.storage"),
        _c("class", "text", ".spec.storageClassName"),
    ),
    ("apps", "deployments"): _REPLICAS,
    ("apps", "statefulsets"): _REPLICAS,
    ("apps", "replicasets"): _REPLICAS,
    ("apps", "daemonsets"): _workload(".status.desiredNumberScheduled", ".status.numberReady"),
    ("batch", "jobs"): (
        STATUS,
        _c("succeeded", "number", ".status.succeeded"),
        _c("wanted", "number", ".spec.completions"),
    ),
    ("batch", "cronjobs"): (
        _c("schedule", "text", ".spec.schedule"),
        _c("suspended", "bool", ".spec.suspend"),
        _c("lastRun", "time", ".status.lastScheduleTime"),
    ),
    ("networking.k8s.io", "ingresses"): (_c("hosts", "text", ".spec.rules[*].host"),),
}
_PRINTED: Final[Mapping[str, ColumnType]] = {
    "integer": "number",
    "number": "number",
    "boolean": "bool",
    "date": "time",
}


def columns_of(
    group: str, resource: str, *, namespaced: bool = False, printed: Iterable[Column] = ()
) -> tuple[RowColumn, ...]:
    """All columns of a kind, in the order in which they are shown. printed: those of its CRD."""
    defined = DEFINED.get((group, resource), ())
    found = {NAME.id: NAME}
    wanted = [*([NAMESPACE] if namespaced else []), *defined, *_of_crd(printed), AGE, CLUSTER, LABELS]
    for column in wanted:
        found.setdefault(column.id, column)
    return tuple(found.values())


def _of_crd(printed: Iterable[Column]) -> Iterable[RowColumn]:
    for column in printed:
        path = column.json_path.strip()
        try:
            compile_path(path)
        except BadPath:
            continue  # the API server took it; it is no column here
        if path != AGE.path:
            type_: ColumnType = _PRINTED.get(column.type, "text")
            yield RowColumn(column_id(column.name), type_, path, column.name, wide=column.priority > 0)


def column_id(name: str) -> str:
    """lowerCamelCase of a printer column's name: Scope-Value → scopeValue, READY → ready."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    words = [word.lower() if word.isupper() else word for word in words] or ["column"]
    first, *rest = words
    return first[:1].lower() + first[1:] + "".join(word[:1].upper() + word[1:] for word in rest)


def choose(columns: Sequence[RowColumn], asked: str, parameter: str = "columns") -> tuple[RowColumn, ...]:
    """Columns by their ids, comma-separated; name comes first in any case. Empty: all that are not wide.

    Raises Problem (400, UnknownColumn) with the ids that there are.
    """
    ids = [part.strip() for part in asked.split(",") if part.strip()]
    if not ids:
        return tuple(column for column in columns if not column.wide)
    chosen = [by_id(columns, one, parameter) for one in dict.fromkeys(ids)]
    return (NAME, *(column for column in chosen if column.id != NAME.id))


def by_id(columns: Sequence[RowColumn], asked: str, parameter: str) -> RowColumn:
    """Raises Problem (400, UnknownColumn)."""
    for column in columns:
        if column.id == asked:
            return column
    known = ", ".join(column.id for column in columns)
    raise Problem(
        "unknown-column",
        what=f'The parameter {parameter} names the column "{asked[:60]}"',
        why="this kind has no such column",
        do=f"accepted: {known}",
        params={"parameter": parameter, "column": asked[:60], "known": [column.id for column in columns]},
    )
