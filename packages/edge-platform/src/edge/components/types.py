"""Types of the components room: the Component (K1, K9). `make gen` turns them into the CRD.

Contract fields as in crd-contract.txt; every other field is an addition and optional, so an object that
uses contract fields only is accepted unmodified. Unknown spec fields are pruned by the API server.
"""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from edge_kube.crd import AnyMap, Column, DateTime, Int32, resource
from edge_kube.meta import Condition, Model, Resource

GROUP = "ext.theriseunion.io"
DEFAULT_NAMESPACE = "edge-system"
BUILTIN_REPOSITORY = "builtin"
DEFAULT_TIMEOUT = "300s"

Duration = Annotated[
    str,
    Meta(
        description="A Go duration such as 300s or 5m.",
        extra_json_schema={"pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"},
    ),
]


class ChartRef(Model):
    """Which chart, as which release, where."""

    name: Annotated[str, Meta(description="Chart name; empty: the Component's name.")] = ""
    namespace: Annotated[
        str, Meta(description="Namespace the release is installed in; it is made when absent.")
    ] = DEFAULT_NAMESPACE
    release_name: Annotated[
        str, Meta(description="Helm release name, at most 53 characters; empty: the Component's name.")
    ] = ""
    repository: Annotated[
        str,
        Meta(
            description="Base URL of the chart repository; empty: the cluster's own ChartMuseum; "
            "builtin: the charts inside the controller's image (docs/decisions/002)."
        ),
    ] = ""


class Dependency(Model):
    """A Component that must be Ready before this one is installed or changed."""

    name: Annotated[str, Meta(description="Name of the Component this one needs.")]
    namespace: Annotated[str, Meta(description="Its namespace; empty: the same as this one's.")] = ""
    version: Annotated[str, Meta(description="Range its chart version must match, e.g. >=25 or ^1.2.")] = ""
    optional: Annotated[bool, Meta(description="True: waited for only where it exists.")] = False


class ValuesSource(Model):
    """Values read from a Secret or ConfigMap in the Component's namespace, merged under spec.values."""

    kind: Annotated[
        str, Meta(description="Secret or ConfigMap.", extra_json_schema={"enum": ["Secret", "ConfigMap"]})
    ]
    name: Annotated[str, Meta(description="Name of the object.")]
    key: Annotated[str, Meta(description="Key whose content is a YAML map of values.")] = "values.yaml"
    optional: Annotated[bool, Meta(description="True: a missing object or key counts as no values.")] = False


class Rollback(Model):
    """What happens to a failed upgrade (K5)."""

    enabled: Annotated[bool, Meta(description="Return to the last good revision.")] = True
    after: Annotated[
        int,
        Meta(description="Number of failed attempts before the return.", extra_json_schema={"minimum": 1}),
    ] = 1


class ComponentSpec(Model):
    enabled: Annotated[
        bool,
        Meta(description="False: not installed, and uninstalled if it was.", extra={"required": True}),
    ] = True
    chart: ChartRef = ChartRef()
    version: Annotated[
        str, Meta(description="Chart version or range; empty: the newest stable one in the repository.")
    ] = ""
    values: Annotated[AnyMap, Meta(description="Helm values; null removes a chart default.")] = {}
    dependencies: tuple[Dependency, ...] = ()
    target_cluster: Annotated[
        str, Meta(description="Name of the Cluster to install into; empty: the cluster this object lives in.")
    ] = ""
    values_from: tuple[ValuesSource, ...] = ()
    timeout: Duration = DEFAULT_TIMEOUT
    drift_policy: Annotated[
        str,
        Meta(
            description="Repair puts deleted or changed objects back, Report says so, Off does not look.",
            extra_json_schema={"enum": ["Repair", "Report", "Off"]},
        ),
    ] = "Repair"
    adopt: Annotated[
        str,
        Meta(
            description="What to do with a release or objects made by hand: Never leaves them alone, "
            "Auto takes over a release of the same chart, TakeOwnership also objects of other owners.",
            extra_json_schema={"enum": ["Never", "Auto", "TakeOwnership"]},
        ),
    ] = "Never"
    rollback: Rollback = Rollback()
    max_retries: Annotated[
        int,
        Meta(
            description="Failed attempts of one spec before the Component is Stalled.",
            extra_json_schema={"minimum": 1},
        ),
    ] = 5
    suspend: Annotated[bool, Meta(description="True: nothing is changed, status is still kept.")] = False
    digest: Annotated[
        str,
        Meta(
            description="SHA-256 the chart archive must have, in hex.",
            extra_json_schema={"pattern": "^([0-9a-f]{64})?$"},
        ),
    ] = ""


class LastGood(Model):
    """The newest revision known to work."""

    hash: str = ""
    revision: int = 0
    chart_version: str = ""


class ResolvedChart(Model):
    """The chart that is installed or being installed."""

    name: str = ""
    version: str = ""
    digest: str = ""


class DriftStatus(Model):
    """Differences between the release and the cluster, and what was done about them."""

    count: Annotated[int | UnsetType, Meta(description="Repairs since the last change of the release.")] = (
        UNSET
    )
    last_repair: DateTime | UnsetType = UNSET
    kept: Annotated[
        tuple[str, ...],
        Meta(description="Fields people changed, which are kept (kind/name: field by manager)."),
    ] = ()


class ComponentStatus(Model):
    phase: str = ""
    message: str = ""
    observed_hash: Annotated[
        str, Meta(description="SHA-256 of the effective spec that is installed; empty: nothing is installed.")
    ] = ""
    failed_hash: Annotated[str, Meta(description="SHA-256 of the effective spec that failed last.")] = ""
    release_name: str = ""
    release_version: Annotated[int | UnsetType, Meta(description="Helm revision.")] = UNSET
    retry_count: Annotated[Int32 | UnsetType, Meta(description="Failed attempts of the current spec.")] = (
        UNSET
    )
    last_failure_time: DateTime | UnsetType = UNSET
    last_transition_time: DateTime | UnsetType = UNSET
    next_retry_time: DateTime | UnsetType = UNSET
    last_good: LastGood | UnsetType = UNSET
    chart: ResolvedChart | UnsetType = UNSET
    drift: DriftStatus | UnsetType = UNSET
    waiting_for: Annotated[
        tuple[str, ...], Meta(description="Dependencies that are not Ready yet, as namespace/name.")
    ] = ()
    retry_token: Annotated[
        str,
        Meta(
            description="Generation and annotation ext.theriseunion.io/retry of the last attempt that failed."
        ),
    ] = ""
    conditions: tuple[Condition, ...] = ()


@resource(
    group=GROUP,
    version="v1alpha1",
    plural="components",
    scope="Namespaced",
    short_names=("comp",),
    categories=("edge",),
    columns=(
        Column("Enabled", ".spec.enabled", type="boolean"),
        Column("Phase", ".status.phase"),
        Column("Version", ".spec.version"),
        Column("Age", ".metadata.creationTimestamp", type="date"),
    ),
)
class Component(Resource):
    """A Helm chart that the platform keeps installed, in this or another cluster."""

    spec: ComponentSpec = ComponentSpec()
    status: ComponentStatus = ComponentStatus()
