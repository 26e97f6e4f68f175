"""Types of the nodes room: the NodeGroup (N1). `make gen` turns them into the CRD.

Contract fields as in crd-contract.txt; nothing else is asked for, so an object of the contract is accepted.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from edge_kube.crd import Column, Rule, resource
from edge_kube.meta import Condition, LabelSelector, Model, Resource

GROUP: Final = "scope.theriseunion.io"

PRIMARY_ANNOTATION: Final = "scope.theriseunion.io/nodegroup-label"
"""On a node: value that the platform itself put into label theriseunion.io/nodegroup. A label of the same
value without this annotation was set by a person and makes the node a member by itself."""
APPLIED_TAINTS_ANNOTATION: Final = "scope.theriseunion.io/applied-taints"
"""On a node: the taints that node groups put there, comma-separated; only these are ever taken away."""


class NodeTemplate(Model):
    """What every node of the group carries as long as it belongs to it."""

    annotations: Annotated[Mapping[str, str], Meta(description="Annotations kept on the group's nodes.")] = {}
    labels: Annotated[Mapping[str, str], Meta(description="Labels kept on the group's nodes.")] = {}
    taints: Annotated[
        tuple[str, ...],
        Meta(
            description="Taints kept on the group's nodes, as key[=value]:Effect with Effect one of "
            "NoSchedule, PreferNoSchedule, NoExecute."
        ),
    ] = ()


class NodeGroupSpec(Model):
    display_name: Annotated[str, Meta(description="Name for people, as the list shows it.")] = ""
    selector: Annotated[
        LabelSelector,
        Meta(
            description="Nodes that belong to the group, by their labels. A node also belongs when a person "
            "labels it theriseunion.io/nodegroup=<name of the group>."
        ),
    ] = LabelSelector()
    template: Annotated[NodeTemplate, Meta(description="What is kept on the group's nodes.")] = NodeTemplate()


class NodeGroupStatus(Model):
    phase: Annotated[
        str, Meta(description="Active, Degraded, Offline (its cluster does not answer) or Deleting.")
    ] = ""
    observed_generation: Annotated[
        int | UnsetType, Meta(description="Generation of the spec that this status is about.")
    ] = UNSET
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(description="Ready, Degraded and GrantsValid, each with reason and message."),
    ] = ()


@resource(
    group=GROUP,
    version="v1alpha1",
    plural="nodegroups",
    scope="Cluster",
    categories=("edge", "scope"),
    columns=(
        Column("DisplayName", ".spec.displayName"),
        Column("Cluster", r".metadata.labels['scope\.theriseunion\.io/cluster']"),
        Column("Phase", ".status.phase"),
        Column("Nodes", r".metadata.annotations['theriseunion\.io/node-count']"),
        Column("Ready", r".metadata.annotations['theriseunion\.io/ready-node-count']"),
    ),
    status=True,
    rules=(
        Rule(
            "size(self.metadata.name) <= 63", "a NodeGroup's name becomes a node label: 63 characters at most"
        ),
    ),
)
class NodeGroup(Resource):
    """A set of nodes of one cluster (label scope.theriseunion.io/cluster; without it the host cluster)."""

    spec: NodeGroupSpec = NodeGroupSpec()
    status: NodeGroupStatus = NodeGroupStatus()
