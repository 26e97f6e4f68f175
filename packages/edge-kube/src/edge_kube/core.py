"""The kinds of Kubernetes itself that the platform reads, with only the fields that it reads. No I/O.

Writes of these kinds are built as values of these types when they say all that is meant (a Namespace, a
Secret), and as plain manifests otherwise (a Deployment).
"""

from collections.abc import Mapping
from typing import Any

from msgspec import field

from edge_kube.crd import resource
from edge_kube.meta import Condition, LabelSelector, Model, Resource


class NamespaceSpec(Model):
    finalizers: tuple[str, ...] = ()


class NamespaceStatus(Model):
    phase: str = ""
    conditions: tuple[Condition, ...] = ()


@resource(group="", version="v1", plural="namespaces", scope="Cluster")
class Namespace(Resource):
    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class Taint(Model):
    key: str
    effect: str
    value: str = ""
    time_added: str = ""


class NodeSpec(Model):
    pod_cidr: str = field(default="", name="podCIDR")
    provider_id: str = field(default="", name="providerID")
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeAddress(Model):
    type: str
    address: str


class NodeSystemInfo(Model):
    kubelet_version: str = ""
    container_runtime_version: str = ""
    os_image: str = ""
    kernel_version: str = ""
    architecture: str = ""
    operating_system: str = ""
    machine_id: str = field(default="", name="machineID")


class NodeStatus(Model):
    capacity: Mapping[str, str] = {}
    allocatable: Mapping[str, str] = {}
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    node_info: NodeSystemInfo = NodeSystemInfo()


@resource(group="", version="v1", plural="nodes", scope="Cluster")
class Node(Resource):
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


@resource(group="", version="v1", plural="secrets", scope="Namespaced")
class Secret(Resource):
    """data: key → base64. A repr shows the keys only."""

    type: str = ""
    data: Mapping[str, str] = {}
    string_data: Mapping[str, str] = {}
    immutable: bool = False

    def __repr__(self) -> str:
        keys = ", ".join(sorted({*self.data, *self.string_data}))
        return f"Secret({self.metadata.namespace}/{self.metadata.name}, keys: {keys})"


@resource(group="", version="v1", plural="configmaps", scope="Namespaced")
class ConfigMap(Resource):
    data: Mapping[str, str] = {}
    binary_data: Mapping[str, str] = {}
    immutable: bool = False


class ResourceQuotaSpec(Model):
    hard: Mapping[str, str] = {}


class ResourceQuotaStatus(Model):
    """hard: what the API server enforces, a moment behind the spec."""

    hard: Mapping[str, str] = {}
    used: Mapping[str, str] = {}


@resource(group="", version="v1", plural="resourcequotas", scope="Namespaced")
class ResourceQuota(Resource):
    spec: ResourceQuotaSpec = ResourceQuotaSpec()
    status: ResourceQuotaStatus = ResourceQuotaStatus()


class ContainerState(Model):
    """One of the three is not empty; its content is read from the map (reason, message, exitCode)."""

    waiting: Mapping[str, Any] = {}
    running: Mapping[str, Any] = {}
    terminated: Mapping[str, Any] = {}


class ContainerStatus(Model):
    name: str
    ready: bool = False
    restart_count: int = 0
    image: str = ""
    image_id: str = field(default="", name="imageID")
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class ContainerPort(Model):
    container_port: int
    name: str = ""
    protocol: str = ""
    host_port: int = 0


class Container(Model):
    name: str
    image: str = ""
    image_pull_policy: str = ""
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(Model):
    node_name: str = ""
    node_selector: Mapping[str, str] = {}
    service_account_name: str = ""
    host_network: bool = False
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()


class PodStatus(Model):
    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = field(default="", name="podIP")
    host_ip: str = field(default="", name="hostIP")
    start_time: str = ""
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


@resource(group="", version="v1", plural="pods", scope="Namespaced")
class Pod(Resource):
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class ServicePort(Model):
    port: int
    name: str = ""
    protocol: str = ""
    target_port: int | str = 0
    node_port: int = 0


class ServiceSpec(Model):
    type: str = ""
    cluster_ip: str = field(default="", name="clusterIP")
    selector: Mapping[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    external_name: str = ""


class LoadBalancerIngress(Model):
    ip: str = ""
    hostname: str = ""


class LoadBalancerStatus(Model):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Model):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


@resource(group="", version="v1", plural="services", scope="Namespaced")
class Service(Resource):
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


@resource(group="", version="v1", plural="serviceaccounts", scope="Namespaced")
class ServiceAccount(Resource):
    pass


class VolumeClaimSpec(Model):
    storage_class_name: str = ""
    volume_name: str = ""
    access_modes: tuple[str, ...] = ()


class VolumeClaimStatus(Model):
    phase: str = ""
    capacity: Mapping[str, str] = {}


@resource(group="", version="v1", plural="persistentvolumeclaims", scope="Namespaced")
class PersistentVolumeClaim(Resource):
    spec: VolumeClaimSpec = VolumeClaimSpec()
    status: VolumeClaimStatus = VolumeClaimStatus()


class TemplateMeta(Model):
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class PodTemplate(Model):
    metadata: TemplateMeta = TemplateMeta()
    spec: PodSpec = PodSpec()


class WorkloadSpec(Model):
    """Shared by Deployment, StatefulSet and ReplicaSet."""

    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    service_name: str = ""
    paused: bool = False


class WorkloadStatus(Model):
    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    conditions: tuple[Condition, ...] = ()


@resource(group="apps", version="v1", plural="deployments", scope="Namespaced")
class Deployment(Resource):
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()


@resource(group="apps", version="v1", plural="statefulsets", scope="Namespaced")
class StatefulSet(Resource):
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()


@resource(group="apps", version="v1", plural="replicasets", scope="Namespaced")
class ReplicaSet(Resource):
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()


class DaemonSetSpec(Model):
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()


class DaemonSetStatus(Model):
    observed_generation: int = 0
    desired_number_scheduled: int = 0
    current_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_ready: int = 0
    number_available: int = 0
    number_unavailable: int = 0
    conditions: tuple[Condition, ...] = ()


@resource(group="apps", version="v1", plural="daemonsets", scope="Namespaced")
class DaemonSet(Resource):
    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()


class JobSpec(Model):
    completions: int = 1
    parallelism: int = 1
    backoff_limit: int = 6


class JobStatus(Model):
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    completion_time: str = ""
    conditions: tuple[Condition, ...] = ()


@resource(group="batch", version="v1", plural="jobs", scope="Namespaced")
class Job(Resource):
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class LeaseSpec(Model):
    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: str = ""
    renew_time: str = ""
    lease_transitions: int = 0


@resource(group="coordination.k8s.io", version="v1", plural="leases", scope="Namespaced")
class Lease(Resource):
    spec: LeaseSpec = LeaseSpec()


class ObjectReference(Model):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    field_path: str = ""


class EventSeries(Model):
    count: int
    last_observed_time: str


@resource(group="events.k8s.io", version="v1", plural="events", scope="Namespaced")
class Event(Resource):
    event_time: str = ""
    reporting_controller: str = ""
    reporting_instance: str = ""
    action: str = ""
    reason: str = ""
    type: str = ""
    note: str = ""
    regarding: ObjectReference = ObjectReference()
    related: ObjectReference = ObjectReference()
    series: EventSeries | None = None


class CustomResourceNames(Model):
    plural: str
    kind: str
    categories: tuple[str, ...] = ()


class CustomResourceVersion(Model):
    name: str
    served: bool = False
    storage: bool = False


class CustomResourceSpec(Model):
    group: str
    names: CustomResourceNames
    scope: str = ""
    versions: tuple[CustomResourceVersion, ...] = ()


class CustomResourceStatus(Model):
    conditions: tuple[Condition, ...] = ()


@resource(group="apiextensions.k8s.io", version="v1", plural="customresourcedefinitions", scope="Cluster")
class CustomResourceDefinition(Resource):
    spec: CustomResourceSpec
    status: CustomResourceStatus = CustomResourceStatus()


class RbacRule(Model):
    """A PolicyRule of rbac.authorization.k8s.io."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = field(default=(), name="nonResourceURLs")


class RbacRoleRef(Model):
    api_group: str
    kind: str
    name: str


class RbacSubject(Model):
    kind: str
    name: str
    api_group: str = ""
    namespace: str = ""


@resource(group="rbac.authorization.k8s.io", version="v1", plural="clusterroles", scope="Cluster")
class ClusterRole(Resource):
    rules: tuple[RbacRule, ...] = ()


@resource(group="rbac.authorization.k8s.io", version="v1", plural="clusterrolebindings", scope="Cluster")
class ClusterRoleBinding(Resource):
    role_ref: RbacRoleRef
    subjects: tuple[RbacSubject, ...] = ()


@resource(group="rbac.authorization.k8s.io", version="v1", plural="rolebindings", scope="Namespaced")
class RoleBinding(Resource):
    role_ref: RbacRoleRef
    subjects: tuple[RbacSubject, ...] = ()
