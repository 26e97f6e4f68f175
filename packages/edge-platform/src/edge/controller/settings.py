"""What the controller can be told: values of chart edge-controller, environment variables (WP 18.2.2)."""

from pathlib import Path
from typing import Annotated

from edge.apps.settings import AppsSettings
from edge.clusters.settings import ClusterSettings
from edge_sdk.secret import Secret
from edge_sdk.settings import Duration, Section, setting


class ControllerSettings(Section):
    """Of the process as a whole."""

    sync_period: Annotated[Duration, setting("How often every object is looked at again.")] = Duration(30)
    metrics_bind_address: Annotated[str, setting(env="METRICS_BIND_ADDRESS")] = "0.0.0.0:8080"
    health_probe_bind_address: Annotated[str, setting(env="HEALTH_PROBE_BIND_ADDRESS")] = "0.0.0.0:8081"
    namespace: Annotated[str, setting("Where the platform lives.", env="POD_NAMESPACE")] = "edge-system"
    pod: Annotated[str, setting("Name of this replica; holder of the Lease.", env="POD_NAME")] = ""
    kubeconfig: Annotated[
        str, setting("Cluster to control; empty: the one this pod runs in.", env="KUBECONFIG")
    ] = ""


class LogSettings(Section):
    level: Annotated[str, setting(env="LOG_LEVEL", pattern="^(debug|info|warn|warning|error)$")] = "info"
    format: Annotated[str, setting(env="LOG_FORMAT", pattern="^(json|text)$")] = "json"


class LeaderElectionSettings(Section):
    enabled: Annotated[bool, setting(env="LEADER_ELECT")] = True
    namespace: Annotated[str, setting(env="LEADER_ELECT_NAMESPACE")] = ""
    lease_duration: Duration = Duration(15)
    renew_deadline: Duration = Duration(10)
    retry_period: Duration = Duration(2)


class ConcurrencySettings(Section):
    """Reconciles at the same time, per kind (P5)."""

    cluster: Annotated[int, setting(env="CLUSTER_CONCURRENT_RECONCILES", ge=1, le=100)] = 3
    application: Annotated[int, setting(env="APPLICATION_CONCURRENT_RECONCILES", ge=1, le=100)] = 5
    component: Annotated[int, setting(env="COMPONENT_CONCURRENT_RECONCILES", ge=1, le=100)] = 3


class WebhookSettings(Section):
    enabled: bool = True
    port: Annotated[int, setting(ge=1, le=65535)] = 9443
    cert_dir: Path = Path("/tmp/k8s-webhook-server/serving-certs")  # noqa: S108  the documented path


class AdminSettings(Section):
    """The first administrator: made when absent, never changed afterwards (R12)."""

    username: str = "admin"
    password: Annotated[Secret, setting(env="ADMIN_PASSWORD")] = Secret("")


class ChartSettings(Section):
    """Where charts come from, and the Helm that installs them."""

    museum: Annotated[str, setting("The cluster's own chart museum.", env="CHARTMUSEUM_URL")] = (
        "http://chartmuseum:8080"
    )
    builtin: Annotated[Path, setting("Charts inside the image.", env="EDGE_BUILTIN_CHARTS")] = Path(
        "/usr/share/edge-museum/charts"
    )
    helm: Annotated[Path, setting("The Helm executable.", env="EDGE_HELM")] = Path("/usr/local/bin/helm")
    scratch: Annotated[Path, setting("For charts and kubeconfigs while Helm runs.", env="EDGE_SCRATCH")] = (
        Path(
            "/tmp/edge-helm"  # noqa: S108  a memory-backed volume of the pod
        )
    )


SECTIONS: dict[str, type[Section]] = {
    "controller": ControllerSettings,
    "log": LogSettings,
    "leaderElection": LeaderElectionSettings,
    "concurrency": ConcurrencySettings,
    "webhook": WebhookSettings,
    "admin": AdminSettings,
    "charts": ChartSettings,
    "clusters": ClusterSettings,
    "apps": AppsSettings,
}
