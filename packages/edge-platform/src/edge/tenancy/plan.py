"""What a workspace wants, and what stands in the way. Pure: equal input gives an equal plan."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from edge.iam.scope import HOST, SYSTEM_WORKSPACE, workspace_of
from edge.iam.types import IAMRoleBinding
from edge.tenancy.types import Workspace, WorkspaceSpec, WorkspaceStatus
from edge_kube.core import Namespace
from edge_kube.meta import Condition, Manifest, Model, ObjectMeta
from edge_sdk.scopes import CLUSTER_LABEL, FORCE_DELETE_ANNOTATION, WORKSPACE_LABEL

MANAGED_LABEL: Final = "theriseunion.io/managed"
ACTIVE: Final = "Active"
BLOCKED: Final = "Blocked"
DELETING: Final = "Deleting"
SHOWN: Final = 10


class WorkspacePlan(Model):
    """missing: namespaces to create. release: let go the namespaces. done: the finalizer may come off."""

    missing: tuple[Namespace, ...]
    release: bool
    done: bool
    status: WorkspaceStatus


def owner_of(namespace: Namespace) -> str:
    """The workspace that a namespace belongs to, or ""."""
    return workspace_of(namespace.metadata.name, namespace.metadata.labels.get(WORKSPACE_LABEL, ""))


def plan_workspace(
    workspace: Workspace,
    existing: Mapping[str, Namespace],
    bindings: Iterable[IAMRoleBinding],
    members: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> WorkspacePlan:
    """Compare a workspace's template with the namespaces there are.

    existing: namespaces of the host by name, at least its own and those it wants; bindings: those of the
    workspace's scope; members: its namespaces in member clusters that answer, by cluster.
    A namespace that exists and is not ours is never taken: naming `kube-system` in a template must not hand
    it to a tenant (I15, S8). One dropped from the template is kept: deleting it deletes data.
    """
    name = workspace.metadata.name
    mine = sorted(one for one, namespace in existing.items() if owner_of(namespace) == name)
    mine += [f"{one} (cluster {cluster})" for cluster in sorted(members) for one in sorted(members[cluster])]
    people = {(one.kind, one.namespace, one.name) for each in bindings for one in each.spec.subjects}
    if workspace.metadata.deletion_timestamp:
        return _plan_removal(workspace, mine, len(people))
    wanted = workspace.spec.template.namespaces
    elsewhere = workspace.metadata.labels.get(CLUSTER_LABEL, HOST) or HOST
    foreign = [one for one in wanted if one in existing and owner_of(existing[one]) != name]
    missing = [one for one in dict.fromkeys(wanted) if one not in existing]
    system = [one for one in missing if workspace_of(one, name) != name]
    if elsewhere != HOST:
        missing, ready = [], _not_here(workspace, elsewhere)
    else:
        missing = [one for one in missing if one not in system]
        ready = _taken(workspace, foreign + system) if foreign or system else _in_place(workspace)
    status = WorkspaceStatus(
        phase=ACTIVE if ready.status == "True" else BLOCKED,
        member_count=len(people),
        namespace_count=len(mine) + len(missing),
        conditions=(ready,),
    )
    made = tuple(_namespace(one, name) for one in missing)
    return WorkspacePlan(missing=made, release=False, done=False, status=status)


def _plan_removal(workspace: Workspace, mine: Sequence[str], people: int) -> WorkspacePlan:
    """A workspace stays until its namespaces are gone, moved, or let go by force."""
    meta = workspace.metadata
    ready = _condition(
        workspace, False, "HoldsNamespaces",
        f"The workspace is not removed while it has namespaces: {shown(mine)}. Delete them, label them "
        f"{WORKSPACE_LABEL}=<another workspace>, or let them go as they are with `kubectl annotate workspace "
        f"{meta.name} {FORCE_DELETE_ANNOTATION}={meta.uid}`.",
    )  # fmt: skip
    return WorkspacePlan(
        missing=(),
        release=bool(mine) and meta.annotations.get(FORCE_DELETE_ANNOTATION) == meta.uid,
        done=not mine,
        status=WorkspaceStatus(
            phase=DELETING, member_count=people, namespace_count=len(mine), conditions=(ready,)
        ),
    )


def released(namespace: str) -> Manifest:
    """The merge patch that lets a namespace go."""
    return {"metadata": {"name": namespace, "labels": {WORKSPACE_LABEL: None}}}


def _namespace(name: str, workspace: str) -> Namespace:
    return Namespace(metadata=ObjectMeta(name=name, labels={WORKSPACE_LABEL: workspace}))


def _in_place(workspace: Workspace) -> Condition:
    return _condition(workspace, True, "InPlace", "")


def _taken(workspace: Workspace, foreign: list[str]) -> Condition:
    return _condition(
        workspace, False, "NamespaceTaken",
        f"Namespaces {shown(foreign)} belong to others or to the system, so they were not taken over. "
        f"Choose other names in spec.template.namespaces, or have a platform admin label them "
        f"{WORKSPACE_LABEL}={workspace.metadata.name} (system namespaces never join a workspace).",
    )  # fmt: skip


def _not_here(workspace: Workspace, cluster: str) -> Condition:
    return _condition(
        workspace, False, "InMemberCluster",
        f"The workspace is in cluster {cluster}: roles and bindings for it count there, but its namespaces "
        f"are not made for you. Make them in that cluster with label "
        f"{WORKSPACE_LABEL}={workspace.metadata.name}.",
    )  # fmt: skip


def shown(names: Sequence[str]) -> str:
    """Names in a message, cut where there are too many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _condition(workspace: Workspace, holds: bool, reason: str, message: str) -> Condition:
    return Condition(
        type="Ready",
        status="True" if holds else "False",
        reason=reason,
        message=message,
        observed_generation=workspace.metadata.generation,
    )


def system_workspace() -> Workspace:
    """The workspace of the cluster's own namespaces."""
    labels = {MANAGED_LABEL: "true"}
    return Workspace(metadata=ObjectMeta(name=SYSTEM_WORKSPACE, labels=labels), spec=WorkspaceSpec())


SYSTEM_LABELS: Final = {WORKSPACE_LABEL: SYSTEM_WORKSPACE, MANAGED_LABEL: "true"}
