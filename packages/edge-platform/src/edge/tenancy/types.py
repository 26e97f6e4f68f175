"""Types of the tenancy room: the Workspace. `make gen` turns them into the CRD; fields as in the contract."""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from edge_kube.crd import Column, Int32, Rule, resource
from edge_kube.meta import Condition, Model, Resource

GROUP: Final = "scope.theriseunion.io"


class WorkspaceTemplate(Model):
    namespaces: Annotated[
        tuple[str, ...],
        Meta(description="Namespaces made for the workspace; one that belongs to others is never taken."),
    ] = ()
    resource_quotas: Annotated[
        Mapping[str, str],
        Meta(
            description="Total over all namespaces of the workspace, resource name to quantity; each "
            "namespace gets a ResourceQuota edge-workspace with its share of the moment."
        ),
    ] = {}


class WorkspaceSpec(Model):
    display_name: Annotated[str, Meta(description="Name for people, as the list shows it.")] = ""
    manager: Annotated[str, Meta(description="Name of the User who answers for the workspace.")] = ""
    template: Annotated[WorkspaceTemplate, Meta(description="What the workspace brings with it.")] = (
        WorkspaceTemplate()
    )


class WorkspaceQuota(Model):
    """Over all namespaces, resource name to quantity; as of a few seconds ago."""

    hard: Annotated[Mapping[str, str], Meta(description="What the workspace may use in all.")] = {}
    used: Annotated[Mapping[str, str], Meta(description="What its namespaces use together.")] = {}


class WorkspaceStatus(Model):
    phase: Annotated[str, Meta(description="Active, Blocked or Deleting.")] = ""
    member_count: Annotated[Int32 | UnsetType, Meta(description="People and groups bound to it.")] = UNSET
    namespace_count: Annotated[Int32 | UnsetType, Meta(description="Namespaces that belong to it.")] = UNSET
    quota: Annotated[
        WorkspaceQuota,
        Meta(
            description="The quota and its use, where there is one; a few seconds behind.",
            # Whole or not at all: taking its fields away one by one would leave a null behind.
            extra_json_schema={"x-kubernetes-map-type": "atomic"},
        ),
    ] = WorkspaceQuota()
    conditions: Annotated[
        tuple[Condition, ...], Meta(description="Ready and WithinQuota, each with reason and message.")
    ] = ()


@resource(
    group=GROUP,
    version="v1alpha1",
    plural="workspaces",
    scope="Cluster",
    categories=("edge", "scope"),
    columns=(
        Column("DisplayName", ".spec.displayName"),
        Column("Manager", ".spec.manager"),
        Column("Cluster", r".metadata.labels['scope\.theriseunion\.io/cluster']"),
        Column("Phase", ".status.phase"),
    ),
    status=True,
    rules=(
        Rule("size(self.metadata.name) <= 63", "a Workspace's name becomes a label: 63 characters at most"),
    ),
)
class Workspace(Resource):
    """A tenant's view of a cluster: a set of namespaces with people, roles and a quota."""

    spec: WorkspaceSpec = WorkspaceSpec()
    status: WorkspaceStatus = WorkspaceStatus()
