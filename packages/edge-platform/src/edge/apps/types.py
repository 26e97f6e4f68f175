"""Types of the application store: AppCategory, Application, ApplicationVersion, ApplicationDeployment (A1).

Contract fields as in crd-contract.txt; every other field is an addition, optional, and says so by its
meaning. `make gen` turns these into the CRDs.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType, field

from edge_kube.crd import PRESERVE, AnyMap, Column, Int32, Rule, resource
from edge_kube.crd import DateTime as Time
from edge_kube.meta import Condition, LabelSelector, Model, Resource

GROUP: Final = "app.theriseunion.io"

Replicas = Annotated[
    Int32 | UnsetType,
    Meta(description="Number of pods; absent: one, or what an autoscaler sets."),
]
PodTemplate = Annotated[AnyMap, Meta(description="A pod template, as in a Deployment.")]
OverrideTemplate = Annotated[
    AnyMap,
    Meta(
        description="Changes to the version's pod template, merged as a strategic merge patch; {} keeps it."
    ),
]
Strategy = Annotated[AnyMap, Meta(description="How pods are replaced, as in a Deployment.")]
Conditions = Annotated[tuple[Condition, ...], Meta(description="State, with reason and message.")]
Texts = Annotated[Mapping[str, str], Meta(description="Text by language: zh, en.")]
AGE: Final = Column("Age", ".metadata.creationTimestamp", type="date")


class AppCategorySpec(Model):
    description: Texts = {}
    display_name: Texts = {}
    icon: Annotated[str, Meta(description="Name of an icon of the console.")] = ""
    order: Annotated[int | UnsetType, Meta(description="Place in the store; small numbers first.")] = UNSET


@resource(
    group=GROUP,
    version="v1alpha1",
    plural="appcategories",
    scope="Cluster",
    short_names=("appcat",),
    categories=("edge", "app"),
    columns=(
        Column("DisplayName", ".spec.displayName.zh"),
        Column("Icon", ".spec.icon"),
        Column("Order", ".spec.order", type="integer"),
        AGE,
    ),
    status=False,
)
class AppCategory(Resource):
    """A shelf of the application store; applications name it in label app.theriseunion.io/category."""

    spec: AppCategorySpec = AppCategorySpec()


class ApplicationSpec(Model):
    """Empty: provisioner, category, workspace and texts live in labels and annotations."""


class ApplicationStatus(Model):
    phase: Annotated[str, Meta(description="Active once a version may be deployed, else Empty.")] = ""
    latest_version: Annotated[str, Meta(description="What `latest` means for a new deployment.")] = ""
    version_count: Annotated[int | UnsetType, Meta(description="Versions of the application.")] = UNSET
    conditions: Conditions = ()


@resource(
    group=GROUP,
    version="v1alpha1",
    plural="applications",
    scope="Cluster",
    categories=("edge", "app"),
    columns=(
        Column("DisplayName", r".metadata.annotations['theriseunion\.io/display-name']"),
        Column("Provisioner", r".metadata.labels['app\.theriseunion\.io/provisioner']"),
        Column("Category", r".metadata.labels['app\.theriseunion\.io/category']"),
        Column("Workspace", r".metadata.labels['theriseunion\.io/workspace']"),
        AGE,
    ),
    status=True,
)
class Application(Resource):
    """An entry of the application store. Label app.theriseunion.io/provisioner names the plugin it needs."""

    spec: ApplicationSpec = ApplicationSpec()
    status: ApplicationStatus = ApplicationStatus()


class WorkloadSpec(Model):
    template: PodTemplate
    replicas: Replicas = UNSET
    strategy: Strategy = {}


class WorkloadItem(Model):
    name: Annotated[str, Meta(description="Name of the workload, unique within the version.")]
    spec: Annotated[WorkloadSpec, Meta(description="What runs.")]


class StatefulSetSpec(Model):
    template: PodTemplate
    replicas: Replicas = UNSET
    service_name: Annotated[
        str, Meta(description="Service of the pods' names, one of services[]; empty: the workload's name.")
    ] = ""
    pod_management_policy: Annotated[str, Meta(description="OrderedReady or Parallel.")] = ""
    update_strategy: Strategy = {}
    volume_claim_templates: Annotated[
        tuple[AnyMap, ...], Meta(description="Volumes each pod gets, as in a StatefulSet.")
    ] = ()


class StatefulSetItem(Model):
    name: Annotated[str, Meta(description="Name of the workload, unique within the version.")]
    spec: Annotated[StatefulSetSpec, Meta(description="What runs.")]


class DaemonSetSpec(Model):
    template: PodTemplate
    update_strategy: Strategy = {}


class DaemonSetItem(Model):
    name: Annotated[str, Meta(description="Name of the workload, unique within the version.")]
    spec: Annotated[DaemonSetSpec, Meta(description="What runs, once on every node of the topology.")]


class ServiceItem(Model):
    name: Annotated[str, Meta(description="Name of the Service.")]
    spec: Annotated[
        AnyMap,
        Meta(description="A Service's spec; without a selector it selects all pods of the topology."),
    ]


class WorkloadConfig(Model):
    """Kubernetes workloads, for the `workload` provisioner."""

    deployments: Annotated[tuple[WorkloadItem, ...], Meta(description="Deployments.")] = ()
    stateful_sets: Annotated[tuple[StatefulSetItem, ...], Meta(description="StatefulSets.")] = ()
    daemon_sets: Annotated[tuple[DaemonSetItem, ...], Meta(description="DaemonSets.")] = ()
    services: Annotated[
        tuple[ServiceItem, ...], Meta(description="Services; every topology gets its own.")
    ] = ()


class HelmConfig(Model):
    """A chart, for the `helm` provisioner."""

    chart_name: Annotated[str, Meta(description="Name of the chart.")]
    chart_version: Annotated[str, Meta(description="Version of the chart.")]
    repository: Annotated[str, Meta(description="Base URL of the chart repository.")]
    values: Annotated[str, Meta(description="Values as YAML text.")] = ""


class ModelConfig(Model):
    """A model to be served, for the `model` provisioner."""

    model_name: Annotated[str, Meta(description="Name of the model.")]
    model_version: Annotated[str, Meta(description="Version of the model.")]
    storage_uri: Annotated[str, Meta(description="Where the model's files are.")] = field(name="storageURI")
    framework: Annotated[str, Meta(description="Framework the model is written for.")] = ""
    runtime: Annotated[str, Meta(description="Serving runtime.")] = ""
    cpu_request: Annotated[str, Meta(description="CPU asked for, as a quantity.")] = ""
    memory_request: Annotated[str, Meta(description="Memory asked for, as a quantity.")] = ""
    gpu: Annotated[Int32 | UnsetType, Meta(description="Accelerators a pod needs.")] = UNSET
    replicas: Annotated[Int32 | UnsetType, Meta(description="Number of pods.")] = UNSET


class VersionDependency(Model):
    application: Annotated[str, Meta(description="Application this one needs.")]
    version: Annotated[str, Meta(description="Range its version must match; empty: any.")] = ""


class ApplicationVersionSpec(Model):
    application_ref: Annotated[str, Meta(description="Name of the Application.")]
    version: Annotated[str, Meta(description="Semantic version, such as v1.2.0.")]
    workload_config: Annotated[
        WorkloadConfig | UnsetType, Meta(description="Kubernetes workloads (provisioner workload).")
    ] = UNSET
    helm_config: Annotated[HelmConfig | UnsetType, Meta(description="A chart (provisioner helm).")] = UNSET
    model_config: Annotated[ModelConfig | UnsetType, Meta(description="A model (provisioner model).")] = UNSET
    config: Annotated[
        AnyMap, Meta(description="Settings of any other provisioner; its own documentation lists them.")
    ] = {}
    dependencies: Annotated[
        tuple[VersionDependency, ...], Meta(description="Applications this version needs.")
    ] = ()


class ApplicationVersionStatus(Model):
    phase: Annotated[str, Meta(description="Ready or Invalid, as the provisioner judges it.")] = ""
    review_phase: Annotated[
        str,
        Meta(description="draft, submitted, approved, rejected, published or withdrawn; empty: draft."),
    ] = ""
    review_message: Annotated[str, Meta(description="What the reviewer said.")] = ""
    reviewer: Annotated[str, Meta(description="Who reviewed.")] = ""
    review_time: Annotated[Time | UnsetType, Meta(description="When it was reviewed.")] = UNSET
    submitter: Annotated[str, Meta(description="Who submitted it.")] = ""
    submit_time: Annotated[Time | UnsetType, Meta(description="When it was submitted.")] = UNSET
    conditions: Conditions = ()


NO_VERSION: Final = ApplicationVersionSpec(application_ref="", version="")


@resource(
    group=GROUP,
    version="v1alpha1",
    plural="applicationversions",
    scope="Cluster",
    categories=("edge", "app"),
    columns=(
        Column("Application", ".spec.applicationRef"),
        Column("Version", ".spec.version"),
        Column("ReviewPhase", ".status.reviewPhase"),
        Column("Reviewer", ".status.reviewer"),
        Column("ReviewTime", ".status.reviewTime", type="date"),
    ),
    status=True,
    rules=(
        Rule(
            "!has(oldSelf.spec) || !has(self.spec) || "
            "(self.spec.applicationRef == oldSelf.spec.applicationRef && "
            "self.spec.version == oldSelf.spec.version)",
            "spec.applicationRef and spec.version say which version this is and cannot be changed; "
            "make another ApplicationVersion",
        ),
    ),
)
class ApplicationVersion(Resource):
    """One version of an Application: what runs, and where its review stands."""

    spec: ApplicationVersionSpec = NO_VERSION
    status: ApplicationVersionStatus = ApplicationVersionStatus()


class WorkloadOverrideSpec(Model):
    template: OverrideTemplate
    replicas: Replicas = UNSET
    strategy: Strategy = {}


class WorkloadOverrideItem(Model):
    name: Annotated[str, Meta(description="Name of a workload of the version.")]
    spec: Annotated[WorkloadOverrideSpec, Meta(description="What is different here.")]


class WorkloadOverride(Model):
    """What differs from the version in one topology; workloads that are not named stay as they are."""

    deployments: Annotated[
        tuple[WorkloadOverrideItem, ...], Meta(description="Changes to Deployments, by name.")
    ] = ()
    stateful_sets: Annotated[
        tuple[WorkloadOverrideItem, ...], Meta(description="Changes to StatefulSets, by name.")
    ] = ()
    daemon_sets: Annotated[
        tuple[WorkloadOverrideItem, ...], Meta(description="Changes to DaemonSets, by name.")
    ] = ()


Override = Annotated[
    WorkloadOverride | UnsetType,
    Meta(description="What differs from the version in this topology."),
    PRESERVE,
]


class Topology(Model):
    """A place to run: nodes of a group, or one node; in the host cluster, a named one or several."""

    node_group: Annotated[str, Meta(description="NodeGroup whose nodes run it.")] = ""
    node_name: Annotated[str, Meta(description="Node that runs it.")] = ""
    cluster: Annotated[
        str, Meta(description="Cluster to run in; empty: the NodeGroup's cluster, or the host.")
    ] = ""
    cluster_selector: Annotated[
        LabelSelector | UnsetType, Meta(description="Every Cluster with these labels; follows label changes.")
    ] = UNSET
    workload_override: Override = UNSET


class ApplicationDeploymentSpec(Model):
    application: Annotated[str, Meta(description="Name of the Application.")]
    version: Annotated[
        str,
        Meta(description="A version, a range such as ^1.2, or latest: the newest that may be deployed."),
    ]
    topologies: Annotated[tuple[Topology, ...], Meta(description="Where it runs.")] = ()
    upgrade_request: Annotated[
        str, Meta(description="Any new text here has `latest` or a range resolved again.")
    ] = ""


class StatusTopology(Model):
    """A place, without its overrides: 500 of them must fit into one object (P8)."""

    node_group: Annotated[str, Meta(description="NodeGroup.")] = ""
    node_name: Annotated[str, Meta(description="Node.")] = ""
    workload_override: Annotated[
        WorkloadOverride | UnsetType,
        Meta(description="Left empty: the override is in spec.topologies."),
        PRESERVE,
    ] = UNSET


class TopologyStatus(Model):
    """State of one place; another place that fails changes nothing here."""

    topology: Annotated[StatusTopology, Meta(description="Which place of spec.topologies this is.")]
    topology_index: Annotated[Int32, Meta(description="Its index in spec.topologies.")]
    cluster: Annotated[str, Meta(description="Cluster it runs in; empty: the host.")] = ""
    placement: Annotated[str, Meta(description="Value of label app.theriseunion.io/placement there.")] = ""
    phase: Annotated[
        str, Meta(description="Pending, Progressing, Ready, Failed or Deferred (its cluster is away).")
    ] = ""
    reason: Annotated[str, Meta(description="Why, in one word.")] = ""
    message: Annotated[str, Meta(description="Why, and what to do.")] = ""
    replicas: Annotated[Int32 | UnsetType, Meta(description="Pods wanted.")] = UNSET
    ready_replicas: Annotated[Int32 | UnsetType, Meta(description="Pods ready.")] = UNSET
    nodes: Annotated[tuple[str, ...], Meta(description="Nodes that run its pods, at most ten.")] = ()
    workload_name: Annotated[str, Meta(description="Name of the (first) workload in the cluster.")] = ""


class HistoryEntry(Model):
    """A change of version; the newest ten are kept."""

    application: Annotated[str, Meta(description="Application.")]
    reason: Annotated[str, Meta(description="Deployed, SpecChanged or UpgradeRequested.")]
    timestamp: Annotated[Time, Meta(description="When.")]
    to_version: Annotated[str, Meta(description="Version rolled out.")]
    from_version: Annotated[str, Meta(description="Version before.")] = ""
    message: Annotated[str, Meta(description="What happened.")] = ""
    operator: Annotated[str, Meta(description="Who asked for it, where known.")] = ""
    ready_replicas: Annotated[Int32 | UnsetType, Meta(description="Pods ready at that time.")] = UNSET
    total_replicas: Annotated[Int32 | UnsetType, Meta(description="Pods wanted at that time.")] = UNSET
    workload_count: Annotated[Int32 | UnsetType, Meta(description="Topologies at that time.")] = UNSET
    topologies: Annotated[
        tuple[StatusTopology, ...], Meta(description="Places at that time, at most twenty, else none.")
    ] = ()


class Resolution(Model):
    """What spec.version was taken to mean, and for which spec."""

    requested: Annotated[str, Meta(description="spec.version as it was.")]
    resolved: Annotated[str, Meta(description="Version it means.")]
    version_name: Annotated[str, Meta(description="Name of the ApplicationVersion.")]
    generation: Annotated[int, Meta(description="Generation of the spec it was resolved for.")]


class ApplicationDeploymentStatus(Model):
    application: Annotated[str, Meta(description="Application that runs.")] = ""
    application_version: Annotated[str, Meta(description="Version that runs.")] = ""
    application_version_name: Annotated[str, Meta(description="Name of its ApplicationVersion.")] = ""
    observed_generation: Annotated[
        int | UnsetType, Meta(description="Generation of the spec that this status is about.")
    ] = UNSET
    resolution: Annotated[
        Resolution | UnsetType, Meta(description="What spec.version was taken to mean.")
    ] = UNSET
    phase: Annotated[str, Meta(description="Pending, Progressing, Ready, Degraded, Failed or Deleting.")] = ""
    message: Annotated[str, Meta(description="Why, and what to do.")] = ""
    ready_status: Annotated[str, Meta(description="Ready and wanted pods, as 3/5.")] = ""
    total_replicas: Annotated[Int32 | UnsetType, Meta(description="Pods wanted.")] = UNSET
    ready_replicas: Annotated[Int32 | UnsetType, Meta(description="Pods ready.")] = UNSET
    workload_count: Annotated[Int32 | UnsetType, Meta(description="Topologies after expansion.")] = UNSET
    ready_workload_count: Annotated[Int32 | UnsetType, Meta(description="Of them ready.")] = UNSET
    topology_statuses: Annotated[
        tuple[TopologyStatus, ...], Meta(description="State of each place, on its own.")
    ] = ()
    history: Annotated[tuple[HistoryEntry, ...], Meta(description="Changes of version, newest first.")] = ()
    conditions: Conditions = ()


NO_DEPLOYMENT: Final = ApplicationDeploymentSpec(application="", version="")


@resource(
    group=GROUP,
    version="v1alpha1",
    plural="applicationdeployments",
    scope="Namespaced",
    short_names=("appd",),
    categories=("edge", "app"),
    columns=(
        Column("Application", ".status.application"),
        Column("Version", ".status.applicationVersion"),
        Column("Ready", ".status.readyStatus"),
        Column("Phase", ".status.phase"),
        AGE,
    ),
    status=True,
)
class ApplicationDeployment(Resource):
    """An Application version running in several places, each tracked alone."""

    spec: ApplicationDeploymentSpec = NO_DEPLOYMENT
    status: ApplicationDeploymentStatus = ApplicationDeploymentStatus()
