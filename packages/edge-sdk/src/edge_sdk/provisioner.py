"""How an application type becomes objects of a cluster: the protocol of provisioner plugins (A4, A9).

    class Echo(ProvisionerPlugin):
        def validate(self, version):
            return [] if "text" in version.config else [Violation("spec.config.text", None, "is required")]
        def provision(self, version, topology):
            name = topology.name("echo")
            return Plan(objects=(config_map(name, version.config["text"]),))
        def get_status(self, deployment):
            return status_of_workloads(deployment)

    [project.entry-points."edge.provisioners"]
    echo = "echo_plugin:Echo"

A plugin only says what has to be there. It never sees a cluster, a credential or a clock: the platform
applies its objects, puts every topology's overrides, node affinity and labels on them, and takes them away.
All methods are pure, synchronous and quick (under a second), and give equal answers to equal questions.

Two printed forms are accepted, with or without inheriting from ProvisionerPlugin:
validate, provision, update, delete, get_status · provision, unprovision, get_status.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, cast

from edge_kube.core import DaemonSet, Deployment, Pod, StatefulSet
from edge_kube.meta import Manifest, Model
from edge_sdk.problem import Violation

ENTRY_POINT_GROUP: Final = "edge.provisioners"
ALLOWED_KINDS: Final = (
    "apps/v1/Deployment",
    "apps/v1/StatefulSet",
    "apps/v1/DaemonSet",
    "v1/Service",
    "v1/ConfigMap",
)
"""What a plan may hold: workloads and what they need, inside the deployment's namespace, nothing wider."""

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,56}[a-z0-9])?")
_NAME_KEPT: Final = 52


class Version(Model):
    """An ApplicationVersion as a plugin sees it. spec: the object's whole spec, as JSON."""

    application: str
    version: str
    name: str = ""
    spec: Mapping[str, Any] = {}

    @property
    def config(self) -> Mapping[str, Any]:
        """spec.config: the plugin's own settings (R33)."""
        return self.spec.get("config", {})


class Topology(Model):
    """One place to run: a cluster ("" is the host), and there a node group, a node, or anywhere."""

    namespace: str
    cluster: str = ""
    node_group: str = ""
    node_name: str = ""

    def name(self, base: str) -> str:
        """The name of an object of this topology: <base>-<node group>, at most 58 characters.

        Topologies of one cluster share a namespace, so every object must be named through this.
        """
        parts = [part for part in (base, self.node_group, self.node_name) if part]
        name = "-".join(parts)
        if _LABEL.fullmatch(name):
            return name
        kept = re.sub(r"[^a-z0-9-]", "-", name.lower())[:_NAME_KEPT].strip("-") or "x"
        return f"{kept}-{hashlib.sha256(name.encode()).hexdigest()[:5]}"


class Plan(Model):
    """The whole set of objects that has to be there; what an earlier plan held and this one does not, goes.

    objects: manifests with apiVersion, kind and metadata.name, of ALLOWED_KINDS, in the order of applying.
    metadata.namespace may be left out. Pods come from templates at spec.template.
    """

    objects: tuple[Manifest, ...] = ()


NOTHING: Final = Plan()


class Deployed(Model):
    """What is seen of one topology of one ApplicationDeployment."""

    namespace: str
    name: str
    version: Version
    topology: Topology
    workloads: tuple[Deployment | StatefulSet | DaemonSet, ...] = ()
    pods: tuple[Pod, ...] = ()


class ProvisionStatus(Model):
    """State of one topology. phase: Pending, Progressing, Ready or Failed; reason: one CamelCase word."""

    phase: str
    reason: str = ""
    message: str = ""
    replicas: int = 0
    ready_replicas: int = 0
    nodes: tuple[str, ...] = ()
    workload_name: str = ""


class Provisioner(Protocol):
    """The long form; what the platform works with. See ProvisionerPlugin for what each method promises."""

    def validate(self, version: Version) -> Sequence[Violation]: ...
    def provision(self, version: Version, topology: Topology) -> Plan: ...
    def update(self, old: Version, version: Version, topology: Topology) -> Plan: ...
    def delete(self, deployment: Deployed) -> Plan: ...
    def get_status(self, deployment: Deployed) -> ProvisionStatus: ...


class ProvisionerPlugin(ABC):
    """Base class with the usual answers for update and delete."""

    @abstractmethod
    def validate(self, version: Version) -> Sequence[Violation]:
        """What is wrong with a version's spec; asked at admission and again before provisioning."""

    @abstractmethod
    def provision(self, version: Version, topology: Topology) -> Plan:
        """What has to be there for this version in this topology."""

    def update(self, old: Version, version: Version, topology: Topology) -> Plan:
        """What has to be there on the way from one version to the next; asked once per change.

        After it has been applied, provision is asked again, so the two must lead to the same end.
        """
        del old
        return self.provision(version, topology)

    def delete(self, deployment: Deployed) -> Plan:
        """What stays when the topology is removed; usually nothing. Never asked for a dead cluster."""
        del deployment
        return NOTHING

    def unprovision(self, deployment: Deployed) -> Plan:
        """The other printed name of delete."""
        return self.delete(deployment)

    @abstractmethod
    def get_status(self, deployment: Deployed) -> ProvisionStatus:
        """State of a topology from what is seen of it; `edge_sdk.workload_status` serves most plugins."""


class ShortForm(Protocol):
    """The short form: provision, unprovision, get_status."""

    def provision(self, version: Version, topology: Topology) -> Plan: ...
    def unprovision(self, deployment: Deployed) -> Plan: ...
    def get_status(self, deployment: Deployed) -> ProvisionStatus: ...


class FromShortForm(ProvisionerPlugin):
    """Gives a plugin of the short form the long form: every version is valid, an update is a provision."""

    def __init__(self, plugin: ShortForm) -> None:
        self._plugin = plugin

    def validate(self, version: Version) -> Sequence[Violation]:
        del version
        return ()

    def provision(self, version: Version, topology: Topology) -> Plan:
        return self._plugin.provision(version, topology)

    def delete(self, deployment: Deployed) -> Plan:
        return self._plugin.unprovision(deployment)

    def get_status(self, deployment: Deployed) -> ProvisionStatus:
        return self._plugin.get_status(deployment)


def plan_problems(plan: Plan) -> list[str]:
    """Why a plan cannot be carried out: one sentence each, empty when it can."""
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    for obj in plan.objects:
        kind = f"{obj.get('apiVersion', '')}/{obj.get('kind', '')}"
        metadata = cast("Mapping[str, Any]", obj.get("metadata") or {})
        name = str(metadata.get("name", ""))
        if kind not in ALLOWED_KINDS:
            found.append(f"{kind} {name} is not allowed; allowed are {', '.join(ALLOWED_KINDS)}")
        if not name:
            found.append(f"a {kind} has no metadata.name; name it by topology.name(…)")
        if (kind, name) in seen:
            found.append(f"{kind} {name} is there twice")
        seen.add((kind, name))
    return found
