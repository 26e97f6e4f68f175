"""What a bare cluster lacks: cluster DNS and a default StorageClass."""

import json
import time

from edge.embedded.cluster import HostCluster
from edge.embedded.steps import Progress, StepError

_DEPLOYMENTS = ("coredns", "local-path-provisioner")
WAIT_S = 120.0


def ensure(cluster: HostCluster, progress: Progress) -> None:
    """Apply and wait until both serve; a no-op repairs what was changed."""
    with progress.step("cluster DNS and StorageClass"):
        cluster.apply("coredns.yaml")
        cluster.apply("local-path.yaml")
        end = time.monotonic() + WAIT_S
        while waiting := [name for name in _DEPLOYMENTS if not _available(cluster, name)]:
            if time.monotonic() > end:
                pods = cluster.kubectl("get", "pods", "-n", "kube-system", "-o", "wide")
                raise StepError(f"{', '.join(waiting)} did not become available:\n{pods}")
            time.sleep(0.2)


def _available(cluster: HostCluster, name: str) -> bool:
    deployment = json.loads(cluster.kubectl("get", "deployment", name, "-n", "kube-system", "-o", "json"))
    status = deployment.get("status", {})
    current = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return current and status.get("availableReplicas", 0) >= 1
