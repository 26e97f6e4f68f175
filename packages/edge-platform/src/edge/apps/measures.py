"""What the metrics say about the application store (O1; white paper 12.3.2, 13.2.2)."""

from collections import Counter
from collections.abc import Iterable

from edge.apps.types import Application, ApplicationDeployment
from edge_kube.conditions import is_true
from edge_kube.runtime import Measure, Reader

FAMILIES = {
    "app_store_application_count": "Applications in the store.",
    "app_store_deployment_count": "Deployments of applications.",
    "app_deployment_total": "Deployments of applications; a gauge in spite of its name.",
    "app_deployment_status": "Deployments by state: success, failed, progressing; their sum is the total.",
}


def measures(cache: Reader) -> Iterable[Measure]:
    """Computed from the cache on each scrape, by the leader only."""
    deployments = cache.list(ApplicationDeployment)
    states = Counter({"success": 0, "failed": 0, "progressing": 0})
    states.update(state_of(deployment) for deployment in deployments)
    yield _family("app_store_application_count", [({}, float(len(cache.list(Application))))])
    yield _family("app_store_deployment_count", [({}, float(len(deployments)))])
    yield _family("app_deployment_total", [({}, float(len(deployments)))])
    yield _family("app_deployment_status", [({"status": name}, float(n)) for name, n in states.items()])


def state_of(deployment: ApplicationDeployment) -> str:
    if is_true(deployment.status.conditions, "Ready"):
        return "success"
    return "failed" if deployment.status.phase in ("Failed", "Degraded") else "progressing"


def _family(name: str, samples: list[tuple[dict[str, str], float]]) -> Measure:
    return Measure(name, FAMILIES[name], samples)
