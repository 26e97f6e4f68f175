"""Installing on a cluster that is already there: what must hold, looked at before anything is changed."""

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.embedded.steps import Progress, StepError

OLDEST = (1, 24)
_DEFAULT = "storageclass.kubernetes.io/is-default-class"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Somebody's cluster, seen through kubectl."""

    kubectl: Path
    kubeconfig: Path

    def ask(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.kubectl), "--kubeconfig", str(self.kubeconfig), "--request-timeout=15s", *args]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def json(self, *args: str) -> dict[str, Any]:
        done = self.ask(*args, "-o", "json")
        return json.loads(done.stdout) if done.returncode == 0 else {}


def check(cluster: Cluster, progress: Progress) -> None:
    """StepError that lists every prerequisite that is missing, each with its remedy."""
    with progress.step("prerequisites of the existing cluster"):
        if problem := _reachable(cluster):
            raise StepError(problem)
        problems = [problem for look in _CHECKS if (problem := look(cluster))]
        if problems:
            listed = "\n".join(f"  - {one}" for one in problems)
            raise StepError(f"the cluster of {cluster.kubeconfig} lacks what the platform needs:\n{listed}")


def _reachable(cluster: Cluster) -> str:
    if not cluster.kubeconfig.is_file():
        return f"there is no file {cluster.kubeconfig}: give KUBECONFIG=<path of the cluster's kubeconfig>"
    done = cluster.ask("get", "--raw", "/version")
    if done.returncode == 0:
        return ""
    return (
        f"the cluster of {cluster.kubeconfig} cannot be reached: {done.stderr.strip()[-300:]}\n"
        "Check the server's address, the network, and that the credentials have not expired: "
        f"kubectl --kubeconfig {cluster.kubeconfig} get nodes"
    )


def _recent(cluster: Cluster) -> str:
    info = json.loads(cluster.ask("get", "--raw", "/version").stdout)
    numbers = re.match(r"v(\d+)\.(\d+)", info["gitVersion"])
    if numbers and (int(numbers[1]), int(numbers[2])) >= OLDEST:
        return ""
    return f"Kubernetes {info['gitVersion']} is too old: upgrade it to v{OLDEST[0]}.{OLDEST[1]} or newer"


def _has_storage(cluster: Cluster) -> str:
    classes = cluster.json("get", "storageclasses").get("items", [])
    if any(c["metadata"].get("annotations", {}).get(_DEFAULT) == "true" for c in classes):
        return ""
    names = ", ".join(c["metadata"]["name"] for c in classes)
    if not names:
        return "there is no StorageClass: install a volume provisioner and mark its class as default"
    return (
        f"no StorageClass is the default one (there are: {names}): mark one with "
        f"kubectl annotate storageclass {classes[0]['metadata']['name']} {_DEFAULT}=true"
    )


def _may_install(cluster: Cluster) -> str:
    if cluster.ask("auth", "can-i", "*", "*", "--all-namespaces").returncode == 0:
        return ""
    return (
        "this user may not install: CRDs, cluster roles and namespaces are made; "
        "use a kubeconfig that is bound to cluster-admin"
    )


def _has_node(cluster: Cluster) -> str:
    nodes = cluster.json("get", "nodes").get("items", [])
    ready = [n for n in nodes if _is_ready(n) and not n["spec"].get("unschedulable")]
    return "" if ready else "no node is Ready and schedulable: join or uncordon one"


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


_CHECKS: tuple[Callable[[Cluster], str], ...] = (_recent, _may_install, _has_storage, _has_node)
