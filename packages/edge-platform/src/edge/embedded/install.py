"""Install the platform on a cluster: one `helm upgrade --install` of the entry chart, then wait.

The controller brings the rest as Components (K8), so this module knows no other chart. Safe to
run again: Helm compares, the controller repairs.
"""

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.embedded.steps import Progress, StepError

NAMESPACE = "edge-system"
POLL_S = 0.3
RELEASE = "edge-controller"


@dataclass(frozen=True, slots=True)
class Installation:
    """What is installed where. chart: folder of the entry chart. values: files for `helm -f`, later ones
    win; overrides go last."""

    kubeconfig: Path
    helm: Path
    kubectl: Path
    chart: Path
    values: Sequence[Path] = ()
    overrides: Mapping[str, str] | None = None
    wait_s: float = 300.0

    def run_helm(self, *arguments: str) -> str:
        return _run([str(self.helm), "--kubeconfig", str(self.kubeconfig), *arguments])

    def run_kubectl(self, *arguments: str) -> str:
        return _run([str(self.kubectl), "--kubeconfig", str(self.kubeconfig), *arguments])


Probe = Callable[[Installation], tuple[bool, str]]
"""Whether it is ready, and what is seen of it when it is not."""


def install(installation: Installation, progress: Progress) -> None:
    """Entry chart, controller Available, then every Component of the platform Running.

    Raises StepError with the part that is not ready, its condition and where to look.
    """
    with progress.step("entry chart edge-controller"):
        _apply_crds(installation)
        _unlock(installation)
        installation.run_helm(*_upgrade_arguments(installation))
    with progress.step("edge-controller is ready"):
        _wait(installation, "deployment edge-controller", _controller_ready)
    for name in _components(installation):
        with progress.step(f"component {name}"):
            _wait(installation, f"component {name}", lambda it, name=name: _component_ready(it, name))


def _upgrade_arguments(installation: Installation) -> list[str]:
    arguments = ["upgrade", "--install", RELEASE, str(installation.chart)]
    arguments += ["--namespace", NAMESPACE, "--create-namespace", "--history-max", "5"]
    for file in installation.values:
        arguments += ["--values", str(file)]
    for key, value in (installation.overrides or {}).items():
        arguments += ["--set", f"{key}={value}"]
    return arguments


def _apply_crds(installation: Installation) -> None:
    """Helm installs CRDs once and never touches them again; ours follow the installed version (D10)."""
    crds = installation.chart / "crds"
    installation.run_kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=edge-platform",
        "--filename",
        str(crds),
    )


def _unlock(installation: Installation) -> None:
    """An interrupted run leaves the release pending, and Helm refuses the next one: go back or start over."""
    listed = json.loads(installation.run_helm("list", "--namespace", NAMESPACE, "--output", "json") or "[]")
    mine = next((one for one in listed if one["name"] == RELEASE), None)
    if mine is None or not str(mine["status"]).startswith("pending-"):
        return
    verb = ["uninstall"] if mine["status"] == "pending-install" else ["rollback"]
    installation.run_helm(*verb, RELEASE, "--namespace", NAMESPACE)


def _components(installation: Installation) -> list[str]:
    """Components that the entry chart wrote; a user's own are not waited for."""
    text = installation.run_kubectl(
        "get", "components.ext.theriseunion.io", "--namespace", NAMESPACE, "--output", "json",
        "--selector", "app.kubernetes.io/component=edge-controller",
    )  # fmt: skip
    items: list[dict[str, Any]] = json.loads(text)["items"]
    needs = {
        one["metadata"]["name"]: [need["name"] for need in one["spec"].get("dependencies", ())]
        for one in items
    }
    return sorted(needs, key=lambda name: (len(needs[name]), name))


def _controller_ready(installation: Installation) -> tuple[bool, str]:
    text = installation.run_kubectl(
        "get", "deployment", "edge-controller", "--namespace", NAMESPACE, "--output", "json"
    )
    seen = json.loads(text)
    wanted = int(seen["spec"].get("replicas", 1))
    status = seen.get("status", {})
    ready, updated = int(status.get("readyReplicas", 0)), int(status.get("updatedReplicas", 0))
    current = status.get("observedGeneration") == seen["metadata"]["generation"]
    return current and ready >= wanted and updated >= wanted, f"{ready} of {wanted} pods are ready"


def _component_ready(installation: Installation, name: str) -> tuple[bool, str]:
    text = installation.run_kubectl(
        "get", "components.ext.theriseunion.io", name, "--namespace", NAMESPACE, "--output", "json"
    )
    seen = json.loads(text)
    generation = seen["metadata"]["generation"]
    for condition in seen.get("status", {}).get("conditions", ()):
        if condition["type"] == "Ready":
            current = condition.get("observedGeneration", generation) == generation
            return current and condition["status"] == "True", f"{condition['reason']}: {condition['message']}"
    return False, "the controller has not looked at it yet"


def _wait(installation: Installation, what: str, probe: Probe) -> None:
    end = time.monotonic() + installation.wait_s
    said = "nothing was seen"
    while time.monotonic() < end:
        try:
            done, said = probe(installation)
        except StepError as error:  # the API server may restart meanwhile; the time limit ends this
            done, said = False, str(error)
        if done:
            return
        time.sleep(POLL_S)
    raise StepError(
        f"{what} is not ready after {installation.wait_s:.0f} s: {said}\n"
        f"Look: kubectl --kubeconfig {installation.kubeconfig} get pods,components,events -n {NAMESPACE}"
    )


def _run(arguments: list[str]) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shown = " ".join([Path(arguments[0]).name, *arguments[3:5]])
        raise StepError(f"`{shown} …` failed: {done.stderr.strip()[-800:]}")
    return done.stdout
