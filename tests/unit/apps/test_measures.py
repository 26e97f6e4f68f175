"""Figures of the application store (O1)."""

from collections.abc import Sequence
from typing import Any

from edge.apps.measures import measures
from edge.apps.types import ApplicationDeployment, ApplicationDeploymentStatus
from edge_kube.meta import Condition, ObjectMeta


def deployment(name: str, phase: str, ready: str) -> ApplicationDeployment:
    status = ApplicationDeploymentStatus(
        phase=phase, conditions=(Condition(type="Ready", status=ready, reason="Told"),)
    )
    return ApplicationDeployment(metadata=ObjectMeta(name=name, namespace="shop"), status=status)


class Listed:
    """A reader of three deployments and no application."""

    def list(self, cls: type[Any], namespace: str = "") -> Sequence[Any]:
        if cls is not ApplicationDeployment:
            return []
        return [
            deployment("good", "Ready", "True"),
            deployment("half", "Degraded", "False"),
            deployment("new", "Progressing", "False"),
        ]


def test_the_states_of_deployments_sum_up_to_their_total() -> None:
    families = {one.name: one for one in measures(Listed())}  # pyright: ignore[reportArgumentType]
    states = {labels["status"]: value for labels, value in families["app_deployment_status"].samples}
    assert states == {"success": 1.0, "failed": 1.0, "progressing": 1.0}
    assert families["app_deployment_total"].samples == [({}, 3.0)]
    assert families["app_store_application_count"].samples == [({}, 0.0)]
