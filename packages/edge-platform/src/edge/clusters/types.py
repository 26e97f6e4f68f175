"""Types of the clusters room: the Cluster (C1–C14). `make gen` turns them into the CRD.

Contract fields as in crd-contract.txt; every other field is an addition and optional, so an object that
uses contract fields only is accepted unmodified, and so is an empty spec.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType, field

from edge_kube.crd import AnyMap, Byte, Column, Int32, Rule, resource
from edge_kube.meta import Condition, Model, Resource

GROUP: Final = "scope.theriseunion.io"
SYSTEM_NAMESPACE: Final = "edge-system"

CLUSTER_LABEL: Final = "scope.theriseunion.io/cluster"
"""On everything made for a cluster: the cluster's name."""
CLUSTER_UID_ANNOTATION: Final = "scope.theriseunion.io/cluster-uid"
"""On everything made for a cluster: its uid, so that a later one of the same name owns nothing of it."""
DISTRIBUTION_ANNOTATION: Final = "scope.theriseunion.io/distribution"
"""On a Cluster: the distribution when spec.distribution is absent (WP 7.3.3)."""
FORCE_DELETE_ANNOTATION: Final = "scope.theriseunion.io/force-delete"
"""On a Cluster: its own uid; deletion then waits for nothing that is stuck."""
ACCEPT_UID_ANNOTATION: Final = "scope.theriseunion.io/accept-uid"
"""On a physical Cluster: the new uid, once a person has confirmed that the cluster was installed anew."""
NESTED_WORKER_LABEL: Final = "scope.theriseunion.io/nested-worker"
"""On a node of a virtual cluster: the node is one of the worker pods beside its control plane."""
FINALIZER: Final = "scope.theriseunion.io/cluster"

MAX_NAME: Final = 53
"""Helm's limit for a release name; the namespace vcluster-<name> then has 62 of 63 characters."""


class Connection(Model):
    """How to reach the cluster's API server."""

    external_kubernetes_api_endpoint: Annotated[
        str, Meta(description="URL of the API server as it is reached from outside.")
    ] = field(default="", name="externalKubernetesAPIEndpoint")
    kubeconfig: Annotated[
        Byte,
        Meta(
            description="Kubeconfig, base64. Virtual clusters: written by the controller, valid seven days "
            "and renewed in time. Physical clusters: given by the user, certificates and keys inside."
        ),
    ] = ""
    kubernetes_api_endpoint: Annotated[
        str, Meta(description="URL of the API server as the platform reaches it.")
    ] = field(default="", name="kubernetesAPIEndpoint")
    kubernetes_api_server_port: Annotated[int | UnsetType, Meta(description="Port of the API server.")] = (
        field(default=UNSET, name="kubernetesAPIServerPort")
    )
    theriseunion_api_endpoint: Annotated[
        str, Meta(description="URL of the cluster's own platform gateway.")
    ] = field(default="", name="theriseunionAPIEndpoint")
    theriseunion_api_server_namespace: Annotated[
        str, Meta(description="Namespace of the cluster's own platform gateway.")
    ] = field(default="", name="theriseunionAPIServerNamespace")
    theriseunion_api_server_port: Annotated[
        int | UnsetType, Meta(description="Port of the cluster's own platform gateway.")
    ] = field(default=UNSET, name="theriseunionAPIServerPort")
    theriseunion_api_server_service_name: Annotated[
        str, Meta(description="Service of the cluster's own platform gateway.")
    ] = field(default="", name="theriseunionAPIServerServiceName")
    theriseunion_api_server_service_port: Annotated[
        int | UnsetType, Meta(description="Port of that Service.")
    ] = field(default=UNSET, name="theriseunionAPIServerServicePort")
    token: Annotated[str, Meta(description="Token with which a proxied cluster registers.")] = ""
    type: Annotated[
        str, Meta(description="direct (a kubeconfig) or proxy (the cluster dials in); empty: direct.")
    ] = ""


class EdgeRuntime(Model):
    """The runtime that edge nodes join with (C4)."""

    type: Annotated[
        str,
        Meta(
            description="kubeedge, openyurt or none; none is plain Kubernetes.",
            extra_json_schema={"enum": ["", "kubeedge", "openyurt", "none"]},
        ),
    ] = ""
    version: Annotated[str, Meta(description="Version of the runtime, for example 1.20; empty: newest.")] = ""
    advertise_address: Annotated[
        tuple[str, ...], Meta(description="Addresses under which edge nodes reach the cluster.")
    ] = ()
    domain: Annotated[str, Meta(description="DNS name under which edge nodes reach the cluster.")] = ""


_CIDR = {"pattern": r"^([0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2})?$"}


class Network(Model):
    """Address ranges inside a virtual cluster."""

    service_cidr: Annotated[
        str,
        Meta(
            description="Range of Service addresses; empty: a free one of the platform's pool.",
            extra_json_schema=_CIDR,
        ),
    ] = field(default="", name="serviceCIDR")
    pod_cidr: Annotated[
        str,
        Meta(
            description="Range of pod addresses; empty: a free one of the platform's pool.",
            extra_json_schema=_CIDR,
        ),
    ] = field(default="", name="podCIDR")
    dns_domain: Annotated[str, Meta(description="DNS domain of the cluster; empty: cluster.local.")] = field(
        default="", name="dnsDomain"
    )


class Datastore(Model):
    """Where a virtual cluster keeps its objects."""

    mode: Annotated[
        str,
        Meta(
            description="shared: the platform's etcd, under a prefix with its own credentials; own: an "
            "etcd beside the control plane, on a volume; empty: shared where the platform has an etcd.",
            extra_json_schema={"enum": ["", "shared", "own"]},
        ),
    ] = ""
    size: Annotated[
        str,
        Meta(
            description="Size of the volume of an etcd of its own; empty: 2Gi.",
            extra_json_schema={"pattern": r"^([0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?)?$"},
        ),
    ] = ""


class Worker(Model):
    """Nodes of a virtual cluster that run as pods beside its control plane."""

    enabled: Annotated[
        bool | UnsetType, Meta(description="True: nested workers are wanted; absent: the platform's default.")
    ] = UNSET
    count: Annotated[
        Int32 | UnsetType,
        Meta(
            description="How many; absent: one. Pods on different ones have no route to each other.",
            extra_json_schema={"minimum": 0, "maximum": 16},
        ),
    ] = UNSET
    resources: Annotated[
        AnyMap, Meta(description="Requests and limits of one worker, its own pods included.")
    ] = {}


class ClusterSpec(Model):
    config: Annotated[Byte, Meta(description="Settings of the platform inside this cluster, base64.")] = ""
    connection: Annotated[Connection, Meta(description="How to reach the cluster.")] = Connection()
    enable: Annotated[
        bool | UnsetType,
        Meta(description="False: the cluster is not probed and nothing new is placed there."),
    ] = UNSET
    external_kube_api_enabled: Annotated[
        bool | UnsetType, Meta(description="True: the API server may be reached from outside.")
    ] = field(default=UNSET, name="externalKubeAPIEnabled")
    join_federation: Annotated[
        bool | UnsetType, Meta(description="True: the cluster takes part in federated objects.")
    ] = UNSET
    provider: Annotated[str, Meta(description="Who runs the cluster's machines, for people.")] = ""
    type: Annotated[
        str,
        Meta(
            description="virtual: made by the platform; physical: an existing cluster, joined by kubeconfig. "
            "Absent: physical when spec.connection is given, else virtual. Fixed once set.",
            extra_json_schema={"enum": ["", "virtual", "physical"]},
        ),
    ] = ""
    distribution: Annotated[
        str,
        Meta(
            description="k3s, k0s or k8s; absent: annotation scope.theriseunion.io/distribution, else k3s. "
            "What really serves is in status.distribution.",
            extra_json_schema={"enum": ["", "k3s", "k0s", "k8s"]},
        ),
    ] = ""
    version: Annotated[
        str,
        Meta(
            description="Kubernetes version, for example v1.30 or 1.30.7; absent: the newest at hand. One "
            "that is not at hand is served by the nearest newer one, see condition VersionExact.",
            extra_json_schema={"maxLength": 32},
        ),
    ] = ""
    version_policy: Annotated[
        str,
        Meta(
            description="Nearest: another version may serve when the asked one is not at hand; Exact: never.",
            extra_json_schema={"enum": ["", "Nearest", "Exact"]},
        ),
    ] = ""
    engine: Annotated[
        str,
        Meta(
            description="hosted: control plane of the platform's own; vcluster: upstream charts, which must "
            "be in the chart museum; absent: the platform's setting. Fixed once the cluster is made.",
            extra_json_schema={"enum": ["", "hosted", "vcluster"]},
        ),
    ] = ""
    edge_runtime: Annotated[EdgeRuntime, Meta(description="Runtime that edge nodes join with.")] = (
        EdgeRuntime()
    )
    network: Annotated[Network, Meta(description="Address ranges; absent ones are allocated.")] = Network()
    datastore: Annotated[Datastore, Meta(description="Where the cluster keeps its objects.")] = Datastore()
    worker: Annotated[Worker, Meta(description="Nested workers of a virtual cluster.")] = Worker()
    quota: Annotated[
        Mapping[str, str],
        Meta(description="ResourceQuota of the namespace that holds a virtual cluster, name to quantity."),
    ] = {}
    components: Annotated[
        tuple[str, ...], Meta(description="Charts installed into the cluster once it is ready, in order.")
    ] = ()
    deletion_policy: Annotated[
        str,
        Meta(
            description="Delete: what the platform made goes with it; Orphan: it stays. Absent: Delete "
            "for virtual clusters, Orphan for physical ones.",
            extra_json_schema={"enum": ["", "Delete", "Orphan"]},
        ),
    ] = ""


class DistributionStatus(Model):
    """What was asked for, and what serves."""

    requested: Annotated[str, Meta(description="Distribution that the cluster asks for.")] = ""
    served: Annotated[str, Meta(description="Distribution that runs.")] = ""
    requested_version: Annotated[str, Meta(description="Version as it is written in the spec.")] = ""
    engine: Annotated[str, Meta(description="Engine that runs it.")] = ""
    chart: Annotated[str, Meta(description="Chart it is installed by.")] = ""
    chart_version: Annotated[str, Meta(description="Version of that chart.")] = ""


class NetworkStatus(Model):
    """Ranges in use; they stay as long as the cluster does."""

    service_cidr: Annotated[str, Meta(description="Range of Service addresses.")] = field(
        default="", name="serviceCIDR"
    )
    pod_cidr: Annotated[str, Meta(description="Range of pod addresses.")] = field(default="", name="podCIDR")
    dns_domain: Annotated[str, Meta(description="DNS domain.")] = field(default="", name="dnsDomain")


class Endpoints(Model):
    """Where the API server is."""

    external: Annotated[str, Meta(description="URL from outside the host cluster.")] = ""
    internal: Annotated[str, Meta(description="URL from inside the host cluster.")] = ""


class ClusterStatus(Model):
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            description="Ready, ControlPlaneReady, Reachable, EdgeRuntimeReady, ComponentsReady, "
            "DistributionExact, VersionExact; each with reason and message."
        ),
    ] = ()
    configz: Annotated[Mapping[str, bool], Meta(description="Optional parts found in the cluster.")] = {}
    kubernetes_version: Annotated[str, Meta(description="Version that the API server reports.")] = ""
    node_count: Annotated[int | UnsetType, Meta(description="Nodes the API server lists.")] = UNSET
    region: Annotated[str, Meta(description="Region its nodes are labelled with.")] = ""
    theriseunion_version: Annotated[str, Meta(description="Version of the platform in the cluster.")] = ""
    uid: Annotated[str, Meta(description="uid of the cluster's namespace kube-system.")] = ""
    zones: Annotated[tuple[str, ...], Meta(description="Zones its nodes are labelled with.")] = ()
    phase: Annotated[
        str,
        Meta(description="Pending, Provisioning, Ready, Degraded, Offline or Deleting; for people."),
    ] = ""
    distribution: Annotated[DistributionStatus, Meta(description="What was asked for, and what serves.")] = (
        DistributionStatus()
    )
    network: Annotated[NetworkStatus, Meta(description="Address ranges in use.")] = NetworkStatus()
    endpoints: Annotated[Endpoints, Meta(description="Addresses of the API server.")] = Endpoints()
    datastore: Annotated[str, Meta(description="shared or own; chosen once.")] = ""


@resource(
    group=GROUP,
    version="v1alpha1",
    plural="clusters",
    scope="Cluster",
    categories=("edge", "scope"),
    columns=(
        Column("Provider", ".spec.provider"),
        Column("Version", ".status.kubernetesVersion"),
        Column("Status", '.status.conditions[?(@.type=="Ready")].status'),
    ),
    status=True,
    rules=(
        Rule(
            f"size(self.metadata.name) <= {MAX_NAME}",
            f"a Cluster's name is at most {MAX_NAME} characters: it becomes a Helm release and a namespace",
        ),
        Rule(
            "!self.metadata.name.contains('.')",
            "a Cluster's name must be a DNS label (letters, digits, dashes): it becomes part of a namespace",
        ),
    ),
)
class Cluster(Resource):
    """A Kubernetes cluster that the platform makes (virtual) or joins (physical)."""

    spec: ClusterSpec = ClusterSpec()
    status: ClusterStatus = ClusterStatus()
